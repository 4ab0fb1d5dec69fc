//! The Role and the `RoleBinding` of a Share. They name one Workspace, and a guest can do nothing that is not in [`rules`]: no Session, no
//! Message, no other desktop.

use std::collections::BTreeMap;

use a8s_crds::{GROUP, Share, ShareRole, labels, names};
use k8s_openapi::{
    api::rbac::v1::{PolicyRule, RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::Observed;
use crate::{Op, Target};

const RBAC: &str = "rbac.authorization.k8s.io";
const VERSIONED: &str = "rbac.authorization.k8s.io/v1";

/// All that guests may do. What a patch of the Workspace may hold is said by the admission policy `a8s-guests`: only `spec.control`.
pub fn rules(share: &Share, workspace: &str) -> Vec<PolicyRule> {
    let rule = |resource: &str, name: &str, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![GROUP.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: Some(vec![name.to_owned()]),
        verbs: verbs.iter().map(|v| (*v).to_owned()).collect(),
        ..PolicyRule::default()
    };
    let (desktop, desk): (&[&str], &[&str]) = match share.spec.role {
        ShareRole::Watch => (&["get"], &["get"]),
        ShareRole::Control => (&["get", "update"], &["get", "patch"]),
    };
    vec![
        rule("workspaces/desktop", workspace, desktop),
        // Whether it runs, who holds the mouse, who else is there.
        rule("workspaces", workspace, desk),
        // What they are invited to, and until when: the page begins with it.
        rule("shares", &share.name_any(), &["get"]),
    ]
}

/// Steps until the guests have the rights on this Workspace, and nothing more; the name of what is somebody else's if they cannot be given.
pub(super) fn grant(seen: &Observed, workspace: &str) -> Result<Vec<Op>, String> {
    let share = &seen.share;
    let (name, mut ops) = (names::share_access(&share.name_any()), Vec::new());
    let rules = rules(share, workspace);
    match &seen.role {
        None => ops.push(create(share, "Role", &json!({"rules": rules}))),
        Some(role) if !is_of(&role.metadata, share) => return Err(format!("the Role {name}")),
        Some(role) if role.rules.as_ref() != Some(&rules) || unlabelled(&role.metadata, share) => {
            ops.push(mend(share, "Role", &role.metadata, &json!({"rules": rules})));
        }
        Some(_) => {}
    }
    let (refers, subjects) = (role_ref(&name), subjects(share));
    let body = json!({"roleRef": refers, "subjects": subjects});
    match &seen.binding {
        None => ops.push(create(share, "RoleBinding", &body)),
        Some(binding) if !is_of(&binding.metadata, share) => {
            return Err(format!("the RoleBinding {name}"));
        }
        // It cannot be changed: it goes, and the next pass makes it anew.
        Some(binding) if binding.role_ref != refers => ops.push(remove("RoleBinding", &binding.metadata)),
        Some(binding)
            if binding.subjects.as_ref() != Some(&subjects) || unlabelled(&binding.metadata, share) =>
        {
            ops.push(mend(share, "RoleBinding", &binding.metadata, &json!({"subjects": subjects})));
        }
        Some(_) => {}
    }
    Ok(ops)
}

/// Steps until nothing is granted: first what grants, then what it would grant.
pub(super) fn withdraw(seen: &Observed) -> Vec<Op> {
    let found = [
        ("RoleBinding", seen.binding.as_ref().map(|b| &b.metadata)),
        ("Role", seen.role.as_ref().map(|r| &r.metadata)),
    ];
    let ours = found.into_iter().filter_map(|(kind, meta)| Some((kind, meta?)));
    let ours = ours.filter(|(_, meta)| is_of(meta, &seen.share) && meta.deletion_timestamp.is_none());
    ours.map(|(kind, meta)| remove(kind, meta)).collect()
}

/// The Share that a Role or `RoleBinding` was made for, by name and UID. It says so by labels: owner references go when somebody deletes
/// a Share and orphans what it owns.
pub fn made_for(meta: &ObjectMeta) -> Option<(&str, &str)> {
    let labels = meta.labels.as_ref()?;
    Some((labels.get(labels::SHARE)?, labels.get(labels::SHARE_UID)?))
}

/// The step for a Role or `RoleBinding` whose Share is gone. Garbage collection does the same, in its own time.
pub fn leftover(kind: &str, meta: &ObjectMeta, share: Option<&Share>) -> Option<Op> {
    let (_, uid) = made_for(meta)?;
    let there = share.and_then(ResourceExt::uid).is_some_and(|found| found == uid);
    (!there && meta.deletion_timestamp.is_none()).then(|| remove(kind, meta))
}

fn is_of(meta: &ObjectMeta, share: &Share) -> bool {
    let uid = share.uid().unwrap_or_default();
    let owned = meta.owner_references.iter().flatten().any(|o| o.controller == Some(true) && o.uid == uid);
    owned || made_for(meta).is_some_and(|(_, of)| of == uid)
}

fn labels_of(share: &Share) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        (labels::MANAGED_BY, labels::MANAGER.to_owned()),
        (labels::SHARE, share.name_any()),
        (labels::SHARE_UID, share.uid().unwrap_or_default()),
        // A backup brings back the Share, and that decides anew.
        (labels::VELERO_EXCLUDE, "true".to_owned()),
    ])
}

fn unlabelled(meta: &ObjectMeta, share: &Share) -> bool {
    let found = meta.labels.clone().unwrap_or_default();
    labels_of(share).iter().any(|(key, value)| found.get(*key) != Some(value))
}

fn create(share: &Share, kind: &str, body: &Value) -> Op {
    let owner = OwnerReference {
        api_version: "a8s.dev/v1alpha1".into(),
        kind: "Share".into(),
        name: share.name_any(),
        uid: share.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    let mut object = body.clone();
    object["apiVersion"] = VERSIONED.into();
    object["kind"] = kind.into();
    object["metadata"] = json!({
        "name": names::share_access(&share.name_any()),
        "namespace": share.namespace(),
        "labels": labels_of(share),
        "ownerReferences": [owner],
    });
    Op::Create { object }
}

/// Puts back what somebody has changed, or what a new desktop asks for. Compare and swap, so that nothing is taken for right unseen.
fn mend(share: &Share, kind: &str, meta: &ObjectMeta, body: &Value) -> Op {
    let mut patch = body.clone();
    patch["metadata"] = json!({"labels": labels_of(share)});
    let version = meta.resource_version.clone().unwrap_or_default();
    Op::Swap { target: target(kind, meta), version, patch }
}

fn remove(kind: &str, meta: &ObjectMeta) -> Op {
    Op::Delete { target: target(kind, meta), grace: None }
}

fn target(kind: &str, meta: &ObjectMeta) -> Target {
    Target {
        api_version: VERSIONED.into(),
        kind: kind.into(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
    }
}

fn role_ref(name: &str) -> RoleRef {
    RoleRef { api_group: Some(RBAC.into()), kind: "Role".into(), name: name.to_owned() }
}

fn subjects(share: &Share) -> Vec<Subject> {
    let subject = |one: &a8s_crds::ShareSubject| Subject {
        api_group: Some(RBAC.to_owned()),
        kind: one.kind.as_str().to_owned(),
        name: one.name.clone(),
        namespace: None,
    };
    share.spec.subjects.iter().map(subject).collect()
}
