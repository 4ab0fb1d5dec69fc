//! What a Session goes on telling its Workspace: whether it shall run, what becomes of it when nobody uses it, when Snapshots are taken,
//! what it was granted; and
//! that somebody wants to be heard by a desktop that is asleep.

use a8s_crds::{Lifecycle, Session, SessionState, SnapshotPolicy, Workspace, labels};
use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Observed, desired, state_intent, target};
use crate::{Op, chat, overseer::Grants, request::is_for_the_agent, workspace};

/// Value of the annotation that wakes a desktop for a Message.
const FOR_A_MESSAGE: &str = "for-a-message";

/// Steps for a Workspace that there is.
pub(super) fn steps(seen: &Observed, found: &Workspace, granted: &Grants) -> Vec<Op> {
    let mut ops = Vec::new();
    if found.metadata.deletion_timestamp.is_some() {
        return ops;
    }
    let session = &seen.session;
    let wanted = desired(session.spec.state);
    if found.spec.state != wanted {
        ops.push(Op::Apply { object: state_intent(found, wanted), manager: "session" });
    }
    if let Some(patch) = terms(session, found, granted) {
        ops.push(Op::Merge { target: target(found), patch });
    }
    if session.spec.state == SessionState::Active && wakes(seen, found) {
        ops.push(Op::Apply { object: wake(found), manager: "wake" });
    }
    ops
}

/// Whether somebody waits for an agent whose desktop is asleep.
fn wakes(seen: &Observed, found: &Workspace) -> bool {
    let goal = chat::first_prompt(&seen.session).is_some()
        && seen
            .session
            .status
            .as_ref()
            .is_none_or(|s| s.goal_epoch.is_none() && s.seq.unwrap_or_default() == 0);
    // Falling asleep takes the annotation away, so what is there was written since and is about to be seen.
    let asked = found.annotations().contains_key(labels::WAKE);
    let decided = seen.requests.iter().any(|request| is_for_the_agent(request));
    workspace::asleep(found) && (seen.undelivered > 0 || goal || decided) && !asked
}

/// The UID keeps the intent from creating a Workspace anew.
fn wake(found: &Workspace) -> Value {
    json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": found.name_any(), "namespace": found.namespace(), "uid": found.uid(),
            "annotations": {labels::WAKE: FOR_A_MESSAGE}},
    })
}

/// What the Workspace is to be told about lifecycle and Snapshots. Of these the Session's word counts, also when it says nothing.
fn terms(session: &Session, found: &Workspace, granted: &Grants) -> Option<Value> {
    let mut spec = json!({});
    if granted.connections != found.spec.grants {
        spec["grants"] = json!(granted.connections);
    }
    if session.spec.lifecycle != found.spec.lifecycle {
        spec["lifecycle"] =
            becomes::<Lifecycle>(found.spec.lifecycle.as_ref(), session.spec.lifecycle.as_ref());
    }
    if session.spec.snapshots != found.spec.snapshots {
        spec["snapshots"] =
            becomes::<SnapshotPolicy>(found.spec.snapshots.as_ref(), session.spec.snapshots.as_ref());
    }
    spec.as_object().is_some_and(|all| !all.is_empty()).then(|| json!({"spec": spec}))
}

fn becomes<T: Serialize>(have: Option<&T>, want: Option<&T>) -> Value {
    let value = |of: Option<&T>| of.and_then(|of| serde_json::to_value(of).ok()).unwrap_or_default();
    difference(&value(have), &value(want))
}

/// The merge patch that makes `want` of `have`.
fn difference(have: &Value, want: &Value) -> Value {
    let (Value::Object(have), Value::Object(want)) = (have, want) else { return want.clone() };
    let mut patch: serde_json::Map<_, _> =
        have.keys().filter(|key| !want.contains_key(*key)).map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in want {
        match have.get(key) {
            Some(old) if old == value => {}
            Some(old) => drop(patch.insert(key.clone(), difference(old, value))),
            None => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    Value::Object(patch)
}
