//! What a Workspace does in each situation, one sentence each.

#![allow(
    clippy::large_stack_arrays,
    clippy::needless_pass_by_value,
    clippy::type_complexity,
    clippy::unnecessary_wraps,
    reason = "tables and small helpers are read, not tuned"
)]

mod adoption;
mod archive;
mod keeping;
mod leaving;
mod life;
mod origin;
mod pod;
mod restore;
mod running;
mod trouble;

use a8s_crds::{Environment, Workspace, WorkspaceStatus, conditions::ConditionType, conditions::get, names};
use a8s_wire::{ControlState, DeskState, RunnerPhase, RunnerState};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Binding, Observed, SnapshotFact, check, plan};
use crate::{Effect, Env, Op, Plan};

const UID: &str = "uid-1";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn env(second: i64) -> Env {
    Env { now: at(second), runner_image: "runner:1".into(), system_namespace: "a8s-system".into() }
}

fn workspace(spec: Value) -> Workspace {
    let mut object = json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": "w", "namespace": "n", "uid": UID, "generation": 1},
        "spec": {"environment": "desktop"},
    });
    let Value::Object(spec) = spec else { panic!("a spec is an object: {spec}") };
    object["spec"].as_object_mut().unwrap().extend(spec);
    serde_json::from_value(object).unwrap()
}

fn environment() -> Environment {
    serde_json::from_value(json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "desktop"},
        "spec": {"title": "Desktop", "image": "desktop:1", "storage": {"size": "5Gi"},
            "pod": {"resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "2Gi"}}}},
    }))
    .unwrap()
}

/// A Workspace with its Environment, nothing made yet.
fn fresh(spec: Value) -> Observed {
    Observed { environment: Some(environment()), ..Observed::of(workspace(spec)) }
}

/// Plans, holds the plan against the invariants, and does what it says to the objects in `observed`, as a server would.
fn pass(observed: &mut Observed, second: i64) -> Plan<WorkspaceStatus> {
    let plan = plan(observed, &env(second));
    assert_eq!(check(observed, &env(second), &plan), []);
    for op in &plan.ops {
        match op {
            Op::Create { object } | Op::Apply { object, .. } => store(observed, object.clone(), second),
            Op::Delete { target, .. } if target.kind == "PersistentVolumeClaim" => {
                let mut all = observed.older.iter_mut().chain(&mut observed.claim);
                let claim = all.find(|c| c.metadata.uid.as_deref() == Some(&target.uid)).unwrap();
                claim.metadata.deletion_timestamp = Some(at(second).into());
            }
            Op::Delete { .. } => {
                let pod = observed.pod.as_mut().unwrap();
                pod.metadata.deletion_timestamp = Some(at(second).into());
            }
            Op::Finalizer { finalizer, present, .. } => {
                let all = present.then(|| vec![(*finalizer).to_owned()]);
                observed.workspace.metadata.finalizers = all;
            }
            Op::Effect(Effect::ServingSecret { .. }) => {
                observed.secret =
                    Some(serde_json::from_value(json!({"ownerReferences": [owner()]})).unwrap());
            }
            Op::Effect(Effect::SetControl { lease, .. }) => {
                let desk = observed.desk.as_mut().unwrap();
                assert!(lease.epoch >= desk.control.epoch, "deskd refuses an older lease");
                desk.control = ControlState {
                    holder: lease.holder,
                    user: lease.user.clone(),
                    private: lease.private,
                    epoch: lease.epoch,
                    since: at(second).to_string(),
                };
            }
            Op::Swap { patch, .. } | Op::Merge { patch, .. } => {
                let mut object = serde_json::to_value(&observed.workspace).unwrap();
                merge(&mut object, patch);
                observed.workspace = serde_json::from_value(object).unwrap();
            }
            Op::DeleteUnchanged { target, .. } => observed.snapshots.retain(|s| s.uid != target.uid),
            Op::Effect(_) => {}
        }
    }
    if let Some(status) = &plan.status {
        observed.workspace.status = Some(status.clone());
    }
    plan
}

fn store(observed: &mut Observed, mut object: Value, second: i64) {
    object["metadata"]["uid"] = format!("{}-{second}", object["kind"].as_str().unwrap()).into();
    object["metadata"]["creationTimestamp"] = at(second).to_string().into();
    match object["kind"].as_str().unwrap() {
        "PersistentVolumeClaim" => {
            let old = observed.claim.replace(serde_json::from_value(object).unwrap());
            observed.older.extend(old);
        }
        "Pod" => observed.pod = Some(serde_json::from_value(object).unwrap()),
        "NetworkPolicy" => observed.network_policy = Some(serde_json::from_value(object).unwrap()),
        "Snapshot" => {
            let snapshot = serde_json::from_value(object).unwrap();
            observed.snapshots.push(SnapshotFact { version: "1".into(), ..SnapshotFact::of(&snapshot) });
        }
        kind => panic!("nobody asked for a {kind}"),
    }
}

