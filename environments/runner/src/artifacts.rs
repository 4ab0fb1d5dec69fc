//! The blob store: published files by the SHA-256 of their content.
//!
//! The agent chooses the path, and it owns its home directory: links may change at any moment. So a file is opened first, and then the
//! kernel is asked what was opened; what is copied is that very file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};

use crate::handle::NewArtifact;

/// Why a file cannot be published. The text is for the agent.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It is not there, or not readable.
    #[error("cannot open {path}: {source}; it must exist and be readable for the group (chmod g+r)")]
    Open {
        /// What was asked for.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It is not below the home directory.
    #[error("{0} is outside the home directory; only files below it can be published")]
    Outside(String),
    /// It is a directory, a pipe or a device.
    #[error("{0} is not a regular file; publish an archive instead of a directory")]
    NotAFile(String),
    /// It is too large.
    #[error("the file is larger than {0} MiB, the most that can be published")]
    TooLarge(u64),
    /// No artifact can have this name.
    #[error("the name {0:?} is not usable: use 1 to 63 letters, digits and dashes")]
    Name(String),
    /// The runner's volume failed.
    #[error("the file could not be stored: {0}")]
    Store(#[from] io::Error),
}

/// Directory of blobs.
#[derive(Clone, Debug)]
pub struct Blobs {
    directory: PathBuf,
    home: PathBuf,
    max_mib: u64,
}

impl Blobs {
    /// Creates the directory if needed and clears it of unfinished copies.
    pub fn open(directory: PathBuf, home: PathBuf, max_mib: u64) -> io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(".copy-") {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { directory, home, max_mib })
    }

    /// Where the content with this hash is, if `sha256` is one and the content is here.
    pub fn path(&self, sha256: &str) -> Option<PathBuf> {
        let valid =
            sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        valid.then(|| self.directory.join(sha256)).filter(|path| path.is_file())
    }

    /// Keeps these bytes; returns their hash and number. Blocking.
    pub fn keep(&self, content: &[u8]) -> io::Result<(String, i64)> {
        let sha256 = hex::encode(Sha256::digest(content));
        let unfinished = self.directory.join(format!(".copy-{sha256}"));
        let written = (|| {
            let mut to = File::create(&unfinished)?;
            to.write_all(content)?;
            to.sync_all()?;
            std::fs::rename(&unfinished, self.directory.join(&sha256))?;
            File::open(&self.directory)?.sync_all()
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&unfinished);
        }
        written.map(|()| (sha256, i64::try_from(content.len()).unwrap_or(i64::MAX)))
    }

    /// Copies a file of the agent into the store. Blocking.
    pub fn publish(&self, path: &str, title: &str, name: Option<&str>) -> Result<NewArtifact, PublishError> {
        let wanted =
            path.strip_prefix("~/").map_or_else(|| self.home.join(path), |rest| self.home.join(rest));
        let open_error = |source| PublishError::Open { path: path.to_owned(), source };
        // Without O_NONBLOCK, opening a pipe would wait for a writer for ever.
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(wanted)
            .map_err(open_error)?;
        let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let home = self.home.canonicalize()?;
        if !real.starts_with(&home) {
            return Err(PublishError::Outside(path.to_owned()));
        }
        if !file.metadata()?.is_file() {
            return Err(PublishError::NotAFile(path.to_owned()));
        }
        let file_name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = match name {
            Some(name) if valid_name(name) => name.to_owned(),
            Some(name) => return Err(PublishError::Name(name.to_owned())),
            None => slug(&real.file_stem().unwrap_or_default().to_string_lossy()),
        };
        let unfinished = file.as_raw_fd().to_string();
        let (sha256, size) = self.copy(&mut file, &unfinished)?;
        let media_type = media_type(&real).to_owned();
        let title = if title.trim().is_empty() { file_name.clone() } else { title.trim().to_owned() };
        Ok(NewArtifact { name, title, file_name, media_type, size, sha256 })
    }

    /// Takes something of the runner's own into the store; returns its hash and size. Blocking.
    pub fn take(&self, from: &mut impl Read) -> Result<(String, i64), PublishError> {
        self.copy(from, "own")
    }

    /// Removes what is in the store for good.
    pub fn forget(&self, sha256: &str) -> io::Result<()> {
        self.path(sha256).map_or(Ok(()), std::fs::remove_file)
    }

    fn copy(&self, from: &mut impl Read, name: &str) -> Result<(String, i64), PublishError> {
        let limit = self.max_mib << 20;
        let unfinished = self.directory.join(format!(".copy-{name}"));
        let result = (|| {
            let mut to = File::create(&unfinished)?;
            let mut hash = Sha256::new();
            let mut size = 0_u64;
            let mut buffer = vec![0; 256 * 1024];
            loop {
                let read = from.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                size += read as u64;
                if size > limit {
                    return Err(PublishError::TooLarge(self.max_mib));
                }
                hash.update(&buffer[..read]);
                to.write_all(&buffer[..read])?;
            }
            to.sync_all()?;
            let sha256 = hex::encode(hash.finalize());
            std::fs::rename(&unfinished, self.directory.join(&sha256))?;
            File::open(&self.directory)?.sync_all()?;
            Ok((sha256, i64::try_from(size).unwrap_or(i64::MAX)))
        })();
        if result.is_err() {
            let _ = std::fs::remove_file(&unfinished);
        }
        result
    }
}

