//! Nodes, and what runs on them, whatever the API server knows of it.

use a8s_crds::names;
use a8s_sim::Key;
use rand::Rng;
use serde_json::{Value, json};

use super::{Estate, WORKSPACES, all_of, gather::is_ready, going, uid};
use crate::{
    judge::Process,
    world::{NS, core},
};

pub const NODES: [&str; 2] = ["n1", "n2"];

fn node_key(name: &str) -> Key {
    Key::new("v1", "Node", "", name)
}

fn owner(object: &Value) -> String {
    object["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default().to_owned()
}

impl Estate {
    /// What the node controller says of a node.
    pub(super) fn node_is(&mut self, name: &str, status: &str) {
        let Some(uid) = self.sim.get(&node_key(name)).map(uid) else { return };
        let conditions =
            json!({"conditions": [{"type": "Ready", "status": status, "lastHeartbeatTime": null}]});
        self.sim.set_status(&node_key(name), &uid, conditions).unwrap();
    }

    /// Whether nobody can talk to what runs there, its kubelet included.
    pub(super) fn is_silent(&self, node: &str) -> bool {
        !self.sim.get(&node_key(node)).is_some_and(is_ready)
    }

    /// A node stops to report; what runs there goes on.
    pub(super) fn node_goes_silent(&mut self) {
        let index = self.sim.rng().random_range(0..NODES.len());
        self.node_is(NODES[index], "Unknown");
    }

    /// Somebody switches a silent node off and says so.
    pub(super) fn node_goes_away(&mut self) {
        let silent = NODES.into_iter().find(|n| self.sim.get(&node_key(n)).is_some() && self.is_silent(n));
        let Some(name) = silent else { return };
        self.truth.running.retain(|_, p| p.node != name);
        let _ = self.sim.delete(&node_key(name), None, None);
    }

    pub(super) fn nodes_come_back(&mut self) {
        for name in NODES {
            if self.sim.get(&node_key(name)).is_none() {
                let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
                self.sim.create(object).unwrap();
            }
            self.node_is(name, "True");
        }
    }

    pub(super) fn kubelet_step(&mut self) {
        let index = usize::from(self.sim.rng().random_range(0..3) == 0);
        self.kubelet(&names::pod(WORKSPACES[index]));
    }

    /// Everything that kubelets do for the pods that there are.
    pub(super) fn kubelets(&mut self) {
        for (key, _) in all_of(&self.sim.view(), "Pod") {
            self.kubelet(&key.name);
        }
        self.kubelet("");
    }

    /// What happens to one pod; and whatever lost its pod ends, where a kubelet works.
    fn kubelet(&mut self, name: &str) {
        let pods: Vec<String> = all_of(&self.sim.view(), "Pod").iter().map(|(_, o)| uid(o)).collect();
        let lost =
            self.truth.running.iter().filter(|(pod, p)| !pods.contains(pod) && !self.is_silent(&p.node));
        let lost: Vec<_> = lost.map(|(pod, p)| (pod.clone(), p.workspace.clone())).collect();
        for (pod, workspace) in lost {
            self.truth.running.remove(&pod);
            self.sim.stop_desk(&workspace);
        }
        let key = core("Pod", name);
        let Some(pod) = self.sim.get(&key).cloned() else { return };
        let Some(node) = pod["spec"]["nodeName"].as_str() else {
            // The scheduler.
            let ready = NODES.into_iter().find(|n| !self.is_silent(n));
            if let Some(node) = ready.filter(|_| !going(&pod)) {
                self.sim.patch(&key, &json!({"spec": {"nodeName": node}})).unwrap();
            } else if going(&pod) {
                self.sim.finish(&key);
            }
            return;
        };
        if self.is_silent(node) {
            return;
        }
        if going(&pod) {
            self.truth.running.remove(&uid(&pod));
            self.sim.stop_desk(&owner(&pod));
            return self.sim.finish(&key);
        }
        // A node that was off starts again what it finds.
        let stopped = pod["status"]["phase"] == "Running" && !self.truth.running.contains_key(&uid(&pod));
        if pod["status"]["phase"].is_null() || stopped {
            self.start(&key, &pod, node);
        }
    }

    fn start(&mut self, key: &Key, pod: &Value, node: &str) {
        let volumes = pod["spec"]["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(name) = volumes.iter().find_map(|v| v["persistentVolumeClaim"]["claimName"].as_str()) else {
            return;
        };
        let Some(claim) = self.sim.get(&core("PersistentVolumeClaim", name)) else { return };
        if claim["status"]["phase"] != "Bound" {
            return;
        }
        let process = Process { workspace: owner(pod), claim: uid(claim), node: node.to_owned() };
        let runs = |c: &Value| {
            json!({"name": c["name"], "image": c["image"], "imageID": "", "ready": true, "restartCount": 0, "started": true,
                "state": {"running": {}}})
        };
        let containers: Vec<_> = pod["spec"]["containers"].as_array().unwrap().iter().map(runs).collect();
        let status = json!({"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": containers});
        self.sim.start_desk(&process.workspace);
        self.activity.insert(process.workspace.clone(), self.sim.now());
        self.truth.running.insert(uid(pod), process);
        self.sim.set_status(key, &uid(pod), status).unwrap();
    }

    /// The node evicts a pod.
    pub(super) fn pod_is_evicted(&mut self) {
        let index = self.sim.rng().random_range(0..WORKSPACES.len());
        self.evict(WORKSPACES[index]);
    }

    pub fn evict(&mut self, workspace: &str) {
        let key = core("Pod", &names::pod(workspace));
        let Some(pod) = self.sim.get(&key).cloned() else { return };
        if pod["spec"]["nodeName"].as_str().is_some_and(|node| !self.is_silent(node)) {
            self.truth.running.remove(&uid(&pod));
            self.sim.stop_desk(&owner(&pod));
            let status = json!({"phase": "Failed", "reason": "Evicted"});
            self.sim.set_status(&key, &uid(&pod), status).unwrap();
        }
    }

    /// Whoever runs writes to its volume; sometimes that was a whole turn.
    pub(super) fn agent_works(&mut self) {
        let all: Vec<_> = self.truth.running.values().cloned().collect();
        for process in all {
            let content = self.next();
            self.truth.volumes.insert(process.claim.clone(), content);
            self.truth.head.insert(process.workspace.clone(), content);
            if !self.is_silent(&process.node) {
                self.activity.insert(process.workspace.clone(), self.sim.now());
                *self.turns.entry(process.workspace).or_default() += 1;
            }
        }
    }

    pub(super) fn binder_step(&mut self) {
        let all = all_of(&self.sim.view(), "PersistentVolumeClaim");
        if !all.is_empty() {
            let index = self.sim.rng().random_range(0..all.len());
            self.binder(&all[index].0, &all[index].1);
        }
    }

    /// The provisioner: makes the volume of a claim, from what it names; and keeps a volume that a pod uses.
    pub(super) fn binder(&mut self, key: &Key, claim: &Value) {
        const PROTECTION: &str = "kubernetes.io/pvc-protection";
        let own = uid(claim);
        let pods = all_of(&self.sim.view(), "Pod");
        let mounted = pods.iter().any(|(_, pod)| {
            let volumes = pod["spec"]["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
            let over = matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
            !over && volumes.iter().any(|v| v["persistentVolumeClaim"]["claimName"] == key.name.as_str())
        });
        if going(claim) {
            if !mounted {
                self.sim.set_finalizer(key, &own, PROTECTION, false);
            }
            return;
        }
        if claim["status"]["phase"] == "Bound" {
            return;
        }
        let chosen = claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"].is_string();
        if !(mounted || chosen || self.binding == a8s_plan::workspace::Binding::Immediate) {
            return;
        }
        let Some(content) = self.content_for(claim) else { return };
        self.truth.volumes.insert(own.clone(), content);
        self.sim.set_finalizer(key, &own, PROTECTION, true);
        let status = json!({"phase": "Bound", "capacity": {"storage": "5Gi"}});
        self.sim.set_status(key, &own, status).unwrap();
        self.look();
        self.truth.head.insert(owner(claim), content);
    }

    /// What a new volume begins with; nothing while its source is not there.
    fn content_for(&self, claim: &Value) -> Option<u64> {
        let source = &claim["spec"]["dataSource"];
        let name = source["name"].as_str();
        match (source["kind"].as_str(), name) {
            (Some("VolumeSnapshot"), Some(name)) => self.restorable(name),
            (Some(_), Some(name)) => {
                let found = self.sim.get(&Key::new("v1", "PersistentVolumeClaim", NS, name))?;
                let bound = found["status"]["phase"] == "Bound" && !going(found);
                self.truth.volumes.get(&uid(found)).copied().filter(|_| bound)
            }
            _ => Some(0),
        }
    }
}
