//! Where a handle may come from besides a snapshot of our own: `spec.import`, and a backup. Whoever names a handle reads what is behind it, so
//! both are let in by the webhook only for those who may `import`; a status is written by nobody but controllers and restores.

use a8s_crds::{Snapshot, SnapshotStatus, conditions::Reason, labels};
use kube::ResourceExt;

use super::{ENVIRONMENT, pass::Pass};
use crate::{Plan, Wake};

/// How long a restored object is left alone: its status is written by a second request, and a change in between would refuse that.
const STATUS_TO_COME: i64 = 10;

/// Whether the object came from a backup without having been finished there.
pub(super) fn restored(snapshot: &Snapshot, old: &SnapshotStatus) -> bool {
    let foreign = old.uid.is_some() && old.uid != snapshot.uid();
    foreign || snapshot.labels().contains_key(labels::VELERO_RESTORE)
}

/// A restored object whose status may still come.
pub(super) fn too_early(pass: &Pass, snapshot: &Snapshot) -> Option<Plan<SnapshotStatus>> {
    let fresh =
        snapshot.labels().contains_key(labels::VELERO_RESTORE) && pass.old == SnapshotStatus::default();
    let left = STATUS_TO_COME - pass.age_seconds();
    (fresh && left > 0).then(|| {
        let millis = u64::try_from(left).unwrap_or(1) * 1000;
        Plan { wake: Wake::AfterMillis(millis), ..Plan::default() }
    })
}

/// Writes down the handle that the object brings along, if it does.
pub(super) fn adopt(pass: &mut Pass, snapshot: &Snapshot) {
    if pass.status.handle.is_some() {
        return;
    }
    if let Some(import) = &snapshot.spec.import {
        pass.status.handle = Some(import.handle.clone());
        pass.status.driver = Some(import.driver.clone());
        pass.status.environment = Some(import.environment.clone());
        return;
    }
    if !snapshot.labels().contains_key(labels::VELERO_RESTORE) {
        return;
    }
    let noted = |key: &str| snapshot.annotations().get(key).cloned();
    if let (Some(handle), Some(driver)) = (noted(labels::VELERO_HANDLE), noted(labels::VELERO_DRIVER)) {
        pass.status.handle = Some(handle);
        pass.status.driver = Some(driver);
        pass.status.environment = noted(ENVIRONMENT);
        pass.status.restore_size = noted(labels::VELERO_RESTORE_SIZE);
    }
}

/// It came from a backup and nothing says what it held: taking it now would pass the present off as the past.
pub(super) fn without_state(pass: &mut Pass, snapshot: &Snapshot) {
    // Another UID goes on saying where it comes from.
    pass.status.uid = pass.old.uid.clone().or_else(|| snapshot.uid());
    let note = "restored from a backup without the handle of its data, so that nothing is done for it; delete it, or import the data with `spec.import` of another Snapshot";
    pass.stalled(Reason::RestoredWithoutState, note);
}

/// Whether the data is in the backend already, as far as the object says.
pub fn brings_handle(snapshot: &Snapshot) -> bool {
    let recorded = snapshot.status.as_ref().is_some_and(|s| s.handle.is_some());
    let noted = snapshot.annotations().contains_key(labels::VELERO_HANDLE);
    let backup = noted && snapshot.labels().contains_key(labels::VELERO_RESTORE);
    recorded || snapshot.spec.import.is_some() || backup
}
