//! Decisions for the kind Snapshot: quiesce, record the place in the conversation, then take the VolumeSnapshot, in this order.
//!
//! A Snapshot with a handle is never taken again, and nothing is deleted while the driver may still be creating it.

mod deletion;
mod follow;
mod import;
mod observed;
mod pass;
mod rebuild;
mod take;
mod verify;

#[cfg(test)]
mod tests;

use a8s_crds::{Snapshot, SnapshotStatus, labels, names};
use kube::ResourceExt;
use serde_json::json;

pub use import::brings_handle;
pub use observed::{
    ArtifactFact, Claim, Class, ContentFacts, Observed, Place, ReceiptFact, Runner, VolumeSnapshotFacts,
    WorkspaceFacts,
};

use crate::{Env, Op, Plan, Target};

/// API version of the backend's kinds.
const SNAPSHOT_API: &str = "snapshot.storage.k8s.io/v1";
/// Annotation on a Snapshot: the Environment, for a restore that brings no status.
pub const ENVIRONMENT: &str = "a8s.dev/environment";
/// Annotation that makes the sidecar delete the data of a content whose VolumeSnapshot is gone.
const BEING_DELETED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
const NO_API: &str = "the cluster has no snapshot API; install the CRDs and the snapshot-controller of kubernetes-csi/external-snapshotter";

/// Name of the VolumeSnapshot: the recorded one, else the one that is to be made. An object that came from a backup has a new one: whatever
/// has the old name belongs to another life of it.
pub fn volume_snapshot_name(snapshot: &Snapshot) -> String {
    let own = snapshot.uid().unwrap_or_default();
    let status = snapshot.status.as_ref().filter(|s| s.uid.as_ref().is_none_or(|uid| *uid == own));
    let recorded = status.and_then(|s| s.volume_snapshot.clone());
    recorded.unwrap_or_else(|| names::volume_snapshot(&snapshot.name_any(), &own))
}

/// Name of the content that is made around a handle.
pub fn content_name(snapshot: &Snapshot) -> String {
    format!("a8s-{}", snapshot.uid().unwrap_or_default())
}

/// Decides.
pub fn plan(observed: &Observed, env: &Env) -> Plan<SnapshotStatus> {
    let snapshot = &observed.snapshot;
    if snapshot.metadata.deletion_timestamp.is_some() {
        return deletion::plan(observed, env);
    }
    let mut pass = pass::Pass::new(snapshot, env);
    if let Some(plan) = import::too_early(&pass, snapshot) {
        return plan;
    }
    import::adopt(&mut pass, snapshot);
    let handle = pass.status.handle.clone();
    if handle.is_none() && observed.volume_snapshot.is_none() && import::restored(snapshot, &pass.old) {
        import::without_state(&mut pass, snapshot);
        return pass.finish();
    }
    if !snapshot.finalizers().iter().any(|f| f == labels::SNAPSHOT_FINALIZER) {
        pass.plan.ops.push(pass::finalizer(snapshot, true));
    }
    match (&observed.volume_snapshot, handle) {
        (Some(found), _) => follow::follow(&mut pass, observed, found),
        (None, Some(handle)) => rebuild::rebuild(&mut pass, observed, &handle),
        (None, None) => take::take(&mut pass, observed),
    }
    verify::receipts(&mut pass, observed);
    verify::lifetime(&mut pass, observed);
    pass.finish()
}

/// Sets the policy of a content; `meant` says that its data shall go although its VolumeSnapshot is gone.
fn policy(content: &ContentFacts, policy: &str, meant: bool) -> Op {
    // The UID keeps this from ever making a content.
    let mut object = json!({
        "apiVersion": SNAPSHOT_API, "kind": "VolumeSnapshotContent",
        "metadata": {"name": content.name, "uid": content.uid},
        "spec": {"deletionPolicy": policy},
    });
    if meant {
        object["metadata"]["annotations"] = json!({BEING_DELETED: "yes"});
    }
    Op::Apply { object, manager: "snapshot" }
}

fn backend_target(kind: &str, namespace: &str, name: &str, uid: &str) -> Target {
    Target {
        api_version: SNAPSHOT_API.into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
        uid: uid.into(),
    }
}
