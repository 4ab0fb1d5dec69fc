//! Snapshots that a Workspace takes of itself. Each is an object of its own with a name that is a function of its cause, so that a cause
//! has one Snapshot however often it is looked at. They have no owner: they outlive the Workspace.

mod retention;

use std::collections::BTreeSet;

use a8s_crds::{
    DeletionPolicy, Snapshot, SnapshotPolicy, SnapshotSpec, Trigger, WorkspaceStatus,
    conditions::{self, ConditionType, Reason},
    labels, names,
    schedule::Schedule,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::json;

use super::{Hold, Observed, children, trouble};
use crate::{Env, Op, Plan, Target};

/// Longest wait for a Snapshot before the pod goes, in seconds: the volume stays, so that nothing is lost without it.
const PATIENCE: i64 = 60;

/// A Snapshot of this Workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFact {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Resource version: it is deleted only as it was judged.
    pub version: String,
    /// Why it was taken.
    pub trigger: Trigger,
    /// When the object was made.
    pub created: Timestamp,
    /// When the data was frozen.
    pub taken_at: Option<Timestamp>,
    /// Whether only a person may delete it.
    pub hold: bool,
    /// Whether a volume can be made from it.
    pub ready: bool,
    /// Whether the backend has it: what happens to the volume from now on is not in it.
    pub handle: bool,
    /// Why it cannot be taken, or was lost.
    pub failed: Option<String>,
    /// UID of the Workspace that it is of.
    pub workspace_uid: Option<String>,
    /// UID of the claim that it was taken of.
    pub claim_uid: Option<String>,
    /// Epoch and turn that it has.
    pub place: Option<(i64, i64)>,
    /// Whether it was taken between two turns, flushed.
    pub calm: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl SnapshotFact {
    /// What counts of a Snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        let status = snapshot.status.clone().unwrap_or_default();
        let labelled = snapshot.labels().get(labels::WORKSPACE_UID).cloned();
        let stalled = conditions::is_true(&status.conditions, ConditionType::Stalled);
        let ready = conditions::get(&status.conditions, ConditionType::Ready);
        let failed =
            ready.filter(|c| c.status != "True" && (stalled || c.reason == Reason::SnapshotFailed.as_str()));
        Self {
            name: snapshot.name_any(),
            uid: snapshot.uid().unwrap_or_default(),
            version: snapshot.resource_version().unwrap_or_default(),
            trigger: snapshot.spec.trigger,
            created: snapshot.creation_timestamp().map(|t| t.0).unwrap_or_default(),
            taken_at: status.taken_at.map(|t| t.0),
            hold: snapshot.spec.hold,
            ready: ready.is_some_and(|c| c.status == "True"),
            handle: status.handle.is_some(),
            failed: failed.map(|c| c.message.clone()),
            workspace_uid: status.workspace_uid.or(labelled),
            claim_uid: status.claim.map(|c| c.uid),
            place: status.checkpoint.map(|c| (c.epoch, c.turn)),
            calm: status.consistency == Some(a8s_crds::Consistency::Turn),
            deleting: snapshot.metadata.deletion_timestamp.is_some(),
        }
    }

    /// Whether a volume can be made from it and it stays.
    pub fn usable(&self) -> bool {
        self.ready && self.handle && !self.deleting
    }
}

/// A place in the conversation of the Session that owns the Workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// Epoch.
    pub epoch: i64,
    /// The running or last turn; 0 before the first.
    pub turn: i64,
    /// Whether no turn runs.
    pub idle: bool,
    /// Epoch and number of the newest permission that the agent waits for.
    pub asks: Option<(i64, i64)>,
}

/// The Snapshot of this cause, once it is seen; it is made unless it is there. `key` says which one of its trigger it is.
pub(crate) fn ensure<'a>(
    observed: &'a Observed,
    trigger: Trigger,
    key: &str,
    ops: &mut Vec<Op>,
) -> Option<&'a SnapshotFact> {
    let name = names::automatic_snapshot(observed.name(), observed.uid(), trigger, key);
    let found = observed.snapshots.iter().find(|s| s.name == name);
    if found.is_none() {
        ops.push(create(observed, trigger, &name));
    }
    found
}

