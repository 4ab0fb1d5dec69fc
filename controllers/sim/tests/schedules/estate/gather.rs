//! What passes see, as the controller gathers it.

use std::collections::BTreeSet;

use a8s_crds::{
    Environment, ObjectRef, Snapshot, Workspace,
    conditions::{self, ConditionType},
    labels, names,
};
use a8s_plan::{
    snapshot::{self, Claim, Class, ContentFacts, Runner, VolumeSnapshotFacts, WorkspaceFacts},
    workspace::{self, CloneSource, Conversation, NodeFact, NodeState, Observed, SnapshotFact, Source},
};
use a8s_sim::{Key, View};
use a8s_wire::{DeskState, RunnerState};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Secret};
use serde_json::{Value, json};

use super::{Estate, all_of, going, kubelet::NODES, ours, uid};
use crate::{
    judge::Process,
    world::{NS, core},
};

pub const DRIVER: &str = "driver";
pub const API: &str = "snapshot.storage.k8s.io/v1";

pub fn backend(kind: &str, namespace: &str, name: &str) -> Key {
    Key::new(API, kind, namespace, name)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

impl Estate {
    /// A Workspace as its pass sees it.
    pub(super) fn workspace(&self, view: &View, name: &str) -> Option<Observed> {
        let fresh = self.sim.view();
        let mut seen = Observed::of(view.get::<Workspace>(&ours("Workspace", name))?);
        // What a cache does not have is asked of the server.
        let at = |key: &Key| if view.value(key).is_some() { view.clone() } else { fresh.clone() };
        seen.environment = view.get::<Environment>(&Key::ours("Environment", "", "desktop"));
        seen.source = source(view, seen.workspace.spec.source.as_ref().and_then(|s| s.snapshot.as_deref()));
        seen.restore = source(view, workspace::restored_snapshot(&seen.workspace));
        (seen.claim, seen.older) = claims(view, &fresh, &seen.workspace);
        let pod = core("Pod", &names::pod(name));
        seen.pod = at(&pod).get::<Pod>(&pod);
        seen.node = self.node_of(&seen);
        let secret = core("Secret", &names::tls_secret(name));
        seen.secret = fresh.get::<Secret>(&secret).map(|s| s.metadata);
        let policy = Key::new("networking.k8s.io/v1", "NetworkPolicy", NS, &names::network_policy(name));
        seen.network_policy = at(&policy).get(&policy);
        seen.snapshots = facts(view, &seen.workspace);
        if seen.workspace.spec.snapshots.as_ref().is_some_and(|s| s.each_turn) {
            let turn = self.turns.get(seen.uid()).copied().unwrap_or_default();
            seen.conversation =
                Some(Conversation { epoch: self.epoch(seen.uid()), turn, idle: true, asks: None });
        }
        let doomed = workspace::doomed(&seen, &crate::world::env(&self.sim));
        if !doomed.is_empty() {
            seen.in_use = in_use(view, &doomed);
        }
        self.for_the_next(&fresh, &mut seen);
        let running = seen.pod.as_ref().and_then(|p| self.process(p.metadata.uid.as_deref()?)).is_some();
        if running {
            (seen.desk, seen.runner) = (self.desk(seen.uid()), self.runner(seen.uid()));
        }
        Some(seen)
    }

    fn for_the_next(&self, fresh: &View, seen: &mut Observed) {
        let restoring = seen.restore.is_some() || workspace::restored_snapshot(&seen.workspace).is_some();
        let leaving = seen.claim.as_ref().is_some_and(|c| c.metadata.deletion_timestamp.is_some());
        let missing = seen.claim.is_none() || leaving;
        let bound = seen.claim.as_ref().and_then(|c| c.status.as_ref()?.phase.as_deref()) == Some("Bound");
        if bound && !missing && !restoring {
            return;
        }
        seen.archive = source(fresh, workspace::archive_name(seen));
        let cloned = seen.workspace.spec.source.as_ref().and_then(|s| s.workspace.clone());
        if let Some(name) = cloned.filter(|_| missing) {
            seen.clone_source = self.clone_source(fresh, &name);
        }
        seen.driver = Some(DRIVER.to_owned());
        seen.binding = self.binding;
        if self.binding == workspace::Binding::WaitForFirstConsumer && (missing || restoring) && self.placed {
            let ready = |n: &str| fresh.value(&Key::new("v1", "Node", "", n)).is_some_and(is_ready);
            seen.nodes = NODES
                .iter()
                .filter(|n| ready(n))
                .map(|n| NodeFact {
                    name: (*n).to_owned(),
                    open: true,
                    topology: Some(Vec::new()),
                    ..NodeFact::default()
                })
                .collect();
        }
    }

    fn clone_source(&self, fresh: &View, name: &str) -> Option<CloneSource> {
        let found = fresh.get::<Workspace>(&ours("Workspace", name))?;
        if found.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let (claim, _) = claims(fresh, fresh, &found);
        let own = found.metadata.uid.clone().unwrap_or_default();
        let ours =
            |c: &PersistentVolumeClaim| c.metadata.owner_references.iter().flatten().any(|o| o.uid == own);
        let claim = claim.filter(|c| ours(c) && c.metadata.deletion_timestamp.is_none());
        let running = self.truth.running.values().any(|p| p.workspace == own);
        let status = found.status.unwrap_or_default();
        Some(CloneSource {
            bound: claim.as_ref().and_then(|c| c.status.as_ref()?.phase.as_deref()) == Some("Bound"),
            size: claim
                .as_ref()
                .and_then(|c| Some(c.status.as_ref()?.capacity.as_ref()?.get("storage")?.0.clone())),
            claim: claim.as_ref().and_then(|c| c.metadata.name.clone()),
            class: None,
            driver: Some(DRIVER.to_owned()),
            node: None,
            epoch: status.epoch.unwrap_or_default(),
            archive: status.archive,
            running,
            answers: self.desk(&own).is_some(),
            uid: own,
        })
    }

    fn node_of(&self, seen: &Observed) -> NodeState {
        let Some(name) = seen.pod.as_ref().and_then(|p| workspace::suspect(p, self.sim.now())) else {
            return NodeState::NotAsked;
        };
        NodeState::of(self.sim.view().get::<Node>(&Key::new("v1", "Node", "", name)).as_ref())
    }

    /// The process of a pod, if anybody can talk to it.
    fn process(&self, pod: &str) -> Option<&Process> {
        self.truth.running.get(pod).filter(|p| !self.is_silent(&p.node))
    }

    fn of_workspace(&self, workspace: &str) -> Option<&Process> {
        self.truth.running.values().find(|p| p.workspace == workspace && !self.is_silent(&p.node))
    }

    /// What deskd would answer.
    fn desk(&self, workspace: &str) -> Option<DeskState> {
        self.of_workspace(workspace)?;
        let control = self.sim.desk(workspace).cloned()?;
        Some(DeskState { ready: true, width: 1280, height: 800, control, ..DeskState::default() })
    }

    /// What the runner would answer.
    pub(super) fn runner(&self, workspace: &str) -> Option<RunnerState> {
        self.desk(workspace)?;
        let turn = self.turns.get(workspace).copied().unwrap_or_default();
        let last = self.activity.get(workspace).map(ToString::to_string).unwrap_or_default();
        let state = json!({"epoch": self.epoch(workspace), "seq": turn, "turn": turn, "state": "Idle", "lastActivity": last});
        Some(serde_json::from_value(state).unwrap())
    }

    fn epoch(&self, workspace: &str) -> i64 {
        let process = self.of_workspace(workspace);
        let claim = process.and_then(|p| {
            all_of(&self.sim.view(), "PersistentVolumeClaim").into_iter().find(|(_, c)| uid(c) == p.claim)
        });
        claim
            .and_then(|(_, c)| c["metadata"]["annotations"]["a8s.dev/epoch"].as_str()?.parse().ok())
            .unwrap_or(0)
    }

    /// A Snapshot as its pass sees it.
    pub(super) fn snapshot(&self, view: &View, name: &str) -> Option<snapshot::Observed> {
        let found = view.get::<Snapshot>(&ours("Snapshot", name))?;
        let mut seen = snapshot::Observed::of(found);
        let made = backend("VolumeSnapshot", NS, &snapshot::volume_snapshot_name(&seen.snapshot));
        let volume_snapshot = view.value(&made).cloned();
        let deleting = seen.snapshot.metadata.deletion_timestamp.is_some();
        seen.content = content(view, volume_snapshot.as_ref(), &seen.snapshot, &made.name, deleting);
        seen.volume_snapshot = volume_snapshot.as_ref().map(volume_snapshot_facts);
        seen.class = Class::Chosen("class".into());
        if volume_snapshot.is_some() || snapshot::brings_handle(&seen.snapshot) || deleting {
            return Some(seen);
        }
        let workspace = view.get::<Workspace>(&ours("Workspace", &seen.snapshot.spec.workspace));
        let Some(workspace) = workspace else { return Some(seen) };
        let own = workspace.metadata.uid.clone().unwrap_or_default();
        seen.workspace = Some(WorkspaceFacts {
            environment: "desktop".into(),
            pod_ready: self.truth.running.values().any(|p| p.workspace == own),
            uid: own.clone(),
            ..WorkspaceFacts::default()
        });
        let (claim, _) = claims(view, view, &workspace);
        let claim = claim.filter(|c| {
            c.metadata.owner_references.iter().flatten().any(|o| o.uid == own)
                && c.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound")
        });
        if let Some(meta) = claim.map(|c| c.metadata) {
            let claim = ObjectRef { name: meta.name.unwrap_or_default(), uid: meta.uid.unwrap_or_default() };
            seen.claim = Claim::Bound { claim, driver: DRIVER.into() };
        }
        seen.runner = Runner::NotAsked;
        Some(seen)
    }
}

pub fn is_ready(node: &Value) -> bool {
    node["status"]["conditions"][0]["status"] == "True"
}

/// The claims of a Workspace: from the cache, or, if that shows none, from the server, with what has the name of the next.
fn claims(
    view: &View,
    fresh: &View,
    workspace: &Workspace,
) -> (Option<PersistentVolumeClaim>, Vec<PersistentVolumeClaim>) {
    let own = workspace.metadata.uid.clone().unwrap_or_default();
    let name = workspace.metadata.name.clone().unwrap_or_default();
    let listed = |view: &View| -> Vec<PersistentVolumeClaim> {
        let all = view.iter().filter(|(k, o)| {
            let (marks, owners) = (&o["metadata"]["labels"], o["metadata"]["ownerReferences"].as_array());
            let restored = owners.is_none_or(Vec::is_empty) && marks[labels::WORKSPACE] == name.as_str();
            k.kind == "PersistentVolumeClaim" && (marks[labels::WORKSPACE_UID] == own.as_str() || restored)
        });
        all.filter_map(|(k, _)| view.get(k)).collect()
    };
    let mut found = listed(view);
    if found.is_empty() {
        found = listed(fresh);
    }
    if found.is_empty() {
        found.extend(fresh.get(&core("PersistentVolumeClaim", &workspace::next_claim(workspace))));
    }
    workspace::claims(workspace, found)
}

fn facts(view: &View, workspace: &Workspace) -> Vec<SnapshotFact> {
    let all = view.list::<Snapshot>("Snapshot").into_iter();
    let of_it = all.filter(|s| Some(&s.spec.workspace) == workspace.metadata.name.as_ref());
    let of_it = of_it.map(|s| SnapshotFact::of(&s));
    of_it.filter(|s| s.workspace_uid.is_none() || s.workspace_uid == workspace.metadata.uid).collect()
}

fn source(view: &View, name: Option<&str>) -> Option<Source> {
    view.get::<Snapshot>(&ours("Snapshot", name?)).map(Source::of)
}

fn in_use(view: &View, names: &[String]) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for workspace in view.list::<Workspace>("Workspace") {
        let (spec, status) = (workspace.spec, workspace.status.unwrap_or_default());
        if !conditions::is_true(&status.conditions, ConditionType::StorageReady) {
            used.extend(spec.source.and_then(|s| s.snapshot));
        }
        used.extend(status.archive);
        let done = |id: &str| {
            let known = status.restore.as_ref();
            known.is_some_and(|r| r.id == id && matches!(r.phase.as_str(), "Done" | "Refused"))
        };
        used.extend(spec.restore.filter(|o| !done(&o.id)).map(|o| o.snapshot));
    }
    names.iter().filter(|name| used.contains(*name)).cloned().collect()
}

