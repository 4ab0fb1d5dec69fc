//! Files that people give to the agent, below `Attachments` in its home.
//!
//! The agent owns that directory and may put a link in its place; the directory is therefore opened without following links, and every
//! name is resolved below that open directory.

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

/// Largest attachment.
pub const MAX_ATTACHMENT: usize = 64 << 20;

/// Whether a file of this name may be put into the directory.
pub fn valid_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && !name.chars().any(|c| matches!(c, '/' | '\\' | '\0') || c.is_control())
}

/// Writes `content` as the attachment `name`: whole or not at all. Blocking.
pub fn store(home: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    if !valid_name(name) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no usable file name"));
    }
    let directory = home.join("Attachments");
    match DirBuilder::new().mode(0o2770).create(&directory) {
        // The umask takes the group's rights; the agent reads through the group.
        Ok(()) => std::fs::set_permissions(&directory, Permissions::from_mode(0o2770))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(&directory)?;
    let inside = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    let unfinished = inside.join(format!(".{}.upload", &sha256(name.as_bytes())[..16]));
    let _ = std::fs::remove_file(&unfinished);
    let written = write(&unfinished, content).and_then(|()| std::fs::rename(&unfinished, inside.join(name)));
    if written.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    written?;
    opened.sync_all()
}

/// Lower-case hex SHA-256.
pub fn sha256(content: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(content))
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file: File =
        OpenOptions::new().write(true).create_new(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(0o660))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        for bad in ["", ".", "..", "a/b", "../a", "/etc/passwd", "a\\b", ".hidden", "a\nb", &"x".repeat(256)]
        {
            assert!(!valid_name(bad), "{bad:?}");
        }
        assert!(valid_name("Weather 2012–2015 (final).csv"));
    }

    #[test]
    fn an_attachment_replaces_the_one_before_and_is_readable_by_the_group() {
        let home = tempfile::tempdir().unwrap();
        for content in ["one", "two"] {
            store(home.path(), "a.csv", content.as_bytes()).unwrap();
        }
        let path = home.path().join("Attachments/a.csv");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(std::fs::read_dir(home.path().join("Attachments")).unwrap().count(), 1);
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_not_followed() {
        let (home, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(state.path(), home.path().join("Attachments")).unwrap();
        assert!(store(home.path(), "transcript.jsonl", b"forged").is_err());
        assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0);
    }
}
