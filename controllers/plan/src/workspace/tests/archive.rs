//! Archiving and coming back.

use a8s_crds::{Trigger, WorkspaceState};

use super::*;
use crate::workspace::Source;

/// Archived as far as that goes without a driver: the Snapshot is asked for.
fn archiving() -> Observed {
    let mut observed = ready();
    observed.runner.as_mut().unwrap().epoch = 2;
    pass(&mut observed, 9);
    observed.workspace.spec.state = WorkspaceState::Archived;
    pass(&mut observed, 10);
    swept(&mut observed);
    pass(&mut observed, 11);
    pass(&mut observed, 12);
    observed
}

/// The claim is gone.
fn archived() -> Observed {
    let mut observed = archiving();
    taken(&mut observed);
    for second in 13..16 {
        pass(&mut observed, second);
        swept(&mut observed);
    }
    observed
}

fn source() -> Option<Source> {
    Some(Source {
        ready: true,
        volume_snapshot: Some("vs".into()),
        restore_size: Some("5Gi".into()),
        ..Source::default()
    })
}

/// Archived, and now it shall be suspended.
fn to_be_suspended() -> Observed {
    let mut observed = archived();
    observed.archive = source();
    observed.workspace.spec.state = WorkspaceState::Suspended;
    observed
}

fn wake(observed: &mut Observed) {
    observed.workspace.spec.state = WorkspaceState::Running;
    observed.archive = source();
}

#[test]
fn archiving_removes_the_pod_takes_a_snapshot_writes_it_down_and_then_removes_the_claim() {
    let mut observed = archiving();
    assert_eq!(observed.snapshots.len(), 1);
    assert_eq!(observed.snapshots[0].trigger, Trigger::Archive);
    assert_eq!((deletes(&pass(&mut observed, 13)), state(&observed)), (0, "Archiving"));
    taken(&mut observed);
    let plan = pass(&mut observed, 14);
    assert_eq!((deletes(&plan), status(&observed).archive.as_ref()), (0, Some(&observed.snapshots[0].name)));
    let plan = pass(&mut observed, 15);
    assert!(matches!(&plan.ops[..], [Op::Delete { target, .. }] if target.kind == "PersistentVolumeClaim"));
    assert_eq!(deletes(&pass(&mut observed, 16)), 0, "once");
    swept(&mut observed);
    pass(&mut observed, 17);
    assert_eq!(
        (state(&observed), reason(&observed, ConditionType::Ready).as_str()),
        ("Archived", "Archived")
    );
    assert_eq!(status(&observed).epoch, Some(2));
    assert_eq!(pass(&mut observed, 18), Plan::default());
}

