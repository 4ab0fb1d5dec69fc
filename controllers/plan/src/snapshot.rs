//! Decisions for the kind Snapshot: quiesce, record the place in the conversation, then take the VolumeSnapshot, in this order.
//!
//! A Snapshot with a handle is never taken again, and nothing is deleted while the driver may still be creating it.

use a8s_crds::{
    Checkpoint, Consistency, DeletionPolicy, Snapshot, SnapshotStatus,
    conditions::{self, ConditionType, Reason, Status},
    labels, names,
};
use a8s_wire::{RunnerPhase, RunnerState};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;
use serde_json::json;

use crate::{Effect, Env, Notice, Op, Plan, Target, Wake};

/// API version of the backend's kinds.
const SNAPSHOT_API: &str = "snapshot.storage.k8s.io/v1";
/// How long a silent runner is asked before the snapshot is taken without it.
const PATIENCE_SECONDS: i64 = 10;

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The Snapshot, read from the API server and not from a cache.
    pub snapshot: Snapshot,
    /// Its Workspace.
    pub workspace: Option<WorkspaceFacts>,
    /// The Workspace's claim.
    pub claim: Claim,
    /// The class to use.
    pub class: Class,
    /// What the runner said in this pass.
    pub runner: Runner,
    /// The VolumeSnapshot.
    pub volume_snapshot: Option<VolumeSnapshotFacts>,
    /// Its content.
    pub content: Option<ContentFacts>,
}

/// The Workspace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkspaceFacts {
    /// UID.
    pub uid: String,
    /// Environment.
    pub environment: String,
    /// The Session that owns it.
    pub session: Option<String>,
    /// The place that the Session recorded; used when no runner can be asked.
    pub recorded: Option<Place>,
    /// Whether its pod is ready and can be asked to flush.
    pub pod_ready: bool,
    /// Its Artifacts.
    pub artifacts: Vec<ArtifactFact>,
}

/// A place in the conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Turn.
    pub turn: i64,
    /// Epoch.
    pub epoch: i64,
    /// Sequence number.
    pub seq: i64,
}

/// An Artifact object and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactFact {
    /// Name that its versions share.
    pub name: String,
    /// Version.
    pub version: i64,
    /// Name of the object.
    pub object: String,
}

/// The claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Not there, or without a volume.
    Pending,
    /// Bound to a volume.
    Bound {
        /// Its name.
        name: String,
        /// The volume's driver.
        driver: String,
    },
}

/// The VolumeSnapshotClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// The cluster has no snapshot API.
    NoApi,
    /// None can be chosen; why, and what to do.
    Missing(String),
    /// This one.
    Chosen(String),
}

/// The runner.
#[derive(Clone, Debug, PartialEq)]
pub enum Runner {
    /// Not asked in this pass.
    NotAsked,
    /// It flushed everything to the volume and told its state.
    Quiesced(RunnerState),
    /// It did not answer.
    Silent(String),
}

/// The VolumeSnapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeSnapshotFacts {
    /// UID.
    pub uid: String,
    /// `readyToUse`.
    pub ready: bool,
    /// The last error.
    pub error: Option<String>,
    /// Smallest volume that can take it.
    pub restore_size: Option<String>,
    /// When the data was frozen.
    pub taken_at: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// The content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentFacts {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// The backend's name of the snapshot.
    pub handle: Option<String>,
    /// Driver.
    pub driver: String,
    /// Class.
    pub class: Option<String>,
    /// Whether the backend's snapshot goes with it.
    pub policy_delete: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// Name of the VolumeSnapshot: the recorded one, else the one that is to be made.
pub fn volume_snapshot_name(snapshot: &Snapshot) -> String {
    let recorded = snapshot.status.as_ref().and_then(|s| s.volume_snapshot.clone());
    recorded
        .unwrap_or_else(|| names::volume_snapshot(&snapshot.name_any(), &snapshot.uid().unwrap_or_default()))
}

/// Decides.
pub fn plan(observed: &Observed, env: &Env) -> Plan<SnapshotStatus> {
    let snapshot = &observed.snapshot;
    if snapshot.metadata.deletion_timestamp.is_some() {
        return deletion(observed, env);
    }
    let mut pass = Pass::new(snapshot, env);
    if !snapshot.finalizers().iter().any(|f| f == labels::SNAPSHOT_FINALIZER) {
        pass.plan.ops.push(finalizer(snapshot, true));
    }
    match &observed.volume_snapshot {
        Some(found) => follow(&mut pass, observed, found),
        None if pass.status.handle.is_some() => {
            let note = "the VolumeSnapshot is gone, and a Snapshot is never taken twice; delete this Snapshot, or restore its VolumeSnapshot";
            pass.stalled(Reason::SnapshotLost, note);
        }
        None => take(&mut pass, observed),
    }
    pass.finish()
}

