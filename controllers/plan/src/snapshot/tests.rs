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
                object: "s-report-v1-abc".into(),
            }],
        }),
        claim: Claim::Bound { name: "w-home".into(), driver: "d".into() },
        class: Class::Chosen("fast".into()),
        runner: Runner::NotAsked,
        volume_snapshot: None,
        content: None,
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
        deleting: false,
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

#[test]
fn a_snapshot_with_a_handle_is_never_taken_again() {
    let mut seen = observed();
    (seen.volume_snapshot, seen.content) = taken(true);
    seen.snapshot.status = plan(&seen, &env()).status;
    (seen.volume_snapshot, seen.content) = (None, None);
    let lost = plan(&seen, &env());
    assert!(lost.ops.is_empty());
    assert_eq!(reason(&lost), ("SnapshotLost".into(), true));
    (seen.volume_snapshot, seen.content) = taken(true);
    seen.snapshot.status = lost.status;
    assert_eq!(
        reason(&plan(&seen, &env())),
        ("Ready".into(), false),
        "it heals when the VolumeSnapshot is back"
    );
    seen.content.as_mut().unwrap().handle = Some("another".into());
    assert_eq!(reason(&plan(&seen, &env())), ("SnapshotLost".into(), true));
}

#[test]
fn a_retained_snapshot_is_safe_before_anything_is_deleted() {
    let mut seen = observed();
    seen.snapshot.spec.deletion_policy = DeletionPolicy::Retain;
    (seen.volume_snapshot, seen.content) = taken(true);
    let [Op::Apply { object, .. }] = &plan(&seen, &env()).ops[..] else { panic!() };
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
    assert!(
        matches!(&plan(&seen, &env()).ops[..], [Op::Delete { target, .. }] if target.kind == "VolumeSnapshotContent")
    );
    seen.content.as_mut().unwrap().deleting = true;
    assert!(plan(&seen, &env()).ops.is_empty());
    seen.content = None;
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
}
