//! A Workspace that shall be archived: when its pod is gone a Snapshot is taken, and when the backend has that, its claim goes. Until then,
//! and whenever the Snapshot cannot be had, it stays suspended with its volume.

use a8s_crds::{Trigger, WorkspaceStatus, conditions::Reason};
use k8s_openapi::{api::core::v1::PersistentVolumeClaim, apimachinery::pkg::apis::meta::v1::Time};

use super::{Hold, Observed, keeping, leaving, removal, status::Draft, volume};
use crate::{Env, Op, Plan};

pub(crate) fn plan(
    observed: &Observed,
    env: &Env,
    mut draft: Draft<'_>,
    mut ops: Vec<Op>,
) -> Plan<WorkspaceStatus> {
    if observed.own_pod().is_some() {
        return leaving::suspended(observed, env, draft, ops);
    }
    let hold = match observed.own_claim() {
        None => gone(observed, &mut draft),
        Some(claim) => replace(observed, claim, env, &mut draft, &mut ops),
    };
    let wake = hold.wake();
    draft.hold(hold);
    draft.control(None);
    draft.conditions();
    draft.finish(ops, wake)
}

fn gone(observed: &Observed, draft: &mut Draft<'_>) -> Hold {
    if let Some(archive) = volume::archive(observed) {
        draft.status.archive = Some(archive.to_owned());
        return Hold::wait(
            Reason::Archived,
            format!(
                "Archived; the Snapshot {archive} stands for the volume until the desktop is wanted again."
            ),
        );
    }
    match volume::next(observed) {
        Err(hold) if hold.reason == Reason::ClaimLost => hold,
        _ => {
            Hold::wait(Reason::Archived, "Archived; there was no volume yet, so that nothing had to be kept.")
        }
    }
}

/// Brings the Snapshot into being, writes it down, and lets the claim go, in this order.
fn replace(
    observed: &Observed,
    claim: &PersistentVolumeClaim,
    env: &Env,
    draft: &mut Draft<'_>,
    ops: &mut Vec<Op>,
) -> Hold {
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    if claim.metadata.deletion_timestamp.is_some() {
        if volume::archived(observed, claim) || volume::blank(observed, claim) {
            return Hold::wait(Reason::Archiving, format!("The claim {name} and its volume are going."));
        }
        let text = format!("The claim {name} was deleted before a Snapshot could take its place.");
        return Hold::stalled(Reason::ClaimLost, text);
    }
    if let Some(older) = observed.older.first() {
        // Or else the one whose place was taken would pass for the Workspace's.
        removal::replaced(observed, ops);
        let older = older.metadata.name.as_deref().unwrap_or_default();
        return Hold::wait(
            Reason::Archiving,
            format!("The claim {older} goes first, whose place {name} has taken."),
        );
    }
    if volume::blank(observed, claim) {
        removal::archived(observed, ops);
        return Hold::wait(
            Reason::Archiving,
            format!(
                "The claim {name} got no volume; the Snapshot that it was made from still stands for it."
            ),
        );
    }
    if volume::phase(claim) != "Bound" {
        return Hold::wait(
            Reason::Suspended,
            format!("There is nothing to archive: the claim {name} has no volume."),
        );
    }
    let taking = || Hold::wait(Reason::Archiving, "A Snapshot is taken that stands for the volume.");
    let storage = observed.workspace.status.as_ref().and_then(|s| s.storage.as_ref());
    let Some(since) = storage.and_then(|s| s.quiet_since.as_ref()) else {
        // Written down before the Snapshot is made, because its name comes from it.
        draft.quiet = Some(Time(env.now));
        return taking();
    };
    draft.quiet = Some(since.clone());
    // The time tells this stay without a pod from every other, so that no older Snapshot passes for what is on the volume now.
    let key = format!("{}-{}", volume::generation(claim), since.0.as_second());
    let Some(found) = keeping::ensure(observed, Trigger::Archive, &key, ops) else { return taking() };
    if let Some(why) = &found.failed {
        let text = format!(
            "The volume is kept, because no Snapshot can take its place: {why}. Snapshot {} says more.",
            found.name
        );
        return Hold::stalled(Reason::SnapshotFailed, text);
    }
    if !found.usable() || found.claim_uid != claim.metadata.uid {
        return taking();
    }
    if volume::recorded_archive(observed) != Some(&*found.name) {
        draft.status.archive = Some(found.name.clone());
        draft.notice(
            false,
            Reason::Archiving,
            format!("The Snapshot {} stands for the volume now.", found.name),
        );
        return taking();
    }
    removal::archived(observed, ops);
    match removal::unfinished(observed, claim) {
        Some(other) => Hold::wait(
            Reason::Archiving,
            format!("The volume waits for the Snapshot {other} that is being taken of it."),
        ),
        None => Hold::wait(Reason::Archiving, format!("The claim {name} and its volume are going.")),
    }
}