/// Nothing was taken yet.
fn take(pass: &mut Pass, observed: &Observed) {
    let Some(workspace) = &observed.workspace else {
        let name = &observed.snapshot.spec.workspace;
        return pass.stalled(
            Reason::WorkspaceNotFound,
            &format!("Workspace {name} does not exist; create it, or delete this Snapshot"),
        );
    };
    let (claim, driver) = match &observed.claim {
        Claim::Pending => return pass.waiting(Reason::ClaimPending, "the Workspace has no volume yet", 1000),
        Claim::Bound { name, driver } => (name, driver),
    };
    let class = match &observed.class {
        Class::NoApi => {
            let note = "the cluster has no snapshot API; install the CRDs and the snapshot-controller of kubernetes-csi/external-snapshotter";
            pass.stalled(Reason::SnapshotClassMissing, note);
            pass.plan.wake = Wake::AfterMillis(10_000);
            return;
        }
        Class::Missing(why) => {
            pass.stalled(Reason::SnapshotClassMissing, why);
            pass.plan.wake = Wake::AfterMillis(10_000);
            return;
        }
        Class::Chosen(name) => name,
    };
    let (consistency, state) = match &observed.runner {
        Runner::NotAsked if workspace.pod_ready => {
            pass.plan
                .ops
                .push(Op::Effect(Effect::Quiesce { workspace: workspace_target(observed, workspace) }));
            pass.plan.wake = Wake::AfterMillis(0);
            pass.keep_status = true;
            return;
        }
        Runner::Silent(why) if workspace.pod_ready && pass.age_seconds() < PATIENCE_SECONDS => {
            return pass.waiting(Reason::Progressing, &format!("asking the runner to flush: {why}"), 500);
        }
        Runner::NotAsked | Runner::Silent(_) => (Consistency::Crash, None),
        Runner::Quiesced(state) if state.state == RunnerPhase::Running => {
            (Consistency::Quiesced, Some(state))
        }
        Runner::Quiesced(state) => (Consistency::Turn, Some(state)),
    };
    let name = volume_snapshot_name(&observed.snapshot);
    let status = &mut pass.status;
    status.consistency = Some(consistency);
    status.checkpoint = checkpoint(workspace, state);
    status.driver = Some(driver.clone());
    status.snapshot_class_name = Some(class.clone());
    status.volume_snapshot = Some(name.clone());
    status.workspace_uid = Some(workspace.uid.clone());
    status.environment = Some(workspace.environment.clone());
    pass.condition(Reason::SnapshotInProgress, "the driver is taking the snapshot", false);
    if pass.changed() {
        // First what is known of this moment, then the snapshot: a crash in between takes the moment anew, with the snapshot.
        pass.plan.wake = Wake::AfterMillis(0);
        return;
    }
    let snapshot = &observed.snapshot;
    pass.plan.ops.push(Op::Create {
        object: json!({
            "apiVersion": SNAPSHOT_API, "kind": "VolumeSnapshot",
            "metadata": {
                "name": name, "namespace": snapshot.namespace(),
                "labels": {(labels::MANAGED_BY): labels::MANAGER, (labels::WORKSPACE): snapshot.spec.workspace},
                "ownerReferences": [{
                    "apiVersion": "a8s.dev/v1alpha1", "kind": "Snapshot", "name": snapshot.name_any(), "uid": snapshot.uid(),
                    "controller": true, "blockOwnerDeletion": false,
                }],
            },
            "spec": {"source": {"persistentVolumeClaimName": claim}, "volumeSnapshotClassName": class},
        }),
    });
    pass.plan.wake = Wake::AfterMillis(2000);
}