fn create(observed: &Observed, trigger: Trigger, name: &str) -> Op {
    let mut all = children::labels_of(observed);
    all.insert(labels::TRIGGER, format!("{trigger:?}"));
    // Everything that has a default is said: what is there is compared with this.
    let spec = SnapshotSpec {
        workspace: observed.name().to_owned(),
        deletion_policy: DeletionPolicy::Delete,
        snapshot_class_name: None,
        hold: false,
        ttl: None,
        trigger,
        import: None,
    };
    Op::Create {
        object: json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Snapshot",
            "metadata": {"name": name, "namespace": observed.namespace(), "labels": all},
            "spec": spec,
        }),
    }
}

/// The Snapshot before the pod goes, if the policy wants one; `Ok` once the pod may go. The pod's UID tells one suspension from the next.
pub(crate) fn before_suspend(observed: &Observed, env: &Env, ops: &mut Vec<Op>) -> Result<(), Hold> {
    let wanted = observed.workspace.spec.snapshots.as_ref().is_some_and(|policy| policy.before_suspend);
    let Some(pod) = observed.own_pod().filter(|pod| wanted && trouble::running(pod)) else { return Ok(()) };
    if observed.own_claim().is_none() {
        return Ok(());
    }
    let key = names::short_hash(pod.metadata.uid.as_deref().unwrap_or_default());
    let wait = |text: String| Err(Hold::wait(Reason::SnapshotInProgress, text));
    match ensure(observed, Trigger::Suspend, &key, ops) {
        None => wait("A Snapshot is taken before the pod goes.".into()),
        // What happens on the volume after that is not in it; whether it can be restored is told by the Snapshot.
        Some(found) if found.handle || found.failed.is_some() || found.deleting => Ok(()),
        Some(found) if env.now.as_second() - found.created.as_second() >= PATIENCE => Ok(()),
        Some(found) => wait(format!("The Snapshot {} is taken before the pod goes.", found.name)),
    }
}

/// What is wrong with the schedule, if it is.
pub(crate) fn wrong(observed: &Observed) -> Option<String> {
    let text = policy(observed)?.schedule.as_deref()?;
    Schedule::parse(text).err().map(|why| format!("spec.snapshots.schedule: {why}."))
}

/// Completes the plan of a Workspace that lives: Snapshots after turns and at their times, and an end to those that are kept no longer.
pub(crate) fn keep(observed: &Observed, env: &Env, plan: &mut Plan<WorkspaceStatus>) {
    let mut next = None;
    if changes(observed) {
        after_turn(observed, &mut plan.ops);
        before_request(observed, &mut plan.ops);
        next = on_schedule(observed, env, plan);
    }
    let verdict = judge(observed, env);
    plan.ops.extend(verdict.doomed.iter().map(|gone| Op::DeleteUnchanged {
        target: Target {
            api_version: "a8s.dev/v1alpha1".into(),
            kind: "Snapshot".into(),
            namespace: observed.namespace().into(),
            name: gone.name.clone(),
            uid: gone.uid.clone(),
        },
        version: gone.version.clone(),
    }));
    for moment in [next, verdict.next].into_iter().flatten() {
        plan.wake = plan.wake.at(moment, env.now);
    }
}

/// Names of the Snapshots that are kept no longer, as far as the Workspace itself knows. Whoever gathers looks only then who else uses them.
pub fn doomed(observed: &Observed, env: &Env) -> Vec<String> {
    judge(observed, env).doomed.into_iter().map(|s| s.name.clone()).collect()
}

fn policy(observed: &Observed) -> Option<&SnapshotPolicy> {
    observed.workspace.spec.snapshots.as_ref()
}

/// Whether the volume is in use, so that a Snapshot has something new to hold.
fn changes(observed: &Observed) -> bool {
    let running = observed.own_pod().is_some_and(|pod| trouble::running(pod) && !trouble::leaving(pod));
    let bound = observed.own_claim().and_then(|c| c.status.as_ref()?.phase.as_deref()) == Some("Bound");
    running && bound && observed.deleted_at().is_none()
}

