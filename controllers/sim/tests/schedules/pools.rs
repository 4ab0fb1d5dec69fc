//! A pool and many Sessions: whatever is stale, crashes or happens at the same time, there are never more desktops than asked for, no
//! desktop has two Sessions, no Session has two desktops, and none goes from one Session to another.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use a8s_crds::{Environment, Session, Snapshot, WarmPool, Workspace, labels, names};
use a8s_plan::{
    Op,
    session::{self, Waiting},
    warm_pool::{self, Golden, Member, Node},
};
use a8s_sim::{Key, Object, Sim, SimError, View};
use rand::Rng;
use serde_json::{Value, json};

use crate::{
    judge::{Judge, Truth},
    mutants::Mutant,
    seeds,
    world::{NS, env, target},
};

const POOL: &str = "warm";

/// The caches of a controller: each kind is as old as it is.
struct Views {
    pools: View,
    workspaces: View,
    sessions: View,
    behind: u64,
}

pub struct Pools {
    pub sim: Sim,
    pub judge: Judge,
    /// A defect that somebody built in.
    pub mutant: Option<Mutant>,
    seed: u64,
    /// What the controller remembers to have written, by object; gone when it dies.
    written: BTreeMap<String, u64>,
    /// Its first lists showed everything up to here.
    floor: u64,
    people: usize,
    calm: bool,
}

fn pool_key() -> Key {
    Key::ours("WarmPool", NS, POOL)
}

fn owner(object: &Value) -> (&str, &str) {
    let owner = &object["metadata"]["ownerReferences"][0];
    (owner["kind"].as_str().unwrap_or_default(), owner["uid"].as_str().unwrap_or_default())
}

