//! What is stamped from the request: the author of a Message, the creator of a Session, the person who holds the mouse, or who decides. All of it is
//! decided by who the API server says the requester is, never by what the client wrote.

use a8s_crds::labels::CREATED_BY;
use serde_json::{Value, json};

use crate::admission::{Request, Verdict};

/// The changes to make to the object of `request`. `controller` is the user name of the controller's ServiceAccount.
pub fn mutate(request: &Request, controller: &str) -> Verdict {
    Verdict::Allowed(match request.kind.kind.as_str() {
        "Message" if request.creates() => author(request, controller),
        "Session" if request.creates() => {
            created_by(&request.object, Some(&Value::from(request.user_info.username.as_str())))
        }
        "Session" if request.updates() => {
            created_by(&request.object, annotation(&request.old_object, CREATED_BY))
        }
        "Workspace" if request.creates() || request.updates() => control(request, controller),
        "Request" => crate::decide::stamp(request, jiff::Timestamp::now()),
        _ => Vec::new(),
    })
}

/// Only the controller speaks for the agent and for a8s; everybody else speaks for themselves.
fn author(request: &Request, controller: &str) -> Vec<Value> {
    let written = &request.object["spec"]["author"];
    let user = request.user_info.username.as_str();
    let wanted = if user == controller {
        match written["kind"].as_str() {
            Some("Agent" | "System") => return Vec::new(),
            _ => json!({"kind": "System", "name": "a8s"}),
        }
    } else {
        json!({"kind": "User", "name": user})
    };
    if *written == wanted || !request.object["spec"].is_object() {
        return Vec::new();
    }
    // `add` replaces what is there.
    vec![json!({"op": "add", "path": "/spec/author", "value": wanted})]
}

/// The annotation says `wanted` whatever the client sent; without `wanted` (a Session older than the webhook) there is none.
fn created_by(object: &Value, wanted: Option<&Value>) -> Vec<Value> {
    let path = format!("/metadata/annotations/{}", CREATED_BY.replace('~', "~0").replace('/', "~1"));
    match (annotation(object, CREATED_BY), wanted) {
        (found, wanted) if found == wanted => Vec::new(),
        (Some(_), None) => vec![json!({"op": "remove", "path": path})],
        (_, Some(wanted)) if object["metadata"]["annotations"].is_object() => {
            vec![json!({"op": "add", "path": path, "value": wanted})]
        }
        (_, wanted) => {
            vec![json!({"op": "add", "path": "/metadata/annotations", "value": {CREATED_BY: wanted}})]
        }
    }
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    object["metadata"]["annotations"].get(key)
}

/// Whoever changes the lease to, or within, `holder: User` holds it. A write that leaves the lease as it is (a GitOps sync, a label)
/// takes it from nobody.
fn control(request: &Request, controller: &str) -> Vec<Value> {
    let control = &request.object["spec"]["control"];
    let old = &request.old_object["spec"]["control"];
    let path = "/spec/control/user";
    if control["holder"] != "User" {
        return if control.get("user").is_some() {
            vec![json!({"op": "remove", "path": path})]
        } else {
            Vec::new()
        };
    }
    let unchanged = request.updates()
        && control["holder"] == old["holder"]
        && control["user"] == old["user"]
        && control["private"].as_bool().unwrap_or_default() == old["private"].as_bool().unwrap_or_default();
    let user = request.user_info.username.as_str();
    if unchanged || user == controller || control["user"] == user {
        return Vec::new();
    }
    vec![json!({"op": "add", "path": path, "value": user})]
}

#[cfg(test)]
mod tests {
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

    /// The object after the changes.
    fn result(kind: &str, user: &str, old: Value, object: Value) -> Value {
        let request = request(kind, user, old, object);
        let Verdict::Allowed(operations) = mutate(&request, CONTROLLER) else { panic!("denied") };
        let mut object = request.object;
        for op in operations {
            let path = op["path"].as_str().unwrap();
            let (parent, key) = path.rsplit_once('/').unwrap();
            let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            let key = key.replace("~1", "/");
            match op["op"].as_str().unwrap() {
                "add" => drop(parent.insert(key, op["value"].clone())),
                "remove" => assert!(parent.remove(&key).is_some(), "{path} is not there"),
                other => panic!("{other}"),
            }
        }
        object
    }

    #[test]
    fn a_message_has_its_senders_name_whatever_the_sender_wrote() {
        for author in
            [json!(null), json!({"kind": "Agent", "name": "x"}), json!({"kind": "User", "name": "omar"})]
        {
            let object = json!({"spec": {"session": "s", "content": "c", "author": author}});
            let stamped = result("Message", "jane", Value::Null, object);
            assert_eq!(stamped["spec"]["author"], json!({"kind": "User", "name": "jane"}));
        }
    }

