//! The pool: an image file with a btrfs in it, mounted through a loop device.
//!
//! The image appears under its name only once it is formatted, so a killed process leaves none that is half made. The
//! loop device belongs to the mount: the kernel frees it with the last mount, even after a crash.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MntFlags, umount2},
    sys::statvfs::statvfs,
};

use crate::{
    btrfs::{self, Btrfs, CommandError},
    mounts,
    naming::Kind,
};

/// How long a predecessor's last programs may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the pool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// A file or folder could not be made or read.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Another driver uses the same folder.
    #[error("{0} is in use by another driver: stop it, or choose another --state-dir")]
    InUse(PathBuf),
    /// Something else is mounted where the pool belongs.
    #[error("{point} holds a mount of {device}, not of this pool: unmount it, or choose another --state-dir")]
    Foreign {
        /// The mount point.
        point: PathBuf,
        /// What is mounted.
        device: String,
    },
    /// Formatting, mounting or accounting failed.
    #[error(transparent)]
    Command(#[from] CommandError),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PoolError {
    let path = path.to_owned();
    move |source| PoolError::File { path, source }
}

/// A mounted pool. It stays mounted when dropped: only [`Pool::close`] unmounts.
#[derive(Debug)]
pub struct Pool {
    root: PathBuf,
    btrfs: Btrfs,
    // Held for its lock: two drivers on one pool would undo each other's work.
    _lock: Flock<File>,
}

impl Pool {
    /// Makes what is missing (image, file system, mount, accounting, folders) and mounts the pool at `state/mnt`.
    pub fn open(state: &Path, image: &Path, bytes: u64) -> Result<Self, PoolError> {
        fs::create_dir_all(state).map_err(at(state))?;
        let state = state.canonicalize().map_err(at(state))?;
        let lock = lock(&state.join("lock"), PATIENCE)?;
        let btrfs = Btrfs::new(lock.try_clone().map_err(at(&state))?);
        if !image.exists() {
            format(image, bytes)?;
        }
        let image = image.canonicalize().map_err(at(image))?;
        let root = state.join("mnt");
        fs::create_dir_all(&root).map_err(at(&root))?;
        match mounts::at(&root).map_err(at(&root))? {
            None => attach(&image, &root)?,
            Some(mount) if mount.fs_type == "btrfs" && backing_file(&mount.device) == Some(image) => {}
            Some(mount) => return Err(PoolError::Foreign { point: root, device: mount.device }),
        }
        btrfs.enable_quota(&root)?;
        for kind in [Kind::Volume, Kind::Snapshot] {
            let folder = root.join(kind.folder());
            fs::create_dir_all(&folder).map_err(at(&folder))?;
        }
        Ok(Self { root, btrfs, _lock: lock })
    }

    /// The mounted root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Operations on the pool.
    pub fn btrfs(&self) -> &Btrfs {
        &self.btrfs
    }

    /// Size of the whole pool and what is free of it, in bytes.
    pub fn space(&self) -> io::Result<Space> {
        let stat = statvfs(&self.root)?;
        let bytes =
            |blocks: u64| i64::try_from(blocks.saturating_mul(stat.fragment_size())).unwrap_or(i64::MAX);
        Ok(Space { total: bytes(stat.blocks()), free: bytes(stat.blocks_available()) })
    }

    /// Unmounts the pool. Volumes that pods still use stay alive through their own mounts.
    pub fn close(&self) -> Result<(), PoolError> {
        match umount2(&self.root, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) | Err(Errno::EINVAL) => Ok(()),
            Err(errno) => Err(at(&self.root)(errno.into())),
        }
    }
}

/// Size of the pool, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// All of it.
    pub total: i64,
    /// What is not in use.
    pub free: i64,
}

/// Takes the lock. Programs that a killed driver started hold it until they end, which is worth waiting for.
fn lock(path: &Path, patience: Duration) -> Result<Flock<File>, PoolError> {
    let mut file = File::options().create(true).truncate(false).write(true).open(path).map_err(at(path))?;
    let start = Instant::now();
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if start.elapsed() >= patience => {
                return Err(PoolError::InUse(path.to_owned()));
            }
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => return Err(at(path)(errno.into())),
        };
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn format(image: &Path, bytes: u64) -> Result<(), PoolError> {
    if let Some(folder) = image.parent() {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let mut unfinished = image.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let file = File::create(&unfinished).map_err(at(&unfinished))?;
    // Sparse: it takes space on the disk only as volumes fill.
    file.set_len(bytes).map_err(at(&unfinished))?;
    drop(file);
    // One copy of everything: below it is one file on one disk, a second copy protects against nothing.
    let single = ["--quiet", "--metadata", "single", "--data", "single", "--"].map(AsRef::as_ref);
    btrfs::run("mkfs.btrfs", single.into_iter().chain([unfinished.as_os_str()]))?;
    fs::rename(&unfinished, image).map_err(at(image))
}

fn attach(image: &Path, root: &Path) -> Result<(), PoolError> {
    // Barriers protect against losing power; the host's own file system decides that for a file anyway.
    let options = ["-t", "btrfs", "-o", "loop,noatime,nobarrier"].map(AsRef::as_ref);
    btrfs::run("mount", options.into_iter().chain([image.as_os_str(), root.as_os_str()]))?;
    Ok(())
}

/// The file behind `/dev/loopN`.
fn backing_file(device: &str) -> Option<PathBuf> {
    let name = device.strip_prefix("/dev/")?;
    let file = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
    Some(PathBuf::from(file.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_driver_on_the_same_folder_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = lock(&path, Duration::ZERO).unwrap();
        assert!(matches!(lock(&path, Duration::ZERO), Err(PoolError::InUse(_))));
        drop(first);
        assert!(lock(&path, Duration::ZERO).is_ok());
    }

    #[test]
    fn a_program_that_outlives_its_driver_keeps_the_next_one_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        // As after a kill: only the program's copy of the descriptor is left, and nobody unlocked it.
        let held = File::options().create(true).truncate(false).write(true).open(&path).unwrap();
        let program = held.try_clone().unwrap();
        std::mem::forget(Flock::lock(held, FlockArg::LockExclusiveNonblock).unwrap());
        assert!(matches!(lock(&path, Duration::from_millis(20)), Err(PoolError::InUse(_))));
        drop(Flock::lock(program, FlockArg::LockExclusiveNonblock).unwrap());
        assert!(lock(&path, Duration::ZERO).is_ok());
    }

    #[test]
    fn a_device_that_is_no_loop_has_no_backing_file() {
        assert_eq!(backing_file("tmpfs"), None);
        assert_eq!(backing_file("/dev/a8s-none"), None);
    }
}
