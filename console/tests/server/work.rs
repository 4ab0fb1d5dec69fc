//! What people see and do.

use serde_json::{Value, json};

use crate::fake::World;

const SESSION: &str = "/api/namespaces/team/sessions/report";
const BASE: &str = "/apis/a8s.dev/v1alpha1/namespaces/team";

#[tokio::test]
async fn a_session_is_shown_with_all_that_belongs_to_it() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    let shown = world.get(&cookie, SESSION).await.json();
    assert_eq!(shown["session"]["metadata"]["name"], "report");
    assert_eq!(shown["workspace"]["metadata"]["name"], "desk");
    let names = |kind: &str| -> Vec<_> {
        shown[kind]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| found["metadata"]["name"].as_str().unwrap())
            .collect()
    };
    assert_eq!(names("messages"), ["report-0-1"]);
    assert_eq!(names("artifacts"), ["report-v1"]);
    assert_eq!(names("snapshots"), ["one"]);
    assert!(!shown.to_string().contains("managedFields"));
    let asked = world.cluster.asked.lock().unwrap();
    let messages = asked.iter().find(|asked| asked.path.ends_with("/messages")).unwrap();
    assert!(messages.query.contains("fieldSelector=spec.session%3Dreport"), "{}", messages.query);
}

#[tokio::test]
async fn what_people_do_becomes_objects() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    let goal = "Summarize Seattle weather, please, in a report of one page";
    let attachments = json!([{"name": "a.txt", "text": "x"}]);
    let new = json!({"goal": goal, "environment": "desktop", "attachments": attachments});
    let answer = world.post(&cookie, "/api/namespaces/team/sessions", &new).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["metadata"]["managedFields"], Value::Null);
    world.post(&cookie, &format!("{SESSION}/messages"), &json!({"content": "hi", "delivery": "Steer"})).await;
    world.post(&cookie, &format!("{SESSION}/messages"), &json!({"delivery": "Interrupt", "turn": 3})).await;
    world.post(&cookie, &format!("{SESSION}/control"), &json!({"holder": "User", "private": true})).await;
    world.post(&cookie, &format!("{SESSION}/control"), &json!({"holder": "Agent", "private": false})).await;
    world.post(&cookie, &format!("{SESSION}/snapshots"), &json!({"name": "keep"})).await;
    world.post(&cookie, &format!("{SESSION}/state"), &json!({"state": "Suspended"})).await;
    world.post(&cookie, &format!("{SESSION}/wake"), &json!({})).await;
    world.send(World::request("DELETE", SESSION, &cookie, &[], &json!({}))).await;
    let writes = world.cluster.writes();
    let did: Vec<_> =
        writes.iter().map(|asked| (asked.method.as_str(), asked.path.trim_start_matches(BASE))).collect();
    let expected = [
        ("POST", "/sessions"),
        ("POST", "/messages"),
        ("POST", "/messages"),
        ("PATCH", "/workspaces/desk"),
        ("PATCH", "/workspaces/desk"),
        ("POST", "/snapshots"),
        ("PATCH", "/sessions/report"),
        ("PATCH", "/workspaces/desk"),
        ("DELETE", "/sessions/report"),
    ];
    assert_eq!(did, expected);
    assert_eq!(
        writes[0].body["spec"],
        json!({"goal": goal, "environment": "desktop", "attachments": attachments})
    );
    assert_eq!(writes[0].body["metadata"]["generateName"], "summarize-seattle-weather-please-");
    assert_eq!(writes[1].body["spec"], json!({"session": "report", "content": "hi", "delivery": "Steer"}));
    assert_eq!(writes[2].body["spec"], json!({"session": "report", "delivery": "Interrupt", "turn": 3}));
    let control = |holder: &str, user: Value, private: bool| json!({"spec": {"control": {"holder": holder, "user": user, "private": private}}});
    assert_eq!(writes[3].body, control("User", json!("jane"), true));
    assert_eq!(writes[4].body, control("Agent", Value::Null, false));
    assert_eq!(writes[5].body["spec"], json!({"workspace": "desk"}));
    assert_eq!(writes[5].body["metadata"]["name"], "keep");
    assert_eq!(writes[6].body, json!({"spec": {"state": "Suspended"}}));
    let wish = writes[7].body["metadata"]["annotations"]["a8s.dev/wake"].as_str().unwrap();
    assert!(wish.starts_with("console-"), "{wish}");
}

