//! Snapshots that a Workspace takes of itself.

use a8s_crds::{Trigger, conditions::Reason};
use serde_json::json;

use super::*;
use crate::{Wake, workspace::Conversation};

/// A Workspace that runs and is ready at second 3, with this policy.
fn with(policy: Value) -> Observed {
    let mut observed = ready();
    observed.workspace.spec.snapshots = Some(serde_json::from_value(policy).unwrap());
    observed
}

fn turn(turn: i64, idle: bool) -> Option<Conversation> {
    Some(Conversation { epoch: 0, turn, idle, asks: None })
}

/// The driver has taken all of them.
fn take(observed: &mut Observed, second: i64) {
    let place = observed.conversation.map(|c| (c.epoch, c.turn));
    for fact in observed.snapshots.iter_mut().filter(|s| !s.handle) {
        (fact.handle, fact.ready, fact.calm, fact.place) = (true, true, true, place);
        fact.taken_at = Some(at(second));
    }
}

fn names_of(observed: &Observed) -> Vec<&str> {
    observed.snapshots.iter().map(|s| s.name.rsplit_once('-').unwrap().0).collect()
}

#[test]
fn each_turn_that_ends_has_one_snapshot() {
    let mut observed = with(json!({"eachTurn": true}));
    observed.conversation = turn(1, false);
    pass(&mut observed, 10);
    assert_eq!(names_of(&observed), [""; 0], "the turn runs");
    observed.conversation = turn(1, true);
    pass(&mut observed, 11);
    assert_eq!(names_of(&observed), ["w-turn-0-1"]);
    assert_eq!(observed.snapshots[0].trigger, Trigger::Turn);
    assert_eq!(observed.snapshots[0].workspace_uid.as_deref(), Some(UID));
    pass(&mut observed, 12);
    take(&mut observed, 12);
    pass(&mut observed, 13);
    assert_eq!(names_of(&observed), ["w-turn-0-1"], "seen again, taken once");
    observed.conversation = turn(2, true);
    pass(&mut observed, 14);
    assert_eq!(names_of(&observed), ["w-turn-0-1", "w-turn-0-2"]);
}

#[test]
fn before_the_first_turn_and_without_a_policy_nothing_is_taken() {
    let mut observed = with(json!({"eachTurn": true}));
    observed.conversation = turn(0, true);
    pass(&mut observed, 10);
    observed.workspace.spec.snapshots = None;
    observed.conversation = turn(1, true);
    pass(&mut observed, 11);
    assert_eq!(names_of(&observed), [""; 0]);
}

#[test]
fn each_permission_that_is_asked_for_has_one_snapshot() {
    let asks = |number| Some(Conversation { epoch: 0, turn: 1, idle: false, asks: number });
    let mut observed = with(json!({"eachTurn": true}));
    observed.conversation = asks(Some((0, 7)));
    pass(&mut observed, 10);
    assert_eq!(names_of(&observed), [""; 0], "nobody wants that");
    observed.workspace.spec.snapshots.as_mut().unwrap().before_requests = true;
    observed.conversation = asks(None);
    pass(&mut observed, 11);
    assert_eq!(names_of(&observed), [""; 0], "nothing is asked");
    observed.conversation = asks(Some((0, 7)));
    pass(&mut observed, 12);
    assert_eq!(names_of(&observed), ["w-request-0-7"]);
    assert_eq!(observed.snapshots[0].trigger, Trigger::Request);
    take(&mut observed, 12);
    pass(&mut observed, 13);
    observed.conversation = asks(Some((0, 9)));
    pass(&mut observed, 14);
    assert_eq!(names_of(&observed), ["w-request-0-7", "w-request-0-9"]);
}

#[test]
fn one_is_under_way_at_a_time() {
    let mut observed = with(json!({"eachTurn": true}));
    observed.conversation = turn(1, true);
    pass(&mut observed, 10);
    observed.conversation = turn(2, true);
    pass(&mut observed, 11);
    assert_eq!(names_of(&observed), ["w-turn-0-1"]);
    take(&mut observed, 12);
    observed.snapshots[0].place = Some((0, 1));
    pass(&mut observed, 12);
    assert_eq!(names_of(&observed), ["w-turn-0-1", "w-turn-0-2"]);
}

#[test]
fn what_was_taken_between_the_same_two_turns_counts() {
    let mut observed = with(json!({"eachTurn": true, "keep": {"last": 1}}));
    observed.conversation = turn(3, true);
    pass(&mut observed, 10);
    take(&mut observed, 10);
    let fact = SnapshotFact {
        name: "w-schedule-x".into(),
        uid: "s".into(),
        trigger: Trigger::Schedule,
        ..observed.snapshots[0].clone()
    };
    observed.snapshots.push(SnapshotFact { taken_at: Some(at(20)), ..fact });
    pass(&mut observed, 21);
    assert_eq!(names_of(&observed), ["w-schedule"], "the older one goes");
    assert_eq!(pass(&mut observed, 22).ops, [], "and is not taken again");
}

