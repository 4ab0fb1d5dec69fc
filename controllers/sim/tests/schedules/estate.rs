//! A namespace with Workspaces, Snapshots and a driver that keeps them: everything from the first start to archives, restores and clones.
//! The passes gather as the controller does: from caches that may be late but never older than what the pass itself wrote, and from the
//! server for what a cache does not have and before anything that nothing brings back.

mod driver;
mod gather;
mod kubelet;
mod people;
mod rest;
mod wakes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use a8s_crds::{SnapshotStatus, WorkspaceStatus, labels};
use a8s_plan::{
    Effect, Op, Plan, Wake,
    snapshot::{self, Runner},
    workspace,
};
use a8s_sim::{Key, Object, Sim, SimError, View};
use jiff::Timestamp;
use rand::Rng;
use serde_json::{Value, json};

pub use gather::volume_snapshot_facts;
pub use people::Wish;

use crate::{
    judge::{Judge, Truth},
    mutants::Mutant,
    world::{NS, env, target},
};

/// The Workspaces that there may be.
pub const WORKSPACES: [&str; 2] = ["a", "b"];

pub struct Estate {
    pub sim: Sim,
    pub seed: u64,
    pub truth: Truth,
    pub judge: Judge,
    /// A defect that somebody built in.
    pub mutant: Option<Mutant>,
    binding: workspace::Binding,
    /// Whether the driver says where volumes can be.
    placed: bool,
    /// What people do in this world, and whether anything goes wrong.
    wishes: Vec<Wish>,
    calm: bool,
    /// What the controller remembers to have written; gone when it dies.
    written: BTreeMap<String, u64>,
    /// Its first lists showed everything up to here.
    floor: u64,
    /// Counts what has to be different each time.
    count: u64,
    /// Last input or event, and turns so far, by UID of the Workspace.
    activity: BTreeMap<String, Timestamp>,
    turns: BTreeMap<String, i64>,
    /// Contents whose VolumeSnapshot was deleted in order.
    meant: BTreeSet<String>,
    /// Steps of plans after which the controller dies.
    dies: Option<usize>,
    /// When which pass is due, for worlds in which nobody comes by.
    agenda: wakes::Agenda,
}

pub fn ours(kind: &str, name: &str) -> Key {
    Key::ours(kind, NS, name)
}

pub fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