    #[test]
    fn the_controller_speaks_for_agent_and_system_but_for_no_person() {
        for kind in ["Agent", "System"] {
            let object = json!({"spec": {"author": {"kind": kind, "name": "builtin"}}});
            assert_eq!(result("Message", CONTROLLER, Value::Null, object.clone()), object);
        }
        let object = json!({"spec": {"author": {"kind": "User", "name": "jane"}}});
        let stamped = result("Message", CONTROLLER, Value::Null, object);
        assert_eq!(stamped["spec"]["author"], json!({"kind": "System", "name": "a8s"}));
    }

    #[test]
    fn a_service_account_of_that_name_elsewhere_is_not_the_controller() {
        let user = "system:serviceaccount:team:a8s-controller";
        let object = json!({"spec": {"author": {"kind": "Agent", "name": "builtin"}}});
        let stamped = result("Message", user, Value::Null, object);
        assert_eq!(stamped["spec"]["author"], json!({"kind": "User", "name": user}));
    }

    #[test]
    fn a_session_knows_its_creator() {
        let stamped = result("Session", "jane", Value::Null, json!({"metadata": {"name": "s"}}));
        assert_eq!(stamped["metadata"]["annotations"][CREATED_BY], "jane");
        let forged = json!({"metadata": {"name": "s", "annotations": {CREATED_BY: "root", "a": "b"}}});
        let stamped = result("Session", "jane", Value::Null, forged);
        assert_eq!(stamped["metadata"]["annotations"], json!({CREATED_BY: "jane", "a": "b"}));
    }

    #[test]
    fn the_creator_of_a_session_stays() {
        let old = json!({"metadata": {"annotations": {CREATED_BY: "jane"}}});
        for new in [
            json!({"metadata": {}}),
            json!({"metadata": {"annotations": {}}}),
            json!({"metadata": {"annotations": {CREATED_BY: "omar"}}}),
        ] {
            let stamped = result("Session", "omar", old.clone(), new);
            assert_eq!(stamped["metadata"]["annotations"][CREATED_BY], "jane");
        }
        let unknown = result("Session", "omar", json!({"metadata": {}}), old);
        assert_eq!(
            unknown["metadata"]["annotations"].get(CREATED_BY),
            None,
            "nobody becomes the creator later"
        );
    }

    fn lease(holder: &str, user: Option<&str>, private: bool) -> Value {
        let mut control = json!({"holder": holder, "private": private});
        if let Some(user) = user {
            control["user"] = user.into();
        }
        json!({"spec": {"control": control}})
    }

    #[test]
    fn taking_over_puts_the_requesters_name() {
        let agent = lease("Agent", None, false);
        for claimed in [None, Some("omar"), Some("jane")] {
            let stamped = result("Workspace", "jane", agent.clone(), lease("User", claimed, false));
            assert_eq!(stamped, lease("User", Some("jane"), false));
            let stamped = result("Workspace", "jane", Value::Null, lease("User", claimed, true));
            assert_eq!(stamped, lease("User", Some("jane"), true));
        }
    }

    #[test]
    fn a_write_that_does_not_touch_the_lease_leaves_its_holder() {
        let held = lease("User", Some("jane"), true);
        let mut labelled = held.clone();
        labelled["metadata"] = json!({"labels": {"a": "b"}});
        assert_eq!(result("Workspace", "omar", held, labelled.clone()), labelled);
    }

    #[test]
    fn nobody_puts_another_person_in_control_or_opens_their_private_desktop_to_the_agent() {
        let held = lease("User", Some("jane"), true);
        let taken = result("Workspace", "omar", held.clone(), lease("User", Some("paul"), true));
        assert_eq!(taken, lease("User", Some("omar"), true));
        let taken = result("Workspace", "omar", held, lease("User", Some("jane"), false));
        assert_eq!(taken, lease("User", Some("omar"), false), "whoever changes the lease has it");
    }

    #[test]
    fn handing_back_clears_the_name() {
        let held = lease("User", Some("jane"), true);
        let back = result("Workspace", "jane", held, lease("Agent", Some("jane"), false));
        assert_eq!(back, lease("Agent", None, false));
        assert_eq!(result("Workspace", "jane", Value::Null, json!({"spec": {}})), json!({"spec": {}}));
    }

    #[test]
    fn the_controller_never_becomes_the_holder() {
        let held = lease("User", Some("jane"), false);
        assert_eq!(result("Workspace", CONTROLLER, Value::Null, held.clone()), held);
    }

    #[test]
    fn other_operations_and_kinds_are_left_alone() {
        let mut message = request("Message", "jane", Value::Null, json!({"spec": {}}));
        message.operation = "DELETE".into();
        assert_eq!(mutate(&message, CONTROLLER), Verdict::Allowed(vec![]));
        let artifact = request("Artifact", "jane", Value::Null, json!({"spec": {}}));
        assert_eq!(mutate(&artifact, CONTROLLER), Verdict::Allowed(vec![]));
    }
}
