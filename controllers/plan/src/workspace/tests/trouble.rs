//! Pods that are lost, and what is said about those that cannot run. The statuses are what kubelet, scheduler and node controller write.

use k8s_openapi::api::core::v1::Node;

use super::*;
use crate::workspace::{NodeState, suspect};

fn message(observed: &Observed, kind: ConditionType) -> String {
    get(&status(observed).conditions, kind).map(|c| c.message.clone()).unwrap_or_default()
}

fn on_node(observed: &mut Observed, node: &str) {
    observed.pod.as_mut().unwrap().spec.as_mut().unwrap().node_name = Some(node.into());
}

fn container(name: &str, ready: bool, state: Value, last: Value) -> Value {
    json!({"name": name, "ready": ready, "started": ready, "image": "desktop:1", "imageID": "sha256:1", "restartCount": 1,
        "containerID": "containerd://1", "state": state, "lastState": last})
}

fn oom(at_second: i64) -> Value {
    json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "startedAt": at(0).to_string(), "finishedAt": at(at_second).to_string(),
        "containerID": "containerd://0"}})
}

#[test]
fn a_container_that_ran_out_of_memory_and_runs_again_is_named_once_with_its_limit() {
    let mut observed = ready();
    let running =
        |name| container(name, true, json!({"running": {"startedAt": at(5).to_string()}}), json!({}));
    let restarted = container("agent", true, json!({"running": {"startedAt": at(5).to_string()}}), oom(4));
    pod_status(
        &mut observed,
        json!({"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [running("desktop"), restarted, running("runner")]}),
    );
    let plan = pass(&mut observed, 6);
    let text = "Container agent ran out of memory (its limit is 2Gi) at 22:13:24 UTC and was started again. Raise \
                spec.resources.limits.memory; it holds from the next start on.";
    assert_eq!((state(&observed), message(&observed, ConditionType::PodReady).as_str()), ("Running", text));
    assert!(
        matches!(&plan.notices[..], [n] if n.warning && n.reason.as_str() == "OutOfMemory" && n.note == text)
    );
    assert_eq!(pass(&mut observed, 7), Plan::default(), "said once");
}

#[test]
fn a_container_that_runs_out_of_memory_again_and_again_needs_a_person() {
    let mut observed = with_pod();
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff",
        "message": "back-off 10s restarting failed container=desktop pod=w-desktop_n(uid)"}});
    let all = json!([container("desktop", false, waiting, oom(4))]);
    pod_status(&mut observed, json!({"phase": "Running", "containerStatuses": all}));
    pass(&mut observed, 5);
    assert_eq!(reason(&observed, ConditionType::Stalled), "OutOfMemory");
    assert!(
        message(&observed, ConditionType::Ready).contains("desktop ran out of memory (its limit is 2Gi)")
    );
}

#[test]
fn a_pod_without_a_node_says_what_gives_it_room() {
    let scheduler = [
        (
            "0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available.",
            "lower spec.resources.requests",
        ),
        ("0/3 nodes are available: 3 node(s) had volume node affinity conflict.", "certain nodes only"),
        ("0/1 nodes are available: 1 node(s) were unschedulable.", "Uncordon"),
        ("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.", "nodeSelector"),
    ];
    for (text, advice) in scheduler {
        let mut observed = with_pod();
        let scheduled = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text,
            "lastTransitionTime": at(1).to_string()});
        pod_status(&mut observed, json!({"phase": "Pending", "conditions": [scheduled]}));
        pass(&mut observed, 2);
        assert_eq!(reason(&observed, ConditionType::Stalled), "", "an autoscaler may help");
        pass(&mut observed, 16);
        assert_eq!(reason(&observed, ConditionType::Stalled), "Unschedulable");
        let said = message(&observed, ConditionType::Ready);
        assert!(said.contains(text) && said.contains(advice), "{said}");
    }
}

#[test]
fn a_volume_that_is_attached_elsewhere_is_told_from_other_delays() {
    let mut observed = with_pod();
    on_node(&mut observed, "n2");
    pod_status(&mut observed, json!({"phase": "Pending"}));
    observed.warning = Some(
        "FailedAttachVolume: Multi-Attach error for volume \"pvc-1\" Volume is already exclusively attached to one node and can't be attached to another".into(),
    );
    pass(&mut observed, 5);
    assert_eq!(reason(&observed, ConditionType::PodReady), "MultiAttach");
    assert_eq!(reason(&observed, ConditionType::Stalled), "", "it mostly mends itself");
    pass(&mut observed, 61);
    assert_eq!(reason(&observed, ConditionType::Stalled), "MultiAttach");
    assert!(message(&observed, ConditionType::Ready).contains("out-of-service"));
}

