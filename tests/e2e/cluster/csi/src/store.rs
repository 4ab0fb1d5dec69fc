//! Volumes and snapshots with their whole life: made, found, listed, deleted.
//!
//! Every call may be repeated, and may be the last before the process is killed: a repeated call finds what the first
//! one finished and redoes what it did not.

use std::{io, path::PathBuf};

use jiff::Timestamp;

use crate::{
    btrfs::CommandError,
    locks::Locks,
    naming::{Id, Kind},
    pool::Pool,
    record::{Records, SnapshotRecord, Source, VolumeRecord},
};

/// Least capacity: below it an empty btrfs subvolume has no room for its own root.
const LEAST: i64 = 1 << 20;
/// Capacity of a volume whose claim does not say.
const DEFAULT: i64 = 1 << 30;

/// Why a volume or snapshot cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such volume.
    #[error("no volume {0}")]
    NoVolume(String),
    /// There is no such snapshot.
    #[error("no snapshot {0}")]
    NoSnapshot(String),
    /// The name is taken by something that differs from what is asked for.
    #[error("{name} exists already with {differs}")]
    Conflict {
        /// The name in the request.
        name: String,
        /// What differs.
        differs: String,
    },
    /// The size cannot be had.
    #[error("{0}")]
    Size(String),
    /// The pool is full.
    #[error("the pool is full: {0}")]
    Full(CommandError),
    /// btrfs refused.
    #[error(transparent)]
    Command(CommandError),
    /// A record or the pool could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl From<CommandError> for StoreError {
    fn from(error: CommandError) -> Self {
        if error.is_no_space() { Self::Full(error) } else { Self::Command(error) }
    }
}

/// The capacity a request accepts. Zero means "no matter".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// At least so many bytes.
    pub required: i64,
    /// At most so many bytes.
    pub limit: i64,
}

impl Wanted {
    /// The capacity to give, at least `floor` (the size of what is restored).
    pub fn choose(self, floor: i64) -> Result<i64, StoreError> {
        if self.required < 0 || self.limit < 0 || (self.limit > 0 && self.limit < self.required) {
            return Err(StoreError::Size(format!(
                "no size is at least {} and at most {} bytes",
                self.required, self.limit
            )));
        }
        if self.required > 0 && self.required < floor {
            return Err(StoreError::Size(format!(
                "{} bytes are less than the {floor} bytes of the source",
                self.required
            )));
        }
        let wish = if self.required > 0 { self.required } else { DEFAULT };
        let chosen = if self.required == 0 && self.limit > 0 { wish.min(self.limit) } else { wish };
        let chosen = chosen.max(floor).max(LEAST);
        if self.limit > 0 && chosen > self.limit {
            return Err(StoreError::Size(format!(
                "a limit of {} bytes is less than {chosen} bytes",
                self.limit
            )));
        }
        Ok(chosen)
    }

    fn accepts(self, capacity: i64) -> bool {
        capacity >= self.required && (self.limit == 0 || capacity <= self.limit)
    }
}

/// All volumes and snapshots of a pool.
#[derive(Debug)]
pub struct Store {
    pool: Pool,
    volumes: Records,
    snapshots: Records,
    locks: Locks,
}

impl Store {
    /// Opens the store and removes what a killed predecessor left half done.
    pub fn open(pool: Pool) -> Result<Self, StoreError> {
        let open = |kind| Records::open(pool.root(), kind).map_err(|source| file(pool.root(), source));
        let (volumes, snapshots) = (open(Kind::Volume)?, open(Kind::Snapshot)?);
        let store = Self { pool, volumes, snapshots, locks: Locks::default() };
        store.sweep(Kind::Volume)?;
        store.sweep(Kind::Snapshot)?;
        Ok(store)
    }

    /// The pool below.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Where the subvolume of `id` is.
    pub fn path(&self, kind: Kind, id: &Id) -> PathBuf {
        self.pool.root().join(kind.folder()).join(id.as_str())
    }

