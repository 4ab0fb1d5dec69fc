//! Bringing everything to the disk before a Snapshot: the transcript, the list of files, and then the volume as a whole.
//!
//! The kernel writes out what any process of the pod wrote, whoever asks for it, and home and state are parts of one volume; so nothing
//! has to be asked of deskd, and a desktop that does not answer does not hold up a Snapshot. Only if the two are on different file systems
//! both are brought to the disk. Programs are not stopped, and what they hold in memory stays theirs.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use a8s_wire::{Flushed, RunnerState};
use tokio::sync::Mutex;

use crate::{
    handle::{Handle, Stopped, StorageError},
    manifest::{self, Files, Manifest},
};

/// Name of the list below the state directory.
pub const MANIFEST: &str = "manifest";

/// Why something is not on the disk.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The process is on its way down.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The volume does not take it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a flush brought to the disk.
#[derive(Debug)]
pub struct Outcome {
    /// The state at that moment.
    pub state: RunnerState,
    /// Files on the list.
    pub files: usize,
}

/// Flushes, one at a time.
#[derive(Clone)]
pub struct Flusher {
    engine: Handle,
    home: PathBuf,
    state: PathBuf,
    /// What the last list knew, so that what did not change is not read again.
    known: Arc<Mutex<Option<Arc<Files>>>>,
}

impl Flusher {
    /// For these directories.
    pub fn new(engine: Handle, home: PathBuf, state: PathBuf) -> Self {
        Self { engine, home, state, known: Arc::default() }
    }

    /// Returns once everything that was said and written before the call is on the disk.
    pub async fn flush(&self) -> Result<Outcome, FlushError> {
        let mut known = self.known.lock().await;
        let at = jiff::Timestamp::now().to_string();
        let state = self.engine.quiesce().await??;
        let flushed = Flushed { turn: state.turn, epoch: state.epoch, seq: state.seq, at };
        let (home, folder, before) = (self.home.clone(), self.state.clone(), known.clone());
        let work = tokio::task::spawn_blocking(move || {
            let files = manifest::scan(&home, before.as_deref());
            let manifest = Manifest { flushed, files };
            if let Err(error) = manifest.write(&folder.join(MANIFEST)) {
                // The Snapshot is as good as ever; only nobody will be able to compare what is made from it.
                tracing::warn!(%error, "the list of files cannot be written");
            }
            sync(&folder, &home)?;
            Ok::<_, io::Error>(manifest.files)
        });
        let files = work.await.map_err(io::Error::other).and_then(|done| done).map_err(StorageError)?;
        let count = files.len();
        *known = Some(Arc::new(files));
        Ok(Outcome { state, files: count })
    }
}

fn sync(state: &Path, home: &Path) -> io::Result<()> {
    let state = File::open(state)?;
    nix::unistd::syncfs(&state)?;
    let home = File::open(home)?;
    if home.metadata()?.dev() != state.metadata()?.dev() {
        nix::unistd::syncfs(&home)?;
    }
    Ok(())
}
