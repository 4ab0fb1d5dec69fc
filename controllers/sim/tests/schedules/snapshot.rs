//! Snapshots: one moment is taken once, and what is in the backend at the end is what the policy says.

use std::collections::BTreeMap;

use a8s_crds::{ObjectRef, Snapshot};
use a8s_plan::snapshot::{
    self, Claim, Class, ContentFacts, Observed, Runner, VolumeSnapshotFacts, WorkspaceFacts,
};
use a8s_sim::{Key, Sim};
use rand::Rng;
use serde_json::{Value, json};

use crate::{
    seeds,
    world::{NAME, NS, env, ours, target},
};

const API: &str = "snapshot.storage.k8s.io/v1";

struct Backend {
    sim: Sim,
    seed: u64,
    /// Handle → UID of the VolumeSnapshot that asked for it.
    snapshots: BTreeMap<String, String>,
    taken: usize,
    /// Whether the runner was asked, in the pass of the same moment.
    quiesced: bool,
    recorded: Option<String>,
}

impl Backend {
    fn new(seed: u64, policy: &str) -> Self {
        let mut sim = Sim::new(seed);
        sim.create(json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Snapshot", "metadata": {"name": NAME, "namespace": NS},
            "spec": {"workspace": "w", "deletionPolicy": policy},
        }))
        .unwrap();
        sim.start_desk("w-uid");
        Self { sim, seed, snapshots: BTreeMap::new(), taken: 0, quiesced: false, recorded: None }
    }

    fn volume_snapshot(&self) -> Option<(Key, Value)> {
        let view = self.sim.view();
        view.iter().find(|(k, _)| k.kind == "VolumeSnapshot").map(|(k, o)| (k.clone(), o.clone()))
    }

    fn content(&self) -> Option<(Key, Value)> {
        let view = self.sim.view();
        view.iter().find(|(k, _)| k.kind == "VolumeSnapshotContent").map(|(k, o)| (k.clone(), o.clone()))
    }

    /// The plan reads this kind from the API server: no stale views.
    fn pass(&mut self) {
        let Some(value) = self.sim.get(&ours("Snapshot")).cloned() else { return };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let gone = |object: &Value| object["metadata"]["deletionTimestamp"].is_string();
        let runner = json!({"epoch": 0, "seq": 9, "turn": 2, "state": "Idle"});
        let runner = if self.quiesced {
            Runner::Quiesced(serde_json::from_value(runner).unwrap())
        } else {
            Runner::NotAsked
        };
        let seen = Observed {
            snapshot: serde_json::from_value::<Snapshot>(value.clone()).unwrap(),
            workspace: Some(WorkspaceFacts {
                uid: "w-uid".into(),
                environment: "desktop".into(),
                pod_ready: true,
                ..WorkspaceFacts::default()
            }),
            claim: Claim::Bound {
                claim: ObjectRef { name: "w-home".into(), uid: "claim-uid".into() },
                driver: "driver".into(),
            },
            class: Class::Chosen("class".into()),
            runner,
            volume_snapshot: self.volume_snapshot().map(|(_, o)| VolumeSnapshotFacts {
                uid: o["metadata"]["uid"].as_str().unwrap().into(),
                ready: o["status"]["readyToUse"] == true,
                error: None,
                restore_size: text(&o["status"]["restoreSize"]),
                taken_at: text(&o["status"]["creationTime"]).map(|t| t.parse().unwrap()),
                deleting: gone(&o),
            }),
            content: self.content().map(|(key, o)| ContentFacts {
                name: key.name,
                uid: o["metadata"]["uid"].as_str().unwrap().into(),
                handle: text(&o["status"]["snapshotHandle"]),
                driver: "driver".into(),
                class: Some("class".into()),
                policy_delete: o["spec"]["deletionPolicy"] == "Delete",
                deleting: gone(&o),
            }),
        };
        let plan = snapshot::plan(&seen, &env(&self.sim));
        let asks =
            plan.ops.iter().any(|op| matches!(op, a8s_plan::Op::Effect(a8s_plan::Effect::Quiesce { .. })));
        let done = self.sim.carry_out(&target(&ours("Snapshot"), &value), &plan);
        self.quiesced = done.is_ok() && (asks || self.quiesced);
        self.handle_stays();
    }

    fn handle_stays(&mut self) {
        let Some(found) = self.sim.get(&ours("Snapshot")) else { return };
        let handle = found["status"]["handle"].as_str().map(str::to_owned);
        if self.recorded.is_some() {
            assert_eq!(self.recorded, handle, "seed {}: a handle is written once", self.seed);
        }
        self.recorded = handle;
    }

    /// The snapshot-controller and the driver: one small step.
    fn driver(&mut self) {
        let uid = |o: &Value| o["metadata"]["uid"].as_str().unwrap().to_owned();
        let (snapshot, content) = (self.volume_snapshot(), self.content());
        match (&snapshot, &content) {
            (Some((key, vs)), None) if vs["metadata"]["deletionTimestamp"].is_null() => {
                self.sim.set_finalizer(key, &uid(vs), "bound", true);
                let name = format!("content-{}", uid(vs));
                let content = json!({
                    "apiVersion": API, "kind": "VolumeSnapshotContent", "metadata": {"name": name},
                    "spec": {"deletionPolicy": "Delete", "of": uid(vs)},
                });
                let made = self.sim.create(content).unwrap();
                let made_uid = uid(self.sim.get(&made).unwrap());
                self.sim.set_finalizer(&made, &made_uid, "driver", true);
            }
            (Some((key, vs)), Some((content_key, content)))
                if !content["status"]["snapshotHandle"].is_string() =>
            {
                let handle = format!("handle-{}", uid(vs));
                self.taken += 1;
                self.snapshots.insert(handle.clone(), uid(vs));
                self.sim.set_status(content_key, &uid(content), json!({"snapshotHandle": handle})).unwrap();
                let time = self.sim.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let status = json!({"readyToUse": true, "restoreSize": "5Gi", "creationTime": time});
                self.sim.set_status(key, &uid(vs), status).unwrap();
            }
            (Some((key, vs)), content) if vs["metadata"]["deletionTimestamp"].is_string() => {
                if let Some((content_key, content)) = content
                    && content["spec"]["deletionPolicy"] == "Delete"
                {
                    self.sim.delete(content_key, None, None).unwrap();
                }
                self.sim.set_finalizer(key, &uid(vs), "bound", false);
            }
            (_, Some((key, content))) if content["metadata"]["deletionTimestamp"].is_string() => {
                if content["spec"]["deletionPolicy"] == "Delete" {
                    let handle = content["status"]["snapshotHandle"].as_str().unwrap_or_default();
                    self.snapshots.remove(handle);
                }
                self.sim.set_finalizer(key, &uid(content), "driver", false);
            }
            _ => {}
        }
    }

    fn anything(&mut self) {
        let millis = self.sim.rng().random_range(0..4_000);
        self.sim.advance(millis);
        match self.sim.rng().random_range(0..8) {
            0..=3 => {
                if self.sim.rng().random() {
                    let steps = self.sim.rng().random_range(0..4);
                    self.sim.crash_after(steps);
                }
                self.pass();
            }
            4..=6 => self.driver(),
            _ => self.sim.collect_garbage(),
        }
    }

    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..200 {
            let version = self.sim.version();
            self.sim.advance(2_000);
            self.pass();
            self.driver();
            self.sim.collect_garbage();
            quiet = if self.sim.version() == version { quiet + 1 } else { 0 };
            if quiet == 10 {
                return;
            }
        }
        panic!("seed {}: no rest", self.seed);
    }
}

