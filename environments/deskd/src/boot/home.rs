//! The home directory and the other folders of the desktop before anything runs in them.

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

/// Removes what an X server that was killed left in `/tmp`. Only PID 1 may know that no such server runs.
pub fn remove_display_locks(display: u32) {
    remove(Path::new(&format!("/tmp/.X{display}-lock")));
    remove(Path::new(&format!("/tmp/.X11-unix/X{display}")));
}

/// Makes the directory of X sockets, which Xvnc itself can only make as root.
pub fn make_socket_dir() -> io::Result<()> {
    let dir = Path::new("/tmp/.X11-unix");
    match fs::create_dir(dir) {
        Ok(()) => fs::set_permissions(dir, fs::Permissions::from_mode(0o1777)),
        // Of two X servers that start at once on a machine that never had one, one is the second.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives this desktop an identity of its own: two that came from one Snapshot must not take each other for the same machine. It is a
/// function of the Workspace's UID, so that it stays for the Workspace's life.
pub fn write_machine_id(file: &Path, workspace_uid: &str) -> io::Result<()> {
    fs::write(file, a8s_wire::paths::machine_id(workspace_uid))
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
}
