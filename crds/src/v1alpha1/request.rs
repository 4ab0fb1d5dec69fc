//! Request: the agent, or the chat agent, asks a person or the overseer.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Input;

/// Something that the agent may not, or cannot, decide by itself. A person answers by writing `status.decision`.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "a8s.dev",
    version = "v1alpha1",
    kind = "Request",
    namespaced,
    shortname = "req",
    category = "a8s",
    status = "RequestStatus",
    derive = "PartialEq",
    selectable = ".spec.session",
    doc = "Something that the agent may not, or cannot, decide by itself. A person answers by writing status.decision.",
    validation = Rule::new("!has(self.status) || !has(self.status.decision) || (has(self.spec.options) && size(self.spec.options) > 0 ? self.spec.options.exists(o, o.id == self.status.decision.option) : self.status.decision.option in ['allow', 'deny'])").message("status.decision.option must be the id of one of spec.options; without those it is allow or deny"),
    validation = Rule::new("!has(self.status) || !has(self.status.decision) || !has(self.spec.form) || (has(self.spec.options) && size(self.spec.options) > 0 ? self.spec.options.exists(o, o.id == self.status.decision.option && o.kind.startsWith('Reject')) : self.status.decision.option == 'deny') || self.spec.form.all(f, (has(f.optional) && f.optional) || (has(self.status.decision.values) && f.name in self.status.decision.values && self.status.decision.values[f.name] != ''))").message("status.decision.values needs a value for each field of spec.form that is not optional"),
    printcolumn(name = "Session", type_ = "string", json_path = ".spec.session"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Asks", type_ = "string", json_path = ".spec.title"),
    printcolumn(name = "By", type_ = "string", json_path = ".status.decision.by", priority = 1),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expires"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("a Request cannot be changed; answer it in status.decision"))]
#[x_kube(validation = Rule::new("self.type != 'Permission' || (has(self.options) && size(self.options) > 0)").message("a Permission needs options to choose from"))]
#[x_kube(validation = Rule::new("self.type != 'Handoff' || has(self.handoff)").message("a Handoff needs the requirement in spec.handoff"))]
pub struct RequestSpec {
    /// Name of the Session in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub session: String,
    /// What is asked for.
    #[serde(rename = "type")]
    pub kind: RequestType,
    /// One line for people: what is asked.
    #[schemars(length(min = 1, max = 256))]
    pub title: String,
    /// Why, and what follows from it; markdown. Never a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub detail: Option<String>,
    /// What can be chosen. Empty for a Question with a form, and where only yes and no make sense: then `allow` and `deny` are understood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub options: Vec<RequestOption>,
    /// What a Question, or a Handoff, wants filled in. Never a secret: a secret is given as a Connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub form: Vec<Input>,
    /// For Credential, Tool and Context: the name of what is asked for, as the agent knows it: a Connection, a tool, an Artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub subject: Option<String>,
    /// For Handoff: what is to be handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<Handoff>,
    /// `Auto`: a component of a8s may decide, because the Session's policy or the Connection says so. Else only a person.
    #[serde(default)]
    pub policy: Approval,
    /// The turn in which it was asked; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<i64>,
    /// Conversation epoch in which it was asked.
    #[serde(default)]
    pub epoch: i64,
    /// The runner's own name of the question; absent if a8s itself asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub id: Option<String>,
    /// Unanswered at this time it counts as refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestType {
    /// To do something: the agent's harness asks before it acts.
    Permission,
    /// That a person takes mouse and keyboard, for example to log in.
    Takeover,
    /// An answer in words, or a form.
    Question,
    /// The use of a Connection that holds a key.
    Credential,
    /// Another tool.
    Tool,
    /// More material: an Artifact, a document.
    Context,
    /// That the requirement is right and the work may begin.
    Handoff,
}

/// Who may decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// A person.
    #[default]
    Ask,
    /// a8s, by rule.
    Auto,
}

/// One thing that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestOption {
    /// What `status.decision.option` names.
    #[schemars(length(min = 1, max = 128))]
    pub id: String,
    /// For people; default: the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub title: Option<String>,
    /// What it means.
    pub kind: OptionKind,
}

/// What choosing an option means, as in the Agent Client Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OptionKind {
    /// Yes, this once.
    AllowOnce,
    /// Yes, and the harness need not ask again.
    AllowAlways,
    /// No, this once.
    RejectOnce,
    /// No, and the harness need not ask again.
    RejectAlways,
}

impl OptionKind {
    /// Whether it permits.
    pub fn allows(self) -> bool {
        matches!(self, Self::AllowOnce | Self::AllowAlways)
    }
}

/// A requirement that is clear enough to begin with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Handoff {
    /// What is to be reached; markdown. It becomes the agent's first message.
    #[schemars(length(min = 1, max = 32768))]
    pub requirement: String,
    /// The Environment that is meant; else the overseer chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub environment: Option<String>,
    /// What the person filled in, by the name of the input.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// Names of tools that are needed beside the Environment's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub tools: Vec<String>,
    /// Names of Connections that are needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub connections: Vec<String>,
}

/// What became of a Request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.decision) || (has(self.decision) && self.decision == oldSelf.decision)").message("it is decided already"))]
pub struct RequestStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the answer has reached the agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RequestState>,
    /// The decision, once and for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// What followed from it, or why it was closed without a decision; one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub outcome: Option<String>,
}

/// Where a Request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestState {
    /// It waits for a decision.
    Open,
    /// It was granted, or answered.
    Granted,
    /// It was refused.
    Refused,
    /// Nobody answered in time; that counts as refused.
    Expired,
    /// The agent does not need it any more: its turn is over.
    Cancelled,
}

/// A person's answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The id of the chosen option; `allow` and `deny` where the Request lists none.
    #[schemars(length(min = 1, max = 128))]
    pub option: String,
    /// Values of the form, by the name of the field. Never a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub values: BTreeMap<String, String>,
    /// A word to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub note: Option<String>,
    /// Who decided. Stamped from the request's user; what a client writes here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub by: Option<String>,
    /// When. Stamped too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

impl RequestSpec {
    /// Whether choosing this option permits; `None` if there is no such option.
    pub fn allows(&self, option: &str) -> Option<bool> {
        match (self.options.iter().find(|o| o.id == option), option) {
            (Some(chosen), _) => Some(chosen.kind.allows()),
            (None, "allow") if self.options.is_empty() => Some(true),
            (None, "deny") if self.options.is_empty() => Some(false),
            (None, _) => None,
        }
    }
}
