//! A Snapshot goes. Nothing is deleted while the driver may still be creating it, and the backend is told what becomes of its data, whatever
//! happened to VolumeSnapshot and content before.

use a8s_crds::{DeletionPolicy, SnapshotStatus, conditions::Reason, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{
    ContentFacts, Observed, VolumeSnapshotFacts, backend_target, content_name,
    pass::{Pass, finalizer},
    policy, rebuild, volume_snapshot_name,
};
use crate::{Env, Op, Plan};

/// A VolumeSnapshot that has no content after so many seconds will get none.
const CONTENT_TO_COME: i64 = 10;
/// A content must be known to the sidecar before it goes, or its deletion does nothing; in seconds, and times are whole seconds.
const GAP: i64 = 3;

pub(super) fn plan(observed: &Observed, env: &Env) -> Plan<SnapshotStatus> {
    let snapshot = &observed.snapshot;
    if !snapshot.finalizers().iter().any(|f| f == labels::SNAPSHOT_FINALIZER) {
        return Plan::default();
    }
    let mut pass = Pass::new(snapshot, env);
    let (vs, content) =
        (observed.volume_snapshot.as_ref().filter(|v| ours(observed, v)), observed.content.as_ref());
    if in_flight(&pass, vs, content) {
        let note = "the driver is still taking the snapshot; it is deleted after that";
        pass.waiting(Reason::Deleting, note, 500);
        return pass.finish();
    }
    let retain = snapshot.spec.deletion_policy == DeletionPolicy::Retain;
    if let Some(content) =
        content.filter(|c| !c.deleting && (c.policy_delete == retain || (vs.is_none() && !retain)))
    {
        // The sidecar deletes nothing for a content whose VolumeSnapshot vanished, unless it is told that this is meant.
        pass.plan.ops.push(policy(
            content,
            if retain { "Retain" } else { "Delete" },
            vs.is_none() && !retain,
        ));
    }
    match (vs, content) {
        (Some(vs), content) => {
            if !vs.deleting {
                let namespace = snapshot.namespace().unwrap_or_default();
                let target =
                    backend_target("VolumeSnapshot", &namespace, &volume_snapshot_name(snapshot), &vs.uid);
                pass.plan.ops.push(Op::Delete { target, grace: None });
            }
            // With a content the data goes, or stays, with it.
            if content.is_some() {
                released(&mut pass);
            }
            pass.waiting(Reason::Deleting, "the VolumeSnapshot is being deleted", 500);
        }
        (None, Some(content)) if !retain => content_alone(&mut pass, observed, content),
        (None, None) if !retain && pass.status.released.is_none() && orphaned(&mut pass, observed) => {}
        _ => {
            if let Some(handle) = pass.status.handle.clone().filter(|_| retain) {
                let driver = pass.status.driver.clone().unwrap_or_default();
                pass.notice(
                    false,
                    Reason::Deleting,
                    format!("the snapshot stays in the backend: driver {driver}, handle {handle}"),
                );
            }
            pass.plan.ops.push(finalizer(snapshot, false));
            pass.keep_status = true;
        }
    }
    pass.finish()
}

fn ours(observed: &Observed, vs: &VolumeSnapshotFacts) -> bool {
    vs.owner.is_none() || vs.owner == observed.snapshot.uid()
}

/// The driver may be creating it at this moment.
fn in_flight(pass: &Pass, vs: Option<&VolumeSnapshotFacts>, content: Option<&ContentFacts>) -> bool {
    let Some(vs) = vs.filter(|v| v.error.is_none() && !v.deleting && pass.status.handle.is_none()) else {
        return false;
    };
    match content {
        Some(content) => content.handle.is_none(),
        None => vs.created.is_some_and(|t| pass.now.as_second() - t.as_second() < CONTENT_TO_COME),
    }
}

/// The content outlived its VolumeSnapshot.
fn content_alone(pass: &mut Pass, observed: &Observed, content: &ContentFacts) {
    let age = content.created.map_or(i64::MAX, |t| pass.now.as_second() - t.as_second());
    let known = content.name != content_name(&observed.snapshot) || age >= GAP;
    if !content.deleting && known {
        let target = backend_target("VolumeSnapshotContent", "", &content.name, &content.uid);
        pass.plan.ops.push(Op::Delete { target, grace: None });
        released(pass);
    }
    pass.waiting(Reason::Deleting, "the driver is deleting the snapshot", 500);
}

/// Both are gone and the backend was not told: a content is made around the handle, to be deleted with the data. Whether there is a handle.
fn orphaned(pass: &mut Pass, observed: &Observed) -> bool {
    let (Some(handle), Some(driver)) = (pass.status.handle.clone(), pass.status.driver.clone()) else {
        return false;
    };
    let object = rebuild::around(observed, &driver, &handle, "Delete");
    pass.plan.ops.push(Op::Create { object });
    pass.waiting(Reason::Deleting, "the driver is told to delete the snapshot", 1000);
    true
}

fn released(pass: &mut Pass) {
    pass.status.released.get_or_insert(Time(pass.now));
}