    /// Makes a volume, or finds the one of the same name that satisfies the request.
    pub fn create_volume(
        &self,
        name: &str,
        wanted: Wanted,
        source: Option<Source>,
    ) -> Result<(Id, VolumeRecord), StoreError> {
        let id = Id::of_name(Kind::Volume, name);
        let _guard = self.locks.lock(&id);
        if let Some(found) = self.read::<VolumeRecord>(Kind::Volume, &id)? {
            let conflict = |differs: String| Err(StoreError::Conflict { name: name.to_owned(), differs });
            if found.source != source {
                return conflict("another source".to_owned());
            }
            if !wanted.accepts(found.capacity_bytes) {
                return conflict(format!("a capacity of {} bytes", found.capacity_bytes));
            }
            return Ok((id, found));
        }
        let origin = source.as_ref().map(|source| self.origin(source)).transpose()?;
        let capacity_bytes = wanted.choose(origin.as_ref().map_or(0, |(_, size)| *size))?;
        let total = self.pool.space().map_err(|source| file(self.pool.root(), source))?.total;
        if capacity_bytes > total {
            return Err(StoreError::Size(format!(
                "{capacity_bytes} bytes are more than the whole pool of {total} bytes"
            )));
        }
        let path = self.path(Kind::Volume, &id);
        self.discard(Kind::Volume, &id)?;
        match origin {
            None => self.pool.btrfs().create(&path)?,
            Some((from, _)) => self.pool.btrfs().copy(&from, &path)?,
        }
        self.pool.btrfs().limit(&path, capacity_bytes)?;
        let record =
            VolumeRecord { name: name.to_owned(), capacity_bytes, source, created: Timestamp::now() };
        self.volumes.put(&id, &record).map_err(|source| file(&path, source))?;
        Ok((id, record))
    }

    /// Takes a snapshot of a volume, or finds the one of the same name.
    pub fn create_snapshot(&self, name: &str, volume: &str) -> Result<(Id, SnapshotRecord), StoreError> {
        let id = Id::of_name(Kind::Snapshot, name);
        let _guard = self.locks.lock(&id);
        if let Some(found) = self.read::<SnapshotRecord>(Kind::Snapshot, &id)? {
            if found.volume != volume {
                let differs = format!("another source, {}", found.volume);
                return Err(StoreError::Conflict { name: name.to_owned(), differs });
            }
            return Ok((id, found));
        }
        let (source, of) = self.volume(volume)?;
        let path = self.path(Kind::Snapshot, &id);
        self.discard(Kind::Snapshot, &id)?;
        let created = Timestamp::now();
        self.pool.btrfs().freeze(&self.path(Kind::Volume, &source), &path)?;
        self.pool.btrfs().unlimit(&path)?;
        let record = SnapshotRecord {
            name: name.to_owned(),
            volume: volume.to_owned(),
            size_bytes: of.capacity_bytes,
            created,
        };
        self.snapshots.put(&id, &record).map_err(|source| file(&path, source))?;
        Ok((id, record))
    }

    /// Deletes a volume or snapshot. What does not exist is deleted already.
    pub fn delete(&self, kind: Kind, id: &str) -> Result<(), StoreError> {
        let Some(id) = Id::parse(kind, id) else { return Ok(()) };
        let _guard = self.locks.lock(&id);
        self.records(kind).remove(&id).map_err(|source| file(&self.path(kind, &id), source))?;
        self.discard(kind, &id)
    }

    /// Finds a volume.
    pub fn volume(&self, id: &str) -> Result<(Id, VolumeRecord), StoreError> {
        self.find(Kind::Volume, id)?.ok_or_else(|| StoreError::NoVolume(id.to_owned()))
    }

    /// Finds a snapshot.
    pub fn snapshot(&self, id: &str) -> Result<(Id, SnapshotRecord), StoreError> {
        self.find(Kind::Snapshot, id)?.ok_or_else(|| StoreError::NoSnapshot(id.to_owned()))
    }

