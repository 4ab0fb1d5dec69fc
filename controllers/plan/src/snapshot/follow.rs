//! The VolumeSnapshot exists: its handle is written down as soon as it is known, and Ready means that a volume can be made from it.

use a8s_crds::{
    Consistency, DeletionPolicy,
    conditions::{self, ConditionType, Reason},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{
    ContentFacts, Observed, VolumeSnapshotFacts, content_name, pass::Pass, policy, rebuild, verify,
    volume_snapshot_name,
};
use crate::{Op, Wake};

/// A snapshot that takes longer than so many seconds says how far it is, its handle first of all.
const BRIEF: i64 = 2;

pub(super) fn follow(pass: &mut Pass, observed: &Observed, found: &VolumeSnapshotFacts) {
    let name = volume_snapshot_name(&observed.snapshot);
    if found.owner.is_some() && found.owner != observed.snapshot.uid() {
        let note = format!("VolumeSnapshot {name} belongs to somebody else; delete or rename it");
        return pass.stalled(Reason::NameTaken, &note);
    }
    if found.deleting {
        let note = "the VolumeSnapshot is being deleted; it is made again from its handle if the backend keeps the data";
        return pass.waiting(Reason::SnapshotLost, note, 2000);
    }
    let content = observed.content.as_ref();
    if let (None, Some(handle)) = (content, pass.status.handle.clone()) {
        // It was bound once. To delete it now could delete the data: its controller makes the content of a claim's snapshot again by itself,
        // and under a name that gives the same data. What was made around a handle gets its content from here.
        let made = pass.status.driver.clone().filter(|_| found.given);
        if let Some(driver) = made {
            pass.plan.ops.push(Op::Create { object: rebuild::around(observed, &driver, &handle, "Retain") });
        }
        return pass.waiting(
            Reason::Progressing,
            "the VolumeSnapshot lost its content, which is made again",
            2000,
        );
    }
    pass.status.volume_snapshot = Some(name);
    facts(pass, found, content);
    let content_handle = content.and_then(|c| c.handle.as_ref());
    if content_handle.is_some() && pass.status.handle.as_ref() != content_handle {
        return pass.stalled(
            Reason::SnapshotLost,
            "the VolumeSnapshot of that name holds another snapshot than the one that was taken",
        );
    }
    if let Some(content) = content.filter(|c| !c.deleting) {
        settle_policy(pass, observed, content, found.ready);
    }
    let error = found.error.as_ref().or_else(|| content.and_then(|c| c.error.as_ref()));
    match error {
        _ if found.ready && content_handle.is_some() => ready(pass, observed, content),
        Some(error) if pass.old.handle.is_some() && rebuild::says_lost(error) => {
            let handle = pass.status.handle.clone().unwrap_or_default();
            let note = format!(
                "the backend has no snapshot {handle} ({error}); it is never taken again: delete this Snapshot, or bring the data back"
            );
            pass.stalled(Reason::SnapshotLost, &note);
            pass.plan.wake = Wake::AfterMillis(60_000);
        }
        Some(error) => {
            let note = format!("the driver reports: {error}; it tries again");
            if pass.condition(Reason::SnapshotFailed, &note, false) {
                pass.notice(true, Reason::SnapshotFailed, note);
            }
            pass.plan.wake = Wake::AfterMillis(5000);
        }
        None if pass.old.handle.is_some() => {
            pass.waiting(Reason::Progressing, "made ready again from the backend's handle", 2000);
        }
        None => {
            pass.waiting(Reason::SnapshotInProgress, "the driver is taking the snapshot", 2000);
            if pass.age_seconds() < BRIEF {
                // Most drivers are ready a moment later; the write would only be in the way of the one that says so.
                pass.keep_status = true;
                pass.plan.wake = Wake::AfterMillis(500);
            }
        }
    }
}

fn facts(pass: &mut Pass, found: &VolumeSnapshotFacts, content: Option<&ContentFacts>) {
    let status = &mut pass.status;
    if let Some(content) = content {
        if status.handle.is_none() {
            status.handle.clone_from(&content.handle);
        }
        status.driver = Some(content.driver.clone());
        if content.class.is_some() {
            status.snapshot_class_name.clone_from(&content.class);
        }
    }
    if status.restore_size.is_none() {
        status.restore_size.clone_from(&found.restore_size);
    }
    if status.taken_at.is_none() {
        status.taken_at = found.taken_at.map(Time);
    }
}

/// The VolumeSnapshot can go with its owner before this controller sees the deletion: what is to stay must be safe before. What was made
/// around a handle keeps the data until it is known to be the right one.
fn settle_policy(pass: &mut Pass, observed: &Observed, content: &ContentFacts, ready: bool) {
    let retain = observed.snapshot.spec.deletion_policy == DeletionPolicy::Retain;
    let rebuilt = content.name == content_name(&observed.snapshot);
    let was_ready = conditions::is_true(&pass.old.conditions, ConditionType::Ready);
    if retain && content.policy_delete {
        pass.plan.ops.push(policy(content, "Retain", false));
    } else if !retain && !content.policy_delete && rebuilt && ready && !was_ready {
        pass.plan.ops.push(policy(content, "Delete", false));
    }
}

fn ready(pass: &mut Pass, observed: &Observed, content: Option<&ContentFacts>) {
    let rebuilt = content.is_some_and(|c| c.name == content_name(&observed.snapshot));
    if pass.condition(Reason::Ready, "", true) {
        let class = pass.status.consistency.map_or("not known", |c| match c {
            Consistency::Turn => "Turn",
            Consistency::Quiesced => "Quiesced",
            Consistency::Crash => "Crash",
        });
        let handle = pass.status.handle.clone().unwrap_or_default();
        match (rebuilt, &observed.snapshot.spec.import) {
            (true, None) => pass.notice(
                false,
                Reason::Rebuilt,
                format!("made ready again from handle {handle}; nothing was taken anew"),
            ),
            (true, Some(_)) => pass.notice(false, Reason::Ready, format!("imported handle {handle}")),
            (false, _) => pass.notice(false, Reason::Ready, format!("snapshot taken, consistency {class}")),
        }
    }
    if conditions::is_true(&pass.old.conditions, ConditionType::Ready) {
        // Notes for backup tools are for later; people wait for Ready.
        verify::notes(pass, observed);
    }
}
