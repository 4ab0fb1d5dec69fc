//! The home directory before anything runs in it: seeded once, and free of locks that a dead desktop left behind.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    path::Path,
};

/// Present once the home has been seeded completely.
pub const MARKER: &str = ".a8s-seeded";

/// Copies the skeleton into a home that was never seeded. What is there already stays: the runner may have been faster with a file.
pub fn seed(home: &Path, skel: &Path) -> io::Result<bool> {
    let marker = home.join(MARKER);
    if marker.exists() {
        return Ok(false);
    }
    if skel.is_dir() {
        copy_missing(skel, home)?;
    }
    fs::write(marker, "")?;
    Ok(true)
}

fn copy_missing(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        let exists = target.symlink_metadata().is_ok();
        if kind.is_dir() {
            if !exists {
                fs::create_dir(&target)?;
            }
            copy_missing(&entry.path(), &target)?;
        } else if exists {
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, &target)?;
        } else {
            // Written beside it and renamed: a crash leaves no half file under its name.
            let part = target.with_extension("a8s-part");
            fs::copy(entry.path(), &part)?;
            fs::rename(part, &target)?;
        }
    }
    Ok(())
}

/// Removes Chromium's profile locks. After a restore they name another host, and Chromium would refuse to start.
pub fn remove_browser_locks(home: &Path) {
    for profile in ["chromium", "google-chrome"] {
        for lock in ["SingletonLock", "SingletonCookie", "SingletonSocket"] {
            remove(&home.join(".config").join(profile).join(lock));
        }
    }
}

/// Removes what an X server that was killed left in `/tmp`. Only PID 1 may know that no such server runs.
pub fn remove_display_locks(display: u32) {
    remove(Path::new(&format!("/tmp/.X{display}-lock")));
    remove(Path::new(&format!("/tmp/.X11-unix/X{display}")));
}

/// Makes the directory of X sockets, which Xvnc itself can only make as root.
pub fn make_socket_dir() -> io::Result<()> {
    let dir = Path::new("/tmp/.X11-unix");
    if !dir.is_dir() {
        fs::create_dir(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o1777))?;
    }
    Ok(())
}

/// A directory that only this user can enter.
pub fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

/// Removes a file if it is there.
pub fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => tracing::info!(path = %path.display(), "removed a stale file"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove a stale file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_seeded_once_and_keeps_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let (skel, home) = (dir.path().join("skel"), dir.path().join("home"));
        fs::create_dir_all(skel.join("Desktop")).unwrap();
        fs::create_dir_all(home.join("Desktop")).unwrap();
        fs::write(skel.join("Desktop/hello.txt"), "from skel").unwrap();
        fs::write(skel.join(".bashrc"), "from skel").unwrap();
        fs::write(home.join(".bashrc"), "mine").unwrap();
        symlink("Desktop", skel.join("link")).unwrap();

        assert!(seed(&home, &skel).unwrap());
        assert_eq!(fs::read_to_string(home.join("Desktop/hello.txt")).unwrap(), "from skel");
        assert_eq!(fs::read_to_string(home.join(".bashrc")).unwrap(), "mine");
        assert_eq!(fs::read_link(home.join("link")).unwrap(), Path::new("Desktop"));

        fs::remove_file(home.join("Desktop/hello.txt")).unwrap();
        assert!(!seed(&home, &skel).unwrap());
        assert!(!home.join("Desktop/hello.txt").exists(), "what a person deleted came back");
    }

    #[test]
    fn browser_locks_that_point_to_another_host_are_removed() {
        let home = tempfile::tempdir().unwrap();
        let profile = home.path().join(".config/chromium");
        fs::create_dir_all(&profile).unwrap();
        symlink("otherhost-4711", profile.join("SingletonLock")).unwrap();
        fs::write(profile.join("Preferences"), "{}").unwrap();
        remove_browser_locks(home.path());
        assert!(profile.join("SingletonLock").symlink_metadata().is_err());
        assert!(profile.join("Preferences").exists());
    }
}
