//! Starting, running, failing and who holds the mouse.

use a8s_crds::{ControlHolder, conditions::Reason};

use super::*;
use crate::{
    Wake,
    workspace::{Source, last_hands, lease, other_hands},
};

#[test]
fn a_new_workspace_gets_its_volume_first_and_its_finalizer_before_anything_that_must_be_undone() {
    let mut observed = fresh(json!({}));
    observed.binding = Binding::WaitForFirstConsumer;
    let plan = plan(&observed, &env(0));
    let made = |op: &Op| matches!(op, Op::Create { object } if object["kind"] == "PersistentVolumeClaim");
    assert!(made(&plan.ops[0]), "the driver needs the longest; the claim goes with its owner");
    assert!(matches!(plan.ops[1], Op::Finalizer { present: true, .. }));
    let pod = plan.ops.iter().position(|op| matches!(op, Op::Create { object } if object["kind"] == "Pod"));
    assert_eq!(pod, Some(plan.ops.len() - 1));
}

#[test]
fn the_pod_waits_for_the_claim_if_the_class_binds_at_once() {
    let mut observed = fresh(json!({}));
    let first = pass(&mut observed, 0);
    assert_eq!((creates(&first, "PersistentVolumeClaim"), creates(&first, "Pod")), (1, 0));
    bind(&mut observed, "Pending");
    assert_eq!(creates(&pass(&mut observed, 1), "Pod"), 0);
    assert_eq!(reason(&observed, ConditionType::Ready), "ClaimPending");
    bind(&mut observed, "Bound");
    assert_eq!(creates(&pass(&mut observed, 2), "Pod"), 1);
}

#[test]
fn the_pod_comes_with_the_claim_if_the_class_waits_for_it() {
    let mut observed = fresh(json!({}));
    observed.binding = Binding::WaitForFirstConsumer;
    let plan = pass(&mut observed, 0);
    assert_eq!((creates(&plan, "PersistentVolumeClaim"), creates(&plan, "Pod")), (1, 1));
}

#[test]
fn the_policy_and_the_certificate_are_there_before_the_pod() {
    let mut observed = fresh(json!({}));
    observed.binding = Binding::WaitForFirstConsumer;
    let plan = plan(&observed, &env(0));
    let place = |wanted: &dyn Fn(&Op) -> bool| plan.ops.iter().position(wanted).unwrap();
    let kind = |kind: &'static str| move |op: &Op| matches!(op, Op::Create { object } | Op::Apply { object, .. } if object["kind"] == kind);
    let pod = place(&kind("Pod"));
    assert!(place(&kind("NetworkPolicy")) < pod);
    assert!(place(&|op| matches!(op, Op::Effect(Effect::ServingSecret { .. }))) < pod);
}

#[test]
fn a_workspace_becomes_ready_when_all_four_parts_were_observed_and_says_how_long_it_took() {
    let observed = ready();
    assert_eq!(state(&observed), "Running");
    let startup = status(&observed).startup.clone().unwrap();
    assert_eq!(startup.storage.as_deref(), Some("1.000s"));
    assert_eq!(startup.containers.as_deref(), Some("2.000s"));
    assert_eq!(
        (startup.desktop.as_deref(), startup.total.as_deref()),
        (Some("2.000s"), Some("2.000s")),
        "the kubelet's probes are evidence"
    );
    assert_eq!(status(&observed).host.as_deref(), Some("10.0.0.1"));
    assert_eq!(status(&observed).control.as_ref().unwrap().summary.as_deref(), Some("agent"));
}

#[test]
fn a_ready_workspace_costs_no_writes() {
    let mut observed = ready();
    let plan = pass(&mut observed, 60);
    assert_eq!(plan, Plan { wake: Wake::OnChange, ..Plan::default() });
}

#[test]
fn a_network_policy_that_somebody_changed_is_mended() {
    let mut observed = ready();
    observed.network_policy.as_mut().unwrap().spec.as_mut().unwrap().ingress = None;
    assert_eq!(creates(&pass(&mut observed, 4), "NetworkPolicy"), 1);
    assert_eq!(pass(&mut observed, 5).ops, []);
}

#[test]
fn without_its_environment_a_workspace_says_so_and_starts_by_itself_once_it_exists() {
    let mut observed = Observed::of(workspace(json!({})));
    let plan = pass(&mut observed, 0);
    assert_eq!(
        (state(&observed), reason(&observed, ConditionType::Stalled).as_str()),
        ("Stalled", "EnvironmentNotFound")
    );
    assert_eq!(plan.notices.len(), 1);
    assert_eq!(pass(&mut observed, 1).notices, [], "said once");
    observed.environment = Some(environment());
    pass(&mut observed, 2);
    assert!(observed.claim.is_some());
    assert_eq!(reason(&observed, ConditionType::Stalled), "");
}

