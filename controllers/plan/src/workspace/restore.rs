//! The order to put the volume back to a Snapshot, in place: look at the Snapshot, save what is there, take the pod away, make a new claim.
//! Until what is there is safe nothing happens to the desktop, and an order that cannot be carried out changes nothing at all.

use a8s_crds::{Restore, RestoreStatus, Trigger, conditions::Reason, names};
use k8s_openapi::{api::core::v1::PersistentVolumeClaim, apimachinery::pkg::apis::meta::v1::Time};

use super::{
    Hold, Observed, keeping, leaving,
    running::pod_target,
    status::Draft,
    trouble,
    volume::{self, RESTORE_ID, SAFETY, note},
};
use crate::{Env, Op};

const WAITING: &str = "Waiting";
const SAVING: &str = "Saving";
const REPLACING: &str = "Replacing";
const DONE: &str = "Done";
const REFUSED: &str = "Refused";

/// What the order means for the pod in this pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The desktop goes its way; the next claim, if there is to be one, is made as any other.
    Free,
    /// No pod is made now: the one that there is has to go, or something has to be written down first.
    Busy,
}

/// The order whose claim is still to be made.
pub(crate) fn replacing(observed: &Observed) -> Option<&RestoreStatus> {
    let known = observed.workspace.status.as_ref()?.restore.as_ref()?;
    (known.phase == REPLACING && !made(observed, &known.id)).then_some(known)
}

/// Whether an order is being carried out, so that the desktop is not left alone.
pub(crate) fn under_way(observed: &Observed) -> bool {
    let known = observed.workspace.status.as_ref().and_then(|s| s.restore.as_ref());
    known.is_some_and(|r| matches!(r.phase.as_str(), SAVING | REPLACING))
}

/// Name of the Snapshot that an order is about, for those who look it up.
pub fn snapshot(workspace: &a8s_crds::Workspace) -> Option<&str> {
    let known = workspace.status.as_ref().and_then(|s| s.restore.as_ref());
    let running = known.filter(|r| r.phase == REPLACING).map(|r| r.snapshot.as_str());
    let done = |id: &str| known.is_some_and(|r| r.id == id && matches!(r.phase.as_str(), DONE | REFUSED));
    running.or_else(|| {
        workspace.spec.restore.as_ref().filter(|order| !done(&order.id)).map(|order| order.snapshot.as_str())
    })
}

fn made(observed: &Observed, id: &str) -> bool {
    observed.own_claim().is_some_and(|claim| note(claim, RESTORE_ID) == Some(id))
}

fn settled(observed: &Observed, order: &Restore) -> bool {
    let known = observed.workspace.status.as_ref().and_then(|s| s.restore.as_ref());
    let over = |r: &RestoreStatus| r.id == order.id && matches!(r.phase.as_str(), DONE | REFUSED);
    known.is_some_and(over) || made(observed, &order.id)
}

/// Goes one step further with the order, if there is one.
pub(crate) fn plan(observed: &Observed, env: &Env, draft: &mut Draft<'_>, ops: &mut Vec<Op>) -> Step {
    finish(observed, draft);
    if let Some(known) = replacing(observed) {
        return replace(observed, known, env, draft, ops);
    }
    let Some(order) = &observed.workspace.spec.restore else {
        // Taken back before anything was done.
        if draft.status.restore.as_ref().is_some_and(|r| matches!(r.phase.as_str(), WAITING | SAVING)) {
            draft.status.restore = None;
        }
        return Step::Free;
    };
    if settled(observed, order) || !ripe(observed) {
        return Step::Free;
    }
    match look(observed, order) {
        Ok(()) => save(observed, order, env, draft, ops),
        Err(hold) if hold.stalled => refuse(draft, order, &hold),
        Err(hold) => {
            let known = draft.status.restore.as_ref().filter(|r| r.id == order.id && r.phase == WAITING);
            if known.is_none() {
                let note = format!("The order {} to restore waits: {}", order.id, hold.message);
                draft.notice(true, hold.reason, note);
            }
            draft.status.restore =
                Some(RestoreStatus { message: Some(hold.message), ..status(order, WAITING) });
        }
    }
    Step::Free
}

fn status(order: &Restore, phase: &str) -> RestoreStatus {
    RestoreStatus {
        id: order.id.clone(),
        snapshot: order.snapshot.clone(),
        phase: phase.to_owned(),
        ..RestoreStatus::default()
    }
}

/// Whether there is a volume to put back, or one that is lost. One that is still to be made comes first.
fn ripe(observed: &Observed) -> bool {
    match volume::current(observed) {
        Some(claim) => volume::phase(claim) != "Pending",
        None => {
            matches!(volume::next(observed), Err(hold) if hold.stalled && hold.reason != Reason::InvalidSpec)
                && observed.workspace.status.as_ref().is_some_and(|s| s.storage.is_some())
        }
    }
}

/// Whether there is something on the volume that can be saved.
fn worth(observed: &Observed) -> Option<&PersistentVolumeClaim> {
    volume::current(observed).filter(|claim| {
        let going = claim.metadata.deletion_timestamp.is_some() && observed.own_pod().is_none();
        volume::phase(claim) == "Bound" && !going
    })
}

fn look(observed: &Observed, order: &Restore) -> Result<(), Hold> {
    let name = &order.snapshot;
    let source = match volume::usable(name, observed.restore.as_ref()) {
        // It may come with the same `kubectl apply`.
        Err(hold) if hold.reason == Reason::SnapshotNotFound => return Err(Hold { stalled: false, ..hold }),
        other => other?,
    };
    if source.deleting {
        let text = format!("The Snapshot {name} is being deleted; name another one under a new id.");
        return Err(Hold::stalled(Reason::SnapshotLost, text));
    }
    volume::fits(observed, &format!("the Snapshot {name}"), source.restore_size.as_deref())?;
    volume::same_driver(observed, &format!("The Snapshot {name}"), source.driver.as_deref())
}

