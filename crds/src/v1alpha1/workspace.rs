//! Workspace: one remote desktop.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClipboardRule, DesktopSize, Egress, Lifecycle, Resources, SnapshotPolicy, Source, Storage};

/// One remote desktop: a volume, a pod and a NetworkPolicy.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "a8s.dev", version = "v1alpha1", kind = "Workspace", namespaced, shortname = "ws", category = "a8s",
 status = "WorkspaceStatus", derive = "PartialEq",
    doc = "One remote desktop: a volume, a pod and a NetworkPolicy. It stands on its own or belongs to a Session.",
    validation = Rule::new("size(self.metadata.name) <= 48").message("the name may have at most 48 characters, because pods and claims are named after it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("the name may have lower-case letters, digits and dashes only and must begin with a letter, because a host name is made of it"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Control", type_ = "string", json_path = ".status.control.summary"),
    printcolumn(name = "Viewers", type_ = "integer", json_path = ".status.viewers"),
    printcolumn(name = "Environment", type_ = "string", json_path = ".spec.environment"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Start", type_ = "string", json_path = ".status.startup.total"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Awake", type_ = "string", json_path = ".status.awake", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("has(self.source) == has(oldSelf.source)").message("source is immutable"))]
#[x_kube(validation = Rule::new("has(self.storage) == has(oldSelf.storage)").message("storage is immutable"))]
pub struct WorkspaceSpec {
    /// Name of the Environment that the desktop is made from.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub environment: String,
    /// Start from a Snapshot instead of an empty home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub source: Option<Source>,
    /// CPU and memory; default: the Environment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Volume; default: the Environment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub storage: Option<Storage>,
    /// Size of the desktop; default: the Environment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desktop: Option<DesktopSize>,
    /// Put the volume back to a Snapshot, in place. A safety Snapshot of what is there is taken first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restore>,
    /// What it may reach, besides what the Environment allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// Names of Connections of the same namespace that its agent may use. A Session's Workspace gets them from the Session and from granted
    /// Requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub grants: Vec<String>,
    /// What becomes of it when nobody uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// When Snapshots are taken by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<SnapshotPolicy>,
    /// `Suspended` removes the pod and keeps the volume; `Archived` keeps a Snapshot only.
    #[serde(default)]
    pub state: WorkspaceState,
    /// Who may use mouse and keyboard.
    #[serde(default)]
    pub control: Control,
}

/// What a person wants of the Workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkspaceState {
    /// The desktop runs.
    #[default]
    Running,
    /// No pod; the volume stays.
    Suspended,
    /// No pod and no volume; a Snapshot stays, and the next start makes a volume from it.
    Archived,
}

/// An order to put the volume back to a Snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restore {
    /// Name of the Snapshot in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub snapshot: String,
    /// Any word. The order is carried out once for each; another word gives the order again.
    #[schemars(length(min = 1, max = 63))]
    pub id: String,
}

/// Who may send input. Set `holder: User` to take over; the webhook fills in `user` with the name of whoever writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.holder == 'User' || !has(self.user)").message("user may be set only while holder is User"))]
pub struct Control {
    /// The agent or a person.
    #[serde(default)]
    pub holder: ControlHolder,
    /// The person's Kubernetes user name. It is stamped from the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub user: Option<String>,
    /// While true the agent sees nothing either.
    #[serde(default)]
    pub private: bool,
}

/// Holder of the control lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ControlHolder {
    /// The agent.
    #[default]
    Agent,
    /// A person.
    User,
}

/// What is known of a Workspace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// StorageReady, PodReady, DesktopReady, AgentReady, Ready; Stalled while a person's help is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// One word: Pending, Starting, Running, Suspending, Suspended, Archiving, Archived, Restoring, Stalled, Deleting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The control lease as deskd confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<ControlStatus>,
    /// The volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageStatus>,
    /// The pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The node it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Host name under which console and proxy reach the desktop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Conversation epoch of the volume: how many restores lie behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// How long the last start took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Startup>,
    /// Why it is awake, or since when and why it is not; one line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awake: Option<String>,
    /// People who watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewers: Option<i64>,
    /// Since when nobody used it; absent while somebody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Time>,
    /// Since when it is suspended or archived, by the user or because nobody used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_since: Option<Time>,
    /// The value of the annotation `a8s.dev/wake` that was acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub woken: Option<String>,
    /// The Snapshot that stands for the volume while it is archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// The last order to restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreStatus>,
    /// What was found on the volume after it was made from a Snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// The last time of `snapshots.schedule` that was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scheduled: Option<Time>,
}

/// How far an order to restore has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreStatus {
    /// `spec.restore.id`.
    pub id: String,
    /// The Snapshot that is restored.
    pub snapshot: String,
    /// The Snapshot of what was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<String>,
    /// `Waiting` for the Snapshot, `Saving` what is there, `Replacing` the volume, `Done` or `Refused`. The desktop goes on running until
    /// the volume is replaced.
    pub phase: String,
    /// Why it waits or was refused, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when what is there is being saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Time>,
}

/// What a restored desktop was compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The Snapshot.
    pub snapshot: String,
    /// Whether files and conversation are those of the moment it was taken and the desktop showed its first frame.
    pub verified: bool,
    /// Files that are as they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// What differs, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// From the start to the first frame, for people: `1.12s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_frame: Option<String>,
}

/// The control lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ControlStatus {
    /// The agent or a person.
    pub holder: ControlHolder,
    /// The person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether the agent is blinded.
    #[serde(default)]
    pub private: bool,
    /// Grows with every change; deskd refuses older ones.
    pub epoch: i64,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// For people: `agent`, `jane`, `jane (private)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Kubernetes user names of those who have the desktop open, in order; of many the first 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub audience: Vec<String>,
    /// Which way text may go between the desktop's clipboard and that of who controls it, if not both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clipboard: Option<ClipboardRule>,
}

/// The volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// The PersistentVolumeClaim.
    pub claim: String,
    /// The Snapshot that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<String>,
    /// Grows with every volume that takes the place of an earlier one; 1 is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// While it is being archived: since when no pod has used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_since: Option<Time>,
}

/// Stages of the last start, each the time from the request for a running desktop until the stage was reached, for people: `1.123s`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Startup {
    /// When the start was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<MicroTime>,
    /// `Cold` with a new volume, `Restore` with one from a Snapshot or clone, `Resume` after it was suspended or archived, `Restart` after its
    /// pod was lost, `Pool` for one that waits for a Session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Pod given to a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<String>,
    /// Image on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Claim bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// Containers running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<String>,
    /// Desktop ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desktop: Option<String>,
    /// Agent ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// All of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
}
