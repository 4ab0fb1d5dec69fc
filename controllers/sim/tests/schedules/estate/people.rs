//! What people do, and what befalls the cluster.

use a8s_crds::{labels, names};
use std::sync::Arc;

use a8s_sim::{Key, Object};
use rand::Rng;
use serde_json::{Value, json};

use super::{Estate, all_of, going, ours, uid};
use crate::world::{NS, core};

/// A kind of trouble. Each world has a few of them: all together they would hide each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Run, suspend, archive.
    State,
    /// What becomes of it when nobody uses it.
    Lifecycle,
    /// Wake it.
    Wake,
    /// Take a Snapshot, with any policy.
    Take,
    /// Delete a Snapshot that a person made.
    Discard,
    /// Put a hold on one, or take it off.
    Hold,
    /// Put the volume back.
    Restore,
    /// Another Workspace from a Snapshot, or as a clone; or it goes.
    Second,
    /// Snapshots by themselves.
    Policy,
    /// `kubectl delete pod`, or an eviction.
    Pod,
    /// Nodes that fall silent, and are given up.
    Node,
    /// VolumeSnapshot and content vanish.
    Objects,
    /// A handle of the backend is brought in.
    Import,
    /// The second Workspace is deleted and made again under its name before anybody has cleaned up.
    Again,
}

impl Wish {
    pub const ALL: [Self; 14] = [
        Self::State,
        Self::Lifecycle,
        Self::Wake,
        Self::Take,
        Self::Discard,
        Self::Hold,
        Self::Restore,
        Self::Second,
        Self::Policy,
        Self::Pod,
        Self::Node,
        Self::Objects,
        Self::Import,
        Self::Again,
    ];
}

impl Estate {
    pub(super) fn somebody(&mut self) {
        if self.calm || self.wishes.is_empty() {
            return;
        }
        let index = self.sim.rng().random_range(0..self.wishes.len());
        self.wish(self.wishes[index]);
    }

    pub fn patch(&mut self, kind: &str, name: &str, patch: &Value) {
        let _ = self.sim.patch(&ours(kind, name), patch);
    }

    fn pick(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Option<(Arc<Key>, Object)> {
        let all: Vec<_> = all_of(&self.sim.view(), kind).into_iter().filter(|(_, o)| fits(o)).collect();
        if all.is_empty() {
            return None;
        }
        let index = self.sim.rng().random_range(0..all.len());
        Some(all[index].clone())
    }

    fn either(&mut self) -> &'static str {
        if self.sim.rng().random_range(0..4) == 0 { "b" } else { "a" }
    }