/// The VolumeSnapshot exists.
fn follow(pass: &mut Pass, observed: &Observed, found: &VolumeSnapshotFacts) {
    if found.deleting {
        let note =
            "the VolumeSnapshot is being deleted; it belongs to this Snapshot and cannot be used any more";
        return pass.stalled(Reason::SnapshotLost, note);
    }
    let content = observed.content.as_ref();
    let status = &mut pass.status;
    status.volume_snapshot = Some(volume_snapshot_name(&observed.snapshot));
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
    // The VolumeSnapshot can go with its owner before this controller sees the deletion: what is to stay must be safe before.
    if let Some(content) = content.filter(|c| c.policy_delete && !c.deleting)
        && observed.snapshot.spec.deletion_policy == DeletionPolicy::Retain
    {
        pass.plan.ops.push(policy(content, "Retain"));
    }
    let content_handle = content.and_then(|c| c.handle.as_ref());
    if content_handle.is_some() && pass.status.handle.as_ref() != content_handle {
        return pass.stalled(
            Reason::SnapshotLost,
            "the VolumeSnapshot of that name holds another snapshot than the one that was taken",
        );
    }
    match &found.error {
        _ if found.ready && content_handle.is_some() => {
            if pass.condition(Reason::Ready, "", true) {
                let class = pass.status.consistency.map_or("Crash", |c| match c {
                    Consistency::Turn => "Turn",
                    Consistency::Quiesced => "Quiesced",
                    Consistency::Crash => "Crash",
                });
                pass.notice(false, Reason::Ready, format!("snapshot taken, consistency {class}"));
            }
        }
        Some(error) => {
            if pass.condition(
                Reason::SnapshotFailed,
                &format!("the driver reports: {error}; it tries again"),
                false,
            ) {
                pass.notice(
                    true,
                    Reason::SnapshotFailed,
                    format!("the driver reports: {error}; it tries again"),
                );
            }
            pass.plan.wake = Wake::AfterMillis(5000);
        }
        None => pass.waiting(Reason::SnapshotInProgress, "the driver is taking the snapshot", 2000),
    }
}

