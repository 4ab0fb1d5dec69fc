//! Session ids that outlive the process. The scripted brain keeps what it must remember in the files it makes, so for it a session is no
//! more than the fact that it exists; the other brain keeps the conversation under the same id.

use std::{
    io,
    path::{Path, PathBuf},
};

fn directory(home: &Path) -> PathBuf {
    home.join(".local/state/a8s-agent/sessions")
}

/// Makes a session.
pub fn create(home: &Path) -> io::Result<String> {
    let directory = directory(home);
    std::fs::create_dir_all(&directory)?;
    let id = format!("session-{:x}-{:x}", jiff::Timestamp::now().as_nanosecond(), std::process::id());
    std::fs::write(directory.join(&id), "")?;
    Ok(id)
}

/// Whether this session was made in this home, by whatever process.
pub fn exists(home: &Path, id: &str) -> bool {
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    plain && !id.is_empty() && directory(home).join(id).is_file()
}
