//! The backend has the snapshot, the cluster has no VolumeSnapshot of it: after a restore from a backup, after somebody deleted it, or because
//! the snapshot is imported. A content and a VolumeSnapshot are made around the handle. The content keeps the data until all is well.

use a8s_crds::conditions::Reason;
use kube::ResourceExt;
use serde_json::json;

use super::{Class, Observed, SNAPSHOT_API, content_name, pass::Pass, take, volume_snapshot_name};
use crate::{Op, Wake};

/// The sidecar's own finalizer on contents.
const CONTENT_FINALIZER: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";

/// `handle` is recorded in the status.
pub(super) fn rebuild(pass: &mut Pass, observed: &Observed, handle: &str) {
    if observed.class == Class::NoApi {
        pass.stalled(Reason::SnapshotClassMissing, super::NO_API);
        pass.plan.wake = Wake::AfterMillis(10_000);
        return;
    }
    let Some(driver) = pass.status.driver.clone() else {
        let note = "the VolumeSnapshot is gone and the driver is not known; delete this Snapshot, or import its handle with another";
        return pass.stalled(Reason::SnapshotLost, note);
    };
    let snapshot = &observed.snapshot;
    let name = volume_snapshot_name(snapshot);
    pass.status.volume_snapshot = Some(name.clone());
    pass.waiting(Reason::Progressing, "made ready again from the backend's handle", 2000);
    if pass.changed() {
        // The name is known before anything has it.
        pass.plan.wake = Wake::AfterMillis(0);
        return;
    }
    let content = content_name(snapshot);
    match &observed.content {
        Some(found) if found.deleting => return,
        Some(_) => {}
        None => pass.plan.ops.push(Op::Create { object: around(observed, &driver, handle, "Retain") }),
    }
    let source = json!({"volumeSnapshotContentName": content});
    pass.plan.ops.push(take::volume_snapshot(observed, &name, &source, class(observed)));
}

/// A content around a handle.
pub(super) fn around(observed: &Observed, driver: &str, handle: &str, policy: &str) -> serde_json::Value {
    let snapshot = &observed.snapshot;
    let mut object = json!({
        "apiVersion": SNAPSHOT_API, "kind": "VolumeSnapshotContent",
        "metadata": {
            "name": content_name(snapshot),
            "labels": {(a8s_crds::labels::MANAGED_BY): a8s_crds::labels::MANAGER},
            // The sidecar takes it away when the backend is done. A content that is bound to nothing yet gets it from nobody else, and
            // deleted without it would vanish before the sidecar looks.
            "finalizers": [CONTENT_FINALIZER],
        },
        "spec": {
            "deletionPolicy": policy,
            "driver": driver,
            "source": {"snapshotHandle": handle},
            "volumeSnapshotRef": {
                "apiVersion": SNAPSHOT_API, "kind": "VolumeSnapshot",
                "namespace": snapshot.namespace(), "name": volume_snapshot_name(snapshot),
            },
        },
    });
    if let Some(class) = class(observed) {
        object["spec"]["volumeSnapshotClassName"] = class.into();
    }
    object
}

/// The recorded class, if this cluster has it: a driver may need it for its secrets, and one that is not there is an error.
fn class(observed: &Observed) -> Option<&str> {
    match &observed.class {
        Class::Chosen(name) => Some(name),
        Class::Missing(_) | Class::NoApi => None,
    }
}

/// Whether an error says that the backend does not have the snapshot. Sidecar and drivers say it in their own words.
pub(super) fn says_lost(error: &str) -> bool {
    let low = error.to_lowercase();
    let words = [
        "can not find snapshot",
        "cannot find snapshot",
        "not found",
        "notfound",
        "does not exist",
        "no such snapshot",
    ];
    // A class or a secret that is missing is another matter.
    words.iter().any(|word| low.contains(word)) && !low.contains("class") && !low.contains("secret")
}