pub fn going(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub fn all_of(view: &View, kind: &str) -> Vec<(Arc<Key>, Object)> {
    view.of_kind(kind)
}

impl Estate {
    pub fn new(seed: u64, binding: workspace::Binding) -> Self {
        let mut sim = Sim::new(seed);
        sim.keep_journal();
        let mut objects = vec![json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "desktop"},
            "spec": {"title": "Desktop", "image": "desktop:1"},
        })];
        for name in kubelet::NODES {
            objects.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}));
        }
        for object in objects {
            sim.create(object).unwrap();
        }
        let mut estate = Self {
            sim,
            seed,
            truth: Truth::default(),
            judge: Judge::default(),
            mutant: None,
            binding,
            placed: seed.is_multiple_of(3),
            wishes: Vec::new(),
            calm: true,
            written: BTreeMap::new(),
            floor: 0,
            count: 0,
            activity: BTreeMap::new(),
            turns: BTreeMap::new(),
            meant: BTreeSet::new(),
            dies: None,
            agenda: wakes::Agenda::default(),
        };
        for name in kubelet::NODES {
            estate.node_is(name, "True");
        }
        estate.make_workspace("a", json!({"environment": "desktop"}));
        estate
    }

    /// A world of its own kind: a few wishes, and not always the same.
    pub fn random(seed: u64) -> Self {
        let mut estate = Self::new(seed, workspace::Binding::Immediate);
        if estate.sim.rng().random() {
            estate.binding = workspace::Binding::WaitForFirstConsumer;
        }
        let many = estate.sim.rng().random_range(2..7);
        for _ in 0..many {
            let index = estate.sim.rng().random_range(0..Wish::ALL.len());
            estate.wishes.push(Wish::ALL[index]);
        }
        estate.calm = false;
        estate
    }

    pub fn look(&mut self) {
        self.judge.look(&mut self.sim, &self.truth);
    }

    fn chance(&mut self, one_in: u32) -> bool {
        !self.calm && self.sim.rng().random_range(0..one_in) == 0
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub fn make_workspace(&mut self, name: &str, spec: Value) {
        let object = json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": name, "namespace": NS}, "spec": spec,
        });
        let _ = self.sim.create(object);
    }

    /// What a cache shows: the past, but nothing older than what passes for this object wrote.
    fn cache(&mut self, uid: &str) -> Option<View> {
        let lag = if self.chance(2) { self.sim.rng().random_range(0..8) } else { 0 };
        let oldest = self.floor.max(self.written.get(uid).copied().unwrap_or_default());
        let shown = self.sim.version().saturating_sub(lag);
        if shown < oldest {
            return None;
        }
        Some(self.sim.stale(usize::try_from(lag).unwrap()))
    }

    /// The past of the whole world is no place to start from after a crash.
    fn wrote<S: serde::Serialize>(
        &mut self,
        key: &Key,
        object: &Value,
        plan: &Plan<S>,
    ) -> Result<(), SimError> {
        if self.chance(6) {
            let steps = self.sim.rng().random_range(0..5);
            self.sim.crash_after(steps);
        }
        if let Some(left) = self.dies.and_then(|dies| dies.checked_sub(self.sim.steps())) {
            self.sim.crash_after(left);
        }
        let before = self.sim.version();
        let done = self.sim.carry_out(&target(key, object), plan);
        self.sim.crash_after(usize::MAX);
        if self.sim.version() > before {
            self.written.insert(uid(object), self.sim.version());
        }
        if done == Err(SimError::Crashed) {
            self.written.clear();
            self.floor = self.sim.version();
            self.dies = None;
        }
        self.look();
        done
    }

    /// Gathers, decides and carries out for a Workspace.
    pub fn workspace_pass(&mut self, name: &str) {
        let key = ours("Workspace", name);
        let Some(own) = self.sim.get(&key).map(uid) else { return };
        let Some(mut view) = self.cache(&own) else { return };
        let Some((seen, plan)) = self.decide(&view, name) else { return };
        let (mut seen, mut plan) = (seen, plan);
        if workspace::irrevocable(&plan) || is_final(&plan, &seen) {
            view = self.sim.view();
            let Some(fresh) = self.decide(&view, name).filter(|(s, _)| s.uid() == seen.uid()) else { return };
            (seen, plan) = fresh;
        }
        if self.mutant.is_none() {
            let violations = workspace::check(&seen, &env(&self.sim), &plan);
            assert!(violations.is_empty(), "seed {}: {violations:?}", self.seed);
        }
        let Some(object) = view.value(&key).cloned() else { return };
        if self.chance(10) {
            // Somebody is faster.
            self.others();
        }
        self.judge.sees(&[&view]);
        let failed = self.wrote(&key, &object, &plan).is_err();
        self.agenda.next(&key, plan.wake, failed, self.sim.now());
    }

    fn decide(&self, view: &View, name: &str) -> Option<(workspace::Observed, Plan<WorkspaceStatus>)> {
        let mut seen = self.workspace(view, name)?;
        if let Some(mutant) = self.mutant {
            mutant.blinds(&mut seen);
        }
        let mut plan = workspace::plan(&seen, &env(&self.sim));
        if let Some(mutant) = self.mutant {
            mutant.spoils(&seen, &mut plan);
        }
        Some((seen, plan))
    }

    /// The same for a Snapshot: everything is read from the server, in rounds, as the controller does.
    pub fn snapshot_pass(&mut self, name: &str) {
        let key = ours("Snapshot", name);
        let Some(object) = self.sim.get(&key).cloned() else { return };
        let view = self.sim.view();
        let Some(mut seen) = self.snapshot(&view, name) else { return };
        for _ in 0..5 {
            if let Some(mutant) = self.mutant {
                mutant.blinds_snapshot(&mut seen);
            }
            let mut plan = snapshot::plan(&seen, &env(&self.sim));
            if let Some(mutant) = self.mutant {
                mutant.spoils_snapshot(&seen, &mut plan);
            }
            let again = plan.wake == Wake::AfterMillis(0);
            let quiesce = take_quiesce(&mut plan);
            remember(&mut seen.snapshot, &plan);
            self.judge.sees(&[&view]);
            let failed = self.wrote(&key, &object, &plan).is_err();
            self.agenda.next(&key, plan.wake, failed, self.sim.now());
            if failed {
                return;
            }
            if let Some(workspace) = quiesce {
                seen.runner = match self.runner(&workspace) {
                    Some(state) => Runner::Quiesced(Box::new(state)),
                    None => Runner::Silent("no answer".into()),
                };
            }
            if !again {
                return;
            }
            if self.chance(4) {
                self.others();
            }
        }
    }

    /// Something small happens that is not a pass.
    fn others(&mut self) {
        match self.sim.rng().random_range(0..8) {
            0..=2 => self.kubelet_step(),
            3 => self.binder_step(),
            4..=5 => self.driver_step(),
            6 => self.agent_works(),
            _ => self.somebody(),
        }
        self.look();
    }

    /// Any step of anybody.
    pub fn anything(&mut self) {
        let millis = self.sim.rng().random_range(0..6_000);
        self.sim.advance(millis);
        match self.sim.rng().random_range(0..16) {
            0..=4 => {
                let index = usize::from(self.sim.rng().random_range(0..3) == 0);
                self.workspace_pass(WORKSPACES[index]);
            }
            5..=7 => {
                let all = all_of(&self.sim.view(), "Snapshot");
                if !all.is_empty() {
                    let index = self.sim.rng().random_range(0..all.len());
                    self.snapshot_pass(&all[index].0.name);
                }
            }
            8 => self.sim.collect_garbage(),
            9 => self.somebody(),
            _ => self.others(),
        }
        self.look();
    }
}

