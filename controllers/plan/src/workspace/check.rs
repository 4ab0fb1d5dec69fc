//! What no plan for a Workspace may ever do, checked before it is carried out.

use std::fmt;

use a8s_crds::{Trigger, WorkspaceState, WorkspaceStatus, labels, names};

use serde_json::Value;

use super::{Observed, SnapshotFact, adoption, life, trouble, volume};
use crate::{Effect, Env, Op, Plan, Target};

/// A plan that must not be carried out; a defect of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Number of the invariant.
    pub invariant: u8,
    /// What the plan wanted.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}: {}", self.invariant, self.what)
    }
}

/// Whether the plan does something that nothing brings back. It must not rest on a view of the past.
pub fn irrevocable(plan: &Plan<WorkspaceStatus>) -> bool {
    let lost =
        |op: &Op| matches!(op, Op::Delete { target, grace } if target.kind != "Pod" || *grace == Some(0));
    plan.ops.iter().any(lost)
}

/// All violations; 1: at most one pod of a Workspace, and none that is not wanted; 2: only what is ours by UID is touched, a claim only when a Snapshot holds what is on
/// it; the Workspace or its Session only once its time is over.
pub fn check(observed: &Observed, env: &Env, plan: &Plan<WorkspaceStatus>) -> Vec<Violation> {
    let mut all = Vec::new();
    let mut say = |invariant, what: String| all.push(Violation { invariant, what });
    let mut pods = 0;
    for op in &plan.ops {
        match op {
            Op::Create { object } | Op::Apply { object, .. } => {
                let kind = object["kind"].as_str().unwrap_or_default();
                if kind == "Snapshot" {
                    // It outlives the Workspace, so that nothing owns it.
                    let of_it = object["metadata"]["labels"][labels::WORKSPACE_UID] == *observed.uid();
                    if !of_it || object["spec"]["trigger"] == "Manual" || matches!(op, Op::Apply { .. }) {
                        say(2, "a Snapshot in a person's name or of another Workspace".into());
                    }
                    continue;
                }
                if object["metadata"]["ownerReferences"][0]["uid"] != observed.uid() {
                    say(2, format!("a {kind} without its owner"));
                }
                if kind == "PersistentVolumeClaim" && !claim_may_come(observed, object) {
                    say(2, "a claim in place of one that holds what is nowhere else".into());
                }
                if kind != "Pod" {
                    continue;
                }
                pods += 1;
                let unwanted = observed.deleted_at().is_some()
                    || life::wanted(observed, env).state != WorkspaceState::Running;
                if object["metadata"]["name"] != names::pod(observed.name()).as_str() {
                    say(1, "a pod under another name".into());
                }
                if observed.pod.is_some() || pods > 1 {
                    say(1, "a second pod".into());
                }
                if unwanted {
                    say(1, "a pod for a Workspace that shall have none".into());
                }
            }
            Op::Delete { target, grace } => {
                if *grace == Some(0) && !observed.node.is_off() {
                    say(1, "to forget a pod that may still run".into());
                }
                let restored = || observed.pod.as_ref().filter(|p| adoption::orphan(observed, &p.metadata));
                let ours = observed.own_pod().or_else(restored);
                let ours = ours.is_some_and(|p| p.metadata.uid.as_deref() == Some(&target.uid));
                let pod = target.kind == "Pod" && ours && !target.uid.is_empty();
                let over = life::expired(observed, env) && *target == life::owner(observed);
                if !pod && !over && !claim_may_go(observed, env, target) {
                    say(2, format!("to delete {} {}", target.kind, target.name));
                }
            }
            Op::Swap { target, .. } if target.uid == observed.uid() => {}
            // A restored claim that nobody owns.
            Op::Swap { target, .. }
                if adoption::claim(observed)
                    .is_some_and(|c| c.metadata.uid.as_deref() == Some(&target.uid)) => {}
            Op::DeleteUnchanged { target, version } if target.kind == "Snapshot" => {
                let may_go = |s: &SnapshotFact| {
                    !s.hold && s.trigger != Trigger::Manual && (&s.uid, &s.version) == (&target.uid, version)
                };
                let kept =
                    observed.workspace.status.as_ref().and_then(|s| s.archive.as_ref()) == Some(&target.name);
                if kept || !observed.snapshots.iter().any(may_go) {
                    say(2, format!("to delete Snapshot {}, which is not its to delete", target.name));
                }
            }
            Op::DeleteUnchanged { target, .. } | Op::Swap { target, .. } | Op::Merge { target, .. } => {
                say(2, format!("to change {} {}, which is not its business", target.kind, target.name));
            }
            Op::Finalizer { target, present, .. } => {
                if target.uid != observed.uid() {
                    say(2, "a finalizer of another object".into());
                }
                if !present && observed.own_pod().is_some_and(|p| !trouble::leaving(p)) {
                    say(1, "to let the Workspace go before its pod".into());
                }
            }
            Op::Effect(effect) => {
                let of = match effect {
                    Effect::ServingSecret { owner, .. } => Some(owner),
                    Effect::SetControl { workspace, .. } | Effect::Quiesce { workspace } => Some(workspace),
                    Effect::StoreContent { .. } | Effect::DeleteContent { .. } => None,
                };
                let cloned =
                    observed.clone_source.as_ref().filter(|_| matches!(effect, Effect::Quiesce { .. }));
                if of.is_none_or(|of| of.uid != observed.uid() && cloned.is_none_or(|c| c.uid != of.uid)) {
                    say(2, "an effect on another object".into());
                }
            }
        }
    }
    all
}