#[test]
fn waking_makes_the_next_volume_from_the_archive_and_the_conversation_goes_on_where_it_was() {
    let mut observed = archived();
    assert!(observed.claim.is_none());
    wake(&mut observed);
    let plan = pass(&mut observed, 100);
    assert_eq!(creates(&plan, "PersistentVolumeClaim"), 1);
    let made = claim(&observed);
    assert_eq!(made["metadata"]["name"], "w-home-2");
    assert_eq!(made["metadata"]["labels"]["a8s.dev/generation"], "2");
    assert_eq!(made["metadata"]["annotations"]["a8s.dev/epoch"], "2");
    assert_eq!(made["spec"]["dataSource"]["name"], "vs");
    let archive = status(&observed).archive.clone().unwrap();
    bind(&mut observed, "Bound");
    pass(&mut observed, 101);
    assert_eq!(status(&observed).archive.as_ref(), Some(&archive), "needed until the desktop has been ready");
    let pod = serde_json::to_value(&observed.pod).unwrap().to_string();
    assert!(pod.contains(r#""claimName":"w-home-2""#), "{pod}");
    assert!(pod.contains(&format!(r#"{{"name":"A8S_RESTORED_FROM","value":"{archive}"}}"#)), "{pod}");
    run_containers(&mut observed);
    answer(&mut observed);
    pass(&mut observed, 102);
    assert_eq!((state(&observed), &status(&observed).archive), ("Running", &None));
    assert_eq!(status(&observed).storage.as_ref().unwrap().generation, Some(2));
    assert_eq!(status(&observed).startup.as_ref().unwrap().total.as_deref(), Some("2.000s"), "measured anew");
    assert_eq!(pass(&mut observed, 103).ops, []);
}

#[test]
fn an_archive_that_is_lost_or_not_ready_is_said_and_never_becomes_an_empty_home() {
    let mut observed = archived();
    observed.workspace.spec.state = WorkspaceState::Running;
    let plan = pass(&mut observed, 100);
    assert_eq!(creates(&plan, "PersistentVolumeClaim") + creates(&plan, "Pod"), 0);
    assert_eq!(reason(&observed, ConditionType::Stalled), "SnapshotLost");
    observed.archive = Some(Source::default());
    pass(&mut observed, 101);
    assert_eq!(reason(&observed, ConditionType::Ready), "SnapshotNotReady");
    observed.archive =
        Some(Source { failed: Some("the backend has it no more".into()), ..Source::default() });
    pass(&mut observed, 102);
    assert_eq!(reason(&observed, ConditionType::Stalled), "SnapshotLost");
    observed.archive = source();
    assert_eq!(creates(&pass(&mut observed, 103), "PersistentVolumeClaim"), 1, "it heals by itself");
}

#[test]
fn a_snapshot_that_cannot_be_taken_leaves_the_volume_and_says_why() {
    let mut observed = archiving();
    observed.snapshots[0].failed = Some("no VolumeSnapshotClass fits driver d".into());
    let plan = pass(&mut observed, 13);
    assert_eq!(deletes(&plan), 0);
    assert_eq!(reason(&observed, ConditionType::Stalled), "SnapshotFailed");
    assert!(plan.notices.iter().any(|n| n.warning && n.note.contains("no VolumeSnapshotClass")));
    observed.workspace.spec.state = WorkspaceState::Running;
    let plan = pass(&mut observed, 14);
    assert_eq!((creates(&plan, "Pod"), creates(&plan, "PersistentVolumeClaim")), (1, 0), "it starts as ever");
}

#[test]
fn wanted_again_before_its_claim_is_gone_it_goes_on_with_it_and_the_next_archive_is_another_snapshot() {
    let mut observed = archiving();
    taken(&mut observed);
    pass(&mut observed, 13);
    let first = status(&observed).archive.clone().unwrap();
    wake(&mut observed);
    let plan = pass(&mut observed, 20);
    assert_eq!((creates(&plan, "Pod"), &status(&observed).archive), (0, &None), "first it is written down");
    let plan = pass(&mut observed, 21);
    assert_eq!((creates(&plan, "Pod"), creates(&plan, "PersistentVolumeClaim")), (1, 0));
    run_containers(&mut observed);
    answer(&mut observed);
    pass(&mut observed, 22);
    observed.workspace.spec.state = WorkspaceState::Archived;
    for second in 30..36 {
        pass(&mut observed, second);
        taken(&mut observed);
        if observed.pod.is_some() {
            swept(&mut observed);
        }
    }
    assert_eq!(observed.snapshots.len(), 2);
    assert_ne!(status(&observed).archive.as_ref(), Some(&first));
}

#[test]
fn a_mark_of_the_last_archiving_is_crossed_out_before_the_pod_goes() {
    // The controller made the pod and died before its status was written.
    let mut observed = archiving();
    let old = observed.workspace.status.clone();
    observed.workspace.spec.state = WorkspaceState::Running;
    pass(&mut observed, 20);
    run_containers(&mut observed);
    answer(&mut observed);
    observed.workspace.status = old;
    observed.workspace.spec.state = WorkspaceState::Archived;
    assert_eq!(deletes(&pass(&mut observed, 21)), 0);
    assert_eq!(status(&observed).storage.as_ref().unwrap().quiet_since, None);
    assert_eq!(deletes(&pass(&mut observed, 22)), 1);
}

#[test]
fn a_claim_waits_for_every_snapshot_that_is_being_taken_of_it() {
    let mut observed = archiving();
    taken(&mut observed);
    pass(&mut observed, 13);
    let claim_uid = observed.claim.as_ref().unwrap().metadata.uid.clone();
    observed.snapshots.push(SnapshotFact { name: "mine".into(), claim_uid, ..SnapshotFact::default() });
    assert_eq!(deletes(&pass(&mut observed, 14)), 0);
    assert!(get(&status(&observed).conditions, ConditionType::Ready).unwrap().message.contains("mine"));
    taken(&mut observed);
    assert_eq!(deletes(&pass(&mut observed, 15)), 1);
}

#[test]
fn without_its_status_an_archived_workspace_still_knows_its_snapshot() {
    let mut observed = archived();
    let archive = status(&observed).archive.clone();
    observed.workspace.status = None;
    pass(&mut observed, 100);
    assert_eq!((state(&observed), &status(&observed).archive), ("Archived", &archive));
    observed.workspace.status = None;
    wake(&mut observed);
    pass(&mut observed, 101);
    assert_eq!(claim(&observed)["spec"]["dataSource"]["name"], "vs", "and makes no empty home");
}

#[test]
fn what_is_archived_and_shall_be_suspended_gets_its_volume_back_without_a_pod() {
    let mut observed = to_be_suspended();
    let archive = status(&observed).archive.clone();
    let plan = pass(&mut observed, 100);
    assert_eq!((creates(&plan, "PersistentVolumeClaim"), creates(&plan, "Pod")), (1, 0));
    assert_eq!(claim(&observed)["spec"]["dataSource"]["name"], "vs");
    pass(&mut observed, 101);
    assert_eq!((state(&observed), &status(&observed).archive), ("Suspended", &archive), "it has none yet");
    bind(&mut observed, "Bound");
    pass(&mut observed, 102);
    assert_eq!((state(&observed), &status(&observed).archive), ("Suspended", &None));
    assert_eq!(reason(&observed, ConditionType::Ready), "Suspended");
    assert_eq!(pass(&mut observed, 103), Plan::default());
}

#[test]
fn a_claim_that_never_got_what_is_archived_goes_again_and_the_archive_still_stands() {
    let mut observed = to_be_suspended();
    let archive = status(&observed).archive.clone();
    pass(&mut observed, 100);
    pass(&mut observed, 101);
    observed.workspace.spec.state = WorkspaceState::Archived;
    assert_eq!(deletes(&pass(&mut observed, 102)), 1);
    swept(&mut observed);
    pass(&mut observed, 103);
    assert_eq!((state(&observed), &status(&observed).archive), ("Archived", &archive));
}

#[test]
fn what_its_lifecycle_archived_stays_so_when_it_shall_be_suspended() {
    let mut observed = to_be_suspended();
    let lifecycle = serde_json::from_value(serde_json::json!({"archiveAfter": "30s"})).unwrap();
    observed.workspace.spec.lifecycle = Some(lifecycle);
    let plan = pass(&mut observed, 3_600);
    assert_eq!((creates(&plan, "PersistentVolumeClaim"), state(&observed)), (0, "Archived"));
}

#[test]
fn an_archived_workspace_can_be_deleted_and_one_without_a_volume_archived() {
    let mut observed = archived();
    observed.workspace.metadata.deletion_timestamp = Some(at(100).into());
    let plan = pass(&mut observed, 100);
    assert!(plan.ops.iter().any(|op| matches!(op, Op::Finalizer { present: false, .. })));
    let mut observed = fresh(json!({"state": "Archived"}));
    pass(&mut observed, 0);
    assert_eq!((state(&observed), observed.claim.is_none()), ("Archived", true));
    observed.workspace.spec.state = WorkspaceState::Running;
    assert_eq!(creates(&pass(&mut observed, 1), "PersistentVolumeClaim"), 1);
}

#[test]
fn the_check_sees_a_claim_that_goes_without_its_snapshot() {
    let mut observed = archiving();
    taken(&mut observed);
    pass(&mut observed, 13);
    let plan = plan(&observed, &env(14));
    assert_eq!((deletes(&plan), check(&observed, &env(14), &plan)), (1, vec![]));
    let spoil: [fn(&mut Observed); 5] = [
        |o| o.snapshots[0].handle = false,
        |o| o.snapshots[0].ready = false,
        |o| o.snapshots[0].claim_uid = Some("another".into()),
        |o| o.workspace.status.as_mut().unwrap().archive = None,
        |o| o.workspace.spec.state = WorkspaceState::Suspended,
    ];
    for spoil in spoil {
        let mut spoilt = observed.clone();
        spoil(&mut spoilt);
        assert_eq!(check(&spoilt, &env(14), &plan).len(), 1);
        let own = crate::workspace::plan(&spoilt, &env(14));
        assert_eq!(deletes(&own), 0, "and no plan wants it");
    }
}
