//! When everything has come to rest, and what must be so then.

use serde_json::{Value, json};

use super::{Estate, WORKSPACES, all_of, going, ours, uid};

/// What a second Workspace may wait for for ever: people named something that is not there or cannot be.
const EXCUSES: [&str; 9] = [
    "SnapshotNotFound",
    "SnapshotNotReady",
    "SnapshotLost",
    "WorkspaceNotFound",
    "ClaimPending",
    "Archived",
    "RestoredWithoutState",
    "EnvironmentNotFound",
    "Suspended",
];

impl Estate {
    /// One round of everybody, without any trouble.
    pub fn everybody(&mut self) {
        for name in WORKSPACES {
            self.workspace_pass(name);
        }
        for (key, _) in all_of(&self.sim.view(), "Snapshot") {
            self.snapshot_pass(&key.name);
        }
        self.everybody_else();
    }

    /// Everybody but the controller does what there is to do.
    pub(super) fn everybody_else(&mut self) {
        for (key, claim) in all_of(&self.sim.view(), "PersistentVolumeClaim") {
            self.binder(&key, &claim);
        }
        self.kubelets();
        self.look();
        self.drivers();
        self.sim.collect_garbage();
        self.look();
    }

    /// Rounds until nothing changes any more.
    pub fn settle(&mut self) {
        self.calm = true;
        let mut quiet = 0;
        for _ in 0..150 {
            let version = self.sim.version();
            self.sim.advance(21_000);
            self.everybody();
            if self.mutant.is_some() && !self.judge.found.is_empty() {
                return;
            }
            quiet = if self.sim.version() == version { quiet + 1 } else { 0 };
            // Long enough for everything that waits for a while.
            if quiet == 4 {
                return;
            }
        }
        self.judge.a_converged_object_costs_no_writes(0, 1);
    }

    /// No trouble any more, and no schedule that never ends.
    pub fn comes_to_rest(&mut self) {
        self.calm = true;
        self.nodes_come_back();
        self.unscheduled();
        self.settle();
    }

    pub(super) fn unscheduled(&mut self) {
        let scheduled = |o: &Value| o["spec"]["snapshots"]["schedule"].is_string();
        if self.sim.get(&ours("Workspace", "a")).is_some_and(scheduled) {
            self.patch("Workspace", "a", &json!({"spec": {"snapshots": null}}));
        }
    }

    /// What must be so at rest.
    pub fn judge_rest(&mut self) {
        let view = self.sim.view();
        self.judge.no_duplicate_and_no_orphan(&view, &self.truth);
        self.judge.what_is_said_at_rest_is_so(&view);
        let version = self.sim.version();
        for _ in 0..2 {
            self.sim.advance(60_000);
            self.everybody();
        }
        self.judge.a_converged_object_costs_no_writes(version, self.sim.version());
        if version != self.sim.version() {
            let now = self.sim.view();
            let changed = now.iter().filter(|(key, object)| view.value(key) != Some(*object));
            changed.for_each(|(key, object)| eprintln!("{key} became {object}, from {:?}", view.value(key)));
        }
        for (key, object) in all_of(&view, "Workspace") {
            if let Some(what) = self.is_not_as_asked(&key.name, &object) {
                self.judge
                    .found
                    .push(crate::judge::Violation { invariant: 8, what: format!("{key}: {what}") });
            }
        }
        for (key, object) in all_of(&view, "Snapshot") {
            if going(&object) {
                let what = format!("{key} is stuck: {}", object["status"]);
                self.judge.found.push(crate::judge::Violation { invariant: 8, what });
            }
        }
    }

    /// Why a Workspace is not what its spec asks for.
    fn is_not_as_asked(&self, name: &str, object: &Value) -> Option<String> {
        let status = &object["status"];
        let all = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ready = all.iter().find(|c| c["type"] == "Ready").unwrap_or(&Value::Null);
        if name == "b" && EXCUSES.iter().any(|e| ready["reason"] == *e) {
            return None;
        }
        let claims = all_of(&self.sim.view(), "PersistentVolumeClaim").into_iter();
        let claims =
            claims.filter(|(_, c)| c["metadata"]["ownerReferences"][0]["uid"] == uid(object)).count();
        let runs = self.truth.running.values().filter(|p| p.workspace == uid(object)).count();
        let had = status["storage"].is_object();
        let asleep = status["idleSince"].is_string() && status["suspendedSince"].is_string();
        let expected = match (object["spec"]["state"].as_str(), asleep) {
            // Once it was archived by its lifecycle, only waking makes a volume.
            (Some("Running") | None, false) => (1, 1),
            // Where volumes wait for a pod, it is asked for and comes when the desktop runs.
            (Some("Suspended"), _) if !object["spec"]["lifecycle"]["archiveAfter"].is_string() => {
                (usize::from(had || status["archive"].is_string()), 0)
            }
            _ if status["archive"].is_string() => (0, 0),
            (Some("Archived"), _) if !had => (0, 0),
            _ => (usize::from(had), 0),
        };
        let said = ready["status"] == "True";
        ((claims, runs) != expected || said != (runs == 1)).then(|| {
            format!("{claims} claims and {runs} pods instead of {expected:?}: {} {status}", object["spec"])
        })
    }

    /// What counts of the end, in words that are the same for every way that led there.
    pub fn summary(&self) -> String {
        let mut lines = Vec::new();
        for (key, object) in all_of(&self.sim.view(), "Workspace") {
            let status = &object["status"];
            lines.push(format!(
                "{key} {} epoch {} generation {} restore {} {} on it {:?}",
                status["state"],
                status["epoch"],
                status["storage"]["generation"],
                status["restore"]["phase"],
                status["archive"].is_string(),
                self.truth.head.get(&uid(&object)),
            ));
        }
        let mut snapshots: Vec<_> = all_of(&self.sim.view(), "Snapshot")
            .iter()
            .map(|(_, o)| format!("{} {}", o["spec"]["trigger"], o["status"]["conditions"][0]["reason"]))
            .collect();
        snapshots.sort();
        lines.extend(snapshots);
        lines.push(format!("{} in the backend, {} run", self.truth.backend.len(), self.truth.running.len()));
        lines.join("\n")
    }

    /// Many steps of anybody.
    pub fn upheaval(&mut self, steps: usize) {
        self.calm = false;
        for _ in 0..steps {
            self.anything();
        }
    }
}
