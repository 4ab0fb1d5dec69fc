//! Environment: an entry of the administrators' catalogue.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DesktopSize, Egress, Input, Resources, Storage};

/// A kind of desktop that administrators offer: image, agent, resources and when it fits.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "a8s.dev",
    version = "v1alpha1",
    kind = "Environment",
    shortname = "env",
    category = "a8s",
    status = "EnvironmentStatus",
    derive = "PartialEq",
    doc = "A kind of desktop that administrators offer: image, agent, resources and when it fits.",
    printcolumn(name = "Title", type_ = "string", json_path = ".spec.title"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Workspaces", type_ = "integer", json_path = ".status.workspaces"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct EnvironmentSpec {
    /// For people.
    #[schemars(length(min = 1, max = 128))]
    pub title: String,
    /// One paragraph for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub description: Option<String>,
    /// Image of desktop and agent.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// Names of image pull Secrets in the Workspace's namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub image_pull_secrets: Vec<String>,
    /// Size of the desktop.
    #[serde(default)]
    pub desktop: DesktopSize,
    /// Agent programs that the image offers. Default: the built-in agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("self.filter(h, h.default).size() <= 1").message("at most one harness may be the default"))]
    pub harnesses: Vec<Harness>,
    /// What the chat agent asks for before the work begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub inputs: Vec<Input>,
    /// Tools that its agents have, by the names that people and agents use: `computer`, `shell`, `files`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub tools: Vec<String>,
    /// Names of Connections that a Session gets if its namespace has them and they may be granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub connections: Vec<String>,
    /// What every agent in it has to mind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub instructions: Option<String>,
    /// When the Environment is chosen for a Session that names none.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<Matching>,
    /// Settings of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
    /// Default volume of its Workspaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// What its desktops may reach. Default: nothing but the cluster's DNS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// Whether its desktops are recorded while an agent works. `Never` and `Always` leave the Session no choice.
    #[serde(default)]
    pub recording: RecordingRule,
    /// Which way text may go between the clipboard of its desktops and those of the people who control them. A change holds for desktops that
    /// start after it.
    #[serde(default)]
    pub clipboard: ClipboardRule,
}

/// Which way text may go between the clipboard of a desktop and those of the people who control it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClipboardRule {
    /// Both ways.
    #[default]
    Both,
    /// People may paste into the desktop; what is copied there stays there.
    In,
    /// People get what is copied in the desktop; they cannot paste into it.
    Out,
    /// Neither.
    None,
}

/// Whether desktops are recorded while an agent works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecordingRule {
    /// They are not, whatever a Session says.
    Never,
    /// They are if the Session says so.
    #[default]
    OnRequest,
    /// They are unless the Session says otherwise.
    ByDefault,
    /// They are, whatever a Session says.
    Always,
}

/// An agent program: anything that speaks the Agent Client Protocol over its standard input and output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Harness {
    /// Name in the catalogue.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Whether it is used when a Session names none.
    #[serde(default)]
    pub default: bool,
    /// Program and arguments; empty for the built-in agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub command: Vec<String>,
}

/// Matching rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Matching {
    /// Words of a goal that speak for this Environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub keywords: Vec<String>,
    /// What it can do, in single words that a requirement or an attachment's kind may call for: `spreadsheet`, `pdf`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub capabilities: Vec<String>,
    /// The higher wins if as many words fit. If no word of any Environment fits the lowest wins: it is the most general.
    #[serde(default)]
    pub priority: i32,
}

/// Settings of the pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// CPU and memory of desktop and agent together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// RuntimeClass, for example of gVisor or Kata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,
    /// Whether the pod gets a user namespace of its own (`hostUsers: false`, KEP-127): root in it is nobody on the node. Needs a node, a runtime and a
    /// file system that offer it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub user_namespace: bool,
    /// Which nodes are asked for.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub node_selector: std::collections::BTreeMap<String, String>,
}

/// What is known of an Environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the entry is complete and its RuntimeClass exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Workspaces made from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspaces: Option<i64>,
    /// Those of them that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_workspaces: Option<i64>,
}