/// A merge patch.
fn merge(object: &mut Value, patch: &Value) {
    for (key, value) in patch.as_object().unwrap() {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().remove(key)),
            Value::Object(_) => merge(&mut object[key], value),
            value => object[key] = value.clone(),
        }
    }
}

fn owner() -> Value {
    json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace", "name": "w", "uid": UID, "controller": true})
}

fn bind(observed: &mut Observed, phase: &str) {
    let status = json!({"phase": phase});
    observed.claim.as_mut().unwrap().status = Some(serde_json::from_value(status).unwrap());
}

fn pod_status(observed: &mut Observed, status: Value) {
    observed.pod.as_mut().unwrap().status = Some(serde_json::from_value(status).unwrap());
}

fn run_containers(observed: &mut Observed) {
    let one = |name: &str| json!({"name": name, "ready": true, "image": "i", "imageID": "", "restartCount": 0, "state": {"running": {}}});
    let all = json!([one("desktop"), one("agent"), one("runner")]);
    pod_status(observed, json!({"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": all}));
}

fn answer(observed: &mut Observed) {
    let control = ControlState::default();
    observed.desk =
        Some(DeskState { ready: true, width: 1280, height: 800, control, ..DeskState::default() });
    observed.runner = Some(runner(&[]));
}

fn runner(artifacts: &[&str]) -> RunnerState {
    let artifacts: Vec<_> = artifacts.iter().map(|name| json!({
        "name": name, "version": 1, "title": "t", "fileName": "f", "mediaType": "m", "size": 1, "sha256": "a".repeat(64), "turn": 1
    })).collect();
    let state = json!({"epoch": 0, "seq": 0, "turn": 0, "state": RunnerPhase::Idle, "artifacts": artifacts});
    serde_json::from_value(state).unwrap()
}

/// A Workspace that runs and is ready at second 3.
fn ready() -> Observed {
    let mut observed = fresh(json!({}));
    pass(&mut observed, 0);
    bind(&mut observed, "Bound");
    pass(&mut observed, 1);
    run_containers(&mut observed);
    pass(&mut observed, 2);
    answer(&mut observed);
    pass(&mut observed, 3);
    observed
}

fn status(observed: &Observed) -> &WorkspaceStatus {
    observed.workspace.status.as_ref().unwrap()
}

fn state(observed: &Observed) -> &str {
    status(observed).state.as_deref().unwrap()
}

fn reason(observed: &Observed, kind: ConditionType) -> String {
    get(&status(observed).conditions, kind).map(|c| c.reason.clone()).unwrap_or_default()
}

fn creates(plan: &Plan<WorkspaceStatus>, kind: &str) -> usize {
    let all = plan.ops.iter();
    all.filter(|op| matches!(op, Op::Create { object } | Op::Apply { object, .. } if object["kind"] == kind))
        .count()
}

fn deletes(plan: &Plan<WorkspaceStatus>) -> usize {
    plan.ops.iter().filter(|op| matches!(op, Op::Delete { .. })).count()
}

/// Everything is made; the Binding is irrelevant from here on.
fn with_pod() -> Observed {
    let mut observed = fresh(json!({}));
    observed.binding = Binding::WaitForFirstConsumer;
    pass(&mut observed, 0);
    bind(&mut observed, "Bound");
    assert_eq!(observed.pod.as_ref().unwrap().metadata.name.as_deref(), Some(names::pod("w").as_str()));
    observed
}

/// The driver has taken all Snapshots of the claim.
fn taken(observed: &mut Observed) {
    let claim = observed.claim.as_ref().and_then(|c| c.metadata.uid.clone());
    for fact in observed.snapshots.iter_mut().filter(|s| !s.handle) {
        (fact.handle, fact.ready) = (true, true);
        fact.claim_uid = fact.claim_uid.take().or(claim.clone());
    }
}

/// Claims that are being deleted are gone, and so is a pod.
fn swept(observed: &mut Observed) {
    observed.older.retain(|c| c.metadata.deletion_timestamp.is_none());
    observed.claim = observed.claim.take().filter(|c| c.metadata.deletion_timestamp.is_none());
    if observed.pod.as_ref().is_some_and(|p| p.metadata.deletion_timestamp.is_some()) {
        (observed.pod, observed.desk, observed.runner) = (None, None, None);
    }
}

fn claim(observed: &Observed) -> Value {
    serde_json::to_value(observed.claim.as_ref().unwrap()).unwrap()
}
