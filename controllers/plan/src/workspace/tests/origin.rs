//! What a volume is made from, where, and what is found on it.

use a8s_crds::conditions::Reason;
use a8s_wire::{FirstFrame, Restored};

use super::*;
use crate::{
    Wake,
    workspace::{CloneSource, NodeFact, Source},
};

fn source() -> Option<Source> {
    Some(Source {
        ready: true,
        volume_snapshot: Some("vs".into()),
        restore_size: Some("8Gi".into()),
        ..Source::default()
    })
}

fn live() -> CloneSource {
    CloneSource {
        uid: "uid-2".into(),
        claim: Some("other-home-3".into()),
        bound: true,
        size: Some("6Gi".into()),
        class: Some("fast".into()),
        driver: Some("d".into()),
        epoch: 4,
        running: true,
        answers: true,
        ..CloneSource::default()
    }
}

fn clone() -> Observed {
    let mut observed = fresh(json!({"source": {"workspace": "other"}}));
    observed.workspace.metadata.creation_timestamp = Some(at(0).into());
    observed.clone_source = Some(live());
    observed
}

#[test]
fn a_size_that_is_too_small_is_refused_with_both_sizes_and_a_default_grows() {
    let mut observed = fresh(json!({"source": {"snapshot": "s"}, "storage": {"size": "1Gi"}}));
    observed.source = source();
    pass(&mut observed, 0);
    let stalled = get(&status(&observed).conditions, ConditionType::Stalled).unwrap();
    assert_eq!(stalled.reason, "InvalidSpec");
    assert!(stalled.message.contains("1Gi") && stalled.message.contains("8Gi"), "{}", stalled.message);
    let mut observed = fresh(json!({"source": {"snapshot": "s"}}));
    observed.source = source();
    pass(&mut observed, 0);
    assert_eq!(claim(&observed)["spec"]["resources"]["requests"]["storage"], "8Gi");
    let mut observed = fresh(json!({"source": {"snapshot": "s"}, "storage": {"size": "20Gi"}}));
    observed.source = source();
    pass(&mut observed, 0);
    assert_eq!(claim(&observed)["spec"]["resources"]["requests"]["storage"], "20Gi");
}

#[test]
fn a_clone_flushes_what_it_is_made_from_and_begins_the_next_epoch() {
    let mut observed = clone();
    let plan = pass(&mut observed, 0);
    let flush = plan.ops.iter().position(|op| matches!(op, Op::Effect(Effect::Quiesce { workspace }) if workspace.name == "other" && workspace.uid == "uid-2"));
    let made = plan
        .ops
        .iter()
        .position(|op| matches!(op, Op::Create { object } if object["kind"] == "PersistentVolumeClaim"));
    assert!(flush.is_some() && flush < made);
    let made = claim(&observed);
    assert_eq!(made["spec"]["dataSource"], json!({"kind": "PersistentVolumeClaim", "name": "other-home-3"}));
    assert_eq!(
        (&made["spec"]["storageClassName"], &made["spec"]["resources"]["requests"]["storage"]),
        (&json!("fast"), &json!("6Gi"))
    );
    assert_eq!(made["metadata"]["annotations"]["a8s.dev/epoch"], "5");
    assert_eq!(made["metadata"]["annotations"]["a8s.dev/restored-from"], "workspace/other");
}

#[test]
fn a_clone_waits_a_little_for_a_silent_runner_and_not_at_all_for_a_pod_that_does_not_run() {
    let mut observed = clone();
    observed.clone_source.as_mut().unwrap().answers = false;
    assert_eq!(creates(&pass(&mut observed, 5), "PersistentVolumeClaim"), 0);
    assert_eq!(creates(&pass(&mut observed, 10), "PersistentVolumeClaim"), 1);
    let mut observed = clone();
    let live = observed.clone_source.as_mut().unwrap();
    (live.answers, live.running) = (false, false);
    assert_eq!(creates(&pass(&mut observed, 0), "PersistentVolumeClaim"), 1);
}

#[test]
fn what_cannot_be_cloned_is_named_with_what_to_do() {
    let cases: [(fn(&mut Observed), &str, &str); 5] = [
        (|o| o.clone_source = None, "WorkspaceNotFound", "no Workspace other"),
        (|o| o.clone_source.as_mut().unwrap().bound = false, "ClaimPending", "no volume yet"),
        (
            |o| {
                let live = o.clone_source.as_mut().unwrap();
                (live.claim, live.bound, live.archive) = (None, false, Some("other-archive-1".into()));
            },
            "Archived",
            "start from its Snapshot other-archive-1",
        ),
        (|o| o.driver = Some("e".into()), "InvalidSpec", "driver d"),
        (
            |o| o.workspace.spec.storage = serde_json::from_value(json!({"size": "1Gi"})).unwrap(),
            "InvalidSpec",
            "needs 6Gi",
        ),
    ];
    for (spoil, expected, text) in cases {
        let mut observed = clone();
        spoil(&mut observed);
        let plan = pass(&mut observed, 0);
        assert_eq!(creates(&plan, "PersistentVolumeClaim") + creates(&plan, "Pod"), 0);
        assert_eq!(reason(&observed, ConditionType::Ready), expected);
        let message = &get(&status(&observed).conditions, ConditionType::Ready).unwrap().message;
        assert!(message.contains(text), "{message}");
    }
}

