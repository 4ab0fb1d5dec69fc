//! Which rights the creator of an object must have, because the controller will use what the object names with its own. Which rights
//! somebody has is asked elsewhere.

use a8s_crds::schedule::Schedule;
use serde_json::Value;

use crate::admission::{Request, Verdict};

/// A right that the requester must have: `get` on one object of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Where the object says so.
    pub field: String,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural.
    pub resource: &'static str,
    /// Name of the object.
    pub name: String,
}

/// What an authorizer said about a [`Need`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The requester has the right.
    Yes,
    /// The requester has not.
    No,
    /// Nobody could be asked, and why.
    Unknown(String),
}

/// What must be asked before `request` may pass. Changes are asked about only what they add.
pub fn needs(request: &Request, controller: &str) -> Vec<Need> {
    if request.user_info.username == controller {
        return Vec::new();
    }
    if request.changes_status() {
        return crate::decide::needs(request);
    }
    if !(request.creates() || request.updates()) {
        return Vec::new();
    }
    let mut all = references(request, &request.object);
    if request.kind.kind == "Connection" {
        // Whoever can change where a key is sent can have it.
        return all;
    }
    let had = references(request, &request.old_object);
    all.retain(|need| {
        !had.iter().any(|h| (h.group, h.resource, &h.name) == (need.group, need.resource, &need.name))
    });
    all
}

/// The chart's registration calls the webhook only for objects that have one of these.
fn references(request: &Request, object: &Value) -> Vec<Need> {
    let spec = &object["spec"];
    let mut found = Vec::new();
    let mut need = |field: String, group, resource, name: &Value| {
        if let Some(name) = name.as_str() {
            found.push(Need { field, group, resource, name: name.to_owned() });
        }
    };
    match request.kind.kind.as_str() {
        "Session" => {
            attachments(spec, &mut need);
            let model = &spec["agent"]["model"]["connection"];
            need("spec.agent.model.connection".into(), "a8s.dev", "connections", model);
            need("spec.source.snapshot".into(), "a8s.dev", "snapshots", &spec["source"]["snapshot"]);
            need("spec.source.workspace".into(), "a8s.dev", "workspaces", &spec["source"]["workspace"]);
        }
        "Message" => attachments(spec, &mut need),
        "Connection" => {
            need("spec.model.secretRef.name".into(), "", "secrets", &spec["model"]["secretRef"]["name"]);
            need("spec.secret.secretRef.name".into(), "", "secrets", &spec["secret"]["secretRef"]["name"]);
            for kind in ["mcp", "http", "documents"] {
                let name = &spec[kind]["auth"]["secretRef"]["name"];
                need(format!("spec.{kind}.auth.secretRef.name"), "", "secrets", name);
            }
            let map = &spec["documents"]["configMap"]["name"];
            need("spec.documents.configMap.name".into(), "", "configmaps", map);
        }
        "Workspace" => {
            need("spec.source.snapshot".into(), "a8s.dev", "snapshots", &spec["source"]["snapshot"]);
            need("spec.source.workspace".into(), "a8s.dev", "workspaces", &spec["source"]["workspace"]);
            need("spec.restore.snapshot".into(), "a8s.dev", "snapshots", &spec["restore"]["snapshot"]);
            for (i, name) in spec["grants"].as_array().into_iter().flatten().enumerate() {
                need(format!("spec.grants[{i}]"), "a8s.dev", "connections", name);
            }
        }
        // Who may make Snapshots, and of what, and who may share what, is said by policies: that needs no lookup of ours.
        _ => {}
    }
    found
}

fn attachments(spec: &Value, need: &mut impl FnMut(String, &'static str, &'static str, &Value)) {
    for (i, attachment) in spec["attachments"].as_array().into_iter().flatten().enumerate() {
        let at = format!("spec.attachments[{i}]");
        need(format!("{at}.configMap.name"), "", "configmaps", &attachment["configMap"]["name"]);
        need(format!("{at}.artifact.name"), "a8s.dev", "artifacts", &attachment["artifact"]["name"]);
        need(format!("{at}.connection.name"), "a8s.dev", "connections", &attachment["connection"]["name"]);
    }
}

/// What is wrong with the object and no schema can say: a schedule that no clock shows.
fn mistakes(request: &Request) -> Option<String> {
    let text = request.object["spec"]["snapshots"]["schedule"].as_str()?;
    let known = request.old_object["spec"]["snapshots"]["schedule"] == text;
    if known || !(request.creates() || request.updates()) {
        return None;
    }
    Schedule::parse(text).err().map(|why| format!("spec.snapshots.schedule: {why}"))
}