fn valid_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// A name for an artifact, made of a file's.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= 50 {
            break;
        }
    }
    let slug = slug.trim_matches('-');
    if slug.is_empty() { "file".to_owned() } else { slug.to_owned() }
}

fn media_type(path: &Path) -> &'static str {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match extension.as_str() {
        "pdf" => "application/pdf",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "txt" | "log" => "text/plain",
        "md" => "text/markdown",
        "json" => "application/json",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "svg" => "image/svg+xml",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "odt" => "application/vnd.oasis.opendocument.text",
        "ods" => "application/vnd.oasis.opendocument.spreadsheet",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn store() -> (tempfile::TempDir, Blobs, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let blobs = Blobs::open(folder.path().join("blobs"), home.clone(), 1).unwrap();
        (folder, blobs, home)
    }

    #[test]
    fn a_published_file_is_stored_under_the_hash_of_its_content() {
        let (_folder, blobs, home) = store();
        std::fs::write(home.join("My Report.pdf"), "abc").unwrap();
        let new = blobs.publish("~/My Report.pdf", "A report", None).unwrap();
        assert_eq!(new.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(
            (new.name.as_str(), new.media_type.as_str(), new.size),
            ("my-report", "application/pdf", 3)
        );
        assert_eq!(std::fs::read(blobs.path(&new.sha256).unwrap()).unwrap(), b"abc");
    }

    #[test]
    fn nothing_outside_the_home_directory_is_published_by_any_path() {
        let (folder, blobs, home) = store();
        let secret = folder.path().join("tls.key");
        std::fs::write(&secret, "secret").unwrap();
        symlink(&secret, home.join("link")).unwrap();
        symlink(folder.path(), home.join("folder")).unwrap();
        for path in ["../tls.key", "link", "folder/tls.key", secret.to_str().unwrap()] {
            let error = blobs.publish(path, "x", None).unwrap_err();
            assert!(matches!(error, PublishError::Outside(_)), "{path}: {error}");
        }
    }

    #[test]
    fn directories_pipes_and_too_large_files_are_refused_with_a_reason() {
        let (_folder, blobs, home) = store();
        nix::unistd::mkfifo(&home.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in ["", "pipe"] {
            assert!(
                matches!(blobs.publish(path, "x", None).unwrap_err(), PublishError::NotAFile(_)),
                "{path}"
            );
        }
        std::fs::write(home.join("big"), vec![0; (1 << 20) + 1]).unwrap();
        assert!(matches!(blobs.publish("big", "x", None).unwrap_err(), PublishError::TooLarge(1)));
        assert!(matches!(blobs.publish("big", "x", Some("Big One")).unwrap_err(), PublishError::Name(_)));
    }

    #[test]
    fn a_path_with_dots_is_no_blob() {
        let (_folder, blobs, _home) = store();
        assert_eq!(blobs.path("../home"), None);
        assert_eq!(blobs.path(&"g".repeat(64)), None);
    }
}
