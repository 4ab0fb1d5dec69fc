//! Decisions of Requests: who decided, and when, is stamped from the request's user; and whoever grants the use of something must be
//! allowed to use it. That nobody decides in another's name holds without this too: a policy of the API server sees to it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{admission::Request, validate::Need};

/// A stamp is as good as new for this long: the API server may ask twice about one request.
const FRESH: SignedDuration = SignedDuration::from_secs(30);

/// The decision that this request makes, if it makes one.
fn decision(request: &Request) -> Option<&Value> {
    let made = &request.object["status"]["decision"];
    let before = &request.old_object["status"]["decision"];
    (request.changes_status() && request.kind.kind == "Request" && made.is_object() && before.is_null())
        .then_some(made)
}

/// Says who decides, and when, whatever the client wrote.
pub fn stamp(request: &Request, now: Timestamp) -> Vec<Value> {
    let Some(made) = decision(request) else { return Vec::new() };
    let user = request.user_info.username.as_str();
    let at = made["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
    let fresh = at.is_some_and(|at| now.duration_since(at).abs() < FRESH);
    if made["by"] == user && fresh {
        return Vec::new();
    }
    // Times of the API have no fractions.
    let second = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    // `add` replaces what is there.
    vec![
        json!({"op": "add", "path": "/status/decision/by", "value": user}),
        json!({"op": "add", "path": "/status/decision/at", "value": second}),
    ]
}

/// What whoever grants must be allowed to use.
pub fn needs(request: &Request) -> Vec<Need> {
    let Some(made) = decision(request) else { return Vec::new() };
    let spec = &request.object["spec"];
    let option = made["option"].as_str().unwrap_or_default();
    let listed = spec["options"].as_array().and_then(|all| all.iter().find(|o| o["id"] == option));
    let grants = match listed {
        Some(listed) => listed["kind"].as_str().is_some_and(|kind| kind.starts_with("Allow")),
        None => option == "allow",
    };
    if !grants {
        return Vec::new();
    }
    let subject = spec["subject"].as_str();
    let mut names: Vec<(String, &str)> = Vec::new();
    match spec["type"].as_str() {
        Some("Credential") => names.extend(subject.map(|name| ("spec.subject".to_owned(), name))),
        // A tool of a server is called `<connection>__<tool>`.
        Some("Tool" | "Context") => {
            let connection = subject.and_then(|tool| tool.split_once("__")).map(|(connection, _)| connection);
            names.extend(connection.map(|name| ("spec.subject".to_owned(), name)));
        }
        Some("Handoff") => {
            let all = spec["handoff"]["connections"].as_array().into_iter().flatten().enumerate();
            names.extend(
                all.filter_map(|(i, name)| Some((format!("spec.handoff.connections[{i}]"), name.as_str()?))),
            );
        }
        _ => {}
    }
    let need = |(field, name): (String, &str)| Need {
        field,
        group: "a8s.dev",
        resource: "connections",
        name: name.to_owned(),
    };
    let mut all: Vec<Need> = names.into_iter().map(need).collect();
    all.extend(subject.filter(|_| spec["type"] == "Context").and_then(material));
    all
}

/// What the agent that asks for material gets: an Artifact, or a key of a ConfigMap (`<name>/<key>`).
fn material(subject: &str) -> Option<Need> {
    if subject.contains("__") {
        return None;
    }
    let (group, resource, name) = match subject.split_once('/') {
        Some((name, _)) => ("", "configmaps", name),
        None => ("a8s.dev", "artifacts", subject),
    };
    Some(Need { field: "spec.subject".into(), group, resource, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(user: &str, spec: &Value, old: &Value, new: &Value) -> Request {
        serde_json::from_value(json!({
            "uid": "u", "kind": {"group": "a8s.dev", "version": "v1alpha1", "kind": "Request"}, "namespace": "team",
            "operation": "UPDATE", "subResource": "status", "userInfo": {"username": user},
            "oldObject": {"spec": spec, "status": {"state": "Open", "decision": old}},
            "object": {"spec": spec, "status": {"state": "Open", "decision": new}},
        }))
        .unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-22T12:00:00.5Z".parse().unwrap()
    }

    #[test]
    fn who_decides_is_who_asks_whatever_was_written() {
        let spec = json!({"type": "Permission"});
        for written in [
            json!({"option": "yes"}),
            json!({"option": "yes", "by": "omar", "at": "2026-11-22T12:00:00Z"}),
            json!({"option": "yes", "by": "jane", "at": "2020-01-01T00:00:00Z"}),
        ] {
            let patch = stamp(&request("jane", &spec, &Value::Null, &written), now());
            assert_eq!(patch[0]["value"], "jane");
            assert_eq!(patch[1]["value"], "2026-11-22T12:00:00Z");
        }
        let stamped = json!({"option": "yes", "by": "jane", "at": "2026-11-22T12:00:00Z"});
        assert_eq!(stamp(&request("jane", &spec, &Value::Null, &stamped), now()), Vec::<Value>::new());
        let later = request("omar", &spec, &stamped, &stamped);
        assert_eq!(stamp(&later, now()), Vec::<Value>::new(), "what is decided stays as it is");
        assert_eq!(stamp(&request("jane", &spec, &Value::Null, &Value::Null), now()), Vec::<Value>::new());
    }

    #[test]
    fn whoever_grants_a_connection_must_be_allowed_to_use_it() {
        let yes = json!({"option": "allow"});
        let asked = |spec: &Value, decision: &Value| {
            let all = needs(&request("jane", spec, &Value::Null, decision));
            all.into_iter().map(|n| format!("{} {}", n.field, n.name)).collect::<Vec<_>>()
        };
        let credential = json!({"type": "Credential", "subject": "crm"});
        assert_eq!(asked(&credential, &yes), ["spec.subject crm"]);
        assert_eq!(asked(&credential, &json!({"option": "deny"})), [""; 0]);
        assert_eq!(asked(&json!({"type": "Tool", "subject": "crm__find"}), &yes), ["spec.subject crm"]);
        assert_eq!(asked(&json!({"type": "Tool", "subject": "shell"}), &yes), [""; 0]);
        let options = json!([{"id": "start", "kind": "AllowOnce"}, {"id": "no", "kind": "RejectOnce"}]);
        let handoff = json!({"type": "Handoff", "options": options, "handoff": {"requirement": "r", "connections": ["a", "b"]}});
        let expected = ["spec.handoff.connections[0] a", "spec.handoff.connections[1] b"];
        assert_eq!(asked(&handoff, &json!({"option": "start"})), expected);
        assert_eq!(asked(&handoff, &json!({"option": "no"})), [""; 0]);
    }
}
