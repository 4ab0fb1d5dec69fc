//! Whether the volume still has room. It is looked at beside the conversation, so that people learn of a full volume before the transcript
//! can no longer be written, and of one that an agent's or a person's program filled while no turn runs.
//!
//! It never frees anything: what may go is for people to say.

use std::{
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    libc::O_TMPFILE,
    sys::{
        statfs::{BTRFS_SUPER_MAGIC, fstatfs},
        statvfs::fstatvfs,
    },
};
use tokio::sync::watch;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(3);
/// With less than this the volume is full.
const FULL: u64 = 4 << 20;
/// With at least this it is full no longer; between the two it is what it was.
const ROOM: u64 = 16 << 20;

/// Looks after the volume that holds `folder`, as long as somebody asks; `true` while it is full.
pub fn watch(folder: PathBuf) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let mut clock = tokio::time::interval(EVERY);
        while !sender.is_closed() {
            clock.tick().await;
            let (folder, was) = (folder.clone(), *sender.borrow());
            let now = tokio::task::spawn_blocking(move || full(&folder, was)).await.unwrap_or(was);
            if now != was {
                tracing::warn!(full = now, "the volume's room changed");
                sender.send_replace(now);
            }
        }
    });
    receiver
}

/// What cannot be found out stays as it was.
fn full(folder: &Path, was: bool) -> bool {
    has_room(folder, if was { ROOM } else { FULL }).map_or_else(
        |error| {
            tracing::debug!(%error, "the volume's room cannot be found out");
            was
        },
        |room| !room,
    )
}

/// Whether so many bytes can be written. The file that tries it has no name and is never brought to the disk.
fn has_room(folder: &Path, bytes: u64) -> io::Result<bool> {
    let file = std::fs::File::options().write(true).mode(0o600).custom_flags(O_TMPFILE).open(folder).or_else(
        |error| {
            // Some file systems know no files without a name; a folder tells what statvfs tells just as well.
            if no_room(&error) { Err(error) } else { std::fs::File::open(folder) }
        },
    );
    let mut file = match file {
        Err(error) if no_room(&error) => return Ok(false),
        file => file?,
    };
    let stat = fstatvfs(&file)?;
    if stat.blocks_available().saturating_mul(stat.fragment_size()) < bytes {
        return Ok(false);
    }
    // btrfs tells the room of the whole file system and not what a subvolume's quota leaves; only writing shows that.
    if fstatfs(&file)?.filesystem_type() != BTRFS_SUPER_MAGIC {
        return Ok(true);
    }
    let block = vec![0; 64 << 10];
    for _ in 0..bytes.div_ceil(64 << 10) {
        match file.write_all(&block) {
            Err(error) if no_room(&error) => return Ok(false),
            written => written?,
        }
    }
    Ok(true)
}

fn no_room(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::ENOSPC | Errno::EDQUOT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_room_for_a_byte_and_not_for_more_than_any_disk() {
        let folder = tempfile::tempdir().unwrap();
        assert!(has_room(folder.path(), 1).unwrap());
        assert!(!has_room(folder.path(), u64::MAX).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of the attempt");
    }

    #[test]
    fn what_cannot_be_found_out_stays_as_it_was() {
        let gone = Path::new("/nowhere/at/all");
        assert!(full(gone, true));
        assert!(!full(gone, false));
    }
}
