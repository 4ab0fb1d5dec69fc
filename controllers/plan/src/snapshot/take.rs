//! Nothing was taken yet: the runner flushes, the place in the conversation is written down, then the VolumeSnapshot is made, in this order.

use a8s_crds::{Checkpoint, Consistency, conditions::Reason, labels, names};
use a8s_wire::{RunnerPhase, RunnerState};
use kube::ResourceExt;
use serde_json::json;

use super::{Claim, Class, Observed, Runner, SNAPSHOT_API, WorkspaceFacts, pass::Pass, volume_snapshot_name};
use crate::{Effect, Op, Target, Wake};

/// How long a silent runner is asked before the snapshot is taken without it.
const PATIENCE_SECONDS: i64 = 10;

pub(super) fn take(pass: &mut Pass, observed: &Observed) {
    let Some(workspace) = &observed.workspace else {
        let name = &observed.snapshot.spec.workspace;
        return pass.stalled(
            Reason::WorkspaceNotFound,
            &format!("Workspace {name} does not exist; create it, or delete this Snapshot"),
        );
    };
    let (claim, driver) = match &observed.claim {
        Claim::Pending => return pass.waiting(Reason::ClaimPending, "the Workspace has no volume yet", 1000),
        Claim::Bound { claim, driver } => (claim, driver),
    };
    let class = match &observed.class {
        Class::NoApi => {
            pass.stalled(Reason::SnapshotClassMissing, super::NO_API);
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
            let effect = Effect::Quiesce { workspace: workspace_target(observed, workspace) };
            pass.plan.ops.push(Op::Effect(effect));
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
    status.checkpoint = checkpoint(workspace, state.map(|state| &**state));
    status.driver = Some(driver.clone());
    status.snapshot_class_name = Some(class.clone());
    status.volume_snapshot = Some(name.clone());
    status.claim = Some(claim.clone());
    status.workspace_uid = Some(workspace.uid.clone());
    status.environment = Some(workspace.environment.clone());
    pass.condition(Reason::SnapshotInProgress, "the driver is taking the snapshot", false);
    if pass.changed() {
        // First what is known of this moment, then the snapshot: a crash in between takes the moment anew, with the snapshot.
        pass.plan.wake = Wake::AfterMillis(0);
        return;
    }
    let source = json!({"persistentVolumeClaimName": claim.name});
    pass.plan.ops.push(volume_snapshot(observed, &name, &source, Some(class)));
    pass.plan.wake = Wake::AfterMillis(2000);
}

/// The VolumeSnapshot to make.
pub(super) fn volume_snapshot(
    observed: &Observed,
    name: &str,
    source: &serde_json::Value,
    class: Option<&str>,
) -> Op {
    let snapshot = &observed.snapshot;
    let mut object = json!({
        "apiVersion": SNAPSHOT_API, "kind": "VolumeSnapshot",
        "metadata": {
            "name": name, "namespace": snapshot.namespace(),
            "labels": {(labels::MANAGED_BY): labels::MANAGER, (labels::WORKSPACE): snapshot.spec.workspace},
            "ownerReferences": [{
                "apiVersion": "a8s.dev/v1alpha1", "kind": "Snapshot", "name": snapshot.name_any(), "uid": snapshot.uid(),
                "controller": true, "blockOwnerDeletion": false,
            }],
        },
        "spec": {"source": source},
    });
    if let Some(class) = class {
        object["spec"]["volumeSnapshotClassName"] = class.into();
    }
    Op::Create { object }
}

/// The place that the runner reports, or, if it could not be asked, the last that was recorded.
fn checkpoint(workspace: &WorkspaceFacts, state: Option<&RunnerState>) -> Option<Checkpoint> {
    let session = workspace.session.clone();
    let (place, mut artifacts) = if let Some(state) = state {
        let object = |name: &str, version: i64, sha256: &str| {
            let all = || workspace.artifacts.iter();
            let own = all().find(|a| a.own && a.name == name && a.version == version);
            // What was inherited with the volume was published by another Workspace.
            let inherited = || all().find(|a| a.name == name && a.sha256 == sha256);
            // Published a moment ago and not an object yet: it will get this name.
            let to_come = || session.as_ref().map(|s| names::artifact(s, name, version, "", false));
            own.or_else(inherited).map(|a| a.object.clone()).or_else(to_come)
        };
        let found = state.artifacts.iter().filter_map(|a| object(&a.name, a.version, &a.sha256));
        ((state.turn, state.epoch, state.seq), found.collect::<Vec<_>>())
    } else {
        let place = workspace.recorded?;
        let own = workspace.artifacts.iter().filter(|a| a.own).map(|a| a.object.clone());
        ((place.turn, place.epoch, place.seq), own.collect())
    };
    artifacts.sort();
    artifacts.dedup();
    let (turn, epoch, seq) = place;
    Some(Checkpoint { session, turn, epoch, seq, artifacts })
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