#[test]
fn a_schedule_begins_when_it_is_seen_and_serves_what_was_missed_once() {
    // Second 0 is 22:13:20.
    let mut observed = with(json!({"schedule": "*/10 * * * *"}));
    let first = pass(&mut observed, 10);
    assert_eq!(names_of(&observed), [""; 0]);
    assert_eq!(status(&observed).last_scheduled.as_ref().map(|t| t.0), Some(at(10)));
    assert_eq!(first.wake, Wake::AfterMillis(390_001), "22:20:00 exactly");
    assert_eq!(pass(&mut observed, 11).status, None);

    let due = pass(&mut observed, 400);
    assert_eq!(names_of(&observed), ["w-schedule-20231114-2220"]);
    assert_eq!(due.wake, Wake::AfterMillis(600_001));
    take(&mut observed, 401);
    assert_eq!(pass(&mut observed, 402).ops, []);

    // Three times go by.
    pass(&mut observed, 2_250);
    assert_eq!(names_of(&observed), ["w-schedule-20231114-2220", "w-schedule-20231114-2250"]);
    take(&mut observed, 2_251);
    assert_eq!(pass(&mut observed, 2_252).ops, []);
}

#[test]
fn a_schedule_takes_nothing_while_there_is_no_desktop() {
    let mut observed = with(json!({"schedule": "*/10 * * * *"}));
    pass(&mut observed, 10);
    observed.pod = None;
    observed.workspace.spec.state = a8s_crds::WorkspaceState::Suspended;
    let plan = pass(&mut observed, 5_000);
    assert_eq!((names_of(&observed).len(), plan.wake), (0, Wake::OnChange), "and nobody wakes for it");
}

#[test]
fn a_schedule_that_no_clock_shows_is_told() {
    let mut observed = with(json!({"schedule": "61 * * * *"}));
    pass(&mut observed, 10);
    assert_eq!(reason(&observed, ConditionType::Stalled), Reason::InvalidSpec.as_str());
    let text = get(&status(&observed).conditions, ConditionType::Ready).unwrap().message.clone();
    assert!(text.contains("spec.snapshots.schedule") && text.contains("for example"), "{text}");
}

#[test]
fn a_suspension_waits_for_its_snapshot_and_each_has_its_own() {
    let mut observed = with(json!({"beforeSuspend": true}));
    observed.workspace.spec.state = a8s_crds::WorkspaceState::Suspended;
    pass(&mut observed, 10);
    assert_eq!((observed.snapshots.len(), deletes(&pass(&mut observed, 11))), (1, 0));
    assert_eq!(reason(&observed, ConditionType::Ready), "SnapshotInProgress");
    take(&mut observed, 12);
    assert_eq!(deletes(&pass(&mut observed, 12)), 1);

    let mut next = with(json!({"beforeSuspend": true}));
    next.pod.as_mut().unwrap().metadata.uid = Some("the next pod".into());
    next.workspace.spec.state = a8s_crds::WorkspaceState::Suspended;
    pass(&mut next, 20);
    assert_ne!(next.snapshots[0].name, observed.snapshots[0].name);
}

#[test]
fn a_snapshot_that_cannot_be_taken_keeps_no_desktop_awake() {
    for why in ["failed", "late"] {
        let mut observed = with(json!({"beforeSuspend": true}));
        observed.workspace.spec.state = a8s_crds::WorkspaceState::Suspended;
        pass(&mut observed, 10);
        let second = if why == "late" { 70 } else { 11 };
        observed.snapshots[0].failed = (why == "failed").then(|| "no class".into());
        assert_eq!(deletes(&pass(&mut observed, second)), 1, "{why}");
    }
}

#[test]
fn without_a_policy_only_superseded_archives_go() {
    let mut observed = ready();
    let fact = |i: i64, trigger| SnapshotFact {
        name: format!("s{i:02}"),
        uid: format!("u{i}"),
        trigger,
        taken_at: Some(at(i)),
        ready: true,
        handle: true,
        ..SnapshotFact::default()
    };
    observed.snapshots = (0..12)
        .map(|i| fact(i, Trigger::Archive))
        .chain((20..40).map(|i| fact(i, Trigger::Safety)))
        .collect();
    observed.workspace.status.as_mut().unwrap().archive = Some("s01".into());
    pass(&mut observed, 50);
    let left: Vec<_> = observed.snapshots.iter().map(|s| s.name.as_str()).collect();
    assert_eq!((left.len(), left[0]), (31, "s01"), "{left:?}");
}

#[test]
fn what_somebody_starts_from_stays() {
    let mut observed = with(json!({"keep": {"last": 1}}));
    for i in 0..5 {
        observed.snapshots.push(SnapshotFact {
            name: format!("s{i}"),
            uid: format!("u{i}"),
            trigger: Trigger::Turn,
            taken_at: Some(at(i)),
            ready: true,
            handle: true,
            ..SnapshotFact::default()
        });
    }
    observed.in_use.insert("s0".into());
    observed.workspace.spec.restore = Some(a8s_crds::Restore { snapshot: "s1".into(), id: "1".into() });
    let plan = plan(&observed, &env(10));
    let gone = plan.ops.iter().filter_map(|op| match op {
        Op::DeleteUnchanged { target, .. } => Some(target.name.as_str()),
        _ => None,
    });
    let gone: Vec<_> = gone.collect();
    assert_eq!(gone, ["s3", "s2"]);
}
