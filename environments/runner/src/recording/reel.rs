//! A recording on the volume: a folder with the segments and a journal of everything else, each line written when it is heard. Whenever
//! this process ends, what is there is as much of a recording as there can be.

use std::{
    io,
    path::{Path, PathBuf},
};

use a8s_wire::recording::{Frame, Gap, GapReason, Note};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt,
};

use crate::redact::Redactor;

/// The journal's name in the folder.
pub const JOURNAL: &str = "journal.jsonl";
/// With less room than this on the volume nothing is recorded: the agent's work comes first.
const ROOM: u64 = 128 << 20;

/// Whose recording it is; the first line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whose {
    /// Turn of the conversation.
    pub turn: i64,
    /// UID of the Workspace.
    pub workspace: String,
    /// Epoch of the conversation.
    pub epoch: i64,
}

/// Name of a segment.
pub fn segment_name(number: usize) -> String {
    format!("{number:03}.fbs")
}

/// A recording that is being taken.
pub struct Reel {
    folder: PathBuf,
    journal: File,
    segment: Option<File>,
    segments: usize,
    dark: Option<(Timestamp, GapReason)>,
    failed: bool,
    redactor: Redactor,
}

impl Reel {
    /// Makes a new folder in `parent`.
    pub async fn create(parent: &Path, whose: &Whose, redactor: Redactor) -> io::Result<Self> {
        fs::create_dir_all(parent).await?;
        room(parent).await?;
        let folder = parent.join(format!("{:06}-{}", whose.turn, Timestamp::now().as_millisecond()));
        fs::create_dir(&folder).await?;
        let journal = File::create(folder.join(JOURNAL)).await?;
        let mut reel =
            Self { folder, journal, segment: None, segments: 0, dark: None, failed: false, redactor };
        reel.line(whose).await?;
        Ok(reel)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The volume does not take any more of it.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Keeps what deskd sent.
    pub async fn keep(&mut self, frame: Frame) {
        if self.failed {
            return;
        }
        if let Err(error) = self.write(frame).await {
            tracing::warn!(%error, "the recording cannot be written");
            self.failed = true;
            self.darken(GapReason::Disk);
        }
    }

    async fn write(&mut self, frame: Frame) -> io::Result<()> {
        match frame {
            Frame::Data(bytes) => {
                let Some(segment) = &mut self.segment else { return Ok(()) };
                segment.write_all(&bytes).await
            }
            Frame::Note(note) => {
                match &note {
                    Note::Begin { .. } => {
                        room(&self.folder).await?;
                        self.lighten().await?;
                        self.segment =
                            Some(File::create(self.folder.join(segment_name(self.segments))).await?);
                        self.segments += 1;
                    }
                    Note::End { .. } => self.end().await?,
                    Note::Action(_) | Note::Gap(_) => {}
                }
                self.note(note).await
            }
        }
    }

    async fn end(&mut self) -> io::Result<()> {
        match self.segment.take() {
            // What was written is told only when it is flushed.
            Some(mut segment) => segment.flush().await,
            None => Ok(()),
        }
    }

    /// There is no picture from now on.
    pub fn darken(&mut self, why: GapReason) {
        self.segment = None;
        self.dark.get_or_insert((Timestamp::now(), why));
    }

    async fn lighten(&mut self) -> io::Result<()> {
        match self.dark.take() {
            Some((from, why)) => {
                let (from, to) = (from.to_string(), Timestamp::now().to_string());
                self.note(Note::Gap(Gap { from, to, why })).await
            }
            None => Ok(()),
        }
    }

    async fn note(&mut self, mut note: Note) -> io::Result<()> {
        if let Note::Action(action) = &mut note {
            action.what = self.redactor.text(&action.what);
        }
        self.line(&note).await
    }

    async fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.journal.write_all(&text).await?;
        self.journal.flush().await
    }

    /// The recording is over.
    pub async fn close(mut self) {
        let closed = async {
            self.end().await?;
            // What is missing at the end because nothing was there to take it from is nothing that anybody misses.
            if self.failed { self.lighten().await } else { Ok(()) }
        };
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the end of a recording cannot be written");
        }
    }
}

/// Recordings that an earlier process left behind, oldest first.
pub async fn left_behind(parent: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Ok(mut entries) = fs::read_dir(parent).await {
        while let Ok(Some(entry)) = entries.next_entry().await {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

async fn room(folder: &Path) -> io::Result<()> {
    let folder = folder.to_owned();
    let stat = tokio::task::spawn_blocking(move || nix::sys::statvfs::statvfs(&folder)).await??;
    if stat.blocks_available().saturating_mul(stat.fragment_size()) < ROOM {
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            "the volume has too little room for recordings",
        ));
    }
    Ok(())
}