    /// All snapshots in the order of their ids.
    pub fn snapshots(&self) -> Result<Vec<(Id, SnapshotRecord)>, StoreError> {
        let ids = self.snapshots.ids().map_err(|source| file(self.pool.root(), source))?;
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            // One that was deleted since the listing is simply not there.
            all.extend(self.read(Kind::Snapshot, &id)?.map(|record| (id, record)));
        }
        Ok(all)
    }

    /// Bytes in use by a volume.
    pub fn used(&self, id: &Id) -> Result<i64, StoreError> {
        Ok(self.pool.btrfs().used(&self.path(Kind::Volume, id))?)
    }

    fn origin(&self, source: &Source) -> Result<(PathBuf, i64), StoreError> {
        match source {
            Source::Snapshot(id) => {
                let (id, record) = self.snapshot(id)?;
                Ok((self.path(Kind::Snapshot, &id), record.size_bytes))
            }
            Source::Volume(id) => {
                let (id, record) = self.volume(id)?;
                Ok((self.path(Kind::Volume, &id), record.capacity_bytes))
            }
        }
    }

    fn find<T: serde::de::DeserializeOwned>(
        &self,
        kind: Kind,
        id: &str,
    ) -> Result<Option<(Id, T)>, StoreError> {
        let Some(id) = Id::parse(kind, id) else { return Ok(None) };
        Ok(self.read(kind, &id)?.map(|record| (id, record)))
    }

    fn read<T: serde::de::DeserializeOwned>(&self, kind: Kind, id: &Id) -> Result<Option<T>, StoreError> {
        self.records(kind).get(id).map_err(|source| file(&self.path(kind, id), source))
    }

    fn records(&self, kind: Kind) -> &Records {
        match kind {
            Kind::Volume => &self.volumes,
            Kind::Snapshot => &self.snapshots,
        }
    }

    /// Deletes the subvolume of an id that has no record.
    fn discard(&self, kind: Kind, id: &Id) -> Result<(), StoreError> {
        let path = self.path(kind, id);
        if path.symlink_metadata().is_ok() { Ok(self.pool.btrfs().delete(&path)?) } else { Ok(()) }
    }

    fn sweep(&self, kind: Kind) -> Result<(), StoreError> {
        let folder = self.pool.root().join(kind.folder());
        let swept = || -> io::Result<Vec<Id>> {
            self.records(kind).sweep()?;
            let recorded = self.records(kind).ids()?;
            let mut orphans = Vec::new();
            for entry in folder.read_dir()? {
                let name = entry?.file_name();
                let id = name.to_str().and_then(|name| Id::parse(kind, name));
                orphans.extend(id.filter(|id| recorded.binary_search(id).is_err()));
            }
            for id in recorded {
                if !self.path(kind, &id).exists() {
                    tracing::warn!(%id, "its data is gone from the pool, forgetting its record");
                    self.records(kind).remove(&id)?;
                }
            }
            Ok(orphans)
        };
        for id in swept().map_err(|source| file(&folder, source))? {
            tracing::info!(%id, "removing what an interrupted call left");
            self.discard(kind, &id)?;
        }
        Ok(())
    }
}

fn file(path: &std::path::Path, source: io::Error) -> StoreError {
    StoreError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(required: i64, limit: i64) -> Wanted {
        Wanted { required, limit }
    }

    #[test]
    fn a_claim_gets_what_it_asks_for_and_a_default_if_it_does_not_ask() {
        assert_eq!(wanted(5 << 20, 0).choose(0).unwrap(), 5 << 20);
        assert_eq!(wanted(0, 0).choose(0).unwrap(), DEFAULT);
        assert_eq!(wanted(0, 3 << 20).choose(0).unwrap(), 3 << 20);
        assert_eq!(wanted(1, 0).choose(0).unwrap(), LEAST);
    }

    #[test]
    fn a_restored_volume_is_never_smaller_than_its_source() {
        assert_eq!(wanted(0, 0).choose(2 << 30).unwrap(), 2 << 30);
        assert_eq!(wanted(3 << 30, 0).choose(2 << 30).unwrap(), 3 << 30);
        assert!(wanted(1 << 30, 0).choose(2 << 30).is_err());
        assert!(wanted(0, 1 << 30).choose(2 << 30).is_err());
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for (required, limit) in [(-1, 0), (0, -1), (10 << 20, 5 << 20), (0, 10)] {
            assert!(wanted(required, limit).choose(0).is_err(), "{required} {limit}");
        }
    }

    #[test]
    fn an_existing_volume_satisfies_only_a_range_it_lies_in() {
        assert!(wanted(10, 0).accepts(10) && wanted(5, 10).accepts(10) && wanted(0, 0).accepts(10));
        assert!(!wanted(11, 0).accepts(10) && !wanted(1, 9).accepts(10));
    }
}
