//! Snapshots: one moment is taken once, and what is in the backend at the end is what the policy says.

use std::collections::{BTreeMap, BTreeSet};

use a8s_crds::{ObjectRef, Snapshot};
use a8s_plan::snapshot::{self, Claim, Class, ContentFacts, Observed, Runner, WorkspaceFacts};
use a8s_sim::{Key, Sim};
use rand::Rng;
use serde_json::{Value, json};

use crate::{
    estate::volume_snapshot_facts,
    seeds,
    world::{NAME, NS, env, ours, target},
};

const API: &str = "snapshot.storage.k8s.io/v1";

/// Of VolumeSnapshots and contents.
const FINALIZERS: [&str; 3] =
    ["bound", "driver", "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"];

struct Backend {
    sim: Sim,
    seed: u64,
    /// Handle → UID of the VolumeSnapshot that asked for it.
    snapshots: BTreeMap<String, String>,
    taken: usize,
    /// Whether the runner was asked, in the pass of the same moment.
    quiesced: bool,
    recorded: Option<String>,
    /// Contents whose VolumeSnapshot was deleted in order.
    meant: BTreeSet<String>,
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
        Self {
            sim,
            seed,
            snapshots: BTreeMap::new(),
            taken: 0,
            quiesced: false,
            recorded: None,
            meant: BTreeSet::new(),
        }
    }

    fn volume_snapshot(&self) -> Option<(Key, Value)> {
        let view = self.sim.view();
        view.iter().find(|(k, _)| k.kind == "VolumeSnapshot").map(|(k, o)| (k.clone(), o.clone()))
    }

    /// As the manager looks for it: by the VolumeSnapshot, else by the name of the one around the handle, else when deleting any.
    fn content_as_read(&self) -> Option<(Key, Value)> {
        let own = snapshot::content_name(
            &serde_json::from_value(self.sim.get(&ours("Snapshot"))?.clone()).unwrap(),
        );
        let deleting = self.sim.get(&ours("Snapshot"))?["metadata"]["deletionTimestamp"].is_string();
        let view = self.sim.view();
        let all = || view.iter().filter(|(k, _)| k.kind == "VolumeSnapshotContent");
        let found = match self.volume_snapshot() {
            Some((_, vs)) => {
                let named = vs["spec"]["source"]["volumeSnapshotContentName"].as_str();
                let dynamic = format!("content-{}", vs["metadata"]["uid"].as_str().unwrap());
                let name = named.map_or(dynamic, str::to_owned);
                all().find(|(k, _)| k.name == name)
            }
            None => all().find(|(k, _)| k.name == own || deleting),
        };
        found.map(|(k, o)| (k.clone(), o.clone()))
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
            volume_snapshot: self.volume_snapshot().map(|(_, o)| volume_snapshot_facts(&o)),
            content: self.content_as_read().map(|(key, o)| ContentFacts {
                name: key.name,
                uid: o["metadata"]["uid"].as_str().unwrap().into(),
                created: text(&o["metadata"]["creationTimestamp"]).map(|t| t.parse().unwrap()),
                error: None,
                handle: text(&o["status"]["snapshotHandle"]).or(text(&o["spec"]["source"]["snapshotHandle"])),
                driver: "driver".into(),
                class: Some("class".into()),
                policy_delete: o["spec"]["deletionPolicy"] == "Delete",
                deleting: gone(&o),
            }),
            receipts: Vec::new(),
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
        let going = |o: &Value| o["metadata"]["deletionTimestamp"].is_string();
        if let Some((key, vs)) = self.volume_snapshot() {
            if going(&vs) {
                if let Some((content_key, content)) = self.content_as_read() {
                    self.meant.insert(uid(&content));
                    if content["spec"]["deletionPolicy"] == "Delete" {
                        self.sim.delete(&content_key, None, None).unwrap();
                    }
                }
                return self.sim.set_finalizer(&key, &uid(&vs), "bound", false);
            }
            // A content that vanished is made again, too.
            let unbound =
                self.content_as_read().is_none_or(|(_, c)| !c["status"]["snapshotHandle"].is_string());
            if vs["status"]["readyToUse"] != true || unbound {
                return self.bind(&key, &vs);
            }
        }
        let view = self.sim.view();
        let contents = view.iter().filter(|(k, _)| k.kind == "VolumeSnapshotContent");
        for (key, content) in contents.filter(|(_, o)| going(o)) {
            let noted = &content["metadata"]["annotations"]["snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"];
            let unbound =
                content["spec"]["source"]["snapshotHandle"].is_string() && content["status"].is_null();
            // As the sidecar: nothing happens to the content of a VolumeSnapshot that just vanished.
            if !(unbound || noted == "yes" || self.meant.contains(&uid(content))) {
                continue;
            }
            if content["spec"]["deletionPolicy"] == "Delete" {
                let of = |at: &Value| at["snapshotHandle"].as_str().map(str::to_owned);
                let handle = of(&content["status"]).or(of(&content["spec"]["source"])).unwrap_or_default();
                self.snapshots.remove(&handle);
            }
            for finalizer in FINALIZERS {
                self.sim.set_finalizer(key, &uid(content), finalizer, false);
            }
        }
    }

    fn bind(&mut self, key: &Key, vs: &Value) {
        let uid = |o: &Value| o["metadata"]["uid"].as_str().unwrap().to_owned();
        self.sim.set_finalizer(key, &uid(vs), "bound", true);
        let time = self.sim.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let ready = json!({"readyToUse": true, "restoreSize": "5Gi", "creationTime": time});
        let given = vs["spec"]["source"]["volumeSnapshotContentName"].is_string();
        match self.content_as_read() {
            None if given => {}
            None => {
                let name = format!("content-{}", uid(vs));
                let content = json!({
                    "apiVersion": API, "kind": "VolumeSnapshotContent", "metadata": {"name": name},
                    "spec": {"deletionPolicy": "Delete", "of": uid(vs)},
                });
                let made = self.sim.create(content).unwrap();
                let made_uid = uid(self.sim.get(&made).unwrap());
                self.sim.set_finalizer(&made, &made_uid, "driver", true);
            }
            Some((content_key, content)) if given => {
                self.sim.set_finalizer(&content_key, &uid(&content), "driver", true);
                let handle = content["spec"]["source"]["snapshotHandle"].as_str().unwrap().to_owned();
                let known = self.snapshots.contains_key(&handle);
                self.sim.set_status(&content_key, &uid(&content), json!({"snapshotHandle": handle})).unwrap();
                let lost = json!({"readyToUse": false, "error": {"message": "can not find snapshot for snapshotID"}});
                self.sim.set_status(key, &uid(vs), if known { ready } else { lost }).unwrap();
            }
            Some((content_key, content)) => {
                let handle = format!("handle-{}", uid(vs));
                // The driver is asked under the same name: that is the same snapshot as long as there is one.
                self.taken += usize::from(!self.snapshots.contains_key(&handle));
                self.snapshots.insert(handle.clone(), uid(vs));
                self.sim.set_status(&content_key, &uid(&content), json!({"snapshotHandle": handle})).unwrap();
                self.sim.set_status(key, &uid(vs), ready).unwrap();
            }
        }
    }

    /// Somebody removes VolumeSnapshot and content by force; the backend learns nothing of it.
    fn lose_objects(&mut self, how_many: usize) {
        let view = self.sim.view();
        let found = view.iter().filter(|(k, _)| k.kind.starts_with("VolumeSnapshot"));
        for (key, object) in found.take(how_many) {
            let uid = object["metadata"]["uid"].as_str().unwrap();
            for finalizer in FINALIZERS {
                self.sim.set_finalizer(key, uid, finalizer, false);
            }
            let _ = self.sim.delete(key, None, None);
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
    for seed in seeds("a Snapshot") {
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
    for seed in seeds("a deleted Snapshot") {
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

fn ready(world: &Backend) -> (Value, Value) {
    let status = &world.sim.get(&ours("Snapshot")).unwrap()["status"];
    let ready = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
    (ready["status"].clone(), ready["reason"].clone())
}

#[test]
fn lost_objects_are_made_again_from_the_handle_and_nothing_is_taken_twice() {
    for seed in seeds("lost objects") {
        let mut world = Backend::new(seed, "Delete");
        world.settle();
        for round in 0..3 {
            world.lose_objects(2 - usize::from((seed + round) % 3 == 0));
            for _ in 0..seed % 20 {
                world.anything();
            }
        }
        world.settle();
        assert_eq!((world.taken, world.snapshots.len()), (1, 1), "seed {seed}");
        assert_eq!(ready(&world), (json!("True"), json!("Ready")), "seed {seed}");
    }
}

#[test]
fn a_snapshot_that_the_backend_lost_says_so_and_is_not_taken_again() {
    for seed in seeds("a lost Snapshot") {
        let mut world = Backend::new(seed, "Delete");
        world.settle();
        world.lose_objects(2);
        world.snapshots.clear();
        for _ in 0..20 {
            world.anything();
        }
        world.settle();
        assert_eq!(world.taken, 1, "seed {seed}");
        assert_eq!(ready(&world), (json!("False"), json!("SnapshotLost")), "seed {seed}");
    }
}

#[test]
fn the_backend_never_leaks_whatever_was_removed_by_hand_before() {
    for seed in seeds("leaks") {
        let mut world = Backend::new(seed, "Delete");
        world.settle();
        if seed % 2 == 0 {
            world.lose_objects(1 + usize::from(seed % 4 == 0));
        }
        for _ in 0..seed % 7 {
            world.anything();
        }
        if seed % 3 == 0 {
            world.lose_objects(1 + usize::from(seed % 5 == 0));
        }
        let _ = world.sim.delete(&ours("Snapshot"), None, None);
        for _ in 0..seed % 15 {
            world.anything();
        }
        world.settle();
        assert_eq!(world.sim.get(&ours("Snapshot")), None, "seed {seed}: the Snapshot is gone");
        assert!(world.snapshots.is_empty(), "seed {seed}: {:?}", world.snapshots);
        assert!(world.volume_snapshot().is_none(), "seed {seed}");
    }
}
