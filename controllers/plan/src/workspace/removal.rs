//! Which claims may be deleted. Everything that is on a volume and nowhere else goes with its claim, so there are three cases and no
//! fourth: the volume was archived, another one took its place, or it was to come out of its archive and never did; and each time a Snapshot
//! that the backend has holds what is on it, or would be.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::{
    Observed,
    volume::{self, SAFETY, note},
};
use crate::{Op, Target};

/// Deletes the claim whose Archive is written down.
pub(crate) fn archived(observed: &Observed, ops: &mut Vec<Op>) {
    remove(observed, observed.own_claim(), ops);
}

/// Deletes claims whose place another one has taken.
pub(crate) fn replaced(observed: &Observed, ops: &mut Vec<Op>) {
    remove(observed, &observed.older, ops);
}

fn remove<'a>(
    observed: &Observed,
    claims: impl IntoIterator<Item = &'a PersistentVolumeClaim>,
    ops: &mut Vec<Op>,
) {
    for claim in claims {
        if claim.metadata.deletion_timestamp.is_none() && may_go(observed, claim) {
            ops.push(Op::Delete { target: target(observed, claim), grace: None });
        }
    }
}

fn target(observed: &Observed, claim: &PersistentVolumeClaim) -> Target {
    Target {
        api_version: "v1".into(),
        kind: "PersistentVolumeClaim".into(),
        namespace: observed.namespace().into(),
        name: claim.metadata.name.clone().unwrap_or_default(),
        uid: claim.metadata.uid.clone().unwrap_or_default(),
    }
}

/// Whether nothing is lost with this claim.
pub(crate) fn may_go(observed: &Observed, claim: &PersistentVolumeClaim) -> bool {
    let uid = claim.metadata.uid.as_deref();
    if !observed.owns(&claim.metadata) || mounted(observed, claim) || unfinished(observed, claim).is_some() {
        return false;
    }
    let holds_it = |name: Option<&str>| {
        let mut all = observed.snapshots.iter();
        uid.is_some()
            && name.is_some()
            && all.any(|s| Some(&*s.name) == name && s.usable() && s.claim_uid.as_deref() == uid)
    };
    let newest = observed.own_claim();
    if newest.is_some_and(|newest| newest.metadata.uid.as_deref() == uid) {
        let archive = volume::recorded_archive(observed);
        let stands = || observed.snapshots.iter().any(|s| Some(&*s.name) == archive && s.usable());
        return observed.pod.is_none()
            && (volume::archived(observed, claim) && holds_it(archive)
                || volume::blank(observed, claim) && stands());
    }
    // Replaced: what took its place is bound and names the Snapshot of what was there.
    newest.is_some_and(|newest| {
        volume::phase(newest) == "Bound"
            && volume::generation(newest) > volume::generation(claim)
            && holds_it(note(newest, SAFETY))
    })
}

/// A Snapshot that is being taken of this claim; it needs the volume.
pub(crate) fn unfinished<'a>(observed: &'a Observed, claim: &PersistentVolumeClaim) -> Option<&'a str> {
    let of_it = |uid: Option<&str>| uid.is_none_or(|uid| claim.metadata.uid.as_deref() == Some(uid));
    let taking = |s: &&super::SnapshotFact| {
        !s.handle && s.failed.is_none() && !s.deleting && of_it(s.claim_uid.as_deref())
    };
    observed.snapshots.iter().find(taking).map(|s| s.name.as_str())
}

fn mounted(observed: &Observed, claim: &PersistentVolumeClaim) -> bool {
    let spec = observed.pod.as_ref().and_then(|p| p.spec.as_ref());
    let volumes = spec.and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    volumes
        .iter()
        .any(|v| v.persistent_volume_claim.as_ref().map(|c| &c.claim_name) == claim.metadata.name.as_ref())
}