#[test]
fn what_the_api_server_refuses_is_said_with_what_to_do() {
    let cases = [
        (
            "The API server refused a step: pods \"w-desktop\" is forbidden: exceeded quota: compute, requested: limits.memory=2Gi, used: limits.memory=7Gi, limited: limits.memory=8Gi",
            "QuotaExceeded",
            "ResourceQuota",
        ),
        (
            "The API server refused a step: pods \"w-desktop\" is forbidden: violates PodSecurity \"restricted:latest\": host namespaces (hostNetwork=true)",
            "Forbidden",
            "pod-security.kubernetes.io/enforce",
        ),
        (
            "The API server refused a step: pods \"w-desktop\" is forbidden: pod rejected: RuntimeClass \"gvisor\" not found",
            "RuntimeClassNotFound",
            "runtimeClassName",
        ),
        (
            "The API server refused a step: pods \"w-desktop\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi",
            "Forbidden",
            "LimitRange",
        ),
    ];
    for (text, expected, advice) in cases {
        let mut observed = with_pod();
        observed.last_error = Some(text.into());
        pass(&mut observed, 1);
        assert_eq!(reason(&observed, ConditionType::Stalled), expected, "{text}");
        assert!(message(&observed, ConditionType::Ready).contains(advice), "{text}");
    }
}

#[test]
fn an_evicted_pod_says_how_to_avoid_it_next_time() {
    let mut observed = ready();
    let why = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51Mi. Container desktop was using 1Gi, request is 250Mi. ";
    pod_status(&mut observed, json!({"phase": "Failed", "reason": "Evicted", "message": why}));
    let plan = pass(&mut observed, 30);
    assert_eq!((deletes(&plan), reason(&observed, ConditionType::PodReady).as_str()), (1, "PodFailed"));
    assert!(
        plan.notices.iter().any(|n| n.note.contains("Raise spec.resources.requests.memory")),
        "{:?}",
        plan.notices
    );
    pass(&mut observed, 31);
    observed.pod = None;
    let plan = pass(&mut observed, 32);
    assert_eq!((creates(&plan, "Pod"), creates(&plan, "PersistentVolumeClaim")), (1, 0));
    assert_eq!(status(&observed).startup.as_ref().unwrap().kind.as_deref(), Some("Restart"));
}

