//! What was granted and is neither a model nor an API: secrets that the agent may see become files in memory, documents become attachments.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{DirBuilder, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use a8s_wire::{GrantKind, Grants, Header};
use futures::StreamExt;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    attachments::{self, MAX_ATTACHMENT},
    handle::Handle,
};

/// A document that takes longer is given up for this time.
const FETCH_TIMEOUT: Duration = Duration::from_mins(5);
/// Pauses between attempts to fetch a document.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20), Duration::from_mins(1)];

/// Keeps the files of granted secrets as they should be, for ever.
pub async fn secrets(folder: PathBuf, mut grants: watch::Receiver<Arc<Grants>>) {
    loop {
        let now = grants.borrow_and_update().clone();
        let secrets = now.connections.iter().filter_map(|grant| match &grant.kind {
            GrantKind::Secret { value } => Some((grant.name.as_str(), value.as_str())),
            _ => None,
        });
        if let Err(error) = put(&folder, &secrets.collect()) {
            tracing::error!(%error, folder = %folder.display(), "granted secrets could not be put where the agent finds them");
        }
        if grants.changed().await.is_err() {
            return;
        }
    }
}

/// Writes what is granted and removes what is not any more.
fn put(folder: &Path, secrets: &BTreeMap<&str, &str>) -> io::Result<()> {
    match DirBuilder::new().mode(0o750).create(folder) {
        Ok(()) => std::fs::set_permissions(folder, Permissions::from_mode(0o750))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| secrets.contains_key(name)) {
            std::fs::remove_file(entry.path())?;
        }
    }
    for (name, value) in secrets {
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|before| before == value.as_bytes()) {
            continue;
        }
        let fresh = folder.join(format!(".{name}"));
        let _ = std::fs::remove_file(&fresh);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o440).open(&fresh)?;
        file.write_all(value.as_bytes())?;
        file.set_permissions(Permissions::from_mode(0o440))?;
        std::fs::rename(fresh, path)?;
    }
    Ok(())
}

/// Fetches granted documents into the attachments, each once as long as its URL stays the same.
pub async fn documents(
    home: PathBuf,
    client: reqwest::Client,
    mut grants: watch::Receiver<Arc<Grants>>,
    engine: Handle,
) {
    let mut begun = BTreeSet::new();
    loop {
        let now = grants.borrow_and_update().clone();
        for grant in &now.connections {
            let GrantKind::Documents { url, header } = &grant.kind else { continue };
            if begun.insert((grant.name.clone(), url.clone())) {
                let fetch = Fetch {
                    connection: grant.name.clone(),
                    url: url.clone(),
                    header: header.clone(),
                    home: home.clone(),
                };
                tokio::spawn(fetch.run(client.clone(), engine.clone()));
            }
        }
        if grants.changed().await.is_err() {
            return;
        }
    }
}

struct Fetch {
    connection: String,
    url: String,
    header: Option<Header>,
    home: PathBuf,
}

/// Why a document is not there.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the server answered {0}")]
    Status(reqwest::StatusCode),
    #[error("it is larger than {} MiB", MAX_ATTACHMENT >> 20)]
    TooLarge,
    #[error("{0}")]
    Http(reqwest::Error),
    #[error("the server takes too long")]
    Slow,
    #[error("it could not be written: {0}")]
    Write(#[from] io::Error),
}

impl FetchError {
    /// Whether another attempt may go better.
    fn passes(&self) -> bool {
        match self {
            Self::Status(status) => status.is_server_error() || status.as_u16() == 429,
            Self::TooLarge => false,
            Self::Http(_) | Self::Slow | Self::Write(_) => true,
        }
    }
}

impl Fetch {
    async fn run(self, client: reqwest::Client, engine: Handle) {
        let name = file_name(&self.url, &self.connection);
        if self.home.join("Attachments").join(&name).is_file() {
            // It is there from an earlier start, or a person put it there: theirs is not replaced.
            return;
        }
        let mut pauses = PAUSES.iter();
        loop {
            let done =
                timeout(FETCH_TIMEOUT, self.fetch(&client, &name)).await.unwrap_or(Err(FetchError::Slow));
            match (done, pauses.next()) {
                (Ok(size), _) => {
                    let text = format!(
                        "The document of {} is there: Attachments/{name}, {size} bytes.",
                        self.connection
                    );
                    return engine.notice(text).await;
                }
                (Err(error), Some(pause)) if error.passes() => {
                    tracing::info!(%error, connection = self.connection, "a document is fetched again later");
                    sleep(*pause).await;
                }
                (Err(error), _) => {
                    let text = format!("The document of {} could not be fetched: {error}.", self.connection);
                    return engine.notice(text).await;
                }
            }
        }
    }

    async fn fetch(&self, client: &reqwest::Client, name: &str) -> Result<usize, FetchError> {
        let plain = |error: reqwest::Error| FetchError::Http(error.without_url());
        let mut request = client.get(&self.url);
        if let Some(header) = &self.header {
            request = request.header(&header.name, &header.value);
        }
        let response = request.send().await.map_err(plain)?;
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status()));
        }
        let mut body = response.bytes_stream();
        let mut content = Vec::new();
        while let Some(piece) = body.next().await {
            content.extend_from_slice(&piece.map_err(plain)?);
            if content.len() > MAX_ATTACHMENT {
                return Err(FetchError::TooLarge);
            }
        }
        let (home, name, size) = (self.home.clone(), name.to_owned(), content.len());
        tokio::task::spawn_blocking(move || attachments::store(&home, &name, &content))
            .await
            .map_err(io::Error::other)??;
        Ok(size)
    }
}

/// The last part of the path, if it can be a file's name; else the Connection's.
fn file_name(url: &str, connection: &str) -> String {
    let parsed = reqwest::Url::parse(url).ok();
    let last = parsed.as_ref().and_then(|url| url.path_segments()?.next_back().map(str::to_owned));
    last.filter(|name| attachments::valid_name(name)).unwrap_or_else(|| connection.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_files_for_the_group_that_change_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().join("secrets");
        put(&secrets, &[("a", "one"), ("b", "two")].into()).unwrap();
        assert_eq!(std::fs::read_to_string(secrets.join("a")).unwrap(), "one");
        assert_eq!(secrets.join("a").metadata().unwrap().permissions().mode() & 0o777, 0o440);
        assert_eq!(secrets.metadata().unwrap().permissions().mode() & 0o777, 0o750);
        put(&secrets, &[("b", "three")].into()).unwrap();
        assert!(!secrets.join("a").exists());
        assert_eq!(std::fs::read_to_string(secrets.join("b")).unwrap(), "three");
        assert_eq!(std::fs::read_dir(&secrets).unwrap().count(), 1);
    }

    #[test]
    fn a_document_is_named_after_its_url_where_that_has_a_name() {
        assert_eq!(file_name("https://x.example/a/rain.csv?v=1", "docs"), "rain.csv");
        assert_eq!(file_name("https://x.example/", "docs"), "docs");
    }
}