/// What is on a claim must be in a Snapshot that the backend has, and nobody may need the claim any more. Said here once more and in other
/// words than in [`super::removal`], which decides.
fn claim_may_go(observed: &Observed, env: &Env, target: &Target) -> bool {
    let mut all = observed.older.iter().chain(observed.own_claim());
    let Some(claim) = all.find(|c| c.metadata.uid.as_deref() == Some(&target.uid)) else { return false };
    let of_claim = |s: &&SnapshotFact| s.claim_uid.as_deref() == Some(&target.uid);
    let taking = |s: &SnapshotFact| !s.handle && s.failed.is_none() && !s.deleting;
    if target.kind != "PersistentVolumeClaim"
        || target.uid.is_empty()
        || observed.snapshots.iter().filter(of_claim).any(taking)
    {
        return false;
    }
    let status = observed.workspace.status.as_ref();
    let safe = |name: Option<&str>| {
        let named = observed.snapshots.iter().filter(of_claim).find(|s| Some(&*s.name) == name);
        named.is_some_and(|s| s.ready && s.handle && !s.deleting)
    };
    let newest = observed.own_claim();
    if newest == Some(claim) {
        let archived = life::wanted(observed, env).state == WorkspaceState::Archived;
        let archive = status.and_then(|s| s.archive.as_deref());
        // It is empty: what it was to be made from is kept.
        let empty = claim.spec.as_ref().is_none_or(|s| s.volume_name.is_none())
            && volume::phase(claim) == "Pending"
            && volume::note(claim, super::RESTORED_FROM) == archive
            && observed.snapshots.iter().any(|s| Some(&*s.name) == archive && s.handle && !s.deleting);
        return archived && observed.pod.is_none() && (empty || safe(archive));
    }
    newest.is_some_and(|new| volume::phase(new) == "Bound" && safe(volume::note(new, volume::SAFETY)))
}

/// A claim is made where there is none, or where what is on the one that there is has become safe.
fn claim_may_come(observed: &Observed, object: &Value) -> bool {
    let Some(old) = observed.own_claim().filter(|c| volume::phase(c) == "Bound") else { return true };
    let safe = |name: Option<&str>| {
        observed
            .snapshots
            .iter()
            .any(|s| Some(&*s.name) == name && s.usable() && s.claim_uid == old.metadata.uid)
    };
    let archive = observed.workspace.status.as_ref().and_then(|s| s.archive.as_deref());
    let going = old.metadata.deletion_timestamp.is_some();
    let saved = object["metadata"]["annotations"][volume::SAFETY].as_str();
    observed.own_pod().is_none() && (going && (archive.is_some() || saved.is_none()) || safe(saved))
}
