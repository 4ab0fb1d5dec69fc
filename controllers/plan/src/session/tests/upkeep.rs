//! What a Session goes on telling its Workspace.

use a8s_crds::WorkspaceState;

use super::*;

fn with_workspace(spec: Value) -> Observed {
    let mut seen = seen(spec);
    seen.workspaces = vec![workspace_of("uid-s", "rain", true)];
    seen.session.status = Some(status_of(&seen, 0));
    seen
}

/// Nobody used the desktop, as its status says.
fn asleep(seen: &mut Observed) {
    let status = seen.workspaces[0].status.as_mut().unwrap();
    let since = env_at(100).now;
    (status.idle_since, status.suspended_since) = (Some(since.into()), Some(since.into()));
    status.state = Some("Suspended".into());
    status.awake = Some(
        "asleep since 00:01 UTC; a message, opening the desktop or the annotation a8s.dev/wake wakes it"
            .into(),
    );
    conditions::set(
        &mut status.conditions,
        ConditionType::Ready,
        Status::False,
        Reason::Idle,
        "Nobody used it.",
        Some(1),
        since,
    );
}

fn given() -> Live {
    Live { recorded: EventId { epoch: 0, seq: 4 }, goal_given: true, ..Live::default() }
}

fn merge(plan: &Plan<SessionStatus>) -> Option<&Value> {
    plan.ops.iter().find_map(|op| if let Op::Merge { patch, .. } = op { Some(patch) } else { None })
}

fn wakes(plan: &Plan<SessionStatus>) -> bool {
    let value = |op: &Op| {
        if let Op::Apply { object, .. } = op {
            object["metadata"]["annotations"]["a8s.dev/wake"].is_string()
        } else {
            false
        }
    };
    plan.ops.iter().any(value)
}

#[test]
fn lifecycle_and_snapshots_go_with_the_workspace_when_it_is_made() {
    let spec =
        json!({"goal": "g", "lifecycle": {"idleSuspendAfter": "20m"}, "snapshots": {"eachTurn": true}});
    let plan = plan(&seen(spec), &env_at(0));
    let made = &created(&plan).unwrap()["spec"];
    assert_eq!(made["lifecycle"]["idleSuspendAfter"], "20m");
    assert_eq!(made["snapshots"]["eachTurn"], true);
}

#[test]
fn they_can_be_changed_and_taken_away_at_any_time() {
    let mut seen = with_workspace(json!({"goal": "g", "lifecycle": {"idleSuspendAfter": "30m"}}));
    assert_eq!(
        merge(&plan(&seen, &env_at(1))),
        Some(&json!({"spec": {"lifecycle": {"idleSuspendAfter": "30m"}}}))
    );
    let had = json!({"idleSuspendAfter": "20m", "archiveAfter": "1d"});
    seen.workspaces[0].spec.lifecycle = Some(from_value(had).unwrap());
    let expected = json!({"spec": {"lifecycle": {"idleSuspendAfter": "30m", "archiveAfter": null}}});
    assert_eq!(merge(&plan(&seen, &env_at(1))), Some(&expected));
    seen.session.spec.lifecycle = None;
    assert_eq!(merge(&plan(&seen, &env_at(1))), Some(&json!({"spec": {"lifecycle": null}})));
    seen.workspaces[0].spec.lifecycle = None;
    assert_eq!(plan(&seen, &env_at(1)).ops, [], "and then there is nothing to do");
}

#[test]
fn a_message_wakes_a_desktop_that_is_asleep_once() {
    let mut seen = with_workspace(json!({"goal": "g"}));
    seen.live = Some(given());
    seen.session.status = Some(status_of(&seen, 0));
    seen.live = None;
    asleep(&mut seen);
    let quiet = plan(&seen, &env_at(200));
    assert!(!wakes(&quiet));
    let status = quiet.status.unwrap();
    assert_eq!(status.state.as_deref(), Some("Suspended"));
    assert_eq!(status.doing.as_deref(), Some("asleep since 00:01 UTC; a message wakes it"));
    assert_eq!(reason(&status, ConditionType::Ready), ("False".into(), "Idle".into()));
    seen.session.status = Some(status);
    seen.undelivered = 1;
    let planned = plan(&seen, &env_at(201));
    assert!(wakes(&planned));
    assert_eq!(planned.status.unwrap().doing.as_deref(), Some("waking for a message"));
    seen.workspaces[0].metadata.annotations =
        Some([("a8s.dev/wake".to_owned(), "for-a-message".to_owned())].into());
    assert!(!wakes(&plan(&seen, &env_at(202))), "it was said");
}

