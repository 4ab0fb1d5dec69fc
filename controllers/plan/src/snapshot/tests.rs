use a8s_crds::{
    Checkpoint, Consistency, DeletionPolicy, Import, ObjectRef,
    conditions::{self, ConditionType},
};
use a8s_wire::RunnerPhase;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::{Effect, Wake};

fn env() -> Env {
    Env {
        now: Timestamp::from_second(1_800_000_000).unwrap(),
        runner_image: "runner".into(),
        system_namespace: "a8s-system".into(),
    }
}

fn observed() -> Observed {
    let snapshot = serde_json::from_value(json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Snapshot",
        "metadata": {"name": "before", "namespace": "team", "uid": "snap-1", "generation": 1, "creationTimestamp": "2027-01-15T07:59:58Z",
            "finalizers": [labels::SNAPSHOT_FINALIZER]},
        "spec": {"workspace": "w"},
    }))
    .unwrap();
    Observed {
        snapshot,
        workspace: Some(WorkspaceFacts {
            uid: "ws-1".into(),
            environment: "desktop".into(),
            session: Some("s".into()),
            recorded: Some(Place { turn: 2, epoch: 0, seq: 7 }),
            pod_ready: true,
            artifacts: vec![ArtifactFact {
                name: "report".into(),
                version: 1,
                sha256: "ab".into(),
                object: "s-report-v1-abc".into(),
                own: true,
            }],
        }),
        claim: Claim::Bound {
            claim: ObjectRef { name: "w-home".into(), uid: "pvc-1".into() },
            driver: "d".into(),
        },
        class: Class::Chosen("fast".into()),
        runner: Runner::NotAsked,
        volume_snapshot: None,
        content: None,
        receipts: Vec::new(),
    }
}

fn runner(state: RunnerPhase) -> Runner {
    let artifact = |name: &str| json!({"name": name, "version": 1, "title": "", "fileName": "f", "mediaType": "m", "size": 1, "sha256": "ab", "turn": 3});
    let state = json!({"epoch": 1, "seq": 9, "turn": 3, "state": state, "artifacts": [artifact("report"), artifact("new")]});
    Runner::Quiesced(serde_json::from_value(state).unwrap())
}

fn taken(ready: bool) -> (Option<VolumeSnapshotFacts>, Option<ContentFacts>) {
    let vs = VolumeSnapshotFacts {
        uid: "vs-1".into(),
        owner: Some("snap-1".into()),
        ready,
        restore_size: Some("5Gi".into()),
        ..VolumeSnapshotFacts::default()
    };
    let content = ContentFacts {
        name: "snapcontent-vs-1".into(),
        uid: "c-1".into(),
        handle: Some("h".into()),
        driver: "d".into(),
        class: Some("fast".into()),
        policy_delete: true,
        ..ContentFacts::default()
    };
    (Some(vs), Some(content))
}

fn reason(plan: &Plan<SnapshotStatus>) -> (String, bool) {
    let all = &plan.status.as_ref().unwrap().conditions;
    (
        conditions::get(all, ConditionType::Ready).unwrap().reason.clone(),
        conditions::is_true(all, ConditionType::Stalled),
    )
}

#[test]
fn the_runner_is_quiesced_then_the_place_is_written_then_the_snapshot_is_taken() {
    let mut seen = observed();
    let first = plan(&seen, &env());
    assert!(matches!(&first.ops[..], [Op::Effect(Effect::Quiesce { .. })]));
    assert_eq!((first.status, first.wake), (None, Wake::AfterMillis(0)));

    seen.runner = runner(RunnerPhase::Idle);
    let second = plan(&seen, &env());
    assert!(second.ops.is_empty());
    let status = second.status.clone().unwrap();
    assert_eq!(status.consistency, Some(Consistency::Turn));
    let expected = vec!["s-new-v1".to_owned(), "s-report-v1-abc".to_owned()];
    assert_eq!(
        status.checkpoint,
        Some(Checkpoint { session: Some("s".into()), turn: 3, epoch: 1, seq: 9, artifacts: expected })
    );
    assert_eq!(
        (status.workspace_uid.as_deref(), status.environment.as_deref()),
        (Some("ws-1"), Some("desktop"))
    );

    seen.snapshot.status = second.status;
    let third = plan(&seen, &env());
    let [Op::Create { object }] = &third.ops[..] else { panic!("{third:?}") };
    assert_eq!(object["spec"]["source"]["persistentVolumeClaimName"], "w-home");
    assert_eq!(object["spec"]["volumeSnapshotClassName"], "fast");
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "snap-1");
}

