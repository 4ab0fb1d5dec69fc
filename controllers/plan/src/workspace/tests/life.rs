//! Falling asleep, waking, archives and the end.

use a8s_crds::{WorkspaceState, labels};
use a8s_wire::Holder;

use super::*;
use crate::{
    Wake,
    workspace::{asleep, plan as decide, settled},
};

/// A Workspace with this lifecycle that was ready at second 3 and is idle since.
fn living(lifecycle: Value) -> Observed {
    let mut observed = fresh(json!({"lifecycle": lifecycle}));
    observed.workspace.metadata.creation_timestamp = Some(at(0).into());
    pass(&mut observed, 0);
    bind(&mut observed, "Bound");
    pass(&mut observed, 1);
    run_containers(&mut observed);
    answer(&mut observed);
    pass(&mut observed, 3);
    observed
}

fn minutes(count: i64) -> i64 {
    60 * count
}

/// The kubelet ended the pod.
fn pod_gone(observed: &mut Observed) {
    (observed.pod, observed.desk, observed.runner) = (None, None, None);
}

/// Lets it fall asleep at `second`, until its pod is gone.
fn fall_asleep(observed: &mut Observed, second: i64) {
    pass(observed, second);
    assert_eq!(deletes(&pass(observed, second)), 1);
    pod_gone(observed);
    pass(observed, second + 1);
    assert_eq!((state(observed), reason(observed, ConditionType::Ready).as_str()), ("Suspended", "Idle"));
}

fn annotate(observed: &mut Observed, value: &str) {
    let all = observed.workspace.metadata.annotations.get_or_insert_default();
    all.insert(labels::WAKE.to_owned(), value.to_owned());
}

fn awake(observed: &Observed) -> &str {
    status(observed).awake.as_deref().unwrap()
}

fn delete_of(plan: &Plan<WorkspaceStatus>) -> Option<(&str, &str)> {
    plan.ops.iter().find_map(|op| match op {
        Op::Delete { target, .. } => Some((target.kind.as_str(), target.uid.as_str())),
        _ => None,
    })
}

#[test]
fn without_a_lifecycle_it_runs_for_ever_and_nobody_looks() {
    let mut observed = ready();
    assert_eq!(awake(&observed), "runs until it is suspended");
    assert_eq!(pass(&mut observed, minutes(100_000)), Plan { wake: Wake::OnChange, ..Plan::default() });
    assert!(!crate::workspace::watched(&observed.workspace));
}

#[test]
fn what_nobody_uses_falls_asleep_on_time_and_says_beforehand_when() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    assert_eq!(awake(&observed), "idle since 22:13, suspends at 22:33 UTC");
    let plan = pass(&mut observed, minutes(20) + 2);
    assert_eq!((plan.ops, plan.status), (Vec::new(), None), "a second is left");
    assert_eq!(plan.wake, Wake::AfterMillis(1_001));
    let plan = pass(&mut observed, minutes(20) + 3);
    assert!(asleep(&observed.workspace), "it is said before anything is done");
    assert_eq!(plan.ops, []);
    assert_eq!(deletes(&pass(&mut observed, minutes(20) + 3)), 1);
    assert_eq!(state(&observed), "Suspending");
    pod_gone(&mut observed);
    pass(&mut observed, minutes(20) + 4);
    assert_eq!((state(&observed), reason(&observed, ConditionType::Ready).as_str()), ("Suspended", "Idle"));
    assert!(awake(&observed).starts_with("asleep since"), "{}", awake(&observed));
    assert_eq!(pass(&mut observed, minutes(9_000)), Plan::default(), "asleep it costs nothing");
}

#[test]
fn use_is_looked_for_every_half_minute_and_written_only_when_it_changes() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    let plan = pass(&mut observed, 40);
    assert_eq!(plan, Plan { wake: Wake::AfterMillis(30_001), ..Plan::default() });
    observed.desk.as_mut().unwrap().viewers = 1;
    pass(&mut observed, 70);
    assert_eq!((awake(&observed), status(&observed).viewers), ("a person watches", Some(1)));
    for later in [100, 130, 9_000] {
        assert_eq!(pass(&mut observed, later).status, None);
    }
}

