mod talk;
mod upkeep;

use a8s_crds::{SessionStatus, conditions::Status};
use serde_json::from_value;

use super::*;

fn env_at(second: i64) -> Env {
    let now = Timestamp::from_second(second).unwrap();
    Env { now, runner_image: "runner".into(), system_namespace: "a8s-system".into() }
}

fn session(spec: Value) -> Session {
    let mut session = Session::new("rain", from_value(spec).unwrap());
    session.metadata.namespace = Some("team".into());
    session.metadata.uid = Some("uid-s".into());
    session.metadata.generation = Some(1);
    session
}

fn environment(name: &str, keywords: &[&str], priority: i32) -> Environment {
    let spec = json!({"title": name, "image": "i", "match": {"keywords": keywords, "priority": priority}});
    Environment::new(name, from_value(spec).unwrap())
}

fn seen(spec: Value) -> Observed {
    Observed { environments: vec![environment("desktop", &[], 0)], ..Observed::of(session(spec)) }
}

fn workspace_of(owner: &str, name: &str, ready: bool) -> Workspace {
    let mut workspace = Workspace::new(name, from_value(json!({"environment": "desktop"})).unwrap());
    workspace.metadata = from_value(json!({"name": name, "namespace": "team", "uid": format!("uid-{name}"),
        "ownerReferences": [{"apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "name": "rain", "uid": owner, "controller": true}]}))
    .unwrap();
    let mut conditions = vec![];
    let (reason, text) =
        if ready { (Reason::Ready, "") } else { (Reason::PodStarting, "the pod is starting") };
    conditions::set(
        &mut conditions,
        ConditionType::Ready,
        Status::from(ready),
        reason,
        text,
        Some(1),
        env_at(0).now,
    );
    workspace.status = Some(a8s_crds::WorkspaceStatus { conditions, ..Default::default() });
    workspace
}

fn reason(status: &SessionStatus, kind: ConditionType) -> (String, String) {
    conditions::get(&status.conditions, kind)
        .map_or_else(Default::default, |c| (c.status.clone(), c.reason.clone()))
}

fn status_of(seen: &Observed, at: i64) -> SessionStatus {
    plan(seen, &env_at(at)).status.or_else(|| seen.session.status.clone()).unwrap()
}

fn created(plan: &Plan<SessionStatus>) -> Option<&Value> {
    plan.ops.iter().find_map(|op| if let Op::Create { object } = op { Some(object) } else { None })
}

#[test]
fn the_environment_with_the_most_keywords_of_the_goal_wins_then_priority_then_name() {
    let mut seen = seen(json!({"goal": "Make a PDF report of these invoices."}));
    seen.environments =
        vec![environment("office", &["pdf", "report"], 0), environment("desktop", &["pdf"], 50)];
    let choice = choose(&seen).unwrap();
    assert_eq!(choice.environment, "office");
    assert_eq!(
        choice.rationale,
        ["office: the goal mentions pdf, report", "desktop: 1 of its keywords in the goal"]
    );
    seen.environments =
        vec![environment("b", &["spdf"], 0), environment("a", &["epo"], 0), environment("c", &["x"], 1)];
    let choice = choose(&seen).unwrap();
    assert_eq!(choice.environment, "a", "words count only as whole words");
    assert_eq!(
        choice.rationale[0],
        "a: no Environment's keywords are in the goal; priority 0 is the lowest, it is the most general"
    );
}

#[test]
fn without_any_environment_the_session_waits_and_then_says_that_help_is_needed() {
    let mut seen = seen(json!({"goal": "g"}));
    seen.environments.clear();
    let first = plan(&seen, &env_at(100));
    assert_eq!((created(&first), first.wake, first.notices.len()), (None, Wake::AfterMillis(2_000), 1));
    let status = first.status.unwrap();
    assert_eq!(reason(&status, ConditionType::ReferencesResolved), ("False".into(), "NoEnvironment".into()));
    assert_eq!(
        (status.state.as_deref(), reason(&status, ConditionType::Stalled).0),
        (Some("Pending"), String::new())
    );
    seen.session.status = Some(status);
    let later = status_of(&seen, 131);
    assert_eq!(
        (later.state.as_deref(), reason(&later, ConditionType::Stalled).0.as_str()),
        (Some("Stalled"), "True")
    );
    seen.session.status = Some(later);
    seen.environments = vec![environment("desktop", &[], 0)];
    let healed = plan(&seen, &env_at(140));
    assert!(created(&healed).is_some());
    assert_eq!(reason(&healed.status.unwrap(), ConditionType::Stalled).0, "");
}

#[test]
fn a_named_environment_that_is_missing_is_named_in_the_condition() {
    let seen = seen(json!({"goal": "g", "environment": "office"}));
    let status = status_of(&seen, 0);
    let ready = conditions::get(&status.conditions, ConditionType::Ready).unwrap();
    assert_eq!(ready.reason, "EnvironmentNotFound");
    assert!(ready.message.contains("office"), "{}", ready.message);
}

#[test]
fn a_missing_config_map_holds_the_workspace_back_and_is_named() {
    let mut seen = seen(
        json!({"goal": "g", "attachments": [{"name": "w.csv", "configMap": {"name": "weather", "key": "k"}}]}),
    );
    seen.missing = vec![missing(&seen.session.spec.attachments[0])];
    let planned = plan(&seen, &env_at(0));
    assert_eq!(created(&planned), None);
    let status = planned.status.unwrap();
    assert_eq!(
        reason(&status, ConditionType::ReferencesResolved),
        ("False".into(), "ConfigMapNotFound".into())
    );
    assert!(status.doing.unwrap().contains("ConfigMap weather with key k"));
}

#[test]
fn the_workspace_is_created_with_the_session_as_owner_and_its_overrides() {
    let seen = seen(
        json!({"goal": "g", "workspace": {"desktop": {"width": 800, "height": 600}, "storage": {"size": "1Gi"}}}),
    );
    let planned = plan(&seen, &env_at(0));
    let object = created(&planned).unwrap();
    assert_eq!(object["metadata"]["name"], "rain");
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "uid-s");
    let spec = json!({"environment": "desktop", "state": "Running", "desktop": {"width": 800, "height": 600}, "storage": {"size": "1Gi"}});
    assert_eq!(object["spec"], spec);
}

#[test]
fn a_foreign_workspace_of_that_name_is_left_alone_and_another_name_is_used() {
    let mut seen = seen(json!({"goal": "g"}));
    seen.workspaces = vec![workspace_of("uid-other", "rain", true)];
    let planned = plan(&seen, &env_at(0));
    assert_eq!(created(&planned).unwrap()["metadata"]["name"], names::workspace("rain", "uid-s", true));
    seen.workspaces.push(workspace_of("uid-other", &names::workspace("rain", "uid-s", true), true));
    let planned = plan(&seen, &env_at(0));
    assert!(planned.ops.is_empty());
    assert_eq!(reason(&planned.status.unwrap(), ConditionType::Ready).1, "NameTaken");
}

#[test]
fn suspending_and_resuming_write_one_field_of_the_workspace_only() {
    let mut seen = seen(json!({"goal": "g", "state": "Suspended"}));
    seen.workspaces = vec![workspace_of("uid-s", "rain", true)];
    let planned = plan(&seen, &env_at(0));
    let [Op::Apply { object, manager }] = &planned.ops[..] else { panic!("{:?}", planned.ops) };
    assert_eq!((object["spec"].clone(), *manager), (json!({"state": "Suspended"}), "session"));
    assert_eq!(object["metadata"]["uid"], "uid-rain");
    assert_eq!(planned.status.unwrap().state.as_deref(), Some("Suspended"));
    seen.session.spec.state = SessionState::Active;
    assert!(plan(&seen, &env_at(0)).ops.is_empty(), "it runs already");
}

#[test]
fn terminating_deletes_the_workspace_once_and_nothing_else() {
    let mut seen = seen(json!({"goal": "g", "state": "Terminated"}));
    seen.workspaces = vec![workspace_of("uid-s", "rain", true)];
    let planned = plan(&seen, &env_at(0));
    assert!(matches!(&planned.ops[..], [Op::Delete { target, .. }] if target.uid == "uid-rain"));
    seen.workspaces.clear();
    let planned = plan(&seen, &env_at(0));
    let status = planned.status.unwrap();
    assert!(planned.ops.is_empty());
    assert_eq!((status.state.as_deref(), status.workspace.as_ref()), (Some("Terminated"), None));
}

/// As the server gives it back.
fn stored(status: SessionStatus) -> SessionStatus {
    from_value(serde_json::to_value(status).unwrap()).unwrap()
}

#[test]
fn a_session_is_finished_when_the_agent_said_so_and_nothing_runs_or_waits() {
    let mut seen = seen(json!({"goal": "g"}));
    seen.workspaces = vec![workspace_of("uid-s", "rain", true)];
    let live = Live {
        turn: 1,
        finished: Some("wrote report.pdf".into()),
        recorded: EventId { epoch: 0, seq: 9 },
        last_activity: Some("2026-11-22T10:00:00.123456789Z".parse().unwrap()),
        ..Live::default()
    };
    for (running, queued, expected) in [(true, 0, "Working"), (false, 1, "Working"), (false, 0, "Finished")] {
        seen.live = Some(Live { running, queued, ..live.clone() });
        let status = status_of(&seen, 0);
        assert_eq!(status.state.as_deref(), Some(expected), "{running} {queued}");
        assert_eq!(reason(&status, ConditionType::Ready).0, "True");
    }
    seen.session.status = Some(stored(status_of(&seen, 0)));
    let again = plan(&seen, &env_at(5));
    assert_eq!((again.status, again.notices), (None, vec![]), "nothing changed, nothing is written");
    seen.live = None;
    assert_eq!(status_of(&seen, 6).state.as_deref(), Some("Finished"), "it is remembered without the bridge");
    seen.live = Some(Live { turn: 2, running: true, finished: None, ..live });
    assert_eq!(status_of(&seen, 7).state.as_deref(), Some("Working"), "a new turn takes it back");
}

#[test]
fn what_is_recorded_never_goes_back() {
    let mut seen = seen(json!({"goal": "g"}));
    seen.session.status =
        Some(SessionStatus { epoch: Some(0), seq: Some(9), last_message: Some(4), ..Default::default() });
    seen.live = Some(Live { recorded: EventId { epoch: 0, seq: 3 }, last_message: 1, ..Live::default() });
    let status = status_of(&seen, 0);
    assert_eq!((status.seq, status.last_message), (Some(9), Some(4)));
    seen.live = Some(Live { recorded: EventId { epoch: 1, seq: 3 }, ..Live::default() });
    assert_eq!(status_of(&seen, 0).seq, Some(3), "a restore begins a new epoch");
}

#[test]
fn a_fork_takes_the_environment_of_its_snapshot_and_waits_until_that_is_ready() {
    let mut seen = seen(json!({"source": {"snapshot": "before"}}));
    assert_eq!(reason(&status_of(&seen, 0), ConditionType::Ready).1, "SnapshotNotFound");
    let mut snapshot = Snapshot::new("before", from_value(json!({"workspace": "rain"})).unwrap());
    snapshot.status =
        Some(a8s_crds::SnapshotStatus { environment: Some("desktop".into()), ..Default::default() });
    seen.snapshot = Some(snapshot.clone());
    assert_eq!(reason(&status_of(&seen, 0), ConditionType::Ready).1, "SnapshotNotReady");
    let conditions = &mut snapshot.status.as_mut().unwrap().conditions;
    conditions::set(
        conditions,
        ConditionType::Ready,
        Status::True,
        Reason::Ready,
        "",
        Some(1),
        env_at(0).now,
    );
    seen.snapshot = Some(snapshot);
    let planned = plan(&seen, &env_at(0));
    assert_eq!(created(&planned).unwrap()["spec"]["source"]["snapshot"], "before");
    assert_eq!(planned.status.unwrap().rationale, ["desktop: Snapshot before was taken of it"]);
}

#[test]
fn a_fork_of_a_live_desktop_takes_its_environment_and_waits_for_nothing_else() {
    let mut seen = seen(json!({"source": {"workspace": "live"}}));
    assert_eq!(reason(&status_of(&seen, 0), ConditionType::Ready).1, "WorkspaceNotFound");
    let spec = from_value(json!({"environment": "desktop"})).unwrap();
    seen.origin = Some(Workspace::new("live", spec));
    let planned = plan(&seen, &env_at(0));
    assert_eq!(created(&planned).unwrap()["spec"]["source"], json!({"workspace": "live"}));
    assert_eq!(planned.status.unwrap().rationale, ["desktop: Workspace live, which is cloned, has it"]);
}

/// A Session that had a desktop, and whose Workspace is not there any more.
fn bereft(state: &str, finished: (Status, Reason)) -> Observed {
    let mut seen = seen(json!({"goal": "g"}));
    let mut status = SessionStatus {
        state: Some(state.into()),
        environment: Some("desktop".into()),
        workspace: Some(a8s_crds::ObjectRef { name: "rain".into(), uid: "uid-rain".into() }),
        epoch: Some(2),
        seq: Some(9),
        turn: Some(3),
        goal_epoch: Some(0),
        ..Default::default()
    };
    let (value, reason) = finished;
    let conditions = &mut status.conditions;
    conditions::set(conditions, ConditionType::Finished, value, reason, "done", Some(1), env_at(0).now);
    seen.session.status = Some(status);
    seen
}

#[test]
fn a_deleted_desktop_is_not_replaced_until_somebody_says_something() {
    let working = (Status::False, Reason::Working);
    let finished = (Status::True, Reason::GoalReached);
    for (before, condition, after, text) in [
        (
            "Finished",
            finished,
            "Finished",
            "The desktop was deleted; the next Message starts a new, empty one.",
        ),
        (
            "Waiting",
            (Status::False, Reason::WaitingForMessage),
            "Waiting",
            "The desktop was deleted; the next Message starts a new, empty one.",
        ),
        (
            "Working",
            working,
            "Waiting",
            "The desktop was deleted while the agent worked; turn 3 is lost. The next Message starts a new, empty one.",
        ),
    ] {
        let mut seen = bereft(before, condition);
        let planned = plan(&seen, &env_at(5));
        assert_eq!(planned.ops, [], "{before}");
        assert_eq!(planned.notices.len(), 1, "{before}: {:?}", planned.notices);
        assert!(planned.notices[0].warning && planned.notices[0].reason == Reason::WorkspaceDeleted);
        let status = planned.status.unwrap();
        assert_eq!((status.state.as_deref(), status.doing.as_deref()), (Some(after), Some(text)));
        let ready = conditions::get(&status.conditions, ConditionType::Ready).unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "WorkspaceDeleted"));
        assert_eq!(ready.message, text);
        assert_eq!(reason(&status, ConditionType::Finished).0 == "True", before == "Finished");
        seen.session.status = Some(status);
        let again = plan(&seen, &env_at(100));
        assert_eq!((again.ops, again.status, again.notices), (vec![], None, vec![]), "{before}: it stays so");
    }
}

#[test]
fn the_next_message_starts_a_new_desktop_in_the_next_epoch() {
    let mut seen = bereft("Finished", (Status::True, Reason::GoalReached));
    seen.session.status = Some(status_of(&seen, 5));
    seen.undelivered = 1;
    let planned = plan(&seen, &env_at(6));
    let object = created(&planned).unwrap();
    assert_eq!(object["metadata"]["annotations"]["a8s.dev/epoch"], "3");
    let status = planned.status.unwrap();
    assert_eq!((status.state.as_deref(), status.queued), (Some("Provisioning"), Some(1)));
    assert_eq!(reason(&status, ConditionType::Finished), ("False".into(), "Working".into()));
    seen.session.status = Some(status);
    let mut workspace = workspace_of("uid-s", "rain", false);
    workspace.metadata.uid = Some("uid-second".into());
    seen.workspaces = vec![workspace.clone()];
    seen.undelivered = 0;
    let status = status_of(&seen, 7);
    assert_eq!(status.workspace.as_ref().unwrap().uid, "uid-second");
    workspace.status.as_mut().unwrap().epoch = Some(3);
    seen.workspaces = vec![workspace];
    let status = status_of(&seen, 8);
    assert_eq!((status.epoch, status.seq), (Some(3), Some(0)), "nothing of the new conversation is recorded");
    assert_eq!(status.goal_epoch, Some(0), "the goal was given in the first one");
}

#[test]
fn a_session_without_a_desktop_yet_has_lost_none_and_one_that_is_over_neither() {
    assert!(created(&plan(&seen(json!({"goal": "g"})), &env_at(0))).is_some());
    let mut over = bereft("Working", (Status::False, Reason::Working));
    over.session.spec.state = SessionState::Terminated;
    over.undelivered = 1;
    let planned = plan(&over, &env_at(0));
    assert_eq!(planned.ops, []);
    assert_eq!(reason(&planned.status.unwrap(), ConditionType::Ready).1, "Terminated");
}

#[test]
fn the_epoch_in_which_the_agent_got_the_goal_is_remembered() {
    let mut seen = seen(json!({"goal": "g"}));
    seen.workspaces = vec![workspace_of("uid-s", "rain", true)];
    seen.live = Some(Live { recorded: EventId { epoch: 1, seq: 0 }, ..Live::default() });
    assert_eq!(status_of(&seen, 0).goal_epoch, None);
    seen.live = Some(Live { recorded: EventId { epoch: 1, seq: 1 }, goal_given: true, ..Live::default() });
    seen.session.status = Some(status_of(&seen, 0));
    seen.live = Some(Live { recorded: EventId { epoch: 2, seq: 1 }, goal_given: true, ..Live::default() });
    assert_eq!(status_of(&seen, 0).goal_epoch, Some(1));
}

#[test]
fn an_agent_that_cannot_be_run_as_asked_is_said_to_be_stalled_and_why() {
    let mut seen = seen(json!({}));
    seen.environments.push(environment("office", &[], 9));
    seen.workspaces = vec![workspace_of("uid-s", "rain", true)];
    let text = "the runner does not take how the agent is to be run: too long";
    seen.live = Some(Live { hindrance: Some(text.into()), ..Live::default() });
    let status = status_of(&seen, 0);
    assert_eq!(reason(&status, ConditionType::Stalled), ("True".into(), "AgentFailed".into()));
    assert_eq!((status.state.as_deref(), status.doing.as_deref()), (Some("Stalled"), Some(text)));
    seen.session.status = Some(status);
    seen.live = Some(Live::default());
    let status = status_of(&seen, 1);
    assert!(conditions::get(&status.conditions, ConditionType::Stalled).is_none());
}

#[test]
fn a_recording_that_the_environment_refuses_or_enforces_is_said_until_the_session_asks_for_it_no_more() {
    for (rule, wanted, reason) in
        [("Never", "Enabled", "RecordingRefused"), ("Always", "Disabled", "RecordingEnforced")]
    {
        let mut seen = seen(json!({"goal": "g", "policy": {"recording": wanted}}));
        seen.environments[0].spec.recording = from_value(json!(rule)).unwrap();
        let first = plan(&seen, &env_at(0));
        let status = first.status.clone().unwrap();
        assert_eq!(self::reason(&status, ConditionType::Overruled), ("True".to_owned(), reason.to_owned()));
        let text = &conditions::get(&status.conditions, ConditionType::Overruled).unwrap().message;
        assert!(text.contains("Environment desktop"), "{text}");
        let told =
            |plan: &Plan<SessionStatus>| plan.notices.iter().filter(|n| n.reason.as_str() == reason).count();
        assert_eq!(told(&first), 1);
        seen.session.status = Some(status);
        assert_eq!(told(&plan(&seen, &env_at(1))), 0, "it is said once");
        seen.session.spec.policy = None;
        assert!(conditions::get(&status_of(&seen, 2).conditions, ConditionType::Overruled).is_none());
    }
}