#[test]
fn a_restored_workspace_waits_for_its_snapshot_and_begins_the_next_epoch() {
    let mut observed = fresh(json!({"source": {"snapshot": "s"}, "storage": {"size": "3Gi"}}));
    pass(&mut observed, 0);
    assert_eq!(reason(&observed, ConditionType::Ready), "SnapshotNotFound");
    observed.source = Some(Source { epoch: 4, ..Source::default() });
    pass(&mut observed, 1);
    assert_eq!(reason(&observed, ConditionType::Ready), "SnapshotNotReady");
    observed.source = Some(Source {
        ready: true,
        volume_snapshot: Some("vs".into()),
        restore_size: Some("2Gi".into()),
        epoch: 4,
        ..Source::default()
    });
    pass(&mut observed, 2);
    let claim = serde_json::to_value(observed.claim.as_ref().unwrap()).unwrap();
    assert_eq!(claim["spec"]["dataSource"]["name"], "vs");
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "3Gi");
    bind(&mut observed, "Bound");
    observed.source = None;
    pass(&mut observed, 3);
    assert_eq!(status(&observed).epoch, Some(5));
    assert_eq!(status(&observed).storage.as_ref().unwrap().restored_from.as_deref(), Some("s"));
    let pod = serde_json::to_string(observed.pod.as_ref().unwrap()).unwrap();
    assert!(pod.contains(r#"{"name":"A8S_EPOCH","value":"5"}"#), "the Snapshot may be gone by now");
}

#[test]
fn a_claim_that_is_gone_is_never_replaced_by_an_empty_one() {
    let mut observed = ready();
    (observed.claim, observed.pod) = (None, None);
    let plan = pass(&mut observed, 4);
    assert_eq!(plan.ops, []);
    assert_eq!(reason(&observed, ConditionType::Stalled), "ClaimLost");
}

#[test]
fn objects_of_somebody_else_are_left_alone() {
    let mut observed = ready();
    observed.pod.as_mut().unwrap().metadata.owner_references.as_mut().unwrap()[0].uid = "somebody".into();
    let plan = pass(&mut observed, 4);
    assert_eq!(plan.ops, []);
    assert_eq!(reason(&observed, ConditionType::Ready), "NameTaken");
}

#[test]
fn there_is_no_second_pod_while_the_old_one_is_going() {
    let mut observed = ready();
    observed.pod.as_mut().unwrap().metadata.deletion_timestamp = Some(at(4).into());
    (observed.desk, observed.runner) = (None, None);
    assert_eq!(pass(&mut observed, 4).ops, []);
    assert_eq!(state(&observed), "Starting");
    observed.pod = None;
    assert_eq!(creates(&pass(&mut observed, 5), "Pod"), 1);
    assert_eq!(status(&observed).startup.as_ref().unwrap().total, None, "a new start, a new clock");
}

#[test]
fn an_evicted_pod_is_replaced_on_the_same_volume_but_not_in_a_hurry() {
    let mut observed = with_pod();
    pod_status(&mut observed, json!({"phase": "Failed", "reason": "Evicted", "message": "disk pressure"}));
    assert_eq!(deletes(&pass(&mut observed, 1)), 0);
    let plan = pass(&mut observed, 11);
    assert_eq!(deletes(&plan), 1);
    assert!(plan.notices.iter().any(|n| n.warning && n.note.contains("disk pressure")));
    observed.pod = None;
    let plan = pass(&mut observed, 12);
    assert_eq!((creates(&plan, "Pod"), creates(&plan, "PersistentVolumeClaim")), (1, 0));
}

fn waiting(why: &str, last: Option<&str>) -> Value {
    let last = last.map_or(json!({}), |r| json!({"terminated": {"exitCode": 137, "reason": r}}));
    json!({"phase": "Pending", "containerStatuses": [{"name": "desktop", "ready": false, "image": "i", "imageID": "",
        "restartCount": 1, "state": {"waiting": {"reason": why, "message": "m"}}, "lastState": last}]})
}

#[test]
fn what_keeps_a_pod_from_running_is_named() {
    let cases = [
        (waiting("ErrImagePull", None), "ImagePullFailed"),
        (waiting("ImagePullBackOff", None), "ImagePullFailed"),
        (waiting("InvalidImageName", None), "ImagePullFailed"),
        (waiting("CrashLoopBackOff", Some("Error")), "CrashLoop"),
        (waiting("CrashLoopBackOff", Some("OOMKilled")), "OutOfMemory"),
        (waiting("ContainerCreating", None), "PodStarting"),
        (
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]}),
            "Unschedulable",
        ),
    ];
    for (found, expected) in cases {
        let mut observed = with_pod();
        pod_status(&mut observed, found);
        pass(&mut observed, 1);
        assert_eq!(reason(&observed, ConditionType::PodReady), expected);
        run_containers(&mut observed);
        answer(&mut observed);
        pass(&mut observed, 2);
        assert_eq!(state(&observed), "Running", "{expected} heals by itself");
    }
}

