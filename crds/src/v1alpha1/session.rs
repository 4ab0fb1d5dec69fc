//! Session: a conversation with a goal; it owns one Workspace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Approval, DesktopSize, Egress, Lifecycle, ObjectRef, Resources, SnapshotPolicy, Source, Storage,
};

/// A conversation with a goal. The agent works on the goal in a desktop of its own; Messages redirect it; what it makes becomes Artifacts.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "a8s.dev", version = "v1alpha1", kind = "Session", namespaced, shortname = "sess", category = "a8s",
 status = "SessionStatus", derive = "PartialEq",
    doc = "A conversation with a goal: an agent works on it in a desktop of its own, Messages redirect it, what it makes becomes Artifacts.",
    validation = Rule::new("size(self.metadata.name) <= 48").message("the name may have at most 48 characters, because pods and claims are named after it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("the name may have lower-case letters, digits and dashes only and must begin with a letter, because a host name is made of it"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Doing", type_ = "string", json_path = ".status.doing"),
    printcolumn(name = "Environment", type_ = "string", json_path = ".status.environment"),
    printcolumn(name = "Waiting-For", type_ = "string", json_path = ".status.waitingFor"),
    printcolumn(name = "Turn", type_ = "integer", json_path = ".status.turn"),
    printcolumn(name = "Queued", type_ = "integer", json_path = ".status.queued", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("has(self.goal) == has(oldSelf.goal)").message("goal is immutable; send a Message to change the course"))]
#[x_kube(validation = Rule::new("has(self.environment) == has(oldSelf.environment)").message("environment is immutable"))]
#[x_kube(validation = Rule::new("has(self.source) == has(oldSelf.source)").message("source is immutable"))]
pub struct SessionSpec {
    /// What is to be reached, in the person's own words (markdown). It is the first message of the conversation. Without goal and source the
    /// Session begins as a chat: the chat agent asks what is wanted before there is a desktop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32768))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable; send a Message to change the course"))]
    pub goal: Option<String>,
    /// Name of an Environment. Default: the one whose matching rules fit the goal best; `status.rationale` says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub environment: Option<String>,
    /// Start from a Snapshot, conversation included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub source: Option<Source>,
    /// What the agent finds in `~/Attachments` before it begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub attachments: Vec<Attachment>,
    /// Which agent works, with which model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSettings>,
    /// What is decided by people and what by itself. It may be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<SessionPolicy>,
    /// How far it may go before a person is asked. It may be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<SessionLimits>,
    /// What the Workspace gets instead of the Environment's defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceOverrides>,
    /// What becomes of the desktop when nobody uses it. It may be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// When Snapshots are taken by themselves. It may be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<SnapshotPolicy>,
    /// `Suspended` removes the pod and keeps the volume; `Archived` keeps a Snapshot only; `Terminated` ends the Session for good and removes its Workspace.
    #[serde(default)]
    #[x_kube(validation = Rule::new("oldSelf != 'Terminated' || self == 'Terminated'").message("a terminated Session cannot come back; start a new one from a Snapshot"))]
    pub state: SessionState,
}

/// What a person wants of the Session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SessionState {
    /// The agent may work.
    #[default]
    Active,
    /// No pod; the volume stays.
    Suspended,
    /// No pod and no volume; a Snapshot stays.
    Archived,
    /// Over; Artifacts and Snapshots stay.
    Terminated,
}

/// A file for the agent. Exactly one source is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.configMap) ? 1 : 0) + (has(self.artifact) ? 1 : 0) + (has(self.connection) ? 1 : 0) + (has(self.text) ? 1 : 0) == 1").message("exactly one of configMap, artifact, connection and text must be set"))]
pub struct Attachment {
    /// File name below `~/Attachments`.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._ -]*$"))]
    pub name: String,
    /// A key of a ConfigMap in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKey>,
    /// The content of an Artifact in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactName>,
    /// A Connection of the same namespace that the agent may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionName>,
    /// The content itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub text: Option<String>,
}

