//! What is true outside of the API server, and how objects are read here.

use std::collections::{BTreeMap, BTreeSet};

use a8s_sim::View;
use serde_json::Value;

/// What runs, what is on disks, and what the backend keeps.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// What runs, by UID of the pod, whatever the API server says of it.
    pub running: BTreeMap<String, Process>,
    /// What is on each volume, by UID of its claim. Every write makes it another number.
    pub volumes: BTreeMap<String, u64>,
    /// What the backend keeps, by handle.
    pub backend: BTreeMap<String, Stored>,
    /// Handles that stay although nobody has them any more: so it was asked.
    pub kept: BTreeSet<String>,
    /// What the desktop of each Workspace had last, by UID.
    pub head: BTreeMap<String, u64>,
}

/// A pod that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// UID of the Workspace.
    pub workspace: String,
    /// UID of the claim that it writes to.
    pub claim: String,
    /// Where.
    pub node: String,
}

/// A snapshot in the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What was on the volume.
    pub content: u64,
    /// UID of the claim.
    pub claim: String,
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn uid(object: &Value) -> &str {
    text(&object["metadata"]["uid"])
}

/// UID of the controlling owner.
pub fn owner(object: &Value) -> &str {
    text(&object["metadata"]["ownerReferences"][0]["uid"])
}

pub fn going(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// The condition of that type, or null.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let all = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|c| c["type"] == kind).unwrap_or(&Value::Null)
}

pub fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind)["status"] == "True"
}

/// The object with this UID.
pub fn find<'a>(view: &'a View, wanted: &str) -> Option<&'a Value> {
    view.iter().map(|(_, o)| o).find(|o| uid(o) == wanted)
}
