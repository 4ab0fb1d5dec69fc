//! Mounts as the kernel sees them, and the bind mounts that publish a volume to a pod.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};

/// One line of the kernel's mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The folder of the file system that is mounted.
    pub root: String,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Type of the file system.
    pub fs_type: String,
    /// The device behind it.
    pub device: String,
}

/// Reads the mount table of this process.
pub fn table() -> io::Result<Vec<Mount>> {
    Ok(fs::read_to_string("/proc/self/mountinfo")?.lines().filter_map(parse).collect())
}

/// What is mounted at `point`: the uppermost, as several mounts may lie on each other.
pub fn at(point: &Path) -> io::Result<Option<Mount>> {
    Ok(table()?.into_iter().rfind(|mount| mount.point == point))
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw`, blanks written as octal.
fn parse(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let mut right = right.split(' ');
    Some(Mount {
        root: unescape(left.next()?),
        point: unescape(left.next()?).into(),
        fs_type: right.next()?.to_owned(),
        device: unescape(right.next()?),
    })
}

fn unescape(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&first, rest)) = bytes.split_first() {
        let octal = (first == b'\\').then(|| text_of(rest.get(..3)?)).flatten();
        if let Some(byte) = octal {
            plain.push(byte);
            bytes = &rest[3..];
        } else {
            plain.push(first);
            bytes = rest;
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn text_of(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// Binds `from` to `target`, making the folder, and applies `flags` (read-only and the like).
/// Repeating it changes nothing, and completes what a killed process began.
pub fn bind(from: &Path, target: &Path, flags: MsFlags) -> io::Result<()> {
    const NO_DATA: Option<&str> = None;
    fs::DirBuilder::new().recursive(true).mode(0o750).create(target)?;
    if at(target)?.is_none() {
        mount(Some(from), target, NO_DATA, MsFlags::MS_BIND, NO_DATA)?;
    }
    // The kernel ignores every other flag on the first bind.
    if !flags.is_empty() {
        mount(NO_DATA, target, NO_DATA, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, NO_DATA)?;
    }
    Ok(())
}

/// Undoes [`bind`] and removes the folder. It never removes content: a folder that is not empty is an error.
pub fn unbind(target: &Path) -> io::Result<()> {
    loop {
        match umount2(target, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // Not a mount point, or not there: what was asked for is already so.
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    match fs::remove_dir(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_mount_table_is_understood() {
        let line = r"99 27 0:42 /volumes/vol-1 /var/lib/my\040kubelet/x rw,noatime shared:5 - btrfs /dev/loop0 rw,quota";
        let mount = parse(line).unwrap();
        assert_eq!(mount.root, "/volumes/vol-1");
        assert_eq!(mount.point, Path::new("/var/lib/my kubelet/x"));
        assert_eq!((mount.fs_type.as_str(), mount.device.as_str()), ("btrfs", "/dev/loop0"));
    }

    #[test]
    fn a_line_without_optional_fields_is_understood() {
        assert_eq!(parse("22 27 0:21 / /proc rw,relatime - proc proc rw").unwrap().point, Path::new("/proc"));
    }

    #[test]
    fn this_machines_own_table_has_a_root() {
        assert!(at(Path::new("/")).unwrap().is_some());
    }
}