fn leaving(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

impl Pools {
    pub fn new(seed: u64, replicas: usize) -> Self {
        let mut sim = Sim::new(seed);
        sim.keep_journal();
        let mut judge = Judge::default();
        judge.at_most_wait(replicas);
        for object in [
            json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "desktop"},
                "spec": {"title": "Desktop", "image": "desktop:1"}}),
            json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "WarmPool", "metadata": {"name": POOL, "namespace": NS},
                "spec": {"environment": "desktop", "replicas": replicas}}),
        ] {
            sim.create(object).unwrap();
        }
        Self { sim, judge, mutant: None, seed, written: BTreeMap::new(), floor: 0, people: 0, calm: false }
    }

    /// Views with different ages, none older than what the controller's first lists showed.
    fn views(&mut self) -> Views {
        let now = self.sim.version();
        let oldest = usize::try_from(now - self.floor.min(now)).unwrap().min(11);
        let mut lags = [0; 3];
        if !self.calm && self.sim.rng().random_range(0..2) == 0 {
            lags = lags.map(|_: usize| self.sim.rng().random_range(0..=oldest));
        }
        let [pools, workspaces, sessions] = lags.map(|lag| self.sim.stale(lag));
        let behind = now - lags.into_iter().max().unwrap_or_default() as u64;
        Views { pools, workspaces, sessions, behind }
    }

    fn carry_out<S: serde::Serialize>(
        &mut self,
        key: &Key,
        object: &Value,
        plan: &mut a8s_plan::Plan<S>,
    ) -> Result<(), SimError> {
        if let Some(mutant) = self.mutant {
            mutant.spoils_pools(plan);
        }
        if !self.calm && self.sim.rng().random_range(0..6) == 0 {
            let steps = self.sim.rng().random_range(0..4);
            self.sim.crash_after(steps);
        }
        let before = self.sim.version();
        let done = self.sim.carry_out(&target(key, object), plan);
        self.sim.crash_after(usize::MAX);
        if self.sim.version() > before {
            self.written.insert(key.to_string(), self.sim.version());
        }
        if done == Err(SimError::Crashed) {
            self.written.clear();
            self.floor = self.sim.version();
        }
        self.judge();
        done
    }

    fn pool_pass(&mut self) {
        let views = self.views();
        let Some(value) = views.pools.value(&pool_key()).cloned() else { return };
        let uid = value["metadata"]["uid"].as_str().unwrap().to_owned();
        let all = views.workspaces.list::<Workspace>("Workspace");
        let seen = warm_pool::Observed {
            pool: views.pools.get::<WarmPool>(&pool_key()).unwrap(),
            environment: views.pools.get::<Environment>(&Key::ours("Environment", "", "desktop")),
            members: all
                .iter()
                .filter(|w| warm_pool::is_member(w, POOL, &uid))
                .map(|w| Member::of(w, &uid))
                .collect(),
            taken: BTreeSet::new(),
            nodes: BTreeMap::from([("n".to_owned(), Node { ready: true, schedulable: true })]),
            golden: views
                .workspaces
                .list::<Snapshot>("Snapshot")
                .iter()
                .filter_map(|s| Golden::of(s, &uid))
                .collect(),
            behind: self.written.get(&pool_key().to_string()).is_some_and(|w| *w > views.behind),
            status_age: None,
            taken_age: None,
        };
        let mut plan = warm_pool::plan(&seen, &env(&self.sim));
        if let Some(mutant) = self.mutant {
            mutant.spoils_pool(&seen, &mut plan);
        }
        self.judge.sees(&[&views.pools, &views.workspaces]);
        let _ = self.carry_out(&pool_key(), &value, &mut plan);
    }

    fn session_pass(&mut self, name: &str) {
        let key = Key::ours("Session", NS, name);
        let views = self.views();
        let Some(value) = views.sessions.value(&key).cloned() else { return };
        if self.written.get(&key.to_string()).is_some_and(|w| *w > views.behind) {
            return;
        }
        let uid = value["metadata"]["uid"].as_str().unwrap();
        let all = views.workspaces.list::<Workspace>("Workspace");
        let own = [false, true].map(|taken| names::workspace(name, uid, taken));
        let mine = |w: &&Workspace| {
            warm_pool::owner(w) == Some(uid) || own.contains(w.metadata.name.as_ref().unwrap())
        };
        let waiting = all.iter().filter(|w| warm_pool::adoptable(w));
        let mut seen = session::Observed {
            environments: views.pools.list("Environment"),
            workspaces: all.iter().filter(mine).cloned().collect(),
            pool: waiting.map(|w| Waiting { workspace: w.clone().into(), serves: true }).collect(),
            ..session::Observed::of(views.sessions.get::<Session>(&key).unwrap())
        };
        loop {
            let mut plan = session::plan(&seen, &env(&self.sim));
            if let Some(mutant) = self.mutant {
                mutant.spoils_session(&mut plan);
            }
            let wanted = plan.ops.iter().find_map(|op| {
                if let Op::Swap { target, .. } = op { Some(target.uid.clone()) } else { None }
            });
            self.judge.sees(&[&views.workspaces]);
            let done = self.carry_out(&key, &value, &mut plan);
            let Some(wanted) =
                wanted.filter(|_| matches!(done, Err(SimError::Conflict(..) | SimError::NotFound(_))))
            else {
                return;
            };
            seen.pool.retain(|w| w.workspace.metadata.uid.as_ref() != Some(&wanted));
        }
    }

    /// What the Workspaces' controller and the kubelet do for one Workspace.
    fn desktop(&mut self) {
        let all = self.workspaces();
        if all.is_empty() {
            return;
        }
        let index = self.sim.rng().random_range(0..all.len());
        self.start_or_end(&all[index]);
    }

    fn start_or_end(&mut self, (key, object): &(Arc<Key>, Object)) {
        let uid = object["metadata"]["uid"].as_str().unwrap();
        if leaving(object) {
            return self.sim.set_finalizer(key, uid, labels::WORKSPACE_FINALIZER, false);
        }
        let ready = |kind: &str| json!({"type": kind, "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-11-22T08:00:00Z"});
        let status = json!({"observedGeneration": object["metadata"]["generation"], "node": "n", "state": "Running",
            "conditions": [ready("StorageReady"), ready("Ready")]});
        if object["status"] != status {
            self.sim.set_status(key, uid, status).unwrap();
        }
    }

    fn workspaces(&self) -> Vec<(Arc<Key>, Object)> {
        self.of_kind("Workspace")
    }

    fn of_kind(&self, kind: &str) -> Vec<(Arc<Key>, Object)> {
        self.sim.view().of_kind(kind)
    }

    /// People come, go, remove desktops, and now and then want another number of them or another image.
    fn somebody(&mut self) {
        match self.sim.rng().random_range(0..12) {
            0..=5 => {
                self.people += 1;
                let name = format!("s{}", self.people);
                let session = json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "metadata": {"name": name, "namespace": NS},
                    "spec": {"goal": "g", "environment": "desktop"}});
                self.sim.create(session).unwrap();
            }
            6..=8 if self.mutant == Some(Mutant::ReturnsDesktops) => self.give_back(),
            6..=8 => self.remove_one("Session"),
            9 => self.remove_one("Workspace"),
            10 => {
                let replicas = self.sim.rng().random_range(0..6);
                self.judge.at_most_wait(replicas);
                self.sim.patch(&pool_key(), &json!({"spec": {"replicas": replicas}})).unwrap();
            }
            _ => {
                let image = format!("desktop:{}", self.sim.rng().random_range(1..3));
                let environment = Key::ours("Environment", "", "desktop");
                self.sim.patch(&environment, &json!({"spec": {"image": image}})).unwrap();
            }
        }
    }

    /// What another project did with the desktops of Sessions that ended.
    fn give_back(&mut self) {
        let Some(pool) = self.sim.get(&pool_key()).cloned() else { return };
        let owner = json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "WarmPool", "name": POOL, "uid": pool["metadata"]["uid"], "controller": true});
        let used = self.workspaces().into_iter().find(|(_, o)| self::owner(o).0 == "Session");
        if let Some((key, _)) = used {
            self.sim.patch(&key, &json!({"metadata": {"ownerReferences": [owner]}})).unwrap();
        }
    }

    fn remove_one(&mut self, kind: &str) {
        let all = self.of_kind(kind);
        if !all.is_empty() {
            let index = self.sim.rng().random_range(0..all.len());
            let _ = self.sim.delete(&all[index].0, None, None);
        }
    }

    pub fn anything(&mut self) {
        let millis = self.sim.rng().random_range(0..2_000);
        self.sim.advance(millis);
        match self.sim.rng().random_range(0..12) {
            0..=2 => self.pool_pass(),
            3..=6 => {
                let all = self.of_kind("Session");
                if !all.is_empty() {
                    let index = self.sim.rng().random_range(0..all.len());
                    self.session_pass(&all[index].0.name);
                }
            }
            7..=9 => self.desktop(),
            10 => self.sim.collect_garbage(),
            _ => self.somebody(),
        }
        self.judge();
    }

    fn waiting(&self) -> Vec<Object> {
        let pool = self.sim.get(&pool_key()).map(|p| p["metadata"]["uid"].clone());
        let all = self.workspaces().into_iter().map(|(_, o)| o);
        all.filter(|o| !leaving(o) && owner(o).0 == "WarmPool" && Some(owner(o).1.into()) == pool).collect()
    }

    /// What must hold after every write.
    fn judge(&mut self) {
        self.judge.look(&mut self.sim, &Truth::default());
        if self.mutant.is_none() {
            self.judge.is_content(self.seed);
        }
    }

    fn settle(&mut self) {
        self.calm = true;
        let mut quiet = 0;
        for _ in 0..200 {
            let version = self.sim.version();
            self.sim.advance(2_000);
            self.pool_pass();
            for (key, _) in self.of_kind("Session") {
                self.session_pass(&key.name);
            }
            for each in self.workspaces() {
                self.start_or_end(&each);
            }
            self.sim.collect_garbage();
            self.judge();
            quiet = if self.sim.version() == version { quiet + 1 } else { 0 };
            if quiet == 4 {
                return;
            }
        }
        panic!("seed {}: no rest", self.seed);
    }
}