#[test]
fn turns_messages_viewers_input_and_control_are_use() {
    type Used = fn(&mut Observed);
    let uses: [(Used, &str); 5] = [
        (
            |o| {
                (o.runner.as_mut().unwrap().state, o.runner.as_mut().unwrap().turn) =
                    (RunnerPhase::Running, 4);
            },
            "turn 4 is running",
        ),
        (|o| o.runner.as_mut().unwrap().queue = vec!["m".into()], "a message waits for the agent"),
        (|o| o.desk.as_mut().unwrap().viewers = 2, "2 people watch"),
        (
            |o| {
                let control = &mut o.desk.as_mut().unwrap().control;
                (control.holder, control.user, control.since) =
                    (Holder::User, Some("jane".into()), at(1_000).to_string());
                let wish = &mut o.workspace.spec.control;
                (wish.holder, wish.user) = (a8s_crds::ControlHolder::User, Some("jane".into()));
            },
            "jane has control",
        ),
        (
            |o| o.desk.as_mut().unwrap().last_input = Some(at(1_000).to_string()),
            "idle since 22:30, suspends at 22:50 UTC",
        ),
    ];
    for (used, words) in uses {
        let mut observed = living(json!({"idleSuspendAfter": "20m"}));
        used(&mut observed);
        pass(&mut observed, minutes(21));
        assert_eq!(awake(&observed), words);
        assert_eq!(settled(&observed.workspace), WorkspaceState::Running, "{words}");
    }
}

#[test]
fn control_that_was_forgotten_is_no_use_after_eight_hours_without_input() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    let control = &mut observed.desk.as_mut().unwrap().control;
    (control.holder, control.user, control.since) = (Holder::User, Some("jane".into()), at(10).to_string());
    let wish = &mut observed.workspace.spec.control;
    (wish.holder, wish.user) = (a8s_crds::ControlHolder::User, Some("jane".into()));
    pass(&mut observed, minutes(8 * 60));
    assert_eq!(awake(&observed), "jane has control");
    pass(&mut observed, minutes(8 * 60) + 11);
    assert!(awake(&observed).starts_with("idle since"));
    pass(&mut observed, minutes(8 * 60 + 20) + 11);
    assert!(asleep(&observed.workspace));
}

#[test]
fn use_starts_the_clock_anew() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    observed.desk.as_mut().unwrap().viewers = 1;
    pass(&mut observed, minutes(19));
    observed.desk.as_mut().unwrap().viewers = 0;
    pass(&mut observed, minutes(30));
    pass(&mut observed, minutes(49));
    assert!(!asleep(&observed.workspace));
    pass(&mut observed, minutes(50));
    assert!(asleep(&observed.workspace));
}

#[test]
fn a_turn_between_two_looks_counts() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    observed.runner.as_mut().unwrap().last_activity = at(minutes(20)).to_string();
    pass(&mut observed, minutes(20) + 10);
    assert!(!asleep(&observed.workspace));
    assert_eq!(status(&observed).idle_since.as_ref().unwrap().0, at(minutes(20)));
}

#[test]
fn processes_that_do_not_answer_prove_no_idleness() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    observed.desk = None;
    pass(&mut observed, minutes(60));
    assert!(!asleep(&observed.workspace));
    answer(&mut observed);
    pass(&mut observed, minutes(61));
    assert!(asleep(&observed.workspace), "the time that is in the status counts");
}

#[test]
fn a_lost_status_or_one_from_a_backup_begins_the_time_anew() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    observed.workspace.status.as_mut().unwrap().idle_since = None;
    pass(&mut observed, minutes(30));
    assert!(!asleep(&observed.workspace));
    let mut observed = living(json!({"idleSuspendAfter": "20m", "deleteAfter": "1d"}));
    observed.workspace.spec.state = WorkspaceState::Suspended;
    observed.workspace.metadata.creation_timestamp = Some(at(minutes(10_000)).into());
    observed.workspace.status.as_mut().unwrap().suspended_since = Some(at(minutes(9)).into());
    pod_gone(&mut observed);
    let plan = pass(&mut observed, minutes(10_001));
    assert_eq!(delete_of(&plan), None);
    assert_eq!(status(&observed).suspended_since.as_ref().unwrap().0, at(minutes(10_001)));
}