/// A VolumeSnapshot as the controller reads it.
pub fn volume_snapshot_facts(o: &Value) -> VolumeSnapshotFacts {
    VolumeSnapshotFacts {
        uid: text(&o["metadata"]["uid"]).unwrap(),
        owner: text(&o["metadata"]["ownerReferences"][0]["uid"]),
        created: text(&o["metadata"]["creationTimestamp"]).map(|t| t.parse().unwrap()),
        given: o["spec"]["source"]["volumeSnapshotContentName"].is_string(),
        ready: o["status"]["readyToUse"] == true,
        error: text(&o["status"]["error"]["message"]),
        restore_size: text(&o["status"]["restoreSize"]),
        taken_at: text(&o["status"]["creationTime"]).map(|t| t.parse().unwrap()),
        deleting: going(o),
    }
}

/// The content of a VolumeSnapshot; without one the content that was made around the handle, and when deleting any that refers to it.
fn content(
    view: &View,
    found: Option<&Value>,
    snapshot: &Snapshot,
    name: &str,
    deleting: bool,
) -> Option<ContentFacts> {
    let get = |name: &str| view.value(&backend("VolumeSnapshotContent", "", name));
    let object = if let Some(found) = found {
        let named = found["spec"]["source"]["volumeSnapshotContentName"].as_str();
        get(&named.map_or_else(|| format!("snapcontent-{}", uid(found)), str::to_owned))
    } else {
        let of_it = |(k, o): &(&Key, &Value)| {
            deleting && k.kind == "VolumeSnapshotContent" && o["spec"]["volumeSnapshotRef"]["name"] == name
        };
        get(&snapshot::content_name(snapshot)).or_else(|| view.iter().find(of_it).map(|(_, o)| o))
    }?;
    Some(ContentFacts {
        name: text(&object["metadata"]["name"]).unwrap_or_default(),
        uid: uid(object),
        created: text(&object["metadata"]["creationTimestamp"]).map(|t| t.parse().unwrap()),
        handle: text(&object["status"]["snapshotHandle"])
            .or(text(&object["spec"]["source"]["snapshotHandle"])),
        driver: DRIVER.into(),
        class: Some("class".into()),
        policy_delete: object["spec"]["deletionPolicy"] == "Delete",
        error: None,
        deleting: going(object),
    })
}