fn node() -> NodeFact {
    NodeFact { name: "n1".into(), open: true, topology: Some(vec![]), ..NodeFact::default() }
}

#[test]
fn where_the_node_is_known_the_volume_comes_first_and_the_pod_is_not_pinned() {
    let mut observed = fresh(json!({}));
    (observed.binding, observed.nodes) = (Binding::WaitForFirstConsumer, vec![node()]);
    let plan = pass(&mut observed, 0);
    assert_eq!((creates(&plan, "PersistentVolumeClaim"), creates(&plan, "Pod")), (1, 0));
    assert_eq!(claim(&observed)["metadata"]["annotations"]["volume.kubernetes.io/selected-node"], "n1");
    assert_eq!(creates(&pass(&mut observed, 1), "Pod"), 0);
    bind(&mut observed, "Bound");
    assert_eq!(creates(&pass(&mut observed, 2), "Pod"), 1);
    assert_eq!(observed.pod.as_ref().unwrap().spec.as_ref().unwrap().node_name, None);
}

#[test]
fn a_driver_that_rejects_the_node_or_takes_too_long_leaves_it_to_the_scheduler() {
    let mut observed = fresh(json!({}));
    (observed.binding, observed.nodes) = (Binding::WaitForFirstConsumer, vec![node()]);
    pass(&mut observed, 0);
    let mut rejected = observed.clone();
    rejected
        .claim
        .as_mut()
        .unwrap()
        .metadata
        .annotations
        .as_mut()
        .unwrap()
        .remove("volume.kubernetes.io/selected-node");
    assert_eq!(creates(&pass(&mut rejected, 1), "Pod"), 1);
    assert_eq!(creates(&pass(&mut observed, 14), "Pod"), 0);
    assert_eq!(creates(&pass(&mut observed, 15), "Pod"), 1);
}

/// A restored Workspace whose pod runs.
fn restored() -> Observed {
    let mut observed = fresh(json!({"source": {"snapshot": "s"}}));
    observed.source = source();
    pass(&mut observed, 0);
    bind(&mut observed, "Bound");
    pass(&mut observed, 1);
    run_containers(&mut observed);
    answer(&mut observed);
    pass(&mut observed, 2);
    observed
}

#[test]
fn the_receipt_needs_files_conversation_and_a_picture_and_is_written_once() {
    let mut observed = restored();
    assert_eq!((state(&observed), &status(&observed).receipt), ("Running", &None));
    let flushed =
        serde_json::from_value(json!({"turn": 1, "epoch": 0, "seq": 5, "at": "2026-11-22T12:00:00Z"}))
            .unwrap();
    let found = Restored {
        from: Some("s".into()),
        flushed: Some(flushed),
        files: 7,
        conversation_ok: true,
        exact: true,
        ..Restored::default()
    };
    observed.runner.as_mut().unwrap().restored = Some(found.clone());
    let waiting = pass(&mut observed, 3);
    assert_eq!(status(&observed).receipt, None, "nobody has seen a picture");
    assert_eq!(waiting.wake, Wake::AfterMillis(500), "nobody tells when there is one");
    assert_eq!(pass(&mut observed, 300).wake, Wake::OnChange, "and not for ever");
    observed.desk.as_mut().unwrap().first_frame = Some(FirstFrame { at: String::new(), after_millis: 1234 });
    let plan = pass(&mut observed, 4);
    let receipt = status(&observed).receipt.clone().unwrap();
    assert_eq!((receipt.snapshot.as_str(), receipt.verified, receipt.files), ("s", true, Some(7)));
    assert_eq!(receipt.first_frame.as_deref(), Some("1.23s"));
    assert_eq!(plan.notices.iter().filter(|n| n.reason == Reason::Verified).count(), 1);
    observed.runner.as_mut().unwrap().restored = Some(Restored { different: 1, ..found });
    assert_eq!(pass(&mut observed, 5), Plan::default(), "what people do afterwards does not count");
}

#[test]
fn what_differs_is_said_loudly() {
    let mut observed = restored();
    let found = Restored {
        different: 1,
        differs: vec!["missing a.txt".into()],
        conversation_ok: true,
        flushed: Some(serde_json::from_value(json!({"turn": 0, "epoch": 0, "seq": 0, "at": "t"})).unwrap()),
        ..Restored::default()
    };
    observed.runner.as_mut().unwrap().restored = Some(found);
    observed.desk.as_mut().unwrap().first_frame = Some(FirstFrame::default());
    let plan = pass(&mut observed, 3);
    assert!(!status(&observed).receipt.as_ref().unwrap().verified);
    assert!(
        plan.notices
            .iter()
            .any(|n| n.warning && n.reason == Reason::ManifestDiffers && n.note.contains("missing a.txt"))
    );
}