/// As the controller: what must not rest on a late cache.
fn is_final(plan: &Plan<WorkspaceStatus>, seen: &workspace::Observed) -> bool {
    let had = seen.workspace.status.as_ref().is_some_and(|s| s.storage.is_some());
    plan.ops.iter().any(|op| match op {
        Op::Delete { .. } | Op::DeleteUnchanged { .. } | Op::Finalizer { present: false, .. } => true,
        Op::Create { object } => had && object["kind"] == "PersistentVolumeClaim",
        _ => false,
    })
}

fn take_quiesce(plan: &mut Plan<SnapshotStatus>) -> Option<String> {
    let index = plan.ops.iter().position(|op| matches!(op, Op::Effect(Effect::Quiesce { .. })))?;
    match plan.ops.remove(index) {
        Op::Effect(Effect::Quiesce { workspace }) => Some(workspace.uid),
        _ => None,
    }
}

fn remember(snapshot: &mut a8s_crds::Snapshot, plan: &Plan<SnapshotStatus>) {
    if let Some(status) = &plan.status {
        snapshot.status = Some(status.clone());
    }
    if plan.ops.iter().any(|op| matches!(op, Op::Finalizer { present: true, .. })) {
        let all = snapshot.metadata.finalizers.get_or_insert_default();
        if !all.iter().any(|f| f == labels::SNAPSHOT_FINALIZER) {
            all.push(labels::SNAPSHOT_FINALIZER.to_owned());
        }
    }
}

/// Single acts, for those who write down a whole life.
impl Estate {
    pub fn works(&mut self) {
        self.agent_works();
    }

    pub fn takes(&mut self, name: &str, policy: &str) {
        let object = json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Snapshot", "metadata": {"name": name, "namespace": NS},
            "spec": {"workspace": "a", "deletionPolicy": policy},
        });
        self.sim.create(object).unwrap();
    }

    pub fn discards(&mut self, name: &str) {
        let _ = self.sim.delete(&ours("Snapshot", name), None, None);
    }

    pub fn loses_objects(&mut self) {
        self.lose_objects();
    }

    pub fn only(&mut self, wishes: &[Wish]) {
        self.wishes = wishes.to_vec();
    }

    /// The controller dies once, after so many steps.
    pub fn dies_after(&mut self, steps: usize) {
        self.dies = Some(steps);
    }
}
