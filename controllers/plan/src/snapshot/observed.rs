//! What the manager saw of a Snapshot in one pass.

use a8s_crds::{ObjectRef, Snapshot};
use a8s_wire::RunnerState;
use jiff::Timestamp;

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The Snapshot, read from the API server and not from a cache.
    pub snapshot: Snapshot,
    /// Its Workspace.
    pub workspace: Option<WorkspaceFacts>,
    /// The Workspace's claim.
    pub claim: Claim,
    /// The class to use.
    pub class: Class,
    /// What the runner said in this pass.
    pub runner: Runner,
    /// The VolumeSnapshot.
    pub volume_snapshot: Option<VolumeSnapshotFacts>,
    /// Its content.
    pub content: Option<ContentFacts>,
    /// What desktops said that were restored from it.
    pub receipts: Vec<ReceiptFact>,
}

impl Observed {
    /// A Snapshot of which nothing else was seen.
    pub fn of(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            workspace: None,
            claim: Claim::Pending,
            class: Class::NoApi,
            runner: Runner::NotAsked,
            volume_snapshot: None,
            content: None,
            receipts: Vec::new(),
        }
    }
}

/// The Workspace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkspaceFacts {
    /// UID.
    pub uid: String,
    /// Environment.
    pub environment: String,
    /// The Session that owns it.
    pub session: Option<String>,
    /// The place that the Session recorded; used when no runner can be asked.
    pub recorded: Option<Place>,
    /// Whether its pod is ready and can be asked to flush.
    pub pod_ready: bool,
    /// Its Artifacts.
    pub artifacts: Vec<ArtifactFact>,
}

/// A place in the conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Turn.
    pub turn: i64,
    /// Epoch.
    pub epoch: i64,
    /// Sequence number.
    pub seq: i64,
}

/// An Artifact object and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactFact {
    /// Name that its versions share.
    pub name: String,
    /// Version.
    pub version: i64,
    /// Its content: a fork lists files that its origin published.
    pub sha256: String,
    /// Name of the object.
    pub object: String,
    /// Whether this Workspace made it.
    pub own: bool,
}

/// The claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Not there, or without a volume.
    Pending,
    /// Bound to a volume.
    Bound {
        /// The claim.
        claim: ObjectRef,
        /// The volume's driver.
        driver: String,
    },
}

/// The VolumeSnapshotClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// The cluster has no snapshot API.
    NoApi,
    /// None can be chosen; why, and what to do.
    Missing(String),
    /// This one.
    Chosen(String),
}

/// The runner.
#[derive(Clone, Debug, PartialEq)]
pub enum Runner {
    /// Not asked in this pass.
    NotAsked,
    /// It flushed everything to the volume and told its state.
    Quiesced(Box<RunnerState>),
    /// It did not answer.
    Silent(String),
}

/// The VolumeSnapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeSnapshotFacts {
    /// UID.
    pub uid: String,
    /// UID of its controlling owner.
    pub owner: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Whether it names a content instead of a claim: it was made around a handle.
    pub given: bool,
    /// `readyToUse`.
    pub ready: bool,
    /// The last error.
    pub error: Option<String>,
    /// Smallest volume that can take it.
    pub restore_size: Option<String>,
    /// When the data was frozen.
    pub taken_at: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// The content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentFacts {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The backend's name of the snapshot.
    pub handle: Option<String>,
    /// Driver.
    pub driver: String,
    /// Class.
    pub class: Option<String>,
    /// Whether the backend's snapshot goes with it.
    pub policy_delete: bool,
    /// The last error.
    pub error: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// What a desktop said that was restored from the Snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptFact {
    /// The Workspace.
    pub workspace: String,
    /// Whether all was as it was taken.
    pub verified: bool,
    /// What differs.
    pub detail: Option<String>,
}
