//! The Session while it is talked, what it is granted, and what a model may say about its Environment.

use a8s_crds::{Connection, Request, Requirement};

use super::*;
use crate::{chat::Stage, overseer::Proposed};

fn connection(name: &str, grant: &str) -> Arc<Connection> {
    let spec = json!({"grant": grant, "mcp": {"url": "https://mcp.example"}});
    Arc::new(Connection::new(name, from_value(spec).unwrap()))
}

fn request(name: &str, kind: &str, subject: &str, status: Value) -> Arc<Request> {
    let spec = json!({"session": "rain", "type": kind, "title": "Use it?", "subject": subject});
    let mut request = Request::new(name, from_value(spec).unwrap());
    request.metadata.owner_references = from_value(
        json!([{"apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "name": "rain", "uid": "uid-s"}]),
    )
    .unwrap();
    request.status = Some(from_value(status).unwrap());
    Arc::new(request)
}

#[test]
fn while_it_is_talked_nothing_is_made_and_the_status_says_what_is_waited_for() {
    let mut seen = seen(json!({}));
    seen.chat = Some(Stage {
        doing: "waits for 1 request: begin: Sing.".into(),
        requests: 1,
        last_message: 2,
        ..Stage::default()
    });
    let planned = plan(&seen, &env_at(0));
    assert_eq!(planned.ops, []);
    let status = planned.status.unwrap();
    assert_eq!(status.state.as_deref(), Some("Chatting"));
    assert_eq!(status.doing.as_deref(), Some("waits for 1 request: begin: Sing."));
    assert_eq!((status.waiting_for.as_deref(), status.requests), (Some("1 request"), Some(1)));
    assert_eq!(reason(&status, ConditionType::Ready), ("False".into(), "Chatting".into()));
    assert_eq!((status.environment.as_deref(), status.last_message), (None, Some(2)));
    seen.session.status = Some(status);
    let again = plan(&seen, &env_at(9));
    assert_eq!((again.status, again.notices), (None, vec![]), "it costs nothing");
}

#[test]
fn what_was_agreed_on_is_written_down_before_a_desktop_is_made_and_then_says_which() {
    let mut seen = seen(json!({}));
    seen.environments.push(environment("office", &[], 9));
    let requirement = Requirement {
        text: "Sing.".into(),
        environment: Some("office".into()),
        request: Some("rain-handoff-1".into()),
        by: Some("jane".into()),
        ..Requirement::default()
    };
    seen.chat = Some(Stage { requirement: Some(requirement), ..Stage::default() });
    let planned = plan(&seen, &env_at(0));
    assert_eq!(created(&planned), None);
    seen.session.status = planned.status;
    seen.chat = None;
    let planned = plan(&seen, &env_at(1));
    assert_eq!(created(&planned).unwrap()["spec"]["environment"], "office");
    let status = planned.status.unwrap();
    assert_eq!(status.rationale[0], "office: agreed on in Request rain-handoff-1");
    assert_eq!((status.state.as_deref(), status.requests), (Some("Provisioning"), None));
    assert_eq!(status.requirement.unwrap().text, "Sing.", "it stays");
}

#[test]
fn the_desktop_gets_what_the_spec_names_at_once_and_what_is_granted_later_when_it_is() {
    let mut seen =
        seen(json!({"goal": "g", "attachments": [{"name": "crm", "connection": {"name": "crm"}}]}));
    seen.connections = vec![connection("bank", "Ask"), connection("crm", "Ask"), connection("wiki", "Auto")];
    let planned = plan(&seen, &env_at(0));
    assert_eq!(created(&planned).unwrap()["spec"]["grants"], json!(["crm"]));
    assert!(
        planned
            .status
            .as_ref()
            .unwrap()
            .rationale
            .contains(&"connection crm: named in the Session's spec".into())
    );
    let mut workspace = workspace_of("uid-s", "rain", true);
    workspace.spec.grants = vec!["crm".into()];
    seen.workspaces = vec![workspace];
    seen.session.status = planned.status;
    seen.session.status = Some(status_of(&seen, 1));
    assert_eq!(plan(&seen, &env_at(2)).ops, [], "it has it already");
    seen.requests = vec![request("rain-0-7", "Credential", "bank", json!({"state": "Open"}))];
    let status = status_of(&seen, 3);
    assert_eq!(
        (status.state.as_deref(), status.doing.as_deref()),
        (Some("Waiting"), Some("waits for 1 request: Use it?"))
    );
    let decision = json!({"state": "Open", "decision": {"option": "allow", "by": "jane"}});
    seen.requests = vec![request("rain-0-7", "Credential", "bank", decision)];
    let planned = plan(&seen, &env_at(4));
    let [Op::Merge { patch, .. }] = &planned.ops[..] else { panic!("{:?}", planned.ops) };
    assert_eq!(patch, &json!({"spec": {"grants": ["bank", "crm"]}}));
    let line = "connection bank: granted by jane in Request rain-0-7";
    assert!(
        planned.status.unwrap().rationale.contains(&line.into()),
        "of what is granted later people hear too"
    );
    seen.connections.retain(|c| c.name_any() != "crm");
    let [Op::Merge { patch, .. }] = &plan(&seen, &env_at(5)).ops[..] else { panic!() };
    assert_eq!(patch["spec"]["grants"], json!(["bank"]), "what is deleted is granted to nobody");
}

#[test]
fn who_is_waited_for_and_until_when_is_in_the_status_while_a_turn_stands_still() {
    let mut seen = seen(json!({"goal": "g"}));
    seen.workspaces = vec![workspace_of("uid-s", "rain", true)];
    seen.live = Some(Live { running: true, turn: 1, ..Live::default() });
    let open = |name: &str, expires: &str| {
        let mut asked = Request::clone(&request(name, "Credential", "bank", json!({"state": "Open"})));
        asked.spec.expires = from_value(json!(expires)).unwrap();
        Arc::new(asked)
    };
    seen.requests = vec![open("rain-0-7", "2026-11-22T15:10:20Z"), open("rain-0-9", "2026-11-22T14:40:59Z")];
    let status = status_of(&seen, 1);
    let words = "waits for 2 requests until 14:40 UTC, first: Use it?";
    assert_eq!((status.state.as_deref(), status.doing.as_deref()), (Some("Waiting"), Some(words)));
    assert_eq!(status.waiting_for.as_deref(), Some("2 requests"));
    assert_eq!(reason(&status, ConditionType::Finished), ("False".into(), "WaitingForDecision".into()));
    seen.session.status = Some(status);
    seen.requests.clear();
    let status = status_of(&seen, 2);
    assert_eq!(reason(&status, ConditionType::Finished), ("False".into(), "Working".into()));
    assert_eq!(status.waiting_for, None);
}

#[test]
fn a_model_is_believed_only_where_no_rule_speaks_and_only_what_exists() {
    let mut seen = seen(json!({"goal": "Sing."}));
    seen.environments.push(environment("office", &["report"], 9));
    seen.advice = Advice::Awaited;
    let planned = plan(&seen, &env_at(0));
    assert_eq!(created(&planned), None, "the model may know better");
    assert_eq!(planned.status.unwrap().doing.as_deref(), Some("the model is asked which Environment fits"));
    let proposed = |name: &str| Proposed {
        environment: name.into(),
        rationale: vec!["it can".into()],
        ..Proposed::default()
    };
    for (advice, environment, line) in [
        (Advice::Given(proposed("office")), "office", "office: proposed by the model: it can"),
        (
            Advice::Given(proposed("moon")),
            "desktop",
            "the model's proposal was refused: there is no Environment moon",
        ),
        (Advice::Failed("no credit".into()), "desktop", "the model was asked and could not say: no credit"),
    ] {
        seen.advice = advice;
        let planned = plan(&seen, &env_at(0));
        assert_eq!(created(&planned).unwrap()["spec"]["environment"], environment);
        let rationale = planned.status.unwrap().rationale;
        assert!(rationale.iter().any(|l| l.starts_with(line)), "{rationale:?}");
    }
    let mut seen = self::seen(json!({"goal": "A report."}));
    seen.environments.push(environment("office", &["report"], 9));
    seen.advice = Advice::Given(proposed("desktop"));
    assert_eq!(created(&plan(&seen, &env_at(0))).unwrap()["spec"]["environment"], "office", "a rule speaks");
}

#[test]
fn a_desktop_that_was_made_and_not_written_down_keeps_its_environment() {
    let mut seen = seen(json!({"goal": "Sing."}));
    seen.environments.push(environment("office", &[], 9));
    let mut workspace = workspace_of("uid-s", "rain", false);
    workspace.spec.environment = "office".into();
    seen.workspaces = vec![workspace];
    let status = status_of(&seen, 0);
    assert_eq!(status.environment.as_deref(), Some("office"));
    assert_eq!(status.rationale, ["office: Workspace rain was made from it"]);
}
