//! The record of a volume or snapshot: one small JSON file beside the subvolumes.
//!
//! A record is the commit point. It is written after its subvolume is complete and removed before its subvolume is
//! deleted; a subvolume without a record is therefore always rubbish, whenever the process was killed.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::naming::{Id, Kind};

/// Where a volume's first content came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// Id of the snapshot it was restored from.
    Snapshot(String),
    /// Id of the volume it was cloned from.
    Volume(String),
}

/// What is known about a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeRecord {
    /// The orchestrator's name for it.
    pub name: String,
    /// Enforced limit in bytes.
    pub capacity_bytes: i64,
    /// Where it came from, if it did not start empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// When it was made.
    pub created: Timestamp,
}

/// What is known about a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotRecord {
    /// The orchestrator's name for it.
    pub name: String,
    /// Id of the volume it was taken from.
    pub volume: String,
    /// Capacity of that volume in bytes: the least a restored volume must have.
    pub size_bytes: i64,
    /// The moment the snapshot shows.
    pub created: Timestamp,
}

/// A folder of records of one kind, named `<id>.json`.
#[derive(Debug)]
pub struct Records {
    kind: Kind,
    folder: PathBuf,
}

impl Records {
    /// Opens (and creates) the folder for `kind` below `root`.
    pub fn open(root: &Path, kind: Kind) -> io::Result<Self> {
        let folder = root.join("records").join(kind.folder());
        fs::create_dir_all(&folder)?;
        Ok(Self { kind, folder })
    }

    /// Reads one record; `None` if there is none.
    pub fn get<T: DeserializeOwned>(&self, id: &Id) -> io::Result<Option<T>> {
        match fs::read(self.path(id)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes one record so that a reader sees the old one or the new one, never a part.
    pub fn put<T: Serialize>(&self, id: &Id, record: &T) -> io::Result<()> {
        let unfinished = self.folder.join(format!("{id}.tmp"));
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        file.sync_all()?;
        fs::rename(unfinished, self.path(id))
    }

    /// Removes one record; false if there was none.
    pub fn remove(&self, id: &Id) -> io::Result<bool> {
        match fs::remove_file(self.path(id)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All ids that have a record, in order.
    pub fn ids(&self) -> io::Result<Vec<Id>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            ids.extend(id.and_then(|id| Id::parse(self.kind, id)));
        }
        ids.sort();
        Ok(ids)
    }

    /// Removes what an interrupted write left.
    pub fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn path(&self, id: &Id) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str) -> SnapshotRecord {
        SnapshotRecord {
            name: name.to_owned(),
            volume: "vol".to_owned(),
            size_bytes: 5,
            created: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_written_and_is_gone_once_removed() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path(), Kind::Snapshot).unwrap();
        let id = Id::of_name(Kind::Snapshot, "a");
        assert_eq!(records.get::<SnapshotRecord>(&id).unwrap(), None);
        records.put(&id, &snapshot("a")).unwrap();
        assert_eq!(records.get(&id).unwrap(), Some(snapshot("a")));
        assert_eq!(records.ids().unwrap(), std::slice::from_ref(&id));
        assert!(records.remove(&id).unwrap());
        assert!(!records.remove(&id).unwrap());
        assert_eq!(records.ids().unwrap(), []);
    }

    #[test]
    fn an_interrupted_write_is_not_a_record_and_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path(), Kind::Volume).unwrap();
        let id = Id::of_name(Kind::Volume, "a");
        let half = records.folder.join(format!("{id}.tmp"));
        fs::write(&half, "{\"na").unwrap();
        assert_eq!(records.ids().unwrap(), []);
        records.sweep().unwrap();
        assert!(!half.exists());
    }
}
