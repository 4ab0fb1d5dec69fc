//! Small file helpers: whole writes, links of prompts to paths.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Writes a file whole or not at all, with its directories.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    std::fs::write(&fresh, content)?;
    std::fs::rename(&fresh, path)
}

/// Lets the runner, which is in our group only, read a file. Browsers save files for their owner alone.
pub fn share(path: &Path) -> io::Result<()> {
    let mut permissions = std::fs::metadata(path)?.permissions();
    permissions.set_mode(permissions.mode() | 0o040);
    std::fs::set_permissions(path, permissions)
}

/// The path of a `file://` link.
pub fn path_of(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    let mut at = 0;
    while at < rest.len() {
        let hex = rest.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (rest[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                at += 3;
            }
            (byte, _) => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

/// Resolves `~/x` and relative paths against the home directory.
pub fn in_home(home: &Path, path: &str) -> PathBuf {
    home.join(path.strip_prefix("~/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_with_escapes_become_paths() {
        assert_eq!(path_of("file:///home/a%20b/%C3%A9.csv"), Some(PathBuf::from("/home/a b/é.csv")));
        assert_eq!(path_of("file:///100%"), Some(PathBuf::from("/100%")));
        assert_eq!(path_of("https://x"), None);
    }
}
