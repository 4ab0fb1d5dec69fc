//! Putting the volume back to a Snapshot, in place.

use a8s_crds::{RestoreStatus, Trigger};

use super::*;
use crate::workspace::Source;

fn source() -> Option<Source> {
    Some(Source {
        ready: true,
        volume_snapshot: Some("vs".into()),
        restore_size: Some("8Gi".into()),
        epoch: 1,
        ..Source::default()
    })
}

fn order(observed: &mut Observed, id: &str) {
    observed.workspace.spec.restore = serde_json::from_value(json!({"snapshot": "good", "id": id})).unwrap();
}

fn ordered() -> Observed {
    let mut observed = ready();
    order(&mut observed, "1");
    observed.restore = source();
    observed
}

fn restore(observed: &Observed) -> RestoreStatus {
    status(observed).restore.clone().unwrap_or_default()
}

fn phase(observed: &Observed) -> String {
    restore(observed).phase
}

/// What is there is saved, the old pod is gone.
fn replacing() -> Observed {
    let mut observed = ordered();
    pass(&mut observed, 10);
    pass(&mut observed, 11);
    taken(&mut observed);
    pass(&mut observed, 12);
    pass(&mut observed, 13);
    swept(&mut observed);
    observed
}

#[test]
fn the_desktop_goes_on_until_what_is_there_is_saved_and_then_starts_on_the_snapshot() {
    let mut observed = ordered();
    pass(&mut observed, 10);
    assert_eq!(
        (phase(&observed).as_str(), state(&observed), observed.snapshots.len()),
        ("Saving", "Running", 0)
    );
    pass(&mut observed, 11);
    assert_eq!((observed.snapshots.len(), observed.snapshots[0].trigger), (1, Trigger::Safety));
    assert_eq!(Some(&observed.snapshots[0].name), restore(&observed).safety.as_ref());
    assert_eq!((deletes(&pass(&mut observed, 12)), state(&observed)), (0, "Running"));
    taken(&mut observed);
    assert_eq!((deletes(&pass(&mut observed, 13)), phase(&observed).as_str()), (0, "Replacing"));
    assert_eq!(deletes(&pass(&mut observed, 14)), 1);
    assert_eq!(
        (state(&observed), reason(&observed, ConditionType::Ready).as_str()),
        ("Restoring", "Restoring")
    );
    assert_eq!(creates(&pass(&mut observed, 15), "PersistentVolumeClaim"), 0, "the old pod is still going");
    swept(&mut observed);
    let plan = pass(&mut observed, 16);
    assert_eq!((creates(&plan, "PersistentVolumeClaim"), creates(&plan, "Pod")), (1, 0));
    let made = claim(&observed);
    assert_eq!(
        (&made["metadata"]["name"], &made["spec"]["dataSource"]["name"]),
        (&json!("w-home-2"), &json!("vs"))
    );
    assert_eq!(made["spec"]["resources"]["requests"]["storage"], "8Gi", "the greater of both");
    assert_eq!(deletes(&pass(&mut observed, 17)), 0, "the new one is not bound");
    bind(&mut observed, "Bound");
    let plan = pass(&mut observed, 18);
    assert_eq!((creates(&plan, "Pod"), phase(&observed).as_str()), (1, "Done"));
    assert!(plan.notices.iter().any(|n| n.reason == a8s_crds::conditions::Reason::Restored));
    assert!(matches!(&plan.ops[0], Op::Delete { target, .. } if target.name == "w-home"));
    let pod = serde_json::to_value(&observed.pod).unwrap().to_string();
    assert!(
        pod.contains(r#""claimName":"w-home-2""#) && pod.contains(r#"{"name":"A8S_EPOCH","value":"2"}"#),
        "{pod}"
    );
    swept(&mut observed);
    run_containers(&mut observed);
    answer(&mut observed);
    pass(&mut observed, 19);
    assert_eq!(state(&observed), "Running");
    assert_eq!(pass(&mut observed, 20).ops, [], "once for each id");
}

#[test]
fn the_epoch_is_greater_than_any_that_was() {
    let mut observed = ordered();
    observed.runner.as_mut().unwrap().epoch = 7;
    for second in 10..13 {
        pass(&mut observed, second);
        taken(&mut observed);
    }
    pass(&mut observed, 13);
    swept(&mut observed);
    pass(&mut observed, 14);
    assert_eq!(claim(&observed)["metadata"]["annotations"]["a8s.dev/epoch"], "8");
}

#[test]
fn an_order_that_cannot_be_carried_out_changes_nothing_and_says_why() {
    let too_small = json!({"size": "5Gi"});
    let cases: [(fn(&mut Observed), &str, &str); 5] = [
        (|o| o.restore.as_mut().unwrap().restore_size = Some("8Gi".into()), "Refused", "needs 8Gi"),
        (|o| o.restore.as_mut().unwrap().failed = Some("gone".into()), "Refused", "gone"),
        (|o| o.restore.as_mut().unwrap().deleting = true, "Refused", "being deleted"),
        (|o| o.restore.as_mut().unwrap().ready = false, "Waiting", "not ready"),
        (|o| o.restore = None, "Waiting", "no Snapshot good"),
    ];
    for (spoil, expected, text) in cases {
        let mut observed = ordered();
        if text.contains("needs") {
            observed.workspace.spec.storage = serde_json::from_value(too_small.clone()).unwrap();
        }
        spoil(&mut observed);
        let plan = pass(&mut observed, 10);
        assert_eq!(
            (phase(&observed).as_str(), state(&observed), plan.ops.len()),
            (expected, "Running", 0),
            "{text}"
        );
        assert!(restore(&observed).message.unwrap().contains(text));
        assert_eq!(plan.notices.len(), 1);
        assert_eq!(pass(&mut observed, 11), Plan::default(), "said once");
    }
    let mut observed = ordered();
    observed.restore = None;
    pass(&mut observed, 10);
    observed.restore = source();
    pass(&mut observed, 11);
    assert_eq!(phase(&observed), "Saving", "what was waited for came");
}

#[test]
fn what_cannot_be_saved_first_is_not_replaced() {
    let mut observed = ordered();
    pass(&mut observed, 10);
    pass(&mut observed, 11);
    observed.snapshots[0].failed = Some("no class".into());
    pass(&mut observed, 12);
    assert_eq!((phase(&observed).as_str(), state(&observed)), ("Refused", "Running"));
    order(&mut observed, "2");
    pass(&mut observed, 13);
    pass(&mut observed, 14);
    assert_eq!(
        (phase(&observed).as_str(), observed.snapshots.len()),
        ("Saving", 2),
        "another word, another try"
    );
}

#[test]
fn an_order_that_is_taken_back_and_given_again_saves_what_is_there_by_then() {
    let mut observed = ordered();
    pass(&mut observed, 10);
    pass(&mut observed, 11);
    observed.workspace.spec.restore = None;
    pass(&mut observed, 12);
    assert_eq!(status(&observed).restore, None);
    taken(&mut observed);
    order(&mut observed, "1");
    pass(&mut observed, 50);
    pass(&mut observed, 51);
    assert_eq!((phase(&observed).as_str(), observed.snapshots.len()), ("Saving", 2));
}

#[test]
fn a_snapshot_that_goes_while_the_pod_stops_brings_the_desktop_back_as_it_was() {
    let mut observed = replacing();
    observed.restore = None;
    pass(&mut observed, 14);
    assert_eq!(
        (phase(&observed).as_str(), observed.claim.as_ref().unwrap().metadata.name.as_deref()),
        ("Refused", Some("w-home"))
    );
    let plan = pass(&mut observed, 15);
    assert_eq!((creates(&plan, "Pod"), creates(&plan, "PersistentVolumeClaim")), (1, 0));
}

#[test]
fn without_the_status_the_claim_knows_which_order_it_was_made_for() {
    let mut observed = replacing();
    pass(&mut observed, 14);
    bind(&mut observed, "Bound");
    observed.workspace.status = None;
    pass(&mut observed, 15);
    assert_eq!((phase(&observed).as_str(), restore(&observed).id.as_str()), ("Done", "1"));
    assert!(restore(&observed).safety.is_some());
    for second in 16..20 {
        pass(&mut observed, second);
        swept(&mut observed);
    }
    assert_eq!(observed.snapshots.len(), 1, "it is not carried out again");
    assert!(observed.older.is_empty(), "and the old claim goes");
}

#[test]
fn a_volume_that_is_lost_is_made_anew_from_the_snapshot_with_nothing_to_save() {
    let mut observed = ready();
    (observed.claim, observed.pod, observed.desk, observed.runner) = (None, None, None, None);
    pass(&mut observed, 9);
    assert_eq!(reason(&observed, ConditionType::Stalled), "ClaimLost");
    order(&mut observed, "1");
    observed.restore = source();
    pass(&mut observed, 10);
    assert_eq!(phase(&observed), "Replacing");
    let plan = pass(&mut observed, 11);
    assert_eq!(creates(&plan, "PersistentVolumeClaim"), 1);
    assert_eq!(claim(&observed)["spec"]["dataSource"]["name"], "vs");
}

#[test]
fn a_suspended_workspace_carries_the_order_out_when_it_runs_again() {
    let mut observed = ordered();
    observed.workspace.spec.state = a8s_crds::WorkspaceState::Suspended;
    pass(&mut observed, 10);
    swept(&mut observed);
    pass(&mut observed, 11);
    assert_eq!(status(&observed).restore, None);
    observed.workspace.spec.state = a8s_crds::WorkspaceState::Running;
    pass(&mut observed, 12);
    assert_eq!(phase(&observed), "Saving");
}

#[test]
fn the_check_sees_a_replaced_claim_that_goes_too_early() {
    let mut observed = replacing();
    pass(&mut observed, 14);
    bind(&mut observed, "Bound");
    let plan = plan(&observed, &env(15));
    assert_eq!((deletes(&plan), check(&observed, &env(15), &plan)), (1, vec![]));
    let spoil: [fn(&mut Observed); 3] =
        [|o| o.snapshots[0].handle = false, |o| o.snapshots[0].claim_uid = None, |o| bind(o, "Pending")];
    for spoil in spoil {
        let mut spoilt = observed.clone();
        spoil(&mut spoilt);
        assert!(!check(&spoilt, &env(15), &plan).is_empty());
        assert_eq!(deletes(&crate::workspace::plan(&spoilt, &env(15))), 0, "and no plan wants it");
    }
}

#[test]
fn a_claim_that_holds_what_is_nowhere_else_is_never_replaced() {
    let observed = replacing();
    let plan = plan(&observed, &env(14));
    assert_eq!((creates(&plan, "PersistentVolumeClaim"), check(&observed, &env(14), &plan)), (1, vec![]));
    let mut unsaved = observed.clone();
    unsaved.snapshots.clear();
    assert!(!check(&unsaved, &env(14), &plan).is_empty());
    let own = crate::workspace::plan(&unsaved, &env(14));
    assert_eq!(creates(&own, "PersistentVolumeClaim"), 0);
}

#[test]
fn a_desktop_that_stops_while_it_is_put_back_still_lets_the_old_claim_go() {
    for rest in [a8s_crds::WorkspaceState::Suspended, a8s_crds::WorkspaceState::Archived] {
        let mut observed = replacing();
        pass(&mut observed, 14);
        observed.workspace.spec.state = rest;
        assert_eq!(deletes(&pass(&mut observed, 15)), 0, "the new one is not bound");
        bind(&mut observed, "Bound");
        let plan = pass(&mut observed, 16);
        assert!(matches!(&plan.ops[..], [Op::Delete { target, .. }] if target.name == "w-home"), "{rest:?}");
        assert_eq!(pass(&mut observed, 17).ops, [], "{rest:?}: nothing else before it is gone");
        swept(&mut observed);
    }
}