#[test]
fn a_pod_that_cannot_start_is_made_anew_when_its_environment_is_put_right_and_not_before() {
    let mut observed = with_pod();
    pod_status(&mut observed, waiting("ImagePullBackOff", None));
    assert_eq!(deletes(&pass(&mut observed, 1)), 0);
    observed.environment.as_mut().unwrap().spec.image = "desktop:2".into();
    assert_eq!(deletes(&pass(&mut observed, 2)), 1);
    observed.pod = None;
    pass(&mut observed, 3);
    assert_eq!(
        observed.pod.as_ref().unwrap().spec.as_ref().unwrap().containers[0].image.as_deref(),
        Some("desktop:2")
    );
}

#[test]
fn a_pod_that_runs_keeps_the_environment_that_it_was_made_from() {
    let mut observed = ready();
    observed.environment.as_mut().unwrap().spec.image = "desktop:2".into();
    assert_eq!(pass(&mut observed, 4), Plan::default());
}

#[test]
fn an_agent_that_cannot_start_or_write_is_told_apart() {
    for (text, expected) in
        [("exit code 1", "AgentFailed"), ("Disk quota exceeded (os error 122)", "VolumeFull")]
    {
        let mut observed = ready();
        let runner = observed.runner.as_mut().unwrap();
        (runner.state, runner.reason) = (RunnerPhase::Failed, Some(text.into()));
        pass(&mut observed, 4);
        assert_eq!(reason(&observed, ConditionType::AgentReady), expected);
        assert_eq!(reason(&observed, ConditionType::DesktopReady), "Ready", "the desktop is not to blame");
    }
}

#[test]
fn a_full_volume_is_a_persons_business_until_it_has_room_again() {
    let mut observed = ready();
    observed.runner.as_mut().unwrap().volume_full = true;
    let plan = pass(&mut observed, 4);
    assert_eq!(reason(&observed, ConditionType::Stalled), "VolumeFull");
    assert!(plan.notices.iter().any(|n| n.warning && n.reason == Reason::VolumeFull));
    assert_eq!(plan.wake, Wake::AfterMillis(10_000), "no watch tells when there is room again");
    assert_eq!(pass(&mut observed, 5).notices, [], "it is said once");
    observed.runner.as_mut().unwrap().volume_full = false;
    pass(&mut observed, 14);
    assert_eq!((state(&observed), reason(&observed, ConditionType::Stalled).as_str()), ("Running", ""));
}

#[test]
fn one_missed_answer_makes_no_workspace_unready_while_the_probes_succeed() {
    let mut observed = ready();
    (observed.desk, observed.runner) = (None, None);
    let plan = pass(&mut observed, 4);
    assert_eq!((plan.status, plan.wake), (None, Wake::OnChange));
    let containers =
        observed.pod.as_mut().unwrap().status.as_mut().unwrap().container_statuses.as_mut().unwrap();
    containers[0].ready = false;
    pass(&mut observed, 5);
    assert_eq!(reason(&observed, ConditionType::Ready), "DesktopStarting");
}

#[test]
fn a_refusal_of_the_api_server_is_said_before_the_next_attempt() {
    let mut observed = fresh(json!({}));
    observed.last_error = Some("exceeded quota".into());
    let plan = pass(&mut observed, 0);
    assert_eq!(plan.ops, []);
    assert_eq!(reason(&observed, ConditionType::Stalled), Reason::QuotaExceeded.as_str());
    observed.last_error = None;
    assert!(!pass(&mut observed, 5).ops.is_empty());
}

