//! Artifact: one deliverable.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::ObjectRef;

/// One deliverable. Its content is in the artifact store; it outlives Workspace and Session.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "a8s.dev",
    version = "v1alpha1",
    kind = "Artifact",
    namespaced,
    shortname = "art",
    category = "a8s",
    status = "ArtifactStatus",
    derive = "PartialEq",
    doc = "One deliverable. Its content is in the artifact store; it outlives Workspace and Session.",
    printcolumn(name = "Session", type_ = "string", json_path = ".spec.session"),
    printcolumn(name = "Title", type_ = "string", json_path = ".spec.title"),
    printcolumn(name = "Version", type_ = "integer", json_path = ".spec.version"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.size"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.mediaType", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("is immutable; a changed file is a new version"))]
pub struct ArtifactSpec {
    /// The Session that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The Workspace that it was made in.
    pub workspace: ObjectRef,
    /// Name that its versions share.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// 1, 2, 3, …
    #[schemars(range(min = 1))]
    pub version: i64,
    /// For people.
    #[schemars(length(max = 512))]
    pub title: String,
    /// File name offered for a download.
    #[schemars(length(min = 1, max = 255))]
    pub file_name: String,
    /// Media type such as `application/pdf`.
    #[schemars(length(max = 255))]
    pub media_type: String,
    /// Bytes.
    #[schemars(range(min = 0))]
    pub size: i64,
    /// Lower-case hex SHA-256 of the content.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// The turn that made it.
    pub turn: i64,
    /// Conversation epoch.
    #[serde(default)]
    pub epoch: i64,
}

/// What is known of an Artifact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the content is stored and its SHA-256 was verified; Stalled while a person's help is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Key in the artifact store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Size for people: `84Ki`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// When the content was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<Time>,
}