#[test]
fn counts_are_exact_and_no_desktop_is_shared_whatever_is_stale_and_whoever_dies() {
    for seed in seeds("a pool") {
        let mut world = Pools::new(seed, 3);
        for _ in 0..120 {
            world.anything();
        }
        world.settle();
        let pool = world.sim.get(&pool_key()).unwrap().clone();
        let replicas = pool["spec"]["replicas"].as_u64().unwrap();
        assert_eq!(world.waiting().len() as u64, replicas, "seed {seed}");
        let status = &pool["status"];
        assert_eq!(
            (&status["readyReplicas"], &status["updatedReplicas"]),
            (&json!(replicas), &json!(replicas)),
            "seed {seed}"
        );
        for (key, session) in world.of_kind("Session") {
            let uid = session["metadata"]["uid"].as_str().unwrap();
            let own = world.workspaces().iter().filter(|(_, o)| owner(o).1 == uid).count();
            // A desktop that somebody deleted is not replaced on its own.
            assert!(own <= 1, "seed {seed}: {key}");
        }
    }
}

#[test]
fn as_many_are_made_as_are_asked_for_and_taken() {
    for seed in seeds("a pool and people") {
        let mut world = Pools::new(seed, 3);
        for _ in 0..150 {
            let millis = world.sim.rng().random_range(0..500);
            world.sim.advance(millis);
            match world.sim.rng().random_range(0..8) {
                0..=2 => world.pool_pass(),
                3..=4 if world.people > 0 => {
                    let index = world.sim.rng().random_range(1..=world.people);
                    world.session_pass(&format!("s{index}"));
                }
                5..=6 => world.desktop(),
                _ if world.people < 12 => {
                    world.people += 1;
                    let name = format!("s{}", world.people);
                    let spec = json!({"goal": "g", "environment": "desktop"});
                    let metadata = json!({"name": name, "namespace": NS});
                    world.sim.create(json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "metadata": metadata, "spec": spec})).unwrap();
                }
                _ => {}
            }
            world.judge();
        }
        world.settle();
        let (made, taken) = world.judge.pooled();
        assert_eq!(made, 3 + taken, "seed {seed}: made is asked for and taken, and not one more");
    }
}

#[test]
fn a_session_is_ready_after_two_writes_of_the_controller() {
    let mut world = Pools::new(7, 2);
    world.settle();
    let session = json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "metadata": {"name": "s", "namespace": NS},
        "spec": {"goal": "g"}});
    world.sim.create(session).unwrap();
    let version = world.sim.version();
    world.session_pass("s");
    assert_eq!(world.sim.version(), version + 2);
    let status = world.sim.get(&Key::ours("Session", NS, "s")).unwrap()["status"].clone();
    let ready = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
    assert_eq!(ready["status"], "True");
    let desktop = world
        .sim
        .get(&Key::ours("Workspace", NS, status["workspace"]["name"].as_str().unwrap()))
        .unwrap()
        .clone();
    assert_eq!(desktop["metadata"]["labels"], json!({labels::MANAGED_BY: "a8s", labels::SESSION: "s"}));
    // The rest is the pool's: another desktop.
    world.session_pass("s");
    assert_eq!(world.sim.version(), version + 2);
    world.settle();
    assert_eq!(world.waiting().len(), 2);
}
