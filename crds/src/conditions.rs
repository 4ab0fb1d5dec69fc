//! The closed vocabulary of conditions and reasons, and how a condition changes.
//!
//! kstatus reads `Ready`, `Stalled` and `Reconciling`; everything that says `True` names evidence that was observed.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// Condition types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The object does what its spec asks.
    Ready,
    /// It cannot get there without a person's help. Present only while it applies.
    Stalled,
    /// Workspace: the claim is bound.
    StorageReady,
    /// Workspace: the pod's containers run.
    PodReady,
    /// Workspace: deskd reports display, window manager and panel.
    DesktopReady,
    /// Workspace: the runner reports a connected harness.
    AgentReady,
    /// Session: everything that the spec refers to exists.
    ReferencesResolved,
    /// Session: the Workspace is ready.
    WorkspaceReady,
    /// Session: the agent declared the goal reached and nothing is queued.
    Finished,
    /// Message: handed to the agent.
    Delivered,
    /// Session: a limit is reached, and the agent stands still until it is raised. Present only while it applies.
    Limited,
    /// Session: its Environment does not let it have something that the spec asks for; the rest goes on. Present only while it applies.
    Overruled,
    /// Snapshot: a desktop restored from it held what was taken and showed its first frame.
    Verified,
}

impl ConditionType {
    /// All types.
    pub const ALL: [Self; 13] = [
        Self::Ready,
        Self::Stalled,
        Self::StorageReady,
        Self::PodReady,
        Self::DesktopReady,
        Self::AgentReady,
        Self::ReferencesResolved,
        Self::WorkspaceReady,
        Self::Finished,
        Self::Delivered,
        Self::Limited,
        Self::Overruled,
        Self::Verified,
    ];

    /// As written in `conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Stalled => "Stalled",
            Self::StorageReady => "StorageReady",
            Self::PodReady => "PodReady",
            Self::DesktopReady => "DesktopReady",
            Self::AgentReady => "AgentReady",
            Self::ReferencesResolved => "ReferencesResolved",
            Self::WorkspaceReady => "WorkspaceReady",
            Self::Finished => "Finished",
            Self::Delivered => "Delivered",
            Self::Limited => "Limited",
            Self::Overruled => "Overruled",
            Self::Verified => "Verified",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident),* $(,)?) => {
        /// Reasons of conditions and Events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[doc = $doc])+ $name),* }
        impl Reason {
            /// All reasons with what they mean.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, concat!($($doc),+))),*];
            /// As written in `conditions[].reason` and Events.
            pub fn as_str(self) -> &'static str { match self { $(Self::$name => stringify!($name)),* } }
        }
    };
}