#[test]
fn a_clock_that_is_set_back_ends_nothing_early() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    pass(&mut observed, minutes(15));
    pass(&mut observed, -minutes(60));
    pass(&mut observed, -minutes(41));
    assert!(!asleep(&observed.workspace));
}

#[test]
fn any_new_value_of_the_annotation_wakes_even_the_words_of_last_time() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    for round in 1..3 {
        let second = round * minutes(100);
        fall_asleep(&mut observed, second);
        annotate(&mut observed, "now");
        let plan = pass(&mut observed, second + 10);
        assert_eq!(creates(&plan, "Pod"), 1);
        assert!(plan.notices.iter().any(|n| n.note == "Woken (now)."), "{:?}", plan.notices);
        assert_eq!(status(&observed).suspended_since, None);
        run_containers(&mut observed);
        answer(&mut observed);
        pass(&mut observed, second + 11);
        assert_eq!(state(&observed), "Running");
        assert_eq!(pass(&mut observed, second + 12).notices, [], "said once");
    }
}

#[test]
fn a_wish_to_wake_while_it_runs_counts_as_use() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    annotate(&mut observed, "again");
    pass(&mut observed, minutes(20) + 3);
    assert!(!asleep(&observed.workspace));
    assert_eq!(status(&observed).woken.as_deref(), Some("again"));
    pass(&mut observed, minutes(40) + 3);
    assert!(asleep(&observed.workspace));
}

#[test]
fn what_the_user_suspended_stays_asleep_and_says_why() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    observed.workspace.spec.state = WorkspaceState::Suspended;
    pass(&mut observed, 10);
    pod_gone(&mut observed);
    pass(&mut observed, 11);
    annotate(&mut observed, "now");
    let plan = pass(&mut observed, 20);
    assert_eq!((creates(&plan, "Pod"), state(&observed)), (0, "Suspended"));
    assert_eq!(
        plan.notices[0].note,
        "Not woken (now), because spec.state is Suspended; set spec.state to Running."
    );
    assert_eq!(pass(&mut observed, 21), Plan::default());
    observed.workspace.spec.state = WorkspaceState::Running;
    assert_eq!(creates(&pass(&mut observed, 30), "Pod"), 1);
}

#[test]
fn asleep_it_stays_asleep_when_the_terms_change() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    fall_asleep(&mut observed, minutes(30));
    observed.workspace.spec.lifecycle = None;
    assert_eq!(creates(&pass(&mut observed, minutes(31)), "Pod"), 0);
    assert_eq!(state(&observed), "Suspended");
}

#[test]
fn a_person_who_comes_while_it_falls_asleep_keeps_it_awake() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    pass(&mut observed, minutes(21));
    assert!(asleep(&observed.workspace));
    observed.desk.as_mut().unwrap().viewers = 1;
    let plan = pass(&mut observed, minutes(21) + 1);
    assert_eq!((deletes(&plan), settled(&observed.workspace)), (0, WorkspaceState::Running));
    assert_eq!(awake(&observed), "a person watches");
}

#[test]
fn a_crash_while_it_falls_asleep_leaves_no_doubt() {
    let mut observed = living(json!({"idleSuspendAfter": "20m"}));
    pass(&mut observed, minutes(21));
    // The pod goes; nothing that came after it was written.
    observed.pod.as_mut().unwrap().metadata.deletion_timestamp = Some(at(minutes(21)).into());
    (observed.desk, observed.runner) = (None, None);
    let plan = pass(&mut observed, minutes(21) + 1);
    assert_eq!((creates(&plan, "Pod"), state(&observed)), (0, "Suspending"));
}