fn deletion(observed: &Observed, env: &Env) -> Plan<SnapshotStatus> {
    let snapshot = &observed.snapshot;
    if !snapshot.finalizers().iter().any(|f| f == labels::SNAPSHOT_FINALIZER) {
        return Plan::default();
    }
    let mut pass = Pass::new(snapshot, env);
    let (vs, content) = (observed.volume_snapshot.as_ref(), observed.content.as_ref());
    let in_flight = content.is_some_and(|c| c.handle.is_none()) && vs.is_some_and(|v| v.error.is_none());
    if in_flight {
        pass.waiting(
            Reason::Deleting,
            "the driver is still taking the snapshot; it is deleted after that",
            500,
        );
        return pass.finish();
    }
    let retain = snapshot.spec.deletion_policy == DeletionPolicy::Retain;
    if let Some(content) = content.filter(|c| !c.deleting && c.policy_delete == retain) {
        pass.plan.ops.push(policy(content, if retain { "Retain" } else { "Delete" }));
    }
    let namespace = snapshot.namespace().unwrap_or_default();
    match (vs, content) {
        (Some(vs), _) => {
            if !vs.deleting {
                let name = volume_snapshot_name(snapshot);
                let target = backend_target("VolumeSnapshot", &namespace, &name, &vs.uid);
                pass.plan.ops.push(Op::Delete { target, grace: None });
            }
            pass.waiting(Reason::Deleting, "the VolumeSnapshot is being deleted", 500);
        }
        (None, Some(content)) if !retain => {
            if !content.deleting {
                let target = backend_target("VolumeSnapshotContent", "", &content.name, &content.uid);
                pass.plan.ops.push(Op::Delete { target, grace: None });
            }
            pass.waiting(Reason::Deleting, "the driver is deleting the snapshot", 500);
        }
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

fn checkpoint(workspace: &WorkspaceFacts, state: Option<&RunnerState>) -> Option<Checkpoint> {
    let session = workspace.session.clone();
    if let Some(state) = state {
        let known =
            |name: &str, version| workspace.artifacts.iter().find(|a| a.name == name && a.version == version);
        let object = |name: &str, version| {
            // Published a moment ago and not an object yet: it will get this name.
            let to_come = || session.as_ref().map(|s| names::artifact(s, name, version, "", false));
            known(name, version).map(|a| a.object.clone()).or_else(to_come)
        };
        let mut artifacts: Vec<_> =
            state.artifacts.iter().filter_map(|a| object(&a.name, a.version)).collect();
        artifacts.sort();
        artifacts.dedup();
        return Some(Checkpoint { session, turn: state.turn, epoch: state.epoch, seq: state.seq, artifacts });
    }
    let place = workspace.recorded?;
    let mut artifacts: Vec<_> = workspace.artifacts.iter().map(|a| a.object.clone()).collect();
    artifacts.sort();
    Some(Checkpoint { session, turn: place.turn, epoch: place.epoch, seq: place.seq, artifacts })
}

fn policy(content: &ContentFacts, policy: &str) -> Op {
    Op::Apply {
        // The UID keeps this from ever making a content.
        object: json!({
            "apiVersion": SNAPSHOT_API, "kind": "VolumeSnapshotContent",
            "metadata": {"name": content.name, "uid": content.uid},
            "spec": {"deletionPolicy": policy},
        }),
        manager: "snapshot",
    }
}

fn finalizer(snapshot: &Snapshot, present: bool) -> Op {
    let target = Target {
        api_version: "a8s.dev/v1alpha1".into(),
        kind: "Snapshot".into(),
        namespace: snapshot.namespace().unwrap_or_default(),
        name: snapshot.name_any(),
        uid: snapshot.uid().unwrap_or_default(),
    };
    Op::Finalizer { target, finalizer: labels::SNAPSHOT_FINALIZER, present }
}

fn backend_target(kind: &str, namespace: &str, name: &str, uid: &str) -> Target {
    Target {
        api_version: SNAPSHOT_API.into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
        uid: uid.into(),
    }
}

fn workspace_target(observed: &Observed, workspace: &WorkspaceFacts) -> Target {
    Target {
        api_version: "a8s.dev/v1alpha1".into(),
        kind: "Workspace".into(),
        namespace: observed.snapshot.namespace().unwrap_or_default(),
        name: observed.snapshot.spec.workspace.clone(),
        uid: workspace.uid.clone(),
    }
}

/// The plan in the making.
struct Pass {
    old: SnapshotStatus,
    status: SnapshotStatus,
    generation: Option<i64>,
    created: Option<Timestamp>,
    now: Timestamp,
    keep_status: bool,
    plan: Plan<SnapshotStatus>,
}

impl Pass {
    fn new(snapshot: &Snapshot, env: &Env) -> Self {
        let old = snapshot.status.clone().unwrap_or_default();
        let mut status = old.clone();
        status.observed_generation = snapshot.metadata.generation;
        Self {
            old,
            status,
            generation: snapshot.metadata.generation,
            created: snapshot.metadata.creation_timestamp.as_ref().map(|t| t.0),
            now: env.now,
            keep_status: false,
            plan: Plan::default(),
        }
    }

    fn age_seconds(&self) -> i64 {
        self.created.map_or(i64::MAX, |t| self.now.as_second() - t.as_second())
    }

    /// Sets `Ready` and clears `Stalled`; says whether the reason is new.
    fn condition(&mut self, reason: Reason, message: &str, ready: bool) -> bool {
        let all: &mut Vec<Condition> = &mut self.status.conditions;
        conditions::clear(all, ConditionType::Stalled);
        conditions::set(
            all,
            ConditionType::Ready,
            Status::from(ready),
            reason,
            message,
            self.generation,
            self.now,
        );
        conditions::get(&self.old.conditions, ConditionType::Ready)
            .is_none_or(|c| c.reason != reason.as_str())
    }

    fn waiting(&mut self, reason: Reason, message: &str, millis: u64) {
        self.condition(reason, message, false);
        self.plan.wake = Wake::AfterMillis(millis);
    }

    fn stalled(&mut self, reason: Reason, message: &str) {
        let stalled_before = conditions::get(&self.old.conditions, ConditionType::Stalled).cloned();
        let new = self.condition(reason, message, false);
        self.status.conditions.extend(stalled_before);
        let all = &mut self.status.conditions;
        conditions::set(
            all,
            ConditionType::Stalled,
            Status::True,
            reason,
            message,
            self.generation,
            self.now,
        );
        if new {
            self.notice(true, reason, message.to_owned());
        }
    }

    fn notice(&mut self, warning: bool, reason: Reason, note: String) {
        self.plan.notices.push(Notice { warning, reason, note });
    }

    fn changed(&self) -> bool {
        self.status != self.old
    }

    fn finish(mut self) -> Plan<SnapshotStatus> {
        if self.changed() && !self.keep_status {
            self.plan.status = Some(self.status);
        }
        self.plan
    }
}

#[cfg(test)]
mod tests;