#[test]
fn a_crash_after_the_place_was_written_takes_the_place_anew() {
    let mut seen = observed();
    seen.runner = runner(RunnerPhase::Idle);
    seen.snapshot.status = plan(&seen, &env()).status;
    seen.runner = Runner::NotAsked;
    assert!(matches!(&plan(&seen, &env()).ops[..], [Op::Effect(Effect::Quiesce { .. })]));
}

#[test]
fn consistency_says_what_was_running() {
    let consistency = |seen: &Observed| plan(seen, &env()).status.and_then(|s| s.consistency);
    let mut seen = observed();
    seen.runner = runner(RunnerPhase::Running);
    assert_eq!(consistency(&seen), Some(Consistency::Quiesced));
    seen.runner = Runner::Silent("refused".into());
    assert_eq!(consistency(&seen), None, "a young Snapshot waits for the runner");
    seen.snapshot.metadata.creation_timestamp = Some(Time(Timestamp::from_second(1_700_000_000).unwrap()));
    assert_eq!(consistency(&seen), Some(Consistency::Crash));
    seen.runner = Runner::NotAsked;
    seen.workspace.as_mut().unwrap().pod_ready = false;
    let status = plan(&seen, &env()).status.unwrap();
    assert_eq!((status.consistency, status.checkpoint.map(|c| c.seq)), (Some(Consistency::Crash), Some(7)));
}

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let table: [(Observed, &str, bool); 4] = [
        (Observed { workspace: None, ..observed() }, "WorkspaceNotFound", true),
        (Observed { claim: Claim::Pending, ..observed() }, "ClaimPending", false),
        (Observed { class: Class::NoApi, ..observed() }, "SnapshotClassMissing", true),
        (Observed { class: Class::Missing("create one".into()), ..observed() }, "SnapshotClassMissing", true),
    ];
    for (mut seen, expected, stalled) in table {
        let first = plan(&seen, &env());
        assert_eq!(reason(&first), (expected.into(), stalled));
        assert_eq!(first.notices.len(), usize::from(stalled));
        seen.snapshot.status = first.status;
        let again = plan(&seen, &env());
        assert_eq!((again.status, again.notices.len()), (None, 0), "{expected} is told once");
    }
}

#[test]
fn ready_needs_ready_to_use_and_a_handle() {
    let mut seen = observed();
    (seen.volume_snapshot, seen.content) = taken(false);
    let first = plan(&seen, &env());
    assert_eq!(reason(&first), ("SnapshotInProgress".into(), false));
    assert_eq!(
        first.status.unwrap().handle.as_deref(),
        Some("h"),
        "the handle is kept as soon as it is known"
    );
    seen.volume_snapshot.as_mut().unwrap().ready = true;
    let ready = plan(&seen, &env());
    assert_eq!(reason(&ready), ("Ready".into(), false));
    assert_eq!(ready.status.unwrap().restore_size.as_deref(), Some("5Gi"));
    seen.content = None;
    assert_eq!(reason(&plan(&seen, &env())).0, "SnapshotInProgress");
}

/// Ready, and everything of it in the cluster is gone.
fn bare() -> Observed {
    let mut seen = observed();
    (seen.volume_snapshot, seen.content) = taken(true);
    seen.snapshot.status = plan(&seen, &env()).status;
    (seen.volume_snapshot, seen.content) = (None, None);
    seen
}

