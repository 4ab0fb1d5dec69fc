//! Share: somebody else may see, or work on, the desktop of one Session for a while.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ObjectRef;

/// Lets others see, or work on, the desktop of one Session until a moment: a Role and a `RoleBinding` that are there for just as long. The
/// conversation is not part of it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "a8s.dev",
    version = "v1alpha1",
    kind = "Share",
    namespaced,
    category = "a8s",
    status = "ShareStatus",
    derive = "PartialEq",
    selectable = ".spec.session",
    doc = "Lets others see, or work on, the desktop of one Session until a moment. Plain RBAC is what grants: a Role and a RoleBinding that are there for just as long. The conversation is not part of it. Deleting the Share takes it all back.",
    validation = Rule::new("size(self.metadata.name) <= 63").message("the name may have at most 63 characters, because it becomes a label"),
    printcolumn(name = "Session", type_ = "string", json_path = ".spec.session"),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role"),
    printcolumn(name = "With", type_ = "string", json_path = ".status.with"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expires"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "By", type_ = "string", json_path = ".metadata.annotations.a8s\\.dev/created-by", priority = 1),
    printcolumn(name = "Path", type_ = "string", json_path = ".status.path", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct ShareSpec {
    /// Name of the Session in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub session: String,
    /// What they may do.
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable"))]
    pub role: ShareRole,
    /// Who is invited, as Kubernetes knows them.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kind".into(), "name".into()]))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("is immutable; make another Share"))]
    #[x_kube(validation = Rule::new("self.all(s, !(s.name in ['system:anonymous', 'system:unauthenticated']))").message("whoever is not logged in cannot be invited"))]
    pub subjects: Vec<ShareSubject>,
    /// Until when, at most 30 days after the Share was made. Left out, the webhook fills in 24 hours from now; without the webhook it must be
    /// there. It may be brought forward by whoever may change the Share, and put off by whoever could make it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

impl Share {
    /// Until when guests have their rights. A Share without an end, which an admission policy refuses, gives none.
    pub fn ends(&self) -> Timestamp {
        self.spec.expires.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0)
    }
}

/// What guests may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ShareRole {
    /// See the desktop.
    Watch,
    /// See it, take over mouse and keyboard, and hand them back.
    Control,
}

impl ShareRole {
    /// What one may do, for people: `watch`, `watch and control`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Control => "watch and control",
        }
    }
}

/// Somebody who is invited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShareSubject {
    /// One person, or all members of a group.
    pub kind: SubjectKind,
    /// Their Kubernetes name. The groups `system:authenticated` and `system:serviceaccounts` mean everybody and are refused unless the
    /// installation allows them.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
}

/// Kind of somebody who is invited, as RBAC has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// A user name; a service account is `system:serviceaccount:<namespace>:<name>`.
    User,
    /// A group.
    Group,
}

impl SubjectKind {
    /// As RBAC writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }
}

/// What is known of a Share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShareStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready while they have the rights; Stalled while a person's help is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The Session that it was first seen with. Another one of that name is not shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<ObjectRef>,
    /// The Workspace whose desktop is shared now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Path of the page to send to them, below the address of the console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Who is invited, for people: `jane, group reviewers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
}
