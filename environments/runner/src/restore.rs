//! Whether a volume that was made from a Snapshot holds what was there: its files are compared with the last list that was written before
//! the Snapshot, its transcript with the place that the list names. The result is for people and for the control plane; it is written down,
//! since the comparison is possible only once, before anything changes the home.
//!
//! A Snapshot can be newer than the list, because the desktop goes on. So a file that was written after the list differs rightly and is
//! counted as later; what is older than the list and still not as the list says is a difference.

use std::{collections::HashSet, fs, io, os::unix::fs::MetadataExt, path::Path};

use a8s_wire::{EventId, Restored};
use serde::{Deserialize, Serialize};

use crate::{
    config::Config,
    manifest::{self, Entry, Files, Manifest},
    record::Record,
};

/// File times lag behind the clock by up to a tick.
const TICK: i64 = 20_000_000;

/// Which restore a result belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Occasion {
    workspace: String,
    from: String,
    epoch: i64,
}

#[derive(Serialize, Deserialize)]
struct Result {
    occasion: Occasion,
    restored: Restored,
}

/// A comparison that is under way.
pub struct Comparison {
    occasion: Occasion,
    manifest: Option<Manifest>,
    found: Files,
    repaired: HashSet<Vec<u8>>,
    last: EventId,
    whole: bool,
}

/// What is to be told of this volume.
pub enum Due {
    /// It was not made from a Snapshot.
    Nothing,
    /// It was compared at an earlier start.
    Known(Box<Restored>),
    /// It must be compared: looked at already, but not read.
    Compare(Box<Comparison>),
}

/// Looks at the volume. Blocking; nothing may have changed the home since the pod began but deskd's repairs.
pub fn look(config: &Config, records: &[Record]) -> Due {
    let (last, whole) = conversation(records);
    // Without a name the epoch alone tells it: it grows with every restore.
    let restored = !config.restored_from.is_empty() || (!records.is_empty() && config.epoch > last.epoch);
    if !restored {
        return Due::Nothing;
    }
    let occasion = Occasion {
        workspace: config.workspace_uid.clone(),
        from: config.restored_from.clone(),
        epoch: config.epoch,
    };
    let known = fs::read(config.state.join(RESULT))
        .ok()
        .and_then(|text| serde_json::from_slice::<Result>(&text).ok());
    if let Some(known) = known.filter(|known| known.occasion == occasion) {
        return Due::Known(Box::new(known.restored));
    }
    let manifest = Manifest::read(&config.state.join(crate::flush::MANIFEST));
    let found = if manifest.is_some() { manifest::look(&config.home) } else { Files::new() };
    // Read after the files were looked at: deskd notes a repair before it makes it.
    let note = fs::read(config.deskd_socket.with_file_name("repaired")).unwrap_or_default();
    let repaired = note.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    Due::Compare(Box::new(Comparison { occasion, manifest, found, repaired, last, whole }))
}

const RESULT: &str = "restored.json";

/// Where the transcript ends, and whether no event is missing before.
fn conversation(records: &[Record]) -> (EventId, bool) {
    let mut last = EventId::default();
    let mut whole = true;
    for record in records {
        if let Record::Event(event) = record {
            whole &= event.id.seq == last.seq + 1;
            last = event.id;
        }
    }
    (last, whole)
}

impl Comparison {
    /// Reads what is left to read, and keeps the result for later starts. Blocking.
    pub fn finish(self, config: &Config) -> Restored {
        let restored = self.compare(&config.home);
        let result = Result { occasion: self.occasion, restored: restored.clone() };
        if let Err(error) = keep(&config.state.join(RESULT), &result) {
            tracing::warn!(%error, "what was found on the restored volume cannot be kept; a restart will forget it");
        }
        tracing::info!(intact = restored.intact(), "{}", restored.summary());
        restored
    }

    fn compare(&self, home: &Path) -> Restored {
        let from = Some(self.occasion.from.clone()).filter(|from| !from.is_empty());
        let mut restored = Restored { from, conversation_ok: self.whole, ..Restored::default() };
        let Some(manifest) = &self.manifest else { return restored };
        let place = EventId { epoch: manifest.flushed.epoch, seq: manifest.flushed.seq };
        restored.conversation_ok &= self.last >= place;
        restored.exact = self.last == place;
        restored.flushed = Some(manifest.flushed.clone());
        let listed = manifest.flushed.at.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_nanosecond);
        let listed = i64::try_from(listed).unwrap_or_default() - TICK;

        let mut differences = Vec::new();
        for (path, then) in manifest.files.iter().filter(|(path, _)| !self.repaired.contains(*path)) {
            match judge(home, path, then, self.found.get(path), listed) {
                Verdict::Same => restored.files += 1,
                Verdict::Later => restored.later += 1,
                Verdict::Different(how) => differences.push((path, how)),
            }
        }
        restored.different = i64::try_from(differences.len()).unwrap_or(i64::MAX);
        differences.sort_unstable();
        let named = differences.iter().take(Restored::NAMED);
        restored.differs = named.map(|(path, how)| format!("{how} {}", shown(path))).collect();
        restored
    }
}

enum Verdict {
    Same,
    Later,
    Different(&'static str),
}

fn judge(home: &Path, path: &[u8], then: &Entry, now: Option<&Entry>, listed: i64) -> Verdict {
    let Some(now) = now else {
        return if removed_after(home, path, listed) {
            Verdict::Later
        } else {
            Verdict::Different("missing")
        };
    };
    if now.modified > listed && now.modified != then.modified {
        return Verdict::Later;
    }
    if !now.looks_like(then) {
        let only_mode = (now.size, now.modified) == (then.size, then.modified);
        return if only_mode && now.changed > listed {
            Verdict::Later
        } else {
            Verdict::Different("changed")
        };
    }
    let (Some(before), Some(read)) = (then.content, manifest::read(home, path, now)) else {
        return Verdict::Same;
    };
    if before == read {
        return Verdict::Same;
    }
    // Somebody may have written to it while it was read.
    let again = manifest::below(home, path).symlink_metadata();
    if again.is_ok_and(|again| {
        again.mtime().saturating_mul(1_000_000_000).saturating_add(again.mtime_nsec()) == then.modified
    }) {
        Verdict::Different("damaged")
    } else {
        Verdict::Later
    }
}

/// Whether the folder that the file was in changed after the list was made.
fn removed_after(home: &Path, path: &[u8], listed: i64) -> bool {
    let path = manifest::below(home, path);
    let folder = path
        .ancestors()
        .skip(1)
        .take_while(|folder| folder.starts_with(home))
        .find_map(|folder| folder.metadata().ok());
    folder.is_some_and(|folder| {
        folder.mtime().saturating_mul(1_000_000_000).saturating_add(folder.mtime_nsec()) > listed
    })
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect()
}

fn keep(file: &Path, result: &Result) -> io::Result<()> {
    let part = file.with_extension("part");
    fs::write(&part, serde_json::to_vec(result)?)?;
    fs::rename(part, file)
}