reasons! {
    /// Everything asked for is observed.
    Ready,
    /// Work is under way.
    Progressing,
    /// The object is being deleted.
    Deleting,
    /// Suspended as asked.
    Suspended,
    /// Terminated as asked.
    Terminated,
    /// The named Environment does not exist.
    EnvironmentNotFound,
    /// No Environment exists that could be chosen.
    NoEnvironment,
    /// The named Snapshot does not exist.
    SnapshotNotFound,
    /// The named Snapshot is not ready yet.
    SnapshotNotReady,
    /// The named ConfigMap or its key does not exist.
    ConfigMapNotFound,
    /// The named Artifact does not exist or holds no content yet.
    ArtifactNotFound,
    /// The named Session does not exist.
    SessionNotFound,
    /// The named Workspace does not exist.
    WorkspaceNotFound,
    /// The Session's desktop was deleted; the next Message starts a new one.
    WorkspaceDeleted,
    /// An object of that name belongs to somebody else.
    NameTaken,
    /// The claim is not bound yet.
    ClaimPending,
    /// The claim lost its volume.
    ClaimLost,
    /// The volume is full.
    VolumeFull,
    /// No node can take the pod.
    Unschedulable,
    /// A quota leaves no room for the object.
    QuotaExceeded,
    /// A policy refused the object.
    Forbidden,
    /// The image cannot be pulled.
    ImagePullFailed,
    /// A container ends again and again.
    CrashLoop,
    /// A container ran out of memory.
    OutOfMemory,
    /// The pod is starting.
    PodStarting,
    /// The pod failed or was evicted.
    PodFailed,
    /// The desktop is starting.
    DesktopStarting,
    /// The agent is starting.
    AgentStarting,
    /// The agent's program cannot be started.
    AgentFailed,
    /// Published files are being stored before the desktop goes.
    SavingArtifacts,
    /// No VolumeSnapshotClass fits the claim's driver, or the cluster has no snapshot API.
    SnapshotClassMissing,
    /// The driver is taking the snapshot.
    SnapshotInProgress,
    /// The driver reports an error.
    SnapshotFailed,
    /// The backend no longer has the snapshot.
    SnapshotLost,
    /// The content is being stored.
    Storing,
    /// The content does not have the announced SHA-256.
    ChecksumMismatch,
    /// The content was gone before it could be stored.
    ContentLost,
    /// The artifact store refused the content.
    StoreFailed,
    /// The agent works on a turn.
    Working,
    /// The agent waits for the next message.
    WaitingForMessage,
    /// The goal is reached.
    GoalReached,
    /// The chat agent and the person have not agreed yet on what is to be done.
    Chatting,
    /// The chat agent asks whether the work may begin.
    HandoffProposed,
    /// The requirement was handed over.
    HandoffGranted,
    /// A person said that the work is not to begin so.
    HandoffRefused,
    /// The model cannot be asked; the message says why and what to do.
    ModelFailed,
    /// A limit of the Session is reached; raise it in spec.limits, and the agent goes on.
    LimitReached,
    /// The Session asks to be recorded, and its Environment forbids it.
    RecordingRefused,
    /// The Session asks not to be recorded, and its Environment records always.
    RecordingEnforced,
    /// A Request waits for a person's decision.
    WaitingForDecision,
    /// The agent asks a person for something.
    RequestOpened,
    /// What was asked for was granted, or answered.
    RequestGranted,
    /// What was asked for was refused.
    RequestRefused,
    /// Nobody decided in time, which counts as refused.
    RequestExpired,
    /// The agent does not need an answer any more.
    RequestCancelled,
    /// The named Connection does not exist.
    ConnectionNotFound,
    /// The named Connection is not ready yet.
    ConnectionNotReady,
    /// The named Secret or its key does not exist.
    SecretNotFound,
    /// A Connection was granted to the desktop, or taken from it.
    GrantsChanged,
    /// Waiting for its turn.
    Queued,
    /// Handed to the agent.
    HandedToAgent,
    /// It was dropped; the message says why.
    Dropped,
    /// The user took or returned control.
    ControlChanged,
    /// A file was published.
    ArtifactPublished,
    /// A turn began.
    TurnStarted,
    /// A turn ended.
    TurnEnded,
    /// Suspended because nobody used it.
    Idle,
    /// The volume gave way to a Snapshot.
    Archived,
    /// A Snapshot takes the place of the volume.
    Archiving,
    /// The volume is being put back to a Snapshot.
    Restoring,
    /// The volume was put back to a Snapshot.
    Restored,
    /// It is later than the Snapshot that the volume was put back to; the agent does not know it.
    Abandoned,
    /// What was restored is what was taken.
    Verified,
    /// What was restored differs from what was taken.
    ManifestDiffers,
    /// It was woken.
    Woken,
    /// Its time is over.
    Expired,
    /// Those who are invited have their rights.
    Shared,
    /// The snapshot was made ready again from its recorded handle.
    Rebuilt,
    /// The object came from a backup without its status; nothing is done for it.
    RestoredWithoutState,
    /// The node went away or is about to.
    NodeLost,
    /// The volume is in use on another node.
    MultiAttach,
    /// The RuntimeClass does not exist.
    RuntimeClassNotFound,
    /// The pool has as many ready desktops as it shall have.
    Filled,
    /// Desktops are being made or removed.
    Scaling,
    /// Desktops of an older Environment give way to new ones.
    Rolling,
    /// A Session took the desktop over.
    Adopted,
    /// The spec cannot work; the message says which field.
    InvalidSpec,
    /// The API server or driver reported an error; it is tried again.
    RetryableError,
}

/// Value of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Observed to hold.
    True,
    /// Observed not to hold.
    False,
    /// Could not be observed.
    Unknown,
}

impl Status {
    /// As written in `conditions[].status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Status {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// Sets one condition. The transition time changes only when the status does; nothing changes when nothing differs.
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: ConditionType,
    status: Status,
    reason: Reason,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let mut message: String = message.into();
    // The API allows 32768 bytes; a condition is read in a terminal.
    if message.len() > 1024 {
        message = message.chars().take(1000).collect::<String>() + " …";
    }
    let old = conditions.iter().find(|c| c.type_ == kind.as_str());
    let since =
        old.filter(|c| c.status == status.as_str()).map_or(Time(now), |c| c.last_transition_time.clone());
    let new = Condition {
        type_: kind.as_str().into(),
        status: status.as_str().into(),
        reason: reason.as_str().into(),
        message,
        observed_generation: generation,
        last_transition_time: since,
    };
    match conditions.iter_mut().find(|c| c.type_ == kind.as_str()) {
        Some(slot) => *slot = new,
        None => conditions.push(new),
    }
}

/// Removes a condition that is present only while it applies.
pub fn clear(conditions: &mut Vec<Condition>, kind: ConditionType) {
    conditions.retain(|c| c.type_ != kind.as_str());
}

/// The condition of this type.
pub fn get(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == kind.as_str())
}

/// Whether the condition is there and `True`.
pub fn is_true(conditions: &[Condition], kind: ConditionType) -> bool {
    get(conditions, kind).is_some_and(|c| c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_changes_only_with_the_status() {
        let (t1, t2) = (Timestamp::from_second(1).unwrap(), Timestamp::from_second(2).unwrap());
        let mut all = Vec::new();
        set(&mut all, ConditionType::Ready, Status::False, Reason::Progressing, "a", Some(1), t1);
        set(&mut all, ConditionType::Ready, Status::False, Reason::Progressing, "b", Some(2), t2);
        assert_eq!((all[0].last_transition_time.0, all[0].message.as_str()), (t1, "b"));
        set(&mut all, ConditionType::Ready, Status::True, Reason::Ready, "", Some(2), t2);
        assert_eq!(all[0].last_transition_time.0, t2);
        assert_eq!(all.len(), 1);
    }
}