#[test]
fn what_is_suspended_for_long_is_archived_whoever_suspended_it() {
    for asked in [WorkspaceState::Running, WorkspaceState::Suspended] {
        let mut observed = living(json!({"idleSuspendAfter": "20m", "archiveAfter": "2h"}));
        if asked == WorkspaceState::Running {
            fall_asleep(&mut observed, minutes(21));
        } else {
            observed.workspace.spec.state = asked;
            pass(&mut observed, minutes(21));
            pod_gone(&mut observed);
            pass(&mut observed, minutes(21) + 1);
        }
        let state = |o: &Observed, second| crate::workspace::wanted(o, &env(second)).state;
        assert_eq!(state(&observed, minutes(141) - 1), WorkspaceState::Suspended);
        assert_eq!(state(&observed, minutes(141)), WorkspaceState::Archived, "{asked:?}");
        // Once only a Snapshot is left, it stays so for a controller whose clock is behind, too.
        (observed.workspace.status.as_mut().unwrap().archive, observed.claim) = (Some("s".into()), None);
        assert_eq!(state(&observed, minutes(141) - 30), WorkspaceState::Archived);
        // What sleeps stays archived until it is woken; what was archived by hand gets its volume back.
        let early = if asked == WorkspaceState::Running { WorkspaceState::Archived } else { asked };
        assert_eq!(state(&observed, minutes(30)), early);
    }
}

#[test]
fn what_is_suspended_for_longest_is_deleted_after_an_event() {
    let mut observed = living(json!({"idleSuspendAfter": "20m", "deleteAfter": "1d"}));
    fall_asleep(&mut observed, minutes(30));
    let day = minutes(24 * 60);
    let Wake::AfterMillis(wait) = pass(&mut observed, minutes(31)).wake else {
        panic!("it must come back by itself")
    };
    assert_eq!(wait, u64::try_from(day - 60).unwrap() * 1000 + 1);
    let plan = pass(&mut observed, minutes(30) + day);
    assert_eq!((delete_of(&plan), plan.notices[0].reason.as_str()), (None, "Expired"));
    let plan = decide(&observed, &env(minutes(30) + day));
    assert_eq!(check(&observed, &env(minutes(30) + day), &plan), []);
    assert_eq!(delete_of(&plan), Some(("Workspace", UID)));
}

#[test]
fn with_the_desktop_of_a_session_the_session_goes() {
    let mut observed = living(json!({"deleteAfter": "1d"}));
    let owner = json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "name": "s", "uid": "session-1", "controller": true});
    observed.workspace.metadata.owner_references = Some(vec![serde_json::from_value(owner).unwrap()]);
    observed.workspace.spec.state = WorkspaceState::Suspended;
    pass(&mut observed, 10);
    pod_gone(&mut observed);
    pass(&mut observed, 11);
    pass(&mut observed, minutes(1_441));
    let plan = decide(&observed, &env(minutes(1_441)));
    assert_eq!(delete_of(&plan), Some(("Session", "session-1")));
    assert_eq!(check(&observed, &env(minutes(1_441)), &plan), []);
    assert_ne!(check(&observed, &env(minutes(1_000)), &plan), [], "not before its time");
}

#[test]
fn a_wish_to_wake_saves_what_would_be_deleted() {
    let mut observed = living(json!({"idleSuspendAfter": "20m", "deleteAfter": "1d"}));
    fall_asleep(&mut observed, minutes(30));
    pass(&mut observed, minutes(1_500));
    annotate(&mut observed, "wait");
    let plan = pass(&mut observed, minutes(1_500));
    assert_eq!((delete_of(&plan), creates(&plan, "Pod")), (None, 1));
}

#[test]
fn a_deletion_that_the_api_server_refuses_costs_no_writes_until_it_is_allowed() {
    let mut observed = living(json!({"idleSuspendAfter": "20m", "deleteAfter": "1d"}));
    fall_asleep(&mut observed, minutes(30));
    let late = minutes(1_500);
    pass(&mut observed, late);
    let refused = "The API server refused a step: workspaces.a8s.dev is forbidden";
    observed.last_error = Some(refused.into());
    assert!(pass(&mut observed, late).status.is_some(), "it is said once");
    for round in 0..3 {
        observed.last_error = None;
        let attempt = decide(&observed, &env(late + round));
        assert_eq!((delete_of(&attempt), attempt.status.is_none()), (Some(("Workspace", UID)), true));
        observed.last_error = Some(refused.into());
        let told = pass(&mut observed, late + round);
        assert_eq!((told.status, told.wake), (None, Wake::AfterMillis(5_000)));
    }
}
