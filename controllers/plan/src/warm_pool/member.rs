//! The Workspaces of a pool: what one looks like, and what a pool reads from one.

use a8s_crds::{
    WarmPool, Workspace, WorkspaceState,
    conditions::{self, ConditionType},
    labels, names,
};
use kube::ResourceExt;
use serde_json::{Value, json};

/// A Workspace that the pool made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Resource version.
    pub version: String,
    /// Its number.
    pub ordinal: u64,
    /// It is the pool's and not on its way out; otherwise only its number counts.
    pub waiting: bool,
    /// What it was made from.
    pub template: String,
    /// Its `Ready` is `True`.
    pub ready: bool,
    /// Where its pod runs.
    pub node: Option<String>,
    /// Why it needs a person's help.
    pub stalled: Option<String>,
    /// The Snapshot that is to be taken of it.
    pub seeds: Option<String>,
    /// The Snapshot that it starts from, as long as its volume is not made from it yet.
    pub needs: Option<String>,
}

/// UID of the controller.
pub fn owner(workspace: &Workspace) -> Option<&str> {
    workspace.owner_references().iter().find(|r| r.controller == Some(true)).map(|r| r.uid.as_str())
}

/// The number that a pool gave to it.
pub fn ordinal(workspace: &Workspace) -> Option<u64> {
    workspace.annotations().get(labels::ORDINAL)?.parse().ok()
}

/// Whether this pool made it. People can write annotations; the name proves the number.
pub fn is_member(workspace: &Workspace, pool: &str, uid: &str) -> bool {
    ordinal(workspace).is_some_and(|number| proves(&workspace.name_any(), number, pool, uid))
}

fn proves(name: &str, number: u64, pool: &str, uid: &str) -> bool {
    name == names::pool_member(pool, uid, number)
}

/// Whether it waits in a pool, is ready and may be taken over: nobody's yet, not on its way out, not sleeping, not needed for a golden
/// Snapshot. Whether its node is well is another question.
pub fn adoptable(workspace: &Workspace) -> bool {
    let status = workspace.status.as_ref();
    let is = |kind| status.is_some_and(|s| conditions::is_true(&s.conditions, kind));
    workspace.labels().contains_key(labels::POOL)
        && workspace.owner_references().iter().any(|r| r.kind == "WarmPool" && r.controller == Some(true))
        && workspace.metadata.deletion_timestamp.is_none()
        && workspace.spec.state == WorkspaceState::Running
        && !workspace.annotations().contains_key(labels::SEEDS)
        && is(ConditionType::Ready)
        && !is(ConditionType::Stalled)
        // What is ready says so of the spec as it is now.
        && status.is_some_and(|s| s.observed_generation == workspace.metadata.generation)
}

impl Member {
    /// Whether this pool made it: see [`is_member`].
    pub fn is_of(&self, pool: &str, uid: &str) -> bool {
        proves(&self.name, self.ordinal, pool, uid)
    }

    /// What a pool reads from a Workspace that it made.
    pub fn of(workspace: &Workspace, pool_uid: &str) -> Self {
        let status = workspace.status.as_ref();
        let conditions = status.map_or(&[][..], |s| &s.conditions);
        let stalled = conditions::get(conditions, ConditionType::Stalled).filter(|c| c.status == "True");
        let annotation = |key: &str| workspace.annotations().get(key).cloned();
        let bound = conditions::is_true(conditions, ConditionType::StorageReady);
        let source = workspace.spec.source.as_ref().and_then(|s| s.snapshot.clone());
        Self {
            namespace: workspace.namespace().unwrap_or_default(),
            name: workspace.name_any(),
            uid: workspace.uid().unwrap_or_default(),
            version: workspace.resource_version().unwrap_or_default(),
            ordinal: ordinal(workspace).unwrap_or_default(),
            waiting: owner(workspace) == Some(pool_uid) && workspace.metadata.deletion_timestamp.is_none(),
            template: annotation(labels::TEMPLATE).unwrap_or_default(),
            ready: conditions::is_true(conditions, ConditionType::Ready),
            node: status.and_then(|s| s.node.clone()),
            stalled: stalled.map(|c| c.message.clone()),
            seeds: annotation(labels::SEEDS),
            needs: source.filter(|_| !bound),
        }
    }
}

/// A new member. The finalizer is there from the start: one write less for each.
pub(super) fn object(
    pool: &WarmPool,
    name: &str,
    ordinal: u64,
    template: &str,
    seeds: Option<&str>,
    source: Option<&str>,
) -> Value {
    let mut spec = json!({"environment": pool.spec.environment});
    if let Some(resources) = &pool.spec.resources {
        spec["resources"] = json!(resources);
    }
    if let Some(storage) = &pool.spec.storage {
        spec["storage"] = json!(a8s_crds::Storage { golden: false, ..storage.clone() });
    }
    if let Some(desktop) = &pool.spec.desktop {
        spec["desktop"] = json!(desktop);
    }
    if let Some(source) = source {
        spec["source"] = json!({"snapshot": source});
    }
    let mut annotations = json!({labels::TEMPLATE: template, labels::ORDINAL: ordinal.to_string()});
    if let Some(seeds) = seeds {
        annotations[labels::SEEDS] = seeds.into();
    }
    json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace",
        "metadata": {
            "name": name, "namespace": pool.namespace(),
            "labels": {labels::MANAGED_BY: labels::MANAGER, labels::POOL: pool.name_any()},
            "annotations": annotations,
            "finalizers": [labels::WORKSPACE_FINALIZER],
            "ownerReferences": [reference(pool)],
        },
        "spec": spec,
    })
}

pub(super) fn reference(pool: &WarmPool) -> Value {
    json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "WarmPool", "name": pool.name_any(), "uid": pool.uid(),
        "controller": true, "blockOwnerDeletion": true,
    })
}