/// One at a time: the driver is no faster with more, and the next moment is better than the same one twice.
fn under_way(observed: &Observed) -> bool {
    observed
        .snapshots
        .iter()
        .any(|s| s.trigger != Trigger::Manual && !s.handle && s.failed.is_none() && !s.deleting)
}

fn after_turn(observed: &Observed, ops: &mut Vec<Op>) {
    let wanted = policy(observed).is_some_and(|policy| policy.each_turn);
    let Some(Conversation { epoch, turn, .. }) =
        observed.conversation.filter(|c| wanted && c.idle && c.turn > 0)
    else {
        return;
    };
    // Whatever it was taken for: between two turns it holds what a Snapshot of this turn would.
    let held = observed.snapshots.iter().any(|s| s.calm && s.place == Some((epoch, turn)) && !s.deleting);
    if !held && !under_way(observed) {
        ensure(observed, Trigger::Turn, &format!("{epoch}-{turn}"), ops);
    }
}

/// While a person thinks about what the agent wants to do, what it would do it to is put by. The agent waits, so that nothing of it is done.
fn before_request(observed: &Observed, ops: &mut Vec<Op>) {
    let wanted = policy(observed).is_some_and(|policy| policy.before_requests);
    let Some((epoch, number)) = observed.conversation.filter(|_| wanted).and_then(|c| c.asks) else { return };
    if !under_way(observed) {
        ensure(observed, Trigger::Request, &format!("{epoch}-{number}"), ops);
    }
}

/// Serves the last time that is due, and only that one: missed times are served once. Says when the next one is.
fn on_schedule(observed: &Observed, env: &Env, plan: &mut Plan<WorkspaceStatus>) -> Option<Timestamp> {
    let schedule = Schedule::parse(policy(observed)?.schedule.as_deref()?).ok()?;
    let before = plan.status.as_ref().or(observed.workspace.status.as_ref());
    let served = before.and_then(|s| s.last_scheduled.as_ref()).map(|t| t.0);
    let due = schedule.until(env.now).filter(|due| served.is_some_and(|served| *due > served));
    let known = match due {
        // A schedule begins when it is first seen.
        None => served.unwrap_or(env.now),
        Some(_) if under_way(observed) => return None,
        Some(due) => {
            ensure(observed, Trigger::Schedule, &due.strftime("%Y%m%d-%H%M").to_string(), &mut plan.ops);
            due
        }
    };
    if served != Some(known) {
        let mut status = before.cloned().unwrap_or_default();
        status.last_scheduled = Some(Time(known));
        plan.status = Some(status);
    }
    schedule.after(env.now)
}

/// What may go. Without a policy only the Snapshots go that stood for a volume which has come back since.
fn judge<'a>(observed: &'a Observed, env: &Env) -> retention::Verdict<'a> {
    let policy = policy(observed);
    let keep = policy.and_then(|p| p.keep.clone()).unwrap_or_default();
    let counts = |s: &&SnapshotFact| policy.is_some() || s.trigger == Trigger::Archive;
    retention::judge(observed.snapshots.iter().filter(counts), &keep, &used(observed), env.now)
}

/// Snapshots that somebody still needs: a volume that is not there or not filled yet, or a restore that has not come to its end.
fn used(observed: &Observed) -> BTreeSet<String> {
    let mut all = observed.in_use.clone();
    let (spec, status) = (&observed.workspace.spec, observed.workspace.status.as_ref());
    all.extend(status.and_then(|s| s.archive.clone()));
    let order = spec.restore.as_ref();
    let done = status.and_then(|s| s.restore.as_ref());
    let over = |id: &str| done.is_some_and(|d| d.id == id && matches!(d.phase.as_str(), "Done" | "Refused"));
    all.extend(order.filter(|o| !over(&o.id)).map(|o| o.snapshot.clone()));
    if let Some(done) = done.filter(|d| !over(&d.id)) {
        all.insert(done.snapshot.clone());
        all.extend(done.safety.clone());
    }
    let filled = observed.own_claim().and_then(|c| c.status.as_ref()?.phase.as_deref()) == Some("Bound");
    if !filled {
        all.extend(spec.source.as_ref().and_then(|s| s.snapshot.clone()));
        all.extend(status.and_then(|s| s.storage.as_ref()?.restored_from.clone()));
    }
    all
}
