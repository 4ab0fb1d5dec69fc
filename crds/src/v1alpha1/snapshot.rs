//! Snapshot: one point in time of a Workspace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, ObjectRef};

/// One point in time of a Workspace: a CSI VolumeSnapshot and the place in the conversation.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "a8s.dev",
    version = "v1alpha1",
    kind = "Snapshot",
    namespaced,
    shortname = "snap",
    category = "a8s",
    status = "SnapshotStatus",
    derive = "PartialEq",
    doc = "One point in time of a Workspace: a CSI VolumeSnapshot and the place in the conversation.",
    printcolumn(name = "Workspace", type_ = "string", json_path = ".spec.workspace"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Verified",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Verified\")].status"
    ),
    printcolumn(name = "Trigger", type_ = "string", json_path = ".spec.trigger"),
    printcolumn(name = "Consistency", type_ = "string", json_path = ".status.consistency"),
    printcolumn(name = "Turn", type_ = "integer", json_path = ".status.checkpoint.turn"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.restoreSize"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("has(self.snapshotClassName) == has(oldSelf.snapshotClassName)").message("snapshotClassName is immutable"))]
#[x_kube(validation = Rule::new("has(self.import) == has(oldSelf.import)").message("import is immutable"))]
pub struct SnapshotSpec {
    /// Name of the Workspace in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub workspace: String,
    /// What becomes of the data when the Snapshot is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// VolumeSnapshotClass; default: chosen for the claim's driver in the way Velero does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub snapshot_class_name: Option<String>,
    /// While true nothing but a person's `kubectl delete` removes it: neither `ttl` nor what a Workspace keeps.
    #[serde(default)]
    pub hold: bool,
    /// It is deleted so long after it was taken, unless `hold` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// Why it is taken. Those of people are `Manual` and never removed by what a Workspace keeps.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub trigger: Trigger,
    /// Take over a snapshot that the backend has already instead of taking one. Needs the right to `import` on `snapshots`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub import: Option<Import>,
}

/// Why a Snapshot is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Trigger {
    /// A person asked for it.
    #[default]
    Manual,
    /// A turn ended.
    Turn,
    /// It was time.
    Schedule,
    /// The pod is about to go.
    Suspend,
    /// It takes the volume's place.
    Archive,
    /// The volume is about to be replaced by another Snapshot.
    Safety,
    /// The agent asked for something risky.
    Request,
    /// What new desktops of a pool start from.
    Golden,
}

/// A snapshot that the backend has already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Import {
    /// CSI driver.
    #[schemars(length(min = 1, max = 253))]
    pub driver: String,
    /// The backend's name of the snapshot.
    #[schemars(length(min = 1, max = 1024))]
    pub handle: String,
    /// Environment that a restore uses.
    #[schemars(length(min = 1, max = 253))]
    pub environment: String,
}

/// What becomes of the data when the Snapshot is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// The backend's snapshot goes too.
    #[default]
    Delete,
    /// The backend's snapshot stays; its handle is in the last Event.
    Retain,
}

/// How calm the volume was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Consistency {
    /// Between two turns, flushed.
    Turn,
    /// Flushed, but the agent was at work.
    Quiesced,
    /// As after a power cut, or nothing was running.
    Crash,
}

/// What is known of a Snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready; Verified once a desktop was restored from it; Stalled while a person's help is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The VolumeSnapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_snapshot: Option<String>,
    /// The backend's name of the snapshot. Written once: a Snapshot that has one is never taken again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub handle: Option<String>,
    /// CSI driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// VolumeSnapshotClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_class_name: Option<String>,
    /// Smallest volume that can take it, for example `5Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_size: Option<String>,
    /// How calm the volume was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,
    /// The claim that it was taken of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ObjectRef>,
    /// When `ttl` deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// Since when the backend knows what becomes of its snapshot, after this object was deleted; from then on only the end of that is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Time>,
    /// UID of this object when the status was written. Another one says that the object was restored from a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// When the data was frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Time>,
    /// UID of the Workspace at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_uid: Option<String>,
    /// Environment of the Workspace at that time; what a restore uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The place in the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
}

/// A place in a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The Session, if one owned the Workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The last turn.
    pub turn: i64,
    /// Conversation epoch.
    pub epoch: i64,
    /// Sequence number of the last event.
    pub seq: i64,
    /// Artifacts published until then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub artifacts: Vec<String>,
}
