//! The judge: looks at the world after every single write, not only at the end, and knows what is true outside of the API server as well.
//! It has one function for each invariant, named after it. It never decides anything and shares no code with what it judges.

mod evidence;
mod facts;
mod pools;

use std::collections::{BTreeMap, BTreeSet};

use a8s_crds::{labels, names};
use a8s_sim::{By, Change, Sim, View};
use serde_json::Value;

pub use facts::{Process, Stored, Truth};
use facts::{condition, find, going, is_true, owner, text, uid};

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Number of the invariant.
    pub invariant: u8,
    /// What happened.
    pub what: String,
}

/// Looks at all writes of one world.
#[derive(Default)]
pub struct Judge {
    /// What was found.
    pub found: Vec<Violation>,
    /// What the running pass looked at: that is the evidence for what it says.
    seen: Vec<View>,
    pools: pools::Pools,
}

impl Judge {
    /// A pass is about to write what it concluded from these.
    pub fn sees(&mut self, views: &[&View]) {
        self.seen = views.iter().map(|view| (*view).clone()).collect();
    }

    /// Judges everything that was written since the last look.
    pub fn look(&mut self, sim: &mut Sim, truth: &Truth) {
        for change in sim.written() {
            if change.key.kind == "Pod" {
                self.at_most_one_live_pod_per_workspace_and_one_writer_per_volume(&change.view, truth);
            }
            self.nothing_goes_that_is_not_owned_by_uid(&change);
            self.no_claim_goes_before_what_is_on_it_is_safe(&change, truth);
            self.a_volume_comes_back_with_what_was_on_it(&change, truth);
            self.a_completed_snapshot_is_never_taken_again_and_a_lost_one_is_never_ready(&change);
            self.ready_means_it(&change, truth);
            self.no_pooled_desktop_is_shared_or_used_twice(&change);
        }
        self.at_most_one_live_pod_per_workspace_and_one_writer_per_volume(&sim.view(), truth);
    }

    /// Panics at the first violation.
    pub fn is_content(&self, seed: u64) {
        if let Some(Violation { invariant, what }) = self.found.first() {
            panic!("seed {seed}: invariant {invariant}: {what}");
        }
    }

    fn say(&mut self, invariant: u8, what: impl Into<String>) {
        self.found.push(Violation { invariant, what: what.into() });
    }

    /// Invariant 1.
    fn at_most_one_live_pod_per_workspace_and_one_writer_per_volume(&mut self, view: &View, truth: &Truth) {
        let mut of_workspace = BTreeSet::new();
        for (key, pod) in view.iter().filter(|(key, _)| key.kind == "Pod") {
            let over = matches!(text(&pod["status"]["phase"]), "Failed" | "Succeeded");
            if !over && !of_workspace.insert(owner(pod)) {
                self.say(1, format!("{key} is the second live pod of its Workspace"));
            }
        }
        let (mut workspaces, mut claims) = (BTreeSet::new(), BTreeSet::new());
        for process in truth.running.values() {
            if !workspaces.insert(&process.workspace) {
                self.say(1, "two pods of one Workspace run");
            }
            if !claims.insert(&process.claim) {
                self.say(1, "two pods write to one volume");
            }
        }
    }

    /// Invariant 2, what may go at all.
    fn nothing_goes_that_is_not_owned_by_uid(&mut self, change: &Change) {
        let (By::Plan(actor), Some(before), true) = (&change.by, change.before(), change.deletes()) else {
            return;
        };
        let by = find(&change.view, actor).cloned().unwrap_or_default();
        let lifecycle = |o: &Value| o["spec"]["lifecycle"]["deleteAfter"].is_string();
        let fine = match change.key.kind.as_str() {
            "Snapshot" if uid(before) == actor => {
                before["spec"]["ttl"].is_string() && before["spec"]["hold"] != true
            }
            "Snapshot" => {
                let automatic = !matches!(text(&before["spec"]["trigger"]), "Manual" | "");
                let of_it = before["metadata"]["labels"][labels::WORKSPACE_UID] == actor.as_str();
                owner(before) == actor || of_it && automatic && before["spec"]["hold"] != true
            }
            "VolumeSnapshotContent" => {
                let to = &before["spec"]["volumeSnapshotRef"]["name"];
                let made = names::volume_snapshot(text(&by["metadata"]["name"]), actor);
                to.is_null() || *to == by["status"]["volumeSnapshot"] || *to == made.as_str()
            }
            // It came back from a backup, and nobody owns it.
            "Pod" if owner(before).is_empty() => {
                before["metadata"]["labels"][labels::WORKSPACE] == by["metadata"]["name"]
            }
            "Workspace" if uid(before) == actor => lifecycle(before),
            "Session" => owner(&by) == uid(before) && lifecycle(&by),
            _ => owner(before) == actor,
        };
        if !fine {
            self.say(2, format!("{} was deleted by a plan that has no right to it", change.key));
        }
    }