#[test]
fn a_snapshot_is_taken_once_and_becomes_ready() {
    for seed in seeds(0..1_000) {
        let mut world = Backend::new(seed, "Delete");
        for _ in 0..30 {
            world.anything();
        }
        world.settle();
        assert_eq!(world.taken, 1, "seed {seed}");
        let status = world.sim.get(&ours("Snapshot")).unwrap()["status"].clone();
        let ready = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
        assert_eq!(ready["status"], "True", "seed {seed}");
        assert!(world.snapshots.contains_key(status["handle"].as_str().unwrap()), "seed {seed}");
        assert_eq!(status["consistency"], "Turn", "seed {seed}");
    }
}

#[test]
fn deletion_at_any_moment_leaves_in_the_backend_what_the_policy_says() {
    for seed in seeds(0..1_000) {
        for policy in ["Delete", "Retain"] {
            let mut world = Backend::new(seed, policy);
            for _ in 0..seed % 30 {
                world.anything();
            }
            let had = world.recorded.clone();
            let _ = world.sim.delete(&ours("Snapshot"), None, None);
            for _ in 0..10 {
                world.anything();
            }
            world.settle();
            assert_eq!(world.sim.get(&ours("Snapshot")), None, "seed {seed}: the Snapshot is gone");
            assert!(world.volume_snapshot().is_none(), "seed {seed}");
            match had {
                Some(handle) if policy == "Retain" => {
                    assert!(world.snapshots.contains_key(&handle), "seed {seed}");
                }
                _ if policy == "Delete" => {
                    assert!(world.snapshots.is_empty(), "seed {seed}: {:?}", world.snapshots);
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_lost_snapshot_says_so_and_is_not_taken_again() {
    for seed in seeds(0..200) {
        let mut world = Backend::new(seed, "Delete");
        world.settle();
        let (key, vs) = world.volume_snapshot().unwrap();
        let uid = vs["metadata"]["uid"].as_str().unwrap().to_owned();
        world.sim.set_finalizer(&key, &uid, "bound", false);
        world.sim.delete(&key, None, None).unwrap();
        for _ in 0..20 {
            world.anything();
        }
        world.settle();
        assert_eq!(world.taken, 1, "seed {seed}");
        let status = &world.sim.get(&ours("Snapshot")).unwrap()["status"];
        let ready = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
        assert_eq!(
            (&ready["status"], &ready["reason"]),
            (&json!("False"), &json!("SnapshotLost")),
            "seed {seed}"
        );
    }
}