/// One key of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in `data` or `binaryData`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// An Artifact by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactName {
    /// Name of the Artifact.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A Connection by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionName {
    /// Name of the Connection.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Which agent works, with which model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentSettings {
    /// Name of one of the Environment's harnesses; default: the Environment's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub harness: Option<String>,
    /// The model. Without one the built-in agent follows its script, and other harnesses use what they bring themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelChoice>,
    /// What the agent has to mind all the time, beside the goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub instructions: Option<String>,
}

/// The model of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelChoice {
    /// Name of a Connection of kind model in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub connection: String,
}

/// What is decided by people and what by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionPolicy {
    /// Who says that the requirement is clear. Default: a Session with a goal, or with a source, begins at once; one without asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<Approval>,
    /// What an agent that asks for permission is told.
    #[serde(default)]
    pub permissions: PermissionPolicy,
    /// After this time an unanswered Request counts as refused: `90s`, `30m`, `2h`. Default `30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && self != ''").message("must be a duration such as 90s, 30m or 2h"))]
    pub request_timeout: Option<String>,
    /// Whether the desktop is recorded while the agent works, each turn as an Artifact `recording-turn-<number>`. Never while a person holds
    /// the desktop in private. Default: what the Environment says; it may also leave no choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<Recording>,
}

/// Whether the desktop is recorded while the agent works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Recording {
    /// It is.
    Enabled,
    /// It is not.
    Disabled,
}

/// What an agent that asks for permission is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PermissionPolicy {
    /// A person decides.
    #[default]
    Ask,
    /// Yes.
    Allow,
    /// No.
    Deny,
}

/// How far a Session may go. What is reached stops the agent and nothing else: raise it, and it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionLimits {
    /// Turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub turns: Option<i64>,
    /// Tokens, read and written together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tokens: Option<i64>,
    /// Time in which the agent works, without waiting for people: `4h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && self != ''").message("must be a duration such as 90s, 30m or 2h"))]
    pub active_duration: Option<String>,
}

/// Overrides for the Session's Workspace. They apply when it is created.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceOverrides {
    /// CPU and memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Size of the desktop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desktop: Option<DesktopSize>,
    /// What it may reach, besides what the Environment allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
}

/// What is known of a Session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, ReferencesResolved, WorkspaceReady, Finished; Stalled while a person's help is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// One word: Pending, Chatting, Provisioning, Working, Waiting, Finished, Suspended, Archived, Terminated, Stalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What the agent does just now, or what is waited for; one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doing: Option<String>,
    /// The running or last turn; 0 before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<i64>,
    /// Messages that wait for their turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<i64>,
    /// Requests that wait for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<i64>,
    /// What it waits for, for people: `1 request`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub waiting_for: Option<String>,
    /// What the agent did last; one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_step: Option<String>,
    /// What was handed over to the agent, once the chat agent and the person agreed on it; absent where the goal itself was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirement: Option<Requirement>,
    /// What was used so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<SessionUsage>,
    /// The agent's newest plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub plan: Vec<PlanStep>,
    /// The chosen Environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Why this Environment, one reason a line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rationale: Vec<String>,
    /// The Workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<ObjectRef>,
    /// Conversation epoch; it grows by one with every restore of a Snapshot, and with every new desktop after one was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Epoch in which the agent was given the goal; a desktop made after that one was deleted is not given it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal_epoch: Option<i64>,
    /// Sequence number of the last event that became objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    /// Highest `status.seq` given to a Message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<i64>,
    /// Time of the last event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity: Option<Time>,
}

/// What was handed over to the agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// The whole of it, what was filled in included; markdown. The agent's first message.
    #[schemars(length(min = 1, max = 32768))]
    pub text: String,
    /// The Environment that was agreed on; absent: the overseer chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Tools that were asked for beside the Environment's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub tools: Vec<String>,
    /// Connections that were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub connections: Vec<String>,
    /// Who confirmed it; absent if the policy says Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The Request in which it was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// What a Session used so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionUsage {
    /// Calls of models.
    pub requests: i64,
    /// Tokens read.
    pub input_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
    /// US dollars, as far as prices are known: `1.27`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// Seconds in which the agent worked.
    pub active_seconds: i64,
}

/// One line of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStep {
    /// What is to be done.
    #[schemars(length(max = 200))]
    pub title: String,
    /// `pending`, `in_progress` or `completed`.
    pub status: String,
}