    pub fn wish(&mut self, wish: Wish) {
        let lot: u32 = self.sim.rng().random_range(0..12);
        match wish {
            Wish::State => {
                let state = ["Running", "Running", "Suspended", "Archived"][lot as usize % 4];
                let name = self.either();
                self.patch("Workspace", name, &json!({"spec": {"state": state}}));
            }
            Wish::Lifecycle => {
                let mut terms = json!({"idleSuspendAfter": "20s"});
                if lot.is_multiple_of(2) {
                    terms["archiveAfter"] = "40s".into();
                }
                if lot == 3 {
                    terms["deleteAfter"] = "60s".into();
                }
                let terms = if lot == 4 { Value::Null } else { terms };
                let name = if lot == 3 { "b" } else { self.either() };
                self.patch("Workspace", name, &json!({"spec": {"lifecycle": null}}));
                self.patch("Workspace", name, &json!({"spec": {"lifecycle": terms}}));
            }
            Wish::Wake => {
                let wish = format!("w{}", self.next());
                self.patch("Workspace", "a", &json!({"metadata": {"annotations": {(labels::WAKE): wish}}}));
            }
            Wish::Take => self.take_snapshot(lot),
            Wish::Discard => {
                let manual = |o: &Value| o["spec"]["trigger"].is_null() || o["spec"]["trigger"] == "Manual";
                if let Some((key, object)) = self.pick("Snapshot", manual) {
                    if object["spec"]["deletionPolicy"] == "Retain" {
                        self.truth.kept.extend(object["status"]["handle"].as_str().map(str::to_owned));
                        // The driver is taking it, or nobody has written it down yet: it stays, too.
                        let name = names::volume_snapshot(&key.name, &uid(&object));
                        let made =
                            self.sim.get(&super::gather::backend("VolumeSnapshot", NS, &name)).map(uid);
                        self.truth.kept.extend(made.map(|uid| format!("handle-snapcontent-{uid}")));
                    }
                    let _ = self.sim.delete(&key, None, None);
                }
            }
            Wish::Hold => {
                if let Some((key, object)) = self.pick("Snapshot", |_| true) {
                    let hold = object["spec"]["hold"] != true;
                    self.patch("Snapshot", &key.name, &json!({"spec": {"hold": hold}}));
                }
            }
            Wish::Restore => {
                let found = self.pick("Snapshot", |o| o["spec"]["workspace"] == "a");
                let id = self.next().to_string();
                let name = found.map_or_else(|| "nothing".to_owned(), |(key, _)| key.name.clone());
                self.patch("Workspace", "a", &json!({"spec": {"restore": {"snapshot": name, "id": id}}}));
            }
            Wish::Second => self.second(lot),
            Wish::Policy => {
                let policy = [
                    json!({"beforeSuspend": true}),
                    json!({"eachTurn": true, "keep": {"last": 2}}),
                    json!({"schedule": "* * * * *", "keep": {"last": 1}}),
                    Value::Null,
                ];
                self.patch("Workspace", "a", &json!({"spec": {"snapshots": null}}));
                self.patch("Workspace", "a", &json!({"spec": {"snapshots": policy[lot as usize % 4]}}));
            }
            Wish::Pod if lot.is_multiple_of(2) => self.pod_is_evicted(),
            Wish::Pod => {
                let key = core("Pod", &names::pod(self.either()));
                let _ = self.sim.delete(&key, None, None);
            }
            Wish::Node => match lot % 3 {
                0 => self.node_goes_silent(),
                1 => self.node_goes_away(),
                _ => self.nodes_come_back(),
            },
            Wish::Objects => self.lose_objects(),
            Wish::Import => self.import(),
            Wish::Again => self.again(),
        }
    }

    fn take_snapshot(&mut self, lot: u32) {
        let name = format!("m{}", self.next());
        let workspace = self.either();
        let policy = if lot.is_multiple_of(3) { "Retain" } else { "Delete" };
        let mut spec =
            json!({"workspace": workspace, "deletionPolicy": policy, "hold": lot.is_multiple_of(5)});
        if lot.is_multiple_of(4) {
            spec["ttl"] = "30s".into();
            if policy == "Retain" {
                spec["deletionPolicy"] = "Delete".into();
            }
        }
        let metadata = json!({"name": name, "namespace": NS});
        self.sim.create(json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Snapshot", "metadata": metadata, "spec": spec})).unwrap();
    }

    fn second(&mut self, lot: u32) {
        if self.sim.get(&ours("Workspace", "b")).is_some() {
            if lot.is_multiple_of(2) {
                let _ = self.sim.delete(&ours("Workspace", "b"), None, None);
            }
            return;
        }
        let source = match self.pick("Snapshot", |o| !going(o)) {
            Some((key, _)) if !lot.is_multiple_of(3) => json!({"snapshot": key.name}),
            _ => json!({"workspace": "a"}),
        };
        self.make_workspace("b", json!({"environment": "desktop", "source": source}));
    }

    fn import(&mut self) {
        let handles: Vec<_> =
            self.truth.kept.iter().filter(|h| self.truth.backend.contains_key(*h)).cloned().collect();
        let Some(handle) = handles.first() else { return };
        let name = format!("i{}", self.next());
        let import = json!({"driver": super::gather::DRIVER, "handle": handle, "environment": "desktop"});
        let spec = json!({"workspace": "a", "deletionPolicy": "Retain", "import": import});
        let metadata = json!({"name": name, "namespace": NS});
        self.sim.create(json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Snapshot", "metadata": metadata, "spec": spec})).unwrap();
    }

    fn again(&mut self) {
        let key = ours("Workspace", "b");
        if let Some(found) = self.sim.get(&key).map(uid) {
            self.sim.set_finalizer(&key, &found, labels::WORKSPACE_FINALIZER, false);
            let _ = self.sim.delete(&key, None, None);
        }
        if self.sim.get(&key).is_none() {
            self.make_workspace("b", json!({"environment": "desktop"}));
        }
    }
}
