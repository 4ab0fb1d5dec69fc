//! Snapshots that a Workspace takes of itself. Each is an object of its own with a name that is a function of its cause, so that a cause
//! has one Snapshot however often it is looked at. They have no owner: they outlive the Workspace.

use a8s_crds::{
    DeletionPolicy, Snapshot, SnapshotSpec, Trigger,
    conditions::{self, ConditionType, Reason},
    labels, names,
};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use super::{Hold, Observed, children, trouble};
use crate::{Env, Op};

/// Longest wait for a Snapshot before the pod goes, in seconds: the volume stays, so that nothing is lost without it.
const PATIENCE: i64 = 60;

/// A Snapshot of this Workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFact {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
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
        let failed = ready.filter(|c| {
            c.status != "True" && (stalled || c.reason == Reason::SnapshotFailed.as_str())
        });
        Self {
            name: snapshot.name_any(),
            uid: snapshot.uid().unwrap_or_default(),
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
        ops.push(create(observed, trigger, name));
    }
    found
}

fn create(observed: &Observed, trigger: Trigger, name: String) -> Op {
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
