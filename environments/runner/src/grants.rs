//! What the Workspace was granted: a file that the control plane keeps up to date, read again and again. A key that changes is used at once,
//! and nothing of it is ever written anywhere by this module.

use std::{path::PathBuf, sync::Arc, time::Duration};

use a8s_wire::Grants;
use tokio::sync::watch;

use crate::redact::Redactor;

/// How often the file is looked at. The kubelet replaces a link, which no file watch of ours would see.
const EVERY: Duration = Duration::from_secs(1);

/// Reads the file now and then for ever. What is new is known to `redactor` before anybody can use it.
pub fn watch(path: PathBuf, redactor: Redactor) -> watch::Receiver<Arc<Grants>> {
    let mut last = Vec::new();
    let first = look(&path, &mut last, &redactor).unwrap_or_default();
    let (sender, receiver) = watch::channel(Arc::new(first));
    tokio::spawn(async move {
        let mut clock = tokio::time::interval(EVERY);
        while !sender.is_closed() {
            clock.tick().await;
            if let Some(grants) = look(&path, &mut last, &redactor) {
                let names: Vec<&str> = grants.connections.iter().map(|grant| grant.name.as_str()).collect();
                tracing::info!(?names, "what was granted has changed");
                sender.send_replace(Arc::new(grants));
            }
        }
    });
    receiver
}

/// The grants if they changed. A file that cannot be read as grants changes nothing: the next version will.
fn look(path: &std::path::Path, last: &mut Vec<u8>, redactor: &Redactor) -> Option<Grants> {
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "what was granted cannot be read");
            return None;
        }
    };
    if content == *last {
        return None;
    }
    last.clone_from(&content);
    if content.is_empty() {
        return Some(Grants::default());
    }
    match serde_json::from_slice::<Grants>(&content) {
        Ok(grants) => {
            redactor.learn(&grants);
            Some(grants)
        }
        // The parser's words may hold a piece of a key.
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            tracing::error!(line, column, path = %path.display(), "what was granted cannot be understood");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_come_change_and_go_with_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grants.json");
        let (mut last, redactor) = (Vec::new(), Redactor::default());
        assert!(look(&path, &mut last, &redactor).is_none(), "no file is what it was before");
        std::fs::write(&path, r#"{"connections":[{"name":"s","kind":"secret","value":"canary-1"}]}"#)
            .unwrap();
        assert_eq!(look(&path, &mut last, &redactor).unwrap().connections.len(), 1);
        assert_eq!(redactor.text("canary-1"), "[redacted:s]");
        assert!(look(&path, &mut last, &redactor).is_none());
        std::fs::write(&path, "{half").unwrap();
        assert!(look(&path, &mut last, &redactor).is_none());
        std::fs::remove_file(&path).unwrap();
        assert!(look(&path, &mut last, &redactor).unwrap().connections.is_empty());
    }
}