#[test]
fn taking_over_is_in_the_status_only_after_deskd_confirmed_it() {
    let mut observed = ready();
    observed.workspace.spec.control =
        serde_json::from_value(json!({"holder": "User", "user": "jane", "private": true})).unwrap();
    let plan = pass(&mut observed, 4);
    assert!(matches!(&plan.ops[..], [Op::Effect(Effect::SetControl { lease, .. })] if lease.epoch == 1));
    assert_eq!(status(&observed).control.as_ref().unwrap().holder, ControlHolder::Agent);
    let plan = pass(&mut observed, 5);
    let control = status(&observed).control.clone().unwrap();
    assert_eq!((control.summary.as_deref(), control.epoch), (Some("jane (private)"), 1));
    assert_eq!(plan.notices.len(), 1);
    assert_eq!(plan.notices[0].reason, Reason::ControlChanged);
    assert_eq!(pass(&mut observed, 6), Plan::default());
}

#[test]
fn who_watches_is_in_the_status_while_they_do() {
    let mut observed = ready();
    observed.desk.as_mut().unwrap().audience = vec!["jane".into(), "omar".into()];
    pass(&mut observed, 4);
    assert_eq!(status(&observed).control.as_ref().unwrap().audience, ["jane", "omar"]);
    observed.desk.as_mut().unwrap().audience.clear();
    let plan = pass(&mut observed, 5);
    assert!(status(&observed).control.as_ref().unwrap().audience.is_empty());
    assert!(plan.notices.is_empty(), "that is no change of control");
}

#[test]
fn while_somebody_watches_it_is_looked_who_still_does() {
    let mut observed = ready();
    pass(&mut observed, 3);
    assert_eq!(pass(&mut observed, 4).wake, Wake::OnChange, "nobody watches");
    observed.desk.as_mut().unwrap().viewers = 2;
    pass(&mut observed, 5);
    assert!(matches!(pass(&mut observed, 6).wake, Wake::AfterMillis(millis) if millis <= 5_001));
}

#[test]
fn whoever_takes_over_gets_the_same_lease_before_a_pass_as_from_it() {
    let mut observed = ready();
    pass(&mut observed, 3);
    assert!(!other_hands(&observed.workspace) && lease(&observed).is_none());
    observed.workspace.spec.control =
        serde_json::from_value(json!({"holder": "User", "user": "jane"})).unwrap();
    assert!(other_hands(&observed.workspace));
    let early = lease(&observed).unwrap();
    let mut unasked = Observed::of(observed.workspace.clone());
    unasked.desk = Some(last_hands(&observed.workspace));
    assert_eq!(lease(&unasked).as_ref(), Some(&early), "without asking deskd, too");
    let plan = pass(&mut observed, 4);
    assert!(matches!(&plan.ops[..], [Op::Effect(Effect::SetControl { lease, .. })] if *lease == early));
    pass(&mut observed, 5);
    assert!(!other_hands(&observed.workspace), "deskd has confirmed it");
    observed.workspace.spec.control = serde_json::from_value(json!({"holder": "User"})).unwrap();
    assert_eq!((other_hands(&observed.workspace), lease(&observed)), (true, None), "but not for nobody");
}

#[test]
fn a_new_deskd_is_told_again_who_holds_control() {
    let mut observed = ready();
    observed.workspace.spec.control =
        serde_json::from_value(json!({"holder": "User", "user": "jane"})).unwrap();
    pass(&mut observed, 4);
    pass(&mut observed, 5);
    answer(&mut observed);
    pass(&mut observed, 6);
    assert_eq!(
        status(&observed).control.as_ref().unwrap().holder,
        ControlHolder::Agent,
        "that is how it is now"
    );
    pass(&mut observed, 7);
    let control = status(&observed).control.clone().unwrap();
    assert_eq!((control.user.as_deref(), control.epoch), (Some("jane"), 2), "the epoch never goes back");
}

#[test]
fn control_for_nobody_in_particular_is_not_given() {
    let mut observed = ready();
    observed.workspace.spec.control = serde_json::from_value(json!({"holder": "User"})).unwrap();
    assert_eq!(pass(&mut observed, 4).ops, []);
    assert_eq!(reason(&observed, ConditionType::Ready), "InvalidSpec");
}

#[test]
fn a_desktop_after_a_deleted_one_begins_in_the_epoch_that_its_session_says() {
    let mut observed = fresh(json!({}));
    let annotations = [("a8s.dev/epoch".to_owned(), "3".to_owned())].into();
    observed.workspace.metadata.annotations = Some(annotations);
    pass(&mut observed, 0);
    bind(&mut observed, "Bound");
    observed.workspace.metadata.annotations = None;
    pass(&mut observed, 1);
    assert_eq!(status(&observed).epoch, Some(3), "the claim keeps it");
    let pod = serde_json::to_string(observed.pod.as_ref().unwrap()).unwrap();
    assert!(pod.contains(r#"{"name":"A8S_EPOCH","value":"3"}"#), "{pod}");
}