fn refuse(draft: &mut Draft<'_>, order: &Restore, hold: &Hold) {
    let note = format!("The order {} to restore is refused, nothing was changed: {}", order.id, hold.message);
    draft.notice(true, hold.reason, note);
    draft.status.restore =
        Some(RestoreStatus { message: Some(hold.message.clone()), ..status(order, REFUSED) });
}

/// The Snapshot of what is there. Its name has the time at which this order began in it, so that it is never an older one.
fn save(observed: &Observed, order: &Restore, env: &Env, draft: &mut Draft<'_>, ops: &mut Vec<Op>) {
    let Some(claim) = worth(observed) else {
        draft.status.restore = Some(status(order, REPLACING));
        return;
    };
    let known = observed.workspace.status.as_ref().and_then(|s| s.restore.as_ref());
    let known = known.filter(|r| r.id == order.id && r.snapshot == order.snapshot && r.phase == SAVING);
    let Some((known, began)) = known.and_then(|r| Some((r, r.began.as_ref()?))) else {
        let key = key(order, &Time(env.now));
        let safety = names::automatic_snapshot(observed.name(), observed.uid(), Trigger::Safety, &key);
        let began = Some(Time(env.now));
        draft.status.restore = Some(RestoreStatus { safety: Some(safety), began, ..status(order, SAVING) });
        return;
    };
    let Some(found) = keeping::ensure(observed, Trigger::Safety, &key(order, began), ops) else { return };
    if found.usable() && found.claim_uid == claim.metadata.uid {
        draft.status.restore =
            Some(RestoreStatus { safety: Some(found.name.clone()), ..status(order, REPLACING) });
    } else if let Some(why) = &found.failed {
        let text = format!(
            "What is there cannot be saved first, Snapshot {}: {why}. Put that right, then give the order under a new id.",
            found.name
        );
        refuse(draft, order, &Hold::stalled(Reason::SnapshotFailed, text));
    } else if found.deleting {
        let text = format!(
            "The Snapshot {} of what is there is being deleted; give the order under a new id.",
            found.name
        );
        refuse(draft, order, &Hold::stalled(Reason::SnapshotLost, text));
    } else if known.message.is_none() {
        let message = Some(format!("The Snapshot {} of what is there is being taken.", found.name));
        draft.status.restore = Some(RestoreStatus { message, ..known.clone() });
    }
}

fn key(order: &Restore, began: &Time) -> String {
    format!("{}-{}", order.id, began.0.as_second())
}

/// The pod goes, then the claim is made.
fn replace(
    observed: &Observed,
    known: &RestoreStatus,
    env: &Env,
    draft: &mut Draft<'_>,
    ops: &mut Vec<Op>,
) -> Step {
    let order = Restore { snapshot: known.snapshot.clone(), id: known.id.clone() };
    if let Some(pod) = observed.own_pod() {
        if !trouble::leaving(pod) {
            if let Some(text) = leaving::unsaved(observed, leaving::since(draft, env), env.now) {
                draft.hold(Hold::wait(Reason::SavingArtifacts, text));
                return Step::Busy;
            }
            ops.push(Op::Delete { target: pod_target(observed, pod), grace: None });
        }
        let text =
            format!("The desktop stops, because its volume is put back to Snapshot {}.", order.snapshot);
        draft.hold(Hold::wait(Reason::Restoring, text));
        return Step::Busy;
    }
    if !saved(observed, known) {
        let text = "The Snapshot of what is there is gone; give the order under a new id.";
        refuse(draft, &order, &Hold::stalled(Reason::SnapshotLost, text));
        draft.hold(Hold::wait(Reason::Progressing, "The desktop starts again on the volume as it is."));
        return Step::Busy;
    }
    match volume::next(observed) {
        Err(hold) if hold.stalled => {
            refuse(draft, &order, &hold);
            draft.hold(Hold::wait(Reason::Progressing, "The desktop starts again on the volume as it is."));
            Step::Busy
        }
        _ => Step::Free,
    }
}

/// Whether what is on the volume that is to be replaced is in its Snapshot.
pub(crate) fn saved(observed: &Observed, known: &RestoreStatus) -> bool {
    let Some(claim) = observed.own_claim() else { return true };
    if claim.metadata.deletion_timestamp.is_some() || volume::phase(claim) != "Bound" {
        return true;
    }
    observed
        .snapshots
        .iter()
        .any(|s| Some(&s.name) == known.safety.as_ref() && s.usable() && s.claim_uid == claim.metadata.uid)
}

/// The claim was made and is bound: the order is done, whatever the status knew of it.
fn finish(observed: &Observed, draft: &mut Draft<'_>) {
    let Some(claim) = volume::current(observed).filter(|c| volume::phase(c) == "Bound") else { return };
    let Some(id) = note(claim, RESTORE_ID) else { return };
    if draft.status.restore.as_ref().is_some_and(|r| r.id != id || r.phase == DONE) {
        return;
    }
    let snapshot = note(claim, super::RESTORED_FROM).unwrap_or_default().to_owned();
    let safety = note(claim, SAFETY).map(str::to_owned);
    let before =
        safety.as_ref().map(|s| format!(" What was there before is in Snapshot {s}.")).unwrap_or_default();
    draft.notice(false, Reason::Restored, format!("The volume was put back to Snapshot {snapshot}.{before}"));
    let order = Restore { snapshot, id: id.to_owned() };
    draft.status.restore = Some(RestoreStatus { safety, ..status(&order, DONE) });
}