    /// Invariant 2, what is on a volume.
    fn no_claim_goes_before_what_is_on_it_is_safe(&mut self, change: &Change, truth: &Truth) {
        let (By::Plan(_), Some(claim), true) = (&change.by, change.before(), change.deletes()) else {
            return;
        };
        if change.key.kind != "PersistentVolumeClaim" {
            return;
        }
        let Some(content) = truth.volumes.get(uid(claim)) else { return };
        let snapshots = || change.view.iter().filter(|(key, _)| key.kind == "Snapshot").map(|(_, o)| o);
        let of_it = |s: &&Value| s["status"]["claim"]["uid"] == uid(claim) && !going(s);
        let failed = |s: &Value| is_true(s, "Stalled") || condition(s, "Ready")["reason"] == "SnapshotFailed";
        let unfinished = |s: &&Value| s["status"]["handle"].is_null() && !failed(s);
        if snapshots().filter(of_it).any(|s| unfinished(&s)) {
            self.say(2, format!("{} goes while a Snapshot of it is unfinished", change.key));
        }
        let of_workspace = |(_, o): &(_, &Value)| {
            owner(o) == owner(claim) && o["metadata"]["annotations"]["a8s.dev/safety-snapshot"].is_string()
        };
        let replaced = change.view.iter().filter(|(key, _)| key.kind == "PersistentVolumeClaim");
        let replaced = replaced.filter(|(_, o)| uid(o) != uid(claim)).any(|all| of_workspace(&all));
        let holds = |s: &Value| {
            let stored = truth.backend.get(text(&s["status"]["handle"]));
            // What is put back was saved while the desktop went on; what is archived was saved to the last byte.
            stored.is_some_and(|s| s.claim == uid(claim) && (replaced || s.content == *content))
        };
        if !snapshots().filter(of_it).any(|s| is_true(s, "Ready") && holds(s)) {
            self.say(2, format!("{} goes and what is on it is in no ready Snapshot", change.key));
        }
    }

    /// Invariant 2, seen from the other end.
    fn a_volume_comes_back_with_what_was_on_it(&mut self, change: &Change, truth: &Truth) {
        let Some(claim) = change.after().filter(|_| change.key.kind == "PersistentVolumeClaim") else {
            return;
        };
        let bound = |o: &Value| o["status"]["phase"] == "Bound";
        if !bound(claim) || change.before().is_some_and(bound) {
            return;
        }
        let content = truth.volumes.get(uid(claim)).copied().unwrap_or_default();
        let notes = &claim["metadata"]["annotations"];
        let first = claim["metadata"]["labels"][labels::GENERATION] == "1";
        let from = text(&notes["a8s.dev/restored-from"]);
        let expected = if !first && notes["a8s.dev/restore-id"].is_null() {
            // Nothing was lost: it goes on where it was.
            truth.head.get(owner(claim)).copied()
        } else if from.is_empty() {
            Some(0)
        } else {
            let named = change.view.iter().find(|(key, _)| key.kind == "Snapshot" && key.name == from);
            named.and_then(|(_, s)| truth.backend.get(text(&s["status"]["handle"]))).map(|s| s.content)
        };
        let Some(expected) = expected else { return };
        if content != expected {
            self.say(2, format!("{} came up with {content} on it instead of {expected}", change.key));
        }
    }

    /// Invariant 3.
    fn a_completed_snapshot_is_never_taken_again_and_a_lost_one_is_never_ready(&mut self, change: &Change) {
        let handle = |o: &Value| o["status"]["handle"].as_str().map(str::to_owned);
        if change.key.kind == "VolumeSnapshot" && change.before().is_none() {
            let made = change.after().unwrap_or(&Value::Null);
            let completed = find(&change.view, owner(made)).is_some_and(|s| handle(s).is_some());
            if completed && made["spec"]["source"]["persistentVolumeClaimName"].is_string() {
                self.say(3, format!("{} takes a completed Snapshot again", change.key));
            }
        }
        let (Some(before), Some(after)) = (change.before(), change.after()) else { return };
        if change.key.kind != "Snapshot" {
            return;
        }
        if handle(before).is_some() && handle(before) != handle(after) {
            self.say(3, format!("{} got another handle", change.key));
        }
        let ready = condition(after, "Ready");
        if ready["reason"] == "SnapshotLost" && ready["status"] == "True" {
            self.say(3, format!("{} is lost and ready", change.key));
        }
    }

    /// Invariant 7.
    pub fn a_converged_object_costs_no_writes(&mut self, before: u64, after: u64) {
        if before != after {
            self.say(7, format!("{} writes of a converged world", after - before));
        }
    }

    /// Invariant 8: what is left when all has come to rest.
    pub fn no_duplicate_and_no_orphan(&mut self, view: &View, truth: &Truth) {
        let uids: BTreeSet<&str> = view.iter().map(|(_, o)| uid(o)).collect();
        let mut claims = BTreeMap::new();
        for (key, object) in view.iter() {
            if !owner(object).is_empty() && !uids.contains(owner(object)) {
                self.say(8, format!("{key} has an owner that is gone"));
            }
            if key.kind == "PersistentVolumeClaim"
                && let Some(other) = claims.insert(owner(object), key)
            {
                self.say(8, format!("{key} and {other} are of the same Workspace"));
            }
        }
        let snapshots: Vec<_> =
            view.iter().filter(|(key, _)| key.kind == "Snapshot").map(|(_, o)| o).collect();
        let known: BTreeSet<&str> = snapshots.iter().map(|s| text(&s["status"]["handle"])).collect();
        for handle in truth.backend.keys() {
            if !known.contains(handle.as_str()) && !truth.kept.contains(handle) {
                self.say(8, format!("the backend keeps {handle} for nobody"));
            }
        }
        let named = |field: &str| {
            let all = snapshots.iter().map(|s| text(&s["status"][field]).to_owned());
            all.collect::<BTreeSet<_>>()
        };
        let volume_snapshots = named("volumeSnapshot");
        for (key, _) in view.iter().filter(|(key, _)| key.kind == "VolumeSnapshot") {
            if !volume_snapshots.contains(&key.name) {
                self.say(8, format!("{key} is of no Snapshot"));
            }
        }
    }
}
