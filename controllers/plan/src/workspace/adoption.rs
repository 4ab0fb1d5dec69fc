//! Children that came back from a backup: their owner has another UID by now, and a restore leaves owners out anyway. The volume is taken over,
//! because it is what the Workspace is about; a pod is only a process, and another Workspace object may have meant something else by it.

use a8s_crds::{conditions::Reason, labels};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::{EPOCH, Hold, Observed};
use crate::{Op, Target};

/// Whether this is a child of a Workspace of our name that nobody owns: ours by its labels, and no one else's by UID.
pub(crate) fn orphan(observed: &Observed, meta: &ObjectMeta) -> bool {
    ownerless(observed.name(), meta)
}

fn ownerless(name: &str, meta: &ObjectMeta) -> bool {
    let label = |key: &str| meta.labels.as_ref().and_then(|all| all.get(key)).map(String::as_str);
    let owned = meta.owner_references.iter().flatten().next().is_some();
    !owned && label(labels::MANAGED_BY) == Some(labels::MANAGER) && label(labels::WORKSPACE) == Some(name)
}

/// Whether the claim is the volume of a Workspace of this name that came back from a backup. That it notes an epoch shows that a Workspace
/// made it.
pub(crate) fn volume_of(name: &str, claim: &PersistentVolumeClaim) -> bool {
    let meta = &claim.metadata;
    let noted = meta.annotations.as_ref().is_some_and(|all| all.contains_key(EPOCH));
    ownerless(name, meta) && noted && meta.deletion_timestamp.is_none()
}

/// Takes them over, or removes them; says so while there is something to do.
pub(crate) fn settle(observed: &Observed, ops: &mut Vec<Op>) -> Option<Hold> {
    let target = |kind: &str, meta: &ObjectMeta| Target {
        api_version: "v1".into(),
        kind: kind.into(),
        namespace: observed.namespace().into(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
    };
    let mut found = Vec::new();
    if let Some(pod) = observed.pod.as_ref().filter(|p| orphan(observed, &p.metadata)) {
        // Before the volume: while it runs it writes there.
        if pod.metadata.deletion_timestamp.is_none() {
            ops.push(Op::Delete { target: target("Pod", &pod.metadata), grace: None });
        }
        found.push("pod");
    } else if let Some(claim) = claim(observed) {
        let owner = observed.owner_reference();
        let patch = json!({"metadata": {
            "ownerReferences": [owner], "labels": {(labels::WORKSPACE_UID): observed.uid()},
        }});
        let version = claim.metadata.resource_version.clone().unwrap_or_default();
        ops.push(Op::Swap { target: target("PersistentVolumeClaim", &claim.metadata), version, patch });
        found.push("volume");
    }
    let what = found.first()?;
    let text = format!("The {what} came back from a backup and is taken over or made anew.");
    Some(Hold::wait(Reason::Progressing, text))
}

/// A claim of ours without an owner.
pub(crate) fn claim(observed: &Observed) -> Option<&PersistentVolumeClaim> {
    observed.claim.as_ref().filter(|claim| volume_of(observed.name(), claim))
}
