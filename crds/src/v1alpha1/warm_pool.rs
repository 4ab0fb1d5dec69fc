//! WarmPool: desktops that are ready before anybody asks.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{DesktopSize, Resources, Storage};

/// Desktops of one Environment that are ready before anybody asks. A Session takes one over; the pool makes another.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "a8s.dev", version = "v1alpha1", kind = "WarmPool", namespaced, shortname = "wp", category = "a8s",
    status = "WarmPoolStatus", derive = "PartialEq",
    doc = "Desktops of one Environment that are ready before anybody asks. A Session takes one over; the pool makes another.",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("the name may have lower-case letters, digits and dashes only and must begin with a letter, because Workspaces are named after it"),
    validation = Rule::new("size(self.metadata.name) <= 40").message("the name may have at most 40 characters, because Workspaces are named after it"),
    printcolumn(name = "Environment", type_ = "string", json_path = ".spec.environment"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Current", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Up-To-Date", type_ = "integer", json_path = ".status.updatedReplicas"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct WarmPoolSpec {
    /// Name of the Environment. Sessions of other Environments take nothing from this pool.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub environment: String,
    /// How many desktops wait.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 10000))]
    pub replicas: i32,
    /// How many of them may be missing while the pool changes over to a new Environment. Default: a quarter, at least one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_unavailable: Option<i32>,
    /// CPU and memory; default: the Environment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Volume; default: the Environment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Size of the desktop; default: the Environment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desktop: Option<DesktopSize>,
}

fn one() -> i32 {
    1
}

/// What is known of a WarmPool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WarmPoolStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready; Stalled while a person's help is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Workspaces of the pool that nobody has taken.
    #[serde(default)]
    pub replicas: i32,
    /// Those of them that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Those of them that are made from the Environment as it is now.
    #[serde(default)]
    pub updated_replicas: i32,
    /// Labels of the waiting Workspaces, for the `scale` subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The golden Snapshot that new members start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<String>,
}
