//! Invariant 9: each `True` names evidence that was observed.

use a8s_crds::names;
use a8s_sim::{By, Change, Key, View};
use serde_json::Value;

use super::{
    Judge, Truth,
    facts::{find, going, is_true, owner, text, uid},
};

impl Judge {
    /// Invariant 9. What a pass says is so in what it looked at, or by now.
    pub(super) fn ready_means_it(&mut self, change: &Change, truth: &Truth) {
        let (By::Plan(actor), Some(after)) = (&change.by, change.after()) else { return };
        let said = change.before().is_some_and(|b| b["status"] == after["status"]);
        if said || uid(after) != actor || going(after) {
            return;
        }
        let mut views = self.seen.clone();
        views.push(change.view.clone());
        let any = |holds: &dyn Fn(&View) -> bool| views.iter().any(holds);
        let mut wrong = Vec::new();
        let mut claim = |kind: &str, evidence: bool| {
            if is_true(after, kind) && !evidence {
                wrong.push(format!("{} says {kind} without evidence", change.key));
            }
        };
        match change.key.kind.as_str() {
            "Workspace" => {
                claim("StorageReady", any(&|v| has_volume(v, after)));
                claim("PodReady", any(&|v| has_pod(v, after)));
                let runs =
                    truth.running.values().any(|p| p.workspace == *actor) || any(&|v| has_pod(v, after));
                claim("DesktopReady", runs);
                claim("AgentReady", runs);
                let parts = ["StorageReady", "PodReady", "DesktopReady", "AgentReady"];
                claim("Ready", parts.iter().all(|kind| is_true(after, kind)));
            }
            "Snapshot" => claim("Ready", any(&|v| is_restorable(v, after))),
            "Session" => {
                let named = text(&after["status"]["workspace"]["uid"]);
                claim("Ready", any(&|v| find(v, named).is_some_and(|w| is_true(w, "Ready"))));
            }
            "WarmPool" => {
                let said = after["status"]["readyReplicas"].as_u64().unwrap_or_default();
                let ready = |v: &View| {
                    let all = v.iter().filter(|(key, o)| key.kind == "Workspace" && owner(o) == actor);
                    all.filter(|(_, o)| is_true(o, "Ready")).count() as u64
                };
                if !any(&|v| said <= ready(v)) {
                    wrong.push(format!("{} counts {said} ready desktops", change.key));
                }
            }
            _ => {}
        }
        for what in wrong {
            self.say(9, what);
        }
    }

    /// Invariant 9 the other way round, once all has come to rest: what is said is so now.
    pub fn what_is_said_at_rest_is_so(&mut self, view: &View) {
        for (key, object) in view.iter() {
            let so = match key.kind.as_str() {
                "Workspace" => {
                    (!is_true(object, "PodReady") || has_pod(view, object))
                        && (!is_true(object, "StorageReady") || has_volume(view, object))
                }
                "Snapshot" => !is_true(object, "Ready") || is_restorable(view, object),
                _ => true,
            };
            if !so {
                self.say(9, format!("{key} goes on saying what is not so any more"));
            }
        }
    }
}

fn namespaced(object: &Value, api: &str, kind: &str, name: &str) -> Key {
    Key::new(api, kind, text(&object["metadata"]["namespace"]), name)
}

fn has_volume(view: &View, workspace: &Value) -> bool {
    let name = text(&workspace["status"]["storage"]["claim"]);
    let found = view.value(&namespaced(workspace, "v1", "PersistentVolumeClaim", name));
    found.is_some_and(|c| c["status"]["phase"] == "Bound" && owner(c) == uid(workspace))
}

fn has_pod(view: &View, workspace: &Value) -> bool {
    let name = names::pod(text(&workspace["metadata"]["name"]));
    let found = view.value(&namespaced(workspace, "v1", "Pod", &name));
    found.is_some_and(|p| p["status"]["phase"] == "Running" && owner(p) == uid(workspace))
}

fn is_restorable(view: &View, snapshot: &Value) -> bool {
    let name = text(&snapshot["status"]["volumeSnapshot"]);
    let api = "snapshot.storage.k8s.io/v1";
    let found = view.value(&namespaced(snapshot, api, "VolumeSnapshot", name));
    found.is_some_and(|v| v["status"]["readyToUse"] == true) && snapshot["status"]["handle"].is_string()
}