#[test]
fn who_takes_a_pod_away_is_said() {
    let mut observed = ready();
    let target = json!({"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        "message": "default-scheduler: preempting to accommodate a higher priority pod"});
    pod_status(&mut observed, json!({"phase": "Running", "conditions": [target]}));
    observed.pod.as_mut().unwrap().metadata.deletion_timestamp = Some(at(40).into());
    pass(&mut observed, 31);
    let said = message(&observed, ConditionType::PodReady);
    assert!(said.contains("preempting") && said.contains("same volume"), "{said}");
}

fn node(ready: &str, taints: Value) -> Node {
    serde_json::from_value(json!({"metadata": {"name": "n1"}, "spec": {"taints": taints}, "status": {"conditions": [
        {"type": "Ready", "status": ready, "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}]}}))
    .unwrap()
}

#[test]
fn a_node_is_off_only_if_somebody_said_so() {
    let unreachable = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]);
    let off =
        json!([{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}]);
    assert_eq!(NodeState::of(Some(&node("True", json!([])))), NodeState::Ready);
    assert_eq!(NodeState::of(Some(&node("Unknown", unreachable))), NodeState::Silent);
    assert_eq!(NodeState::of(Some(&node("Unknown", off))), NodeState::OutOfService);
    assert_eq!(NodeState::of(None), NodeState::Gone);
}

#[test]
fn a_healthy_pod_gives_no_reason_to_look_at_its_node() {
    let mut observed = ready();
    on_node(&mut observed, "n1");
    assert_eq!(suspect(observed.pod.as_ref().unwrap(), at(9_000)), None);
    // What the node controller writes when the node's lease has run out; the containers' statuses stay as the kubelet left them.
    let status = observed.pod.as_mut().unwrap().status.as_mut().unwrap();
    status.conditions =
        Some(vec![serde_json::from_value(json!({"type": "Ready", "status": "False"})).unwrap()]);
    assert_eq!(suspect(observed.pod.as_ref().unwrap(), at(9_000)), Some("n1"));
}

#[test]
fn on_a_silent_node_no_second_pod_is_started_however_long_it_takes() {
    let mut observed = ready();
    on_node(&mut observed, "n1");
    (observed.desk, observed.runner, observed.node) = (None, None, NodeState::Silent);
    let plan = pass(&mut observed, 60);
    assert_eq!((plan.ops.len(), state(&observed)), (0, "Stalled"));
    assert_eq!(reason(&observed, ConditionType::Stalled), "NodeLost");
    assert!(message(&observed, ConditionType::Ready).contains("kubectl delete node"));
    // Five minutes later the taint manager deletes the pod; nobody confirms that.
    observed.pod.as_mut().unwrap().metadata.deletion_timestamp = Some(at(370).into());
    for second in [371, 4_000, 400_000] {
        assert_eq!(pass(&mut observed, second).ops, []);
        assert_eq!(reason(&observed, ConditionType::Stalled), "NodeLost");
    }
    // The node comes back, its kubelet ends the pod.
    (observed.pod, observed.node) = (None, NodeState::NotAsked);
    assert_eq!(creates(&pass(&mut observed, 400_001), "Pod"), 1);
}

#[test]
fn what_ran_on_a_node_that_is_off_for_certain_starts_elsewhere_on_the_same_volume() {
    for (node, words) in [(NodeState::Gone, "was deleted"), (NodeState::OutOfService, "out of service")] {
        let mut observed = ready();
        on_node(&mut observed, "n1");
        observed.pod.as_mut().unwrap().metadata.deletion_timestamp = Some(at(40).into());
        (observed.desk, observed.runner, observed.node) = (None, None, node);
        let plan = pass(&mut observed, 60);
        assert!(
            matches!(&plan.ops[..], [Op::Delete { target, grace: Some(0) }] if target.kind == "Pod"),
            "{:?}",
            plan.ops
        );
        assert!(plan.notices.iter().any(|n| n.warning && n.note.contains(words)), "{:?}", plan.notices);
        assert_eq!(pass(&mut observed, 61).notices, [], "said once");
        (observed.pod, observed.node) = (None, NodeState::NotAsked);
        let plan = pass(&mut observed, 62);
        assert_eq!((creates(&plan, "Pod"), creates(&plan, "PersistentVolumeClaim")), (1, 0));
    }
}

#[test]
fn suspending_and_deleting_wait_for_a_lost_node_too() {
    for deleted in [false, true] {
        let mut observed = ready();
        on_node(&mut observed, "n1");
        observed.pod.as_mut().unwrap().metadata.deletion_timestamp = Some(at(40).into());
        (observed.desk, observed.runner, observed.node) = (None, None, NodeState::Silent);
        if deleted {
            observed.workspace.metadata.deletion_timestamp = Some(at(50).into());
        } else {
            observed.workspace.spec.state = a8s_crds::WorkspaceState::Suspended;
        }
        assert_eq!(pass(&mut observed, 60).ops, []);
        assert_eq!(reason(&observed, ConditionType::Stalled), "NodeLost");
        observed.node = NodeState::Gone;
        assert_eq!(deletes(&pass(&mut observed, 61)), 1);
    }
}

#[test]
fn the_check_sees_a_pod_that_is_forgotten_while_it_may_still_run() {
    let mut observed = ready();
    observed.node = NodeState::Silent;
    let target = super::super::running::pod_target(&observed, observed.pod.as_ref().unwrap());
    let plan = Plan { ops: vec![Op::Delete { target, grace: Some(0) }], ..Plan::default() };
    assert_eq!(check(&observed, &env(60), &plan)[0].invariant, 1);
    observed.node = NodeState::Gone;
    assert_eq!(check(&observed, &env(60), &plan), []);
}

#[test]
fn stages_are_measured_to_the_millisecond_and_a_start_has_a_kind() {
    let mut observed = ready();
    let startup = status(&observed).startup.clone().unwrap();
    assert_eq!((startup.kind.as_deref(), startup.total.as_deref()), (Some("Cold"), Some("2.000s")));
    observed.workspace.spec.state = a8s_crds::WorkspaceState::Suspended;
    pass(&mut observed, 10);
    (observed.pod, observed.desk, observed.runner) = (None, None, None);
    pass(&mut observed, 11);
    observed.workspace.spec.state = a8s_crds::WorkspaceState::Running;
    pass(&mut observed, 100);
    on_node(&mut observed, "n1");
    let mut later = env(100);
    later.now += jiff::SignedDuration::from_millis(7);
    let written = plan(&observed, &later).status.unwrap();
    observed.workspace.status = Some(serde_json::from_value(serde_json::to_value(written).unwrap()).unwrap());
    run_containers(&mut observed);
    later.now += jiff::SignedDuration::from_millis(416);
    let startup = plan(&observed, &later).status.unwrap().startup.unwrap();
    let shown = (startup.kind.as_deref(), startup.scheduled.as_deref(), startup.containers.as_deref());
    assert_eq!(shown, (Some("Resume"), Some("0.007s"), Some("0.423s")));
}