#[tokio::test]
async fn a_decision_is_written_into_the_status_in_the_persons_name() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    let shown = world.get(&cookie, SESSION).await.json();
    assert_eq!(shown["requests"][0]["spec"]["title"], "May I?");
    let decision = json!({"option": "y", "values": {"year": "2014"}, "note": "once"});
    let answer = world.post(&cookie, &format!("{SESSION}/requests/ask"), &decision).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    world.post(&cookie, &format!("{SESSION}/requests/ask"), &json!({"option": "deny"})).await;
    let limits = json!({"tokens": 1_000_000, "activeDuration": "8h"});
    assert_eq!(world.post(&cookie, &format!("{SESSION}/limits"), &limits).await.status, 200);
    let writes = world.cluster.writes();
    assert_eq!(writes[0].path, format!("{BASE}/requests/ask/status"));
    assert_eq!(
        (writes[0].token.as_str(), &writes[0].body),
        ("token-of-jane", &json!({"status": {"decision": decision}}))
    );
    assert_eq!(writes[1].body, json!({"status": {"decision": {"option": "deny"}}}));
    assert_eq!(writes[2].body, json!({"spec": {"limits": limits}}));

    let foreign = world.post(&cookie, &format!("{SESSION}/requests/foreign"), &decision).await;
    assert_eq!((foreign.status, &foreign.json()["reason"]), (404, &json!("NotFound")));
    let forged = json!({"option": "y", "by": "joe"});
    assert_eq!(world.post(&cookie, &format!("{SESSION}/requests/ask"), &forged).await.status, 422);
    assert_eq!(world.cluster.writes().len(), 3);
}

#[tokio::test]
async fn connections_are_listed_without_a_word_of_their_keys() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    let answer = world.get(&cookie, "/api/namespaces/team/connections").await;
    let expected = json!({"name": "llm", "title": "Big model", "kind": "Model", "target": "m", "provider": "anthropic",
        "grant": null, "ready": true, "message": ""});
    assert_eq!(answer.json(), json!({"items": [expected]}));
}

#[tokio::test]
async fn a_session_may_begin_with_a_talk_and_names_its_agent() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    let agent = json!({"harness": "opencode", "model": {"connection": "llm"}});
    let attachments = json!([{"name": "llm", "connection": {"name": "llm"}}]);
    let new = json!({"agent": agent, "attachments": attachments});
    assert_eq!(world.post(&cookie, "/api/namespaces/team/sessions", &new).await.status, 201);
    let writes = world.cluster.writes();
    assert_eq!(writes[0].body["spec"], json!({"agent": agent, "attachments": attachments}));
    assert_eq!(writes[0].body["metadata"]["generateName"], "session-");
}

#[tokio::test]
async fn bad_requests_do_not_reach_the_cluster() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    let before = world.cluster.asked.lock().unwrap().len();
    for path in ["..%2f..%2fsecrets", "a%20b", "UPPER", "a%3Fwatch=1", ".."] {
        let answer = world.get(&cookie, &format!("/api/namespaces/team/sessions/{path}")).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (400, &json!("BadRequest")), "{path}");
    }
    let answer =
        world.post(&cookie, &format!("{SESSION}/messages"), &json!({"content": "x", "author": "root"})).await;
    assert_eq!(answer.status, 422, "{}", answer.json());
    let large = json!({"content": "x".repeat(1024 * 1024 + 1)});
    assert_eq!(world.post(&cookie, &format!("{SESSION}/messages"), &large).await.status, 413);
    assert_eq!(world.cluster.asked.lock().unwrap().len(), before);
}

#[tokio::test]
async fn an_artifact_leaves_as_an_attachment_that_no_browser_runs() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    let answer = world.get(&cookie, "/api/namespaces/team/artifacts/report-v1/content").await;
    assert_eq!((answer.status, &answer.bytes[..]), (200, b"%PDF-1.7".as_slice()));
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-length", "8"),
        ("content-disposition", "attachment; filename=\"Bericht.pdf\"; filename*=UTF-8''Bericht.pdf"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn an_artifact_is_refused_without_permission_content_or_a_key_of_its_own() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    let get = |name: &str| format!("/api/namespaces/team/artifacts/{name}/content");
    for (name, status, reason) in
        [("foreign-v1", 403, "ForeignKey"), ("new-v1", 404, "NotStored"), ("none", 404, "NotFound")]
    {
        let answer = world.get(&cookie, &get(name)).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (status, &json!(reason)), "{name}");
    }
    world.cluster.denied.lock().unwrap().push("jane".into());
    let answer = world.get(&cookie, &get("report-v1")).await;
    assert_eq!((answer.status, &answer.json()["reason"]), (403, &json!("Forbidden")));
}
