//! Suspending and deleting.

use super::*;
use crate::{
    Wake,
    workspace::{Made, Violation},
};

fn suspend(observed: &mut Observed) {
    observed.workspace.spec.state = a8s_crds::WorkspaceState::Suspended;
}

fn delete(observed: &mut Observed, second: i64) {
    observed.workspace.metadata.deletion_timestamp = Some(at(second).into());
}

fn made(settled: bool) -> Made {
    Made { name: "report".into(), version: 1, sha256: "a".repeat(64), settled }
}

fn lets_go(plan: &Plan<WorkspaceStatus>) -> bool {
    plan.ops.iter().any(|op| matches!(op, Op::Finalizer { present: false, .. }))
}

#[test]
fn suspending_flushes_the_volume_then_removes_the_pod_and_keeps_the_claim() {
    let mut observed = ready();
    suspend(&mut observed);
    let plan = pass(&mut observed, 10);
    assert!(matches!(
        &plan.ops[..],
        [Op::Effect(Effect::Quiesce { .. }), Op::Delete { target, .. }] if target.kind == "Pod"
    ));
    assert_eq!(state(&observed), "Suspending");
    observed.pod = None;
    (observed.desk, observed.runner) = (None, None);
    assert_eq!(pass(&mut observed, 11).ops, []);
    assert_eq!(
        (state(&observed), reason(&observed, ConditionType::Ready).as_str()),
        ("Suspended", "Suspended")
    );
    assert_eq!(reason(&observed, ConditionType::StorageReady), "Ready");
    assert_eq!(status(&observed).control, None);
    assert_eq!(pass(&mut observed, 12), Plan::default());
}

#[test]
fn resuming_makes_a_pod_on_the_same_claim_and_measures_anew() {
    let mut observed = ready();
    suspend(&mut observed);
    pass(&mut observed, 10);
    (observed.pod, observed.desk, observed.runner) = (None, None, None);
    pass(&mut observed, 11);
    observed.workspace.spec.state = a8s_crds::WorkspaceState::Running;
    let plan = pass(&mut observed, 100);
    assert_eq!((creates(&plan, "Pod"), creates(&plan, "PersistentVolumeClaim")), (1, 0));
    run_containers(&mut observed);
    answer(&mut observed);
    pass(&mut observed, 101);
    assert_eq!(status(&observed).startup.as_ref().unwrap().total.as_deref(), Some("1.000s"));
}

#[test]
fn a_runner_that_is_silent_does_not_keep_a_suspended_pod_for_long() {
    let mut observed = ready();
    suspend(&mut observed);
    observed.runner = None;
    assert_eq!(deletes(&pass(&mut observed, 10)), 0);
    let plan = pass(&mut observed, 21);
    assert!(matches!(&plan.ops[..], [Op::Delete { .. }]), "nobody to ask for a flush");
}

#[test]
fn deletion_waits_until_published_files_are_stored() {
    let mut observed = ready();
    delete(&mut observed, 10);
    observed.runner = Some(runner(&["report"]));
    assert_eq!(deletes(&pass(&mut observed, 10)), 0, "no Artifact object yet");
    assert_eq!(reason(&observed, ConditionType::Ready), "SavingArtifacts");
    assert_eq!(state(&observed), "Deleting");
    observed.artifacts = vec![made(false)];
    assert_eq!(deletes(&pass(&mut observed, 11)), 0, "not stored yet");
    observed.artifacts = vec![made(true)];
    let plan = pass(&mut observed, 12);
    assert_eq!((deletes(&plan), lets_go(&plan)), (1, false));
    assert!(!lets_go(&pass(&mut observed, 13)), "the pod is still there");
    observed.pod = None;
    assert!(lets_go(&pass(&mut observed, 14)));
    assert_eq!(pass(&mut observed, 15), Plan::default());
}

#[test]
fn deletion_does_not_wait_forever_for_a_store_that_is_down() {
    let mut observed = ready();
    delete(&mut observed, 10);
    observed.artifacts = vec![made(false)];
    assert_eq!(deletes(&pass(&mut observed, 69)), 0);
    assert_eq!(deletes(&pass(&mut observed, 70)), 1);
}

#[test]
fn deletion_waits_a_little_for_a_runner_that_does_not_answer() {
    let mut observed = ready();
    delete(&mut observed, 10);
    observed.runner = None;
    assert_eq!(deletes(&pass(&mut observed, 19)), 0);
    assert_eq!(deletes(&pass(&mut observed, 20)), 1);
}

#[test]
fn a_workspace_without_a_running_pod_is_let_go_at_once() {
    let mut observed = fresh(json!({}));
    pass(&mut observed, 0);
    delete(&mut observed, 1);
    assert!(lets_go(&pass(&mut observed, 1)));
}

#[test]
fn the_check_sees_a_second_pod_and_a_foreign_deletion() {
    let observed = ready();
    let twice = Plan {
        ops: vec![Op::Create { object: serde_json::to_value(&observed.pod).unwrap() }; 2],
        ..Plan::default()
    };
    assert!(check(&observed, &env(4), &twice).iter().any(|Violation { invariant, .. }| *invariant == 1));
    let target = crate::Target { kind: "PersistentVolumeClaim".into(), uid: "x".into(), ..observed.target() };
    let claim = Plan { ops: vec![Op::Delete { target, grace: None }], ..Plan::default() };
    assert_eq!(check(&observed, &env(4), &claim)[0].invariant, 2);
}

#[test]
fn a_deletion_says_so_only_if_it_takes_long() {
    let mut observed = ready();
    observed.workspace.metadata.deletion_timestamp = Some(at(10).into());
    let plan = pass(&mut observed, 11);
    assert_eq!((deletes(&plan), plan.status), (1, None), "it will be gone before anybody looks");
    assert_eq!(plan.wake, Wake::AfterMillis(500), "and is looked at again");
    assert!(pass(&mut observed, 15).status.is_some(), "a pod that does not go");
}