fn created<'a>(plan: &'a Plan<SnapshotStatus>, kind: &str) -> &'a serde_json::Value {
    let found = plan.ops.iter().find_map(|op| match op {
        Op::Create { object } if object["kind"] == kind => Some(object),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no {kind}: {plan:?}"))
}

#[test]
fn a_snapshot_that_is_gone_from_the_cluster_is_made_again_from_its_handle() {
    let mut seen = bare();
    let first = plan(&seen, &env());
    assert_eq!((reason(&first), first.wake), (("Progressing".into(), false), Wake::AfterMillis(0)));
    seen.snapshot.status = first.status;
    let second = plan(&seen, &env());
    let content = created(&second, "VolumeSnapshotContent");
    assert_eq!(content["metadata"]["name"], "a8s-snap-1");
    assert_eq!(
        (
            &content["spec"]["source"]["snapshotHandle"],
            &content["spec"]["deletionPolicy"],
            &content["spec"]["driver"]
        ),
        (&json!("h"), &json!("Retain"), &json!("d"))
    );
    assert_eq!(content["spec"]["volumeSnapshotClassName"], "fast");
    let vs = created(&second, "VolumeSnapshot");
    assert_eq!(vs["spec"]["source"], json!({"volumeSnapshotContentName": "a8s-snap-1"}));
    assert_eq!(content["spec"]["volumeSnapshotRef"]["name"], vs["metadata"]["name"]);

    (seen.volume_snapshot, seen.content) = taken(true);
    let made = seen.content.as_mut().unwrap();
    (made.name, made.policy_delete) = ("a8s-snap-1".into(), false);
    let ready = plan(&seen, &env());
    assert_eq!(reason(&ready), ("Ready".into(), false));
    assert_eq!(ready.notices[0].reason.as_str(), "Rebuilt");
    assert!(
        matches!(&ready.ops[0], Op::Apply { object, .. } if object["spec"]["deletionPolicy"] == "Delete")
    );
}

#[test]
fn a_class_that_this_cluster_does_not_have_is_left_out() {
    let mut seen = bare();
    seen.class = Class::Missing(String::new());
    seen.snapshot.status = plan(&seen, &env()).status;
    let plan = plan(&seen, &env());
    assert_eq!(created(&plan, "VolumeSnapshotContent")["spec"].get("volumeSnapshotClassName"), None);
}

#[test]
fn what_the_backend_lost_is_said_and_never_taken_again() {
    let mut seen = bare();
    (seen.volume_snapshot, seen.content) = taken(false);
    seen.volume_snapshot.as_mut().unwrap().error = Some("can not find snapshot for snapshotID h".into());
    let lost = plan(&seen, &env());
    assert_eq!(reason(&lost), ("SnapshotLost".into(), true));
    assert!(lost.notices[0].note.contains("never taken again"), "{:?}", lost.notices);
    assert!(!lost.ops.iter().any(|op| matches!(op, Op::Create { .. })));
    seen.snapshot.status = lost.status;
    seen.volume_snapshot.as_mut().unwrap().error = None;
    seen.volume_snapshot.as_mut().unwrap().ready = true;
    assert_eq!(reason(&plan(&seen, &env())), ("Ready".into(), false), "it heals when the data is back");
    seen.content.as_mut().unwrap().handle = Some("another".into());
    assert_eq!(reason(&plan(&seen, &env())), ("SnapshotLost".into(), true));
}

#[test]
fn a_volume_snapshot_without_its_content_is_never_deleted_for_that() {
    let mut seen = bare();
    seen.volume_snapshot = taken(true).0;
    let of_a_claim = plan(&seen, &env());
    assert_eq!((of_a_claim.ops.len(), reason(&of_a_claim)), (0, ("Progressing".into(), false)));
    seen.volume_snapshot.as_mut().unwrap().given = true;
    let around = plan(&seen, &env());
    assert_eq!(created(&around, "VolumeSnapshotContent")["spec"]["deletionPolicy"], "Retain");
    seen.volume_snapshot.as_mut().unwrap().owner = Some("somebody".into());
    let foreign = plan(&seen, &env());
    assert_eq!((foreign.ops.len(), reason(&foreign)), (0, ("NameTaken".into(), true)));
}

#[test]
fn an_imported_snapshot_is_made_around_the_handle_it_names() {
    let mut seen = observed();
    seen.workspace = None;
    let import = Import { driver: "d".into(), handle: "foreign".into(), environment: "office".into() };
    seen.snapshot.spec.import = Some(import);
    let first = plan(&seen, &env());
    let status = first.status.clone().unwrap();
    assert_eq!((status.handle.as_deref(), status.environment.as_deref()), (Some("foreign"), Some("office")));
    assert_eq!(
        (first.ops.len(), status.consistency),
        (0, None),
        "the handle is written before anything is made"
    );
    seen.snapshot.status = first.status;
    let second = plan(&seen, &env());
    assert_eq!(created(&second, "VolumeSnapshotContent")["spec"]["source"]["snapshotHandle"], "foreign");
}

#[test]
fn a_snapshot_from_a_backup_without_its_handle_is_not_taken() {
    let mut seen = observed();
    seen.snapshot.metadata.labels = Some([(labels::VELERO_RESTORE.to_owned(), "r".to_owned())].into());
    let early = plan(&seen, &env());
    assert_eq!((early.ops.len(), early.status), (0, None), "its status may still come");
    assert!(matches!(early.wake, Wake::AfterMillis(1..)));
    seen.snapshot.metadata.creation_timestamp = Some(Time(Timestamp::from_second(1_700_000_000).unwrap()));
    let late = plan(&seen, &env());
    assert_eq!((late.ops.len(), reason(&late)), (0, ("RestoredWithoutState".into(), true)));
    seen.snapshot.status = late.status;
    assert_eq!(plan(&seen, &env()).status, None, "told once");
    let notes = [(labels::VELERO_HANDLE, "h"), (labels::VELERO_DRIVER, "d")];
    seen.snapshot.metadata.annotations = Some(notes.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert_eq!(
        plan(&seen, &env()).status.unwrap().handle.as_deref(),
        Some("h"),
        "notes that came along count"
    );
}

#[test]
fn a_snapshot_of_another_uid_is_rebuilt_under_a_name_of_its_own() {
    let mut seen = bare();
    seen.snapshot.status.as_mut().unwrap().uid = Some("an earlier life".into());
    let earlier = seen.snapshot.status.as_ref().unwrap().volume_snapshot.clone();
    seen.snapshot.status.as_mut().unwrap().volume_snapshot = earlier.clone().map(|n| format!("{n}-old"));
    seen.snapshot.status = plan(&seen, &env()).status;
    let status = seen.snapshot.status.as_ref().unwrap();
    assert_eq!((status.uid.as_deref(), &status.volume_snapshot), (Some("snap-1"), &earlier));
    // In the middle of being taken when it was backed up: what it would have held is gone.
    let mut unfinished = observed();
    unfinished.snapshot.status =
        Some(SnapshotStatus { uid: Some("an earlier life".into()), ..SnapshotStatus::default() });
    let told = plan(&unfinished, &env());
    assert_eq!((told.ops.len(), reason(&told)), (0, ("RestoredWithoutState".into(), true)));
    unfinished.snapshot.status = told.status;
    assert_eq!(plan(&unfinished, &env()).ops.len(), 0, "nor at the next look");
}

#[test]
fn velero_s_notes_are_written_once_and_after_ready() {
    let mut seen = observed();
    (seen.volume_snapshot, seen.content) = taken(true);
    let ready = plan(&seen, &env());
    assert_eq!(ready.ops, [], "nobody waits for the notes");
    seen.snapshot.status = ready.status;
    let first = plan(&seen, &env());
    let [Op::Apply { object, .. }] = &first.ops[..] else { panic!("{first:?}") };
    let notes = &object["metadata"]["annotations"];
    assert_eq!(
        (&notes[labels::VELERO_HANDLE], &notes[labels::VELERO_RESTORE_STATUS]),
        (&json!("h"), &json!("true"))
    );
    assert_eq!(notes[labels::VELERO_POLICY], "Delete");
    seen.snapshot.metadata.annotations = serde_json::from_value(notes.clone()).unwrap();
    let again = plan(&seen, &env());
    assert_eq!((again.ops.len(), again.status), (0, None));
}

#[test]
fn a_snapshot_that_is_being_taken_says_its_handle_only_if_that_takes_long() {
    let mut seen = observed();
    (seen.volume_snapshot, seen.content) = taken(false);
    let at = |seconds: i64| Env {
        now: seen.snapshot.creation_timestamp().unwrap().0 + jiff::SignedDuration::from_secs(seconds),
        ..env()
    };
    let (soon, late) = (plan(&seen, &at(1)), plan(&seen, &at(2)));
    assert_eq!((soon.status, soon.wake), (None, Wake::AfterMillis(500)));
    assert_eq!(late.status.unwrap().handle.as_deref(), Some("h"));
}

#[test]
fn ttl_deletes_at_its_second_and_hold_keeps() {
    let mut seen = observed();
    (seen.volume_snapshot, seen.content) = taken(true);
    seen.volume_snapshot.as_mut().unwrap().taken_at = Some(env().now);
    seen.snapshot.spec.ttl = Some(a8s_crds::Duration("1h".into()));
    seen.snapshot.metadata.resource_version = Some("7".into());
    let first = plan(&seen, &env());
    assert_eq!(first.wake, Wake::AfterMillis(3_600_001));
    let expires = first.status.as_ref().unwrap().expires.as_ref().unwrap().0;
    seen.snapshot.status = first.status;
    let over = Env { now: expires, ..env() };
    let gone = |plan: &Plan<SnapshotStatus>| {
        plan.ops.iter().any(|op| matches!(op, Op::DeleteUnchanged { target, version } if target.uid == "snap-1" && version == "7"))
    };
    assert!(gone(&plan(&seen, &over)));
    assert_eq!(plan(&seen, &over).notices[0].reason.as_str(), "Expired");
    seen.snapshot.spec.hold = true;
    let held = plan(&seen, &over);
    assert!(!gone(&held));
    assert_eq!(held.status.unwrap().expires, None);
}

#[test]
fn what_a_restored_desktop_found_is_told_and_what_was_right_stays_right() {
    let mut seen = observed();
    (seen.volume_snapshot, seen.content) = taken(true);
    let receipt = |verified: bool| ReceiptFact {
        workspace: "fork".into(),
        verified,
        detail: Some("a.txt differs".into()),
    };
    let verified = |plan: &Plan<SnapshotStatus>| {
        let all = &plan.status.as_ref().unwrap().conditions;
        let found = conditions::get(all, ConditionType::Verified).unwrap();
        (found.status.clone(), found.message.contains("fork"))
    };
    seen.receipts = vec![receipt(false)];
    let differs = plan(&seen, &env());
    assert_eq!(verified(&differs), ("False".into(), true));
    assert!(differs.notices.iter().any(|n| n.warning && n.note.contains("a.txt differs")));
    seen.snapshot.status = differs.status;
    assert!(!plan(&seen, &env()).notices.iter().any(|n| n.warning), "told once");
    seen.receipts.push(receipt(true));
    let right = plan(&seen, &env());
    assert_eq!(verified(&right), ("True".into(), true));
    seen.snapshot.status = right.status;
    seen.receipts = vec![receipt(false)];
    assert_eq!(plan(&seen, &env()).status, None);
}

#[test]
fn a_retained_snapshot_is_safe_before_anything_is_deleted() {
    let mut seen = observed();
    seen.snapshot.spec.deletion_policy = DeletionPolicy::Retain;
    (seen.volume_snapshot, seen.content) = taken(true);
    let plan = plan(&seen, &env());
    let Op::Apply { object, .. } = &plan.ops[0] else { panic!() };
    assert_eq!(
        (&object["spec"]["deletionPolicy"], &object["metadata"]["uid"]),
        (&json!("Retain"), &json!("c-1"))
    );
}

fn deleting(policy: DeletionPolicy) -> Observed {
    let mut seen = observed();
    seen.snapshot.spec.deletion_policy = policy;
    seen.snapshot.metadata.deletion_timestamp = Some(Time(env().now));
    seen.snapshot.status = Some(SnapshotStatus {
        handle: Some("h".into()),
        driver: Some("d".into()),
        ..SnapshotStatus::default()
    });
    (seen.volume_snapshot, seen.content) = taken(true);
    seen
}

#[test]
fn deletion_waits_until_the_backend_is_done() {
    let mut seen = deleting(DeletionPolicy::Delete);
    seen.content.as_mut().unwrap().policy_delete = false;
    let first = plan(&seen, &env());
    assert!(matches!(&first.ops[..], [Op::Apply { object, .. }, Op::Delete { target, .. }]
        if object["spec"]["deletionPolicy"] == "Delete" && target.kind == "VolumeSnapshot" && target.uid == "vs-1"));
    seen.content.as_mut().unwrap().policy_delete = true;
    seen.volume_snapshot = None;
    assert!(matches!(&plan(&seen, &env()).ops[..], [Op::Apply { object, .. }, Op::Delete { target, .. }]
            if target.kind == "VolumeSnapshotContent" && object["metadata"]["annotations"].is_object()));
    seen.content.as_mut().unwrap().deleting = true;
    assert!(plan(&seen, &env()).ops.is_empty());
    seen.content = None;
    seen.snapshot.status = first.status;
    assert!(matches!(&plan(&seen, &env()).ops[..], [Op::Finalizer { present: false, .. }]));
}

#[test]
fn a_retained_snapshot_tells_its_handle_when_it_goes() {
    let mut seen = deleting(DeletionPolicy::Retain);
    assert!(matches!(&plan(&seen, &env()).ops[..], [Op::Apply { .. }, Op::Delete { .. }]));
    seen.volume_snapshot = None;
    seen.content.as_mut().unwrap().policy_delete = false;
    let last = plan(&seen, &env());
    assert!(matches!(&last.ops[..], [Op::Finalizer { present: false, .. }]));
    assert!(last.notices[0].note.contains("handle h"));
}

#[test]
fn nothing_is_deleted_while_the_driver_is_creating() {
    let mut seen = deleting(DeletionPolicy::Delete);
    seen.snapshot.status = None;
    seen.content.as_mut().unwrap().handle = None;
    assert!(plan(&seen, &env()).ops.is_empty());
    seen.volume_snapshot.as_mut().unwrap().error = Some("no".into());
    assert!(!plan(&seen, &env()).ops.is_empty(), "after an error it can go");
    // Not even a content yet.
    seen.volume_snapshot.as_mut().unwrap().error = None;
    seen.content = None;
    seen.volume_snapshot.as_mut().unwrap().created = Some(env().now);
    assert!(plan(&seen, &env()).ops.is_empty());
}

#[test]
fn a_backend_that_was_not_told_is_told_by_a_content_around_the_handle() {
    let mut seen = deleting(DeletionPolicy::Delete);
    (seen.volume_snapshot, seen.content) = (None, None);
    let first = plan(&seen, &env());
    let content = created(&first, "VolumeSnapshotContent").clone();
    assert_eq!(
        (&content["spec"]["deletionPolicy"], &content["spec"]["source"]["snapshotHandle"]),
        (&json!("Delete"), &json!("h"))
    );
    assert!(
        content["metadata"]["finalizers"][0].as_str().unwrap().contains("snapshotcontent-bound-protection")
    );

    seen.content = Some(ContentFacts {
        name: "a8s-snap-1".into(),
        uid: "c-2".into(),
        created: Some(env().now),
        handle: Some("h".into()),
        policy_delete: true,
        ..ContentFacts::default()
    });
    let deletes = |plan: &Plan<SnapshotStatus>| plan.ops.iter().any(|op| matches!(op, Op::Delete { .. }));
    assert!(!deletes(&plan(&seen, &env())), "the sidecar must have seen it first");
    let later = Env { now: Timestamp::from_second(1_800_000_003).unwrap(), ..env() };
    let told = plan(&seen, &later);
    assert!(deletes(&told));
    seen.snapshot.status = told.status;
    seen.content = None;
    assert!(matches!(&plan(&seen, &later).ops[..], [Op::Finalizer { present: false, .. }]), "and only once");
}

#[test]
fn a_retained_snapshot_whose_objects_are_gone_needs_nothing_more() {
    let mut seen = deleting(DeletionPolicy::Retain);
    (seen.volume_snapshot, seen.content) = (None, None);
    assert!(matches!(&plan(&seen, &env()).ops[..], [Op::Finalizer { present: false, .. }]));
}
