//! The controller left to itself: a pass comes when a watch tells of something that concerns the object, or when the last pass asked to
//! be woken, and for no other reason. So whoever forgets to ask sleeps for ever, here as in a cluster.

use std::collections::{BTreeMap, BTreeSet};

use a8s_plan::Wake;
use a8s_sim::{Key, View};
use jiff::{SignedDuration, Timestamp};
use rand::Rng;
use serde_json::Value;

use super::{Estate, WORKSPACES, all_of, ours, uid};

/// A pass that failed is tried again after so many milliseconds.
const AGAIN: u64 = 2_000;
/// After so many seconds without a single write nothing changes any more: all that people ask for is sooner.
const REST: i64 = 200;
/// More passes at one moment are a loop.
const MOST: usize = 200;

/// What the controller knows that it has to do.
#[derive(Default)]
pub(super) struct Agenda {
    /// When each object's next pass is due.
    due: BTreeMap<Key, Timestamp>,
    /// Everything as the watches showed it last.
    shown: View,
    /// Workspaces whose pod answered, and the turns of each, when somebody looked last.
    answers: BTreeSet<String>,
    turns: BTreeMap<String, i64>,
}

impl Agenda {
    /// A pass for this object is over.
    pub(super) fn next(&mut self, key: &Key, wake: Wake, failed: bool, now: Timestamp) {
        let millis = match wake {
            _ if failed => AGAIN,
            Wake::AfterMillis(millis) => millis,
            Wake::OnChange => {
                self.due.remove(key);
                return;
            }
        };
        let millis = i64::try_from(millis).unwrap();
        self.due.insert(key.clone(), now + SignedDuration::from_millis(millis));
    }
}

fn owner(object: &Value, kind: &str) -> Option<String> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|o| o["controller"] == true && o["kind"] == kind)?;
    owner["name"].as_str().map(str::to_owned)
}

/// Workspaces for which this Snapshot is news: the one that it is of, and those that are to be made from it.
fn followers(view: &View, name: &str, snapshot: &Value) -> Vec<Key> {
    let named = |w: &Value| {
        w["spec"]["source"]["snapshot"] == name
            || w["spec"]["restore"]["snapshot"] == name
            || snapshot["spec"]["workspace"] == w["metadata"]["name"]
    };
    all_of(view, "Workspace").into_iter().filter(|(_, w)| named(w)).map(|(key, _)| Key::clone(&key)).collect()
}

/// Snapshots for which this Workspace is news: those that are still to be taken of it.
fn waiting(view: &View, name: &str) -> Vec<Key> {
    let to_take = |s: &Value| s["spec"]["workspace"] == name && s["status"]["handle"].is_null();
    all_of(view, "Snapshot")
        .into_iter()
        .filter(|(_, s)| to_take(s))
        .map(|(key, _)| Key::clone(&key))
        .collect()
}

impl Estate {
    /// What the controller's watches make of a change of this object.
    fn concerned(view: &View, key: &Key, object: &Value) -> Vec<Key> {
        match key.kind.as_str() {
            "Workspace" => {
                let mut all = waiting(view, &key.name);
                all.push(key.clone());
                all
            }
            "Pod" | "PersistentVolumeClaim" | "NetworkPolicy" => {
                owner(object, "Workspace").map(|name| ours("Workspace", &name)).into_iter().collect()
            }
            "Environment" => all_of(view, "Workspace").into_iter().map(|(key, _)| Key::clone(&key)).collect(),
            "Snapshot" => {
                let mut all = followers(view, &key.name, object);
                all.push(key.clone());
                all
            }
            "VolumeSnapshot" => {
                owner(object, "Snapshot").map(|name| ours("Snapshot", &name)).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// The watches tell of everything that changed since the last time.
    fn notice(&mut self) {
        let (view, now) = (self.sim.view(), self.sim.now());
        let before = std::mem::replace(&mut self.agenda.shown, view.clone());
        let mut told = Vec::new();
        for (key, object) in view.iter().filter(|(key, object)| before.value(key) != Some(*object)) {
            told.extend(Self::concerned(&view, key, object));
        }
        for (key, object) in before.iter().filter(|(key, _)| view.value(key).is_none()) {
            told.extend(Self::concerned(&view, key, object).into_iter().filter(|k| k != key));
        }
        for (key, object) in all_of(&view, "Workspace") {
            let own = uid(&object);
            // Who is silent is asked in the background, and that it answers is told.
            let answers = self.runner(&own).is_some();
            let known = if answers {
                !self.agenda.answers.insert(own.clone())
            } else {
                self.agenda.answers.remove(&own);
                true
            };
            let turn = self.turns.get(&own).copied().unwrap_or_default();
            let follows = object["spec"]["snapshots"]["eachTurn"] == true;
            let turned = self.agenda.turns.insert(own, turn) != Some(turn) && follows;
            if !known || turned {
                told.push(Key::clone(&key));
            }
        }
        for key in told {
            self.agenda.due.insert(key, now);
        }
    }

    /// Every pass that is due now, until none is.
    fn passes(&mut self) {
        for _ in 0..MOST {
            self.notice();
            let now = self.sim.now();
            let due = self.agenda.due.iter().find(|(_, at)| **at <= now).map(|(key, _)| key.clone());
            let Some(key) = due else { return };
            self.agenda.due.remove(&key);
            if key.kind == "Snapshot" {
                self.snapshot_pass(&key.name);
            } else {
                self.workspace_pass(&key.name);
            }
        }
        panic!("seed {}: more than {MOST} passes at one moment", self.seed);
    }

    /// The controller begins anew and looks at everything once.
    fn begins(&mut self) {
        self.agenda = Agenda::default();
        let now = self.sim.now();
        for name in WORKSPACES {
            self.agenda.due.insert(ours("Workspace", name), now);
        }
    }

    /// So many seconds, in each of which the node throws the pod of this Workspace off again. How many steps plans took.
    pub fn fails_all_the_time(&mut self, workspace: &str, seconds: usize) -> usize {
        self.begins();
        let before = self.sim.steps();
        for _ in 0..seconds {
            self.passes();
            self.everybody_else();
            self.evict(workspace);
            self.look();
            self.sim.advance(1_000);
        }
        self.sim.steps() - before
    }

    /// People do so many things, and the controller is left to itself meanwhile and afterwards.
    pub fn left_to_itself(&mut self, wishes: usize) {
        self.begins();
        for _ in 0..wishes {
            self.calm = false;
            self.somebody();
            self.agent_works();
            self.calm = true;
            self.look();
            for _ in 0..2 {
                self.passes();
                self.everybody_else();
                let millis = self.sim.rng().random_range(0..20_000);
                self.sim.advance(millis);
            }
        }
        self.nodes_come_back();
        self.unscheduled();
        let mut written = (self.sim.version(), self.sim.now());
        while self.sim.now().as_second() - written.1.as_second() < REST {
            self.passes();
            self.everybody_else();
            self.notice();
            let now = self.sim.now();
            // Nothing at all is due: nothing will ever happen any more.
            let Some(next) = self.agenda.due.values().min().copied() else { return };
            if next > now {
                self.sim.advance(next.as_millisecond() - now.as_millisecond());
            }
            if self.sim.version() != written.0 {
                written = (self.sim.version(), now);
            }
        }
    }
}