#[test]
fn a_goal_that_nobody_has_heard_yet_wakes_too() {
    let mut seen = with_workspace(json!({"goal": "g"}));
    asleep(&mut seen);
    assert!(wakes(&plan(&seen, &env_at(200))));
}

#[test]
fn a_decision_wakes_the_desktop_whose_agent_asked() {
    let mut seen = with_workspace(json!({"goal": "g"}));
    seen.live = Some(given());
    seen.session.status = Some(status_of(&seen, 0));
    seen.live = None;
    asleep(&mut seen);
    let spec = json!({"session": "s", "type": "Credential", "title": "t", "subject": "crm", "id": "0-3"});
    let mut request = Request::new("s-0-3", from_value(spec).unwrap());
    for (decision, wakes_it) in [(None, false), (Some(json!({"option": "deny", "by": "jane"})), true)] {
        request.status = Some(from_value(json!({"state": "Open", "decision": decision})).unwrap());
        seen.requests = vec![Arc::new(request.clone())];
        assert_eq!(wakes(&plan(&seen, &env_at(200))), wakes_it, "{decision:?}");
    }
}

#[test]
fn what_a_person_suspended_is_not_woken_by_messages() {
    let mut seen = with_workspace(json!({"goal": "g", "state": "Suspended"}));
    seen.workspaces[0].spec.state = WorkspaceState::Suspended;
    asleep(&mut seen);
    seen.undelivered = 1;
    assert_eq!(plan(&seen, &env_at(200)).ops, []);
}

#[test]
fn a_finished_session_stays_finished_while_its_desktop_sleeps() {
    let mut seen = with_workspace(json!({"goal": "g"}));
    seen.live = Some(Live { finished: Some("done".into()), ..given() });
    seen.session.status = Some(status_of(&seen, 0));
    seen.live = None;
    asleep(&mut seen);
    let status = status_of(&seen, 200);
    assert_eq!((status.state.as_deref(), status.doing.as_deref()), (Some("Finished"), Some("done")));
    assert_eq!(reason(&status, ConditionType::Ready).1, "Idle");
}

#[test]
fn archiving_is_told_until_it_is_done() {
    let mut seen = with_workspace(json!({"goal": "g", "state": "Archived"}));
    let state = |plan: Plan<SessionStatus>| {
        plan.ops
            .iter()
            .any(|op| matches!(op, Op::Apply { object, .. } if object["spec"]["state"] == "Archived"))
    };
    assert!(state(plan(&seen, &env_at(1))));
    seen.workspaces[0].spec.state = WorkspaceState::Archived;
    let tell = |seen: &mut Observed, word: &str, reason, text| {
        let status = seen.workspaces[0].status.as_mut().unwrap();
        status.state = Some(word.into());
        conditions::set(
            &mut status.conditions,
            ConditionType::Ready,
            Status::False,
            reason,
            text,
            Some(1),
            env_at(2).now,
        );
        status_of(seen, 3)
    };
    let status = tell(&mut seen, "Archiving", Reason::Archiving, "A Snapshot is taken.");
    assert_eq!(
        (status.state.as_deref(), status.doing.as_deref()),
        (Some("Archived"), Some("A Snapshot is taken."))
    );
    let status = tell(&mut seen, "Archived", Reason::Archived, "The Snapshot s stands for the volume.");
    assert_eq!((status.state.as_deref(), status.doing.as_deref()), (Some("Archived"), None));
    assert_eq!(reason(&status, ConditionType::Ready).1, "Archived");
}