/// The verdict, once every need has its answer.
pub fn decide(request: &Request, answers: &[(Need, Answer)]) -> Verdict {
    if let Some(message) = mistakes(request) {
        return Verdict::Denied { code: 422, message };
    }
    let user = &request.user_info.username;
    let refused: Vec<String> = answers
        .iter()
        .filter(|(_, answer)| *answer == Answer::No)
        .map(|(need, _)| {
            let Need { field, resource, name, .. } = need;
            let namespace = &request.namespace;
            format!("{field}: user {user:?} may not get {resource} {name:?} in namespace {namespace:?}")
        })
        .collect();
    if !refused.is_empty() {
        let advice = "ask an administrator for that right, or leave the reference out";
        return Verdict::Denied { code: 403, message: format!("{}; {advice}", refused.join("; ")) };
    }
    // A right that cannot be checked is not there; trying again may help.
    for (need, answer) in answers {
        if let Answer::Unknown(why) = answer {
            let message =
                format!("{}: cannot check the rights of user {user:?}, try again: {why}", need.field);
            return Verdict::Denied { code: 503, message };
        }
    }
    Verdict::Allowed(Vec::new())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CONTROLLER: &str = "system:serviceaccount:a8s-system:a8s-controller";

    fn request(kind: &str, user: &str, old: Value, object: Value) -> Request {
        let mut review = json!({
            "uid": "u", "kind": {"group": "a8s.dev", "version": "v1alpha1", "kind": kind}, "namespace": "team",
            "operation": if old.is_null() { "CREATE" } else { "UPDATE" },
            "userInfo": {"username": user},
        });
        (review["object"], review["oldObject"]) = (object, old);
        serde_json::from_value(review).unwrap()
    }

    fn session() -> Value {
        json!({"spec": {"goal": "g", "source": {"snapshot": "snap"}, "attachments": [
            {"name": "a", "text": "t"},
            {"name": "b", "configMap": {"name": "weather", "key": "k"}},
            {"name": "c", "artifact": {"name": "figures"}},
        ]}})
    }

    fn brief(needs: &[Need]) -> Vec<String> {
        needs.iter().map(|n| format!("{} {}/{} {}", n.field, n.group, n.resource, n.name)).collect()
    }

    #[test]
    fn a_sessions_creator_needs_everything_it_refers_to() {
        let needs = needs(&request("Session", "jane", Value::Null, session()), CONTROLLER);
        assert_eq!(
            brief(&needs),
            [
                "spec.attachments[1].configMap.name /configmaps weather",
                "spec.attachments[2].artifact.name a8s.dev/artifacts figures",
                "spec.source.snapshot a8s.dev/snapshots snap",
            ]
        );
    }

    #[test]
    fn the_chart_calls_the_webhook_for_everything_that_it_asks_about() {
        let spec = json!({
            "attachments": [{"name": "a", "configMap": {"name": "x", "key": "k"}}], "agent": {"model": {"connection": "llm"}},
            "source": {"snapshot": "s", "workspace": "w"}, "restore": {"snapshot": "s"}, "grants": ["crm"],
        });
        let mut paths: Vec<String> = vec!["snapshots.?schedule".into()];
        for kind in ["Session", "Workspace"] {
            let request = request(kind, "jane", Value::Null, json!({"spec": spec}));
            for need in needs(&request, CONTROLLER) {
                let field = need.field.trim_start_matches("spec.").to_owned();
                let first = field.split(['.', '[']).next().unwrap_or_default();
                paths.push(if first == "agent" { "agent.?model".into() } else { first.to_owned() });
            }
        }
        let chart = include_str!("../../charts/a8s/templates/admission.yaml");
        let condition = chart.split("refers-to-something").nth(1).unwrap().split("rules:").next().unwrap();
        for path in paths {
            assert!(condition.contains(&format!("object.spec.?{path}.")), "{path} is not in {condition}");
        }
    }

    #[test]
    fn a_change_is_asked_about_only_what_it_adds() {
        assert_eq!(needs(&request("Session", "omar", session(), session()), CONTROLLER), []);
        let mut more = session();
        more["spec"]["attachments"]
            .as_array_mut()
            .unwrap()
            .insert(0, json!({"name": "d", "configMap": {"name": "secret-plans", "key": "k"}}));
        let added = needs(&request("Session", "omar", session(), more), CONTROLLER);
        assert_eq!(brief(&added), ["spec.attachments[0].configMap.name /configmaps secret-plans"]);
    }

    #[test]
    fn who_uses_a_connection_must_be_allowed_to_see_it() {
        let object = json!({"spec": {"agent": {"model": {"connection": "llm"}},
            "attachments": [{"name": "crm", "connection": {"name": "crm"}}]}});
        assert_eq!(
            brief(&needs(&request("Session", "jane", Value::Null, object), CONTROLLER)),
            [
                "spec.attachments[0].connection.name a8s.dev/connections crm",
                "spec.agent.model.connection a8s.dev/connections llm"
            ]
        );
        let before = json!({"spec": {"environment": "desktop", "grants": ["a"]}});
        let after = json!({"spec": {"environment": "desktop", "grants": ["a", "b"]}});
        assert_eq!(
            brief(&needs(&request("Workspace", "jane", before, after), CONTROLLER)),
            ["spec.grants[1] a8s.dev/connections b"]
        );
        let message = json!({"spec": {"session": "s", "attachments": [{"name": "a", "artifact": {"name": "figures"}}]}});
        assert_eq!(
            brief(&needs(&request("Message", "jane", Value::Null, message), CONTROLLER)),
            ["spec.attachments[0].artifact.name a8s.dev/artifacts figures"]
        );
    }

    #[test]
    fn who_says_where_a_key_is_sent_must_be_allowed_to_read_it_each_time() {
        let connection = |url: &str| json!({"spec": {"http": {"baseUrl": url, "auth": {"secretRef": {"name": "keys", "key": "k"}}}}});
        let expected = ["spec.http.auth.secretRef.name /secrets keys"];
        let made = request("Connection", "jane", Value::Null, connection("https://a"));
        assert_eq!(brief(&needs(&made, CONTROLLER)), expected);
        let moved = request("Connection", "omar", connection("https://a"), connection("https://evil"));
        assert_eq!(brief(&needs(&moved, CONTROLLER)), expected, "the name is the old one, the way is not");
    }

    #[test]
    fn workspaces_need_their_snapshot() {
        let object = json!({"spec": {"environment": "desktop", "source": {"snapshot": "snap"}}});
        let found = needs(&request("Workspace", "jane", Value::Null, object), CONTROLLER);
        assert_eq!(brief(&found), ["spec.source.snapshot a8s.dev/snapshots snap"]);
    }

    #[test]
    fn what_is_cloned_and_what_is_restored_must_be_the_creators_to_see() {
        let object =
            json!({"spec": {"source": {"workspace": "live"}, "restore": {"snapshot": "good", "id": "1"}}});
        let expected =
            ["spec.source.workspace a8s.dev/workspaces live", "spec.restore.snapshot a8s.dev/snapshots good"];
        assert_eq!(
            brief(&needs(&request("Workspace", "jane", Value::Null, object.clone()), CONTROLLER)),
            expected
        );
        let session = needs(&request("Session", "jane", Value::Null, object.clone()), CONTROLLER);
        assert_eq!(brief(&session), &expected[..1]);
        let before = json!({"spec": {"source": {"workspace": "live"}}});
        assert_eq!(brief(&needs(&request("Workspace", "jane", before, object), CONTROLLER)), &expected[1..]);
    }

    #[test]
    fn a_schedule_that_no_clock_shows_is_refused_when_it_is_written() {
        let object =
            |text: &str| json!({"spec": {"environment": "desktop", "snapshots": {"schedule": text}}});
        let verdict = |old: Value, text: &str| decide(&request("Workspace", "jane", old, object(text)), &[]);
        assert!(verdict(Value::Null, "0 */4 * * *").is_allowed());
        let Verdict::Denied { code, message } = verdict(Value::Null, "61 * * * *") else { panic!("allowed") };
        assert_eq!(code, 422);
        assert!(
            message.starts_with("spec.snapshots.schedule: ") && message.contains("for example"),
            "{message}"
        );
        let kept = verdict(object("61 * * * *"), "61 * * * *");
        assert!(kept.is_allowed(), "what is there already locks nobody out");
    }

    #[test]
    fn the_controller_is_not_asked_and_deletions_are_free() {
        assert_eq!(needs(&request("Session", CONTROLLER, Value::Null, session()), CONTROLLER), []);
        let mut delete = request("Session", "jane", session(), Value::Null);
        delete.operation = "DELETE".into();
        assert_eq!(needs(&delete, CONTROLLER), []);
    }

    #[test]
    fn a_refusal_names_field_user_and_object() {
        let request = request("Session", "jane", Value::Null, session());
        let answers: Vec<_> = needs(&request, CONTROLLER)
            .into_iter()
            .map(|n| if n.resource == "artifacts" { (n, Answer::No) } else { (n, Answer::Yes) })
            .collect();
        let Verdict::Denied { code, message } = decide(&request, &answers) else { panic!("allowed") };
        assert_eq!(code, 403);
        assert_eq!(
            message,
            "spec.attachments[2].artifact.name: user \"jane\" may not get artifacts \"figures\" in namespace \"team\"; \
             ask an administrator for that right, or leave the reference out"
        );
    }

    #[test]
    fn what_cannot_be_checked_is_refused_for_now() {
        let request = request("Session", "jane", Value::Null, session());
        let answers: Vec<_> =
            needs(&request, CONTROLLER).into_iter().map(|n| (n, Answer::Unknown("down".into()))).collect();
        let Verdict::Denied { code, message } = decide(&request, &answers) else { panic!("allowed") };
        assert_eq!(code, 503);
        assert!(message.contains("try again: down"), "{message}");
        assert!(decide(&request, &[]).is_allowed());
    }
}
