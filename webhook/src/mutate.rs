//! What is stamped from the request: the author of a Message, the creator of a Session or Share, the person who holds the mouse, or who decides. All of it is
//! decided by who the API server says the requester is, never by what the client wrote.

use a8s_crds::labels::{CREATED_BY, CREATED_BY_GROUPS};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::admission::{Request, Verdict};

/// Most bytes of the annotation with the creator's groups: a Session is read often.
const MAX_GROUPS: usize = 8_192;

/// How long a Share holds of which nobody said how long.
const SHARED: SignedDuration = SignedDuration::from_hours(24);

/// The changes to make to the object of `request`. `controller` is the user name of the controller's ServiceAccount.
pub fn mutate(request: &Request, controller: &str) -> Verdict {
    Verdict::Allowed(match request.kind.kind.as_str() {
        "Message" if request.creates() => author(request, controller),
        "Session" if request.creates() => {
            let user = Value::from(request.user_info.username.as_str());
            let groups = Value::from(groups(&request.user_info.groups));
            stamped(&request.object, &[(CREATED_BY, Some(&user)), (CREATED_BY_GROUPS, Some(&groups))])
        }
        "Share" if request.creates() => share(request, Timestamp::now()),
        "Session" if request.updates() => {
            let kept = [CREATED_BY, CREATED_BY_GROUPS].map(|key| (key, annotation(&request.old_object, key)));
            stamped(&request.object, &kept)
        }
        "Workspace" if request.creates() || request.updates() => control(request, controller),
        "Request" => crate::decide::stamp(request, Timestamp::now()),
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

/// The annotations say what is wanted whatever the client sent; what is not wanted (a Session older than the webhook) is not there.
fn stamped(object: &Value, wanted: &[(&str, Option<&Value>)]) -> Vec<Value> {
    let mut patch = Vec::new();
    let mut some = object["metadata"]["annotations"].is_object();
    for (key, wanted) in wanted {
        let path = format!("/metadata/annotations/{}", key.replace('~', "~0").replace('/', "~1"));
        match (annotation(object, key), wanted) {
            (found, wanted) if found == *wanted => {}
            (Some(_), None) => patch.push(json!({"op": "remove", "path": path})),
            (_, wanted) => {
                if !some {
                    patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
                    some = true;
                }
                patch.push(json!({"op": "add", "path": path, "value": wanted}));
            }
        }
    }
    patch
}

/// Groups as an annotation has them. What does not fit gives no right.
fn groups(all: &[String]) -> String {
    let mut room = MAX_GROUPS;
    let fits = |group: &&String| {
        room = room.saturating_sub(group.len() + 3);
        room > 0
    };
    Value::from(all.iter().take_while(fits).cloned().collect::<Vec<_>>()).to_string()
}

/// A Share says who made it, and ends some time.
fn share(request: &Request, now: Timestamp) -> Vec<Value> {
    let user = Value::from(request.user_info.username.as_str());
    let mut patch = stamped(&request.object, &[(CREATED_BY, Some(&user))]);
    let spec = &request.object["spec"];
    if spec.is_object() && spec["expires"].is_null() {
        let end = Timestamp::from_second(now.as_second()).unwrap_or(now) + SHARED;
        patch.push(json!({"op": "add", "path": "/spec/expires", "value": end.to_string()}));
    }
    patch
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
    fn a_share_says_who_made_it_and_ends_after_a_day_unless_somebody_says_when() {
        let object = json!({"metadata": {"annotations": {"a8s.dev/created-by": "omar"}}, "spec": {"session": "s", "role": "Watch"}});
        let made = result("Share", "jane", Value::Null, object.clone());
        assert_eq!(made["metadata"]["annotations"], json!({"a8s.dev/created-by": "jane"}));
        let end: Timestamp = made["spec"]["expires"].as_str().unwrap().parse().unwrap();
        let left = end.duration_since(Timestamp::now());
        assert!(left <= SHARED && left > SHARED - SignedDuration::from_mins(1), "{left}");
        assert_eq!(result("Share", "jane", Value::Null, made.clone()), made, "it may be asked twice");
        let mut said = object.clone();
        said["spec"]["expires"] = "2026-11-22T12:00:00Z".into();
        assert_eq!(result("Share", "jane", Value::Null, said.clone())["spec"], said["spec"]);
        assert_eq!(result("Share", "jane", said.clone(), said.clone()), said, "only when it is made");
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
        let expected = json!({CREATED_BY: "jane", CREATED_BY_GROUPS: "[]", "a": "b"});
        assert_eq!(stamped["metadata"]["annotations"], expected);
    }

    #[test]
    fn a_session_knows_its_creators_groups_and_nobody_writes_others() {
        let group = |name: &str| name.to_owned();
        assert_eq!(groups(&[group("dev"), group("a\"b,c")]), r#"["dev","a\"b,c"]"#);
        let many: Vec<String> = (0..5_000).map(|n| format!("group-{n}")).collect();
        let text = groups(&many);
        let kept: Vec<String> = serde_json::from_str(&text).unwrap();
        assert!(text.len() <= MAX_GROUPS + 2 && kept.len() > 100, "{}", text.len());
        assert_eq!(kept[..], many[..kept.len()]);
        let old = json!({"metadata": {"annotations": {CREATED_BY: "jane", CREATED_BY_GROUPS: r#"["dev"]"#}}});
        let forged =
            json!({"metadata": {"annotations": {CREATED_BY: "jane", CREATED_BY_GROUPS: r#"["root"]"#}}});
        assert_eq!(result("Session", "omar", old.clone(), forged), old);
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
