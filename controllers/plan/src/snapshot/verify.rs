//! What follows from a Snapshot that is ready: what restored desktops found, when its time is over, and the notes that Velero's tools read.

use a8s_crds::{
    DeletionPolicy,
    conditions::{self, ConditionType, Reason, Status},
    labels,
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    ENVIRONMENT, Observed,
    pass::{self, Pass},
};
use crate::{Op, Wake};

/// Says what desktops found that were restored from it. What was found right once is right.
pub(super) fn receipts(pass: &mut Pass, observed: &Observed) {
    if conditions::is_true(&pass.old.conditions, ConditionType::Verified) {
        return;
    }
    let good = observed.receipts.iter().find(|r| r.verified);
    let Some(receipt) = good.or(observed.receipts.first()) else { return };
    let kind = ConditionType::Verified;
    if receipt.verified {
        let text = format!(
            "Workspace {} found everything as it was taken and showed its first frame",
            receipt.workspace
        );
        pass.set(kind, Status::True, Reason::Verified, &text);
        pass.notice(false, Reason::Verified, text);
        return;
    }
    let detail = receipt.detail.as_deref().unwrap_or("no details");
    let text = format!("Workspace {} found a difference: {detail}", receipt.workspace);
    let known = conditions::get(&pass.old.conditions, kind).is_some_and(|c| c.message == text);
    pass.set(kind, Status::False, Reason::ManifestDiffers, &text);
    if !known {
        pass.notice(true, Reason::ManifestDiffers, text);
    }
}

/// `ttl`: deleted at the exact time, unless it is held.
pub(super) fn lifetime(pass: &mut Pass, observed: &Observed) {
    let spec = &observed.snapshot.spec;
    let taken = pass.status.taken_at.as_ref().map(|t| t.0);
    let span = spec.ttl.as_ref().and_then(|ttl| Some(SignedDuration::from_secs(ttl.seconds()?)));
    let end = taken.zip(span).and_then(|(taken, span)| taken.checked_add(span).ok());
    pass.status.expires = end.filter(|_| !spec.hold).map(Time);
    let Some(end) = end.filter(|_| !spec.hold) else { return };
    if end > pass.now {
        pass.plan.wake = pass.plan.wake.at(end, pass.now);
        return;
    }
    // As it was read: somebody may be putting a hold on it at this moment.
    pass.plan.ops.push(Op::DeleteUnchanged {
        target: pass::target(&observed.snapshot),
        version: observed.snapshot.resource_version().unwrap_or_default(),
    });
    pass.keep_status = true;
    pass.notice(false, Reason::Expired, "spec.ttl is over; the Snapshot is deleted".to_owned());
    pass.plan.wake = Wake::AfterMillis(2000);
}

/// Velero's own keys, so that its tools and people who know them can read what there is, and a restore brings the status along.
pub(super) fn notes(pass: &mut Pass, observed: &Observed) {
    let snapshot = &observed.snapshot;
    let status = &pass.status;
    let (Some(handle), Some(driver)) = (&status.handle, &status.driver) else { return };
    let policy = match snapshot.spec.deletion_policy {
        DeletionPolicy::Delete => "Delete",
        DeletionPolicy::Retain => "Retain",
    };
    let mut wanted = json!({
        labels::VELERO_HANDLE: handle,
        labels::VELERO_DRIVER: driver,
        labels::VELERO_POLICY: policy,
        labels::VELERO_RESTORE_STATUS: "true",
    });
    for (key, value) in
        [(labels::VELERO_RESTORE_SIZE, &status.restore_size), (ENVIRONMENT, &status.environment)]
    {
        if let Some(value) = value {
            wanted[key] = Value::from(value.as_str());
        }
    }
    let have = snapshot.annotations();
    let there = wanted.as_object().is_some_and(|all| {
        all.iter().all(|(key, value)| have.get(key).map(String::as_str) == value.as_str())
    });
    if there {
        return;
    }
    let target = pass::target(snapshot);
    pass.plan.ops.push(Op::Apply {
        object: json!({
            "apiVersion": target.api_version, "kind": target.kind,
            "metadata": {"name": target.name, "namespace": target.namespace, "uid": target.uid, "annotations": wanted},
        }),
        manager: "snapshot-notes",
    });
}
