//! What the manager saw of a Workspace in one pass.

use std::collections::BTreeSet;

use a8s_crds::{
    Environment, Snapshot, Workspace,
    conditions::{self, ConditionType, Reason},
    names,
};
use a8s_wire::{DeskState, RunnerState};
use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{PersistentVolumeClaim, Pod},
        networking::v1::NetworkPolicy,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::Resource;

use super::{Conversation, NodeFact, NodeState, SnapshotFact, adoption, volume};
use crate::Target;

/// Everything that a decision about a Workspace rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The Workspace.
    pub workspace: Workspace,
    /// Its Environment, if that exists.
    pub environment: Option<Environment>,
    /// The Snapshot that the spec names, if that exists.
    pub source: Option<Source>,
    /// When the claim's StorageClass binds.
    pub binding: Binding,
    /// CSI driver of that StorageClass, if it was looked up.
    pub driver: Option<String>,
    /// The Snapshot that an order to restore names, if that exists.
    pub restore: Option<Source>,
    /// The Snapshot that stands for the volume, if that exists; see [`super::archive`].
    pub archive: Option<Source>,
    /// The Workspace that the spec wants cloned, if that exists.
    pub clone_source: Option<CloneSource>,
    /// The nodes; needed only while a claim is to be made.
    pub nodes: Vec<NodeFact>,
    /// The newest claim; see [`super::claims`].
    pub claim: Option<PersistentVolumeClaim>,
    /// Claims whose place that one took, and that are still there.
    pub older: Vec<PersistentVolumeClaim>,
    /// What has the pod's name.
    pub pod: Option<Pod>,
    /// The pod's node, if the pod gives a reason to look; see [`super::suspect`].
    pub node: NodeState,
    /// Metadata of what has the Secret's name; nobody reads the keys in it.
    pub secret: Option<ObjectMeta>,
    /// What has the NetworkPolicy's name.
    pub network_policy: Option<NetworkPolicy>,
    /// What deskd answered, if it did.
    pub desk: Option<DeskState>,
    /// What the runner answered, if it did.
    pub runner: Option<RunnerState>,
    /// The Artifacts that this Workspace made; needed only while its pod is about to go.
    pub artifacts: Vec<Made>,
    /// Its Snapshots, whoever asked for them.
    pub snapshots: Vec<SnapshotFact>,
    /// Where the conversation of its Session is; gathered if the policy wants a Snapshot after each turn.
    pub conversation: Option<Conversation>,
    /// Snapshots that others start from at this moment; gathered if one of them would go.
    pub in_use: BTreeSet<String>,
    /// Addresses of the cluster itself, its API endpoint before all: no desktop reaches them as part of the internet.
    pub protected: Vec<IpNet>,
    /// The newest warning of the claim or the pod, if one of them keeps the desktop from starting.
    pub warning: Option<String>,
    /// What the API server refused in the last pass, if it did.
    pub last_error: Option<String>,
}

/// A Snapshot as a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Whether its `Ready` is `True`.
    pub ready: bool,
    /// The VolumeSnapshot.
    pub volume_snapshot: Option<String>,
    /// Least size of a claim that it can be restored to.
    pub restore_size: Option<String>,
    /// Conversation epoch at which it was taken.
    pub epoch: i64,
    /// CSI driver that has it.
    pub driver: Option<String>,
    /// Why no volume will ever be made from it.
    pub failed: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl Source {
    /// What its object says.
    pub fn of(snapshot: Snapshot) -> Self {
        let deleting = snapshot.metadata.deletion_timestamp.is_some();
        let status = snapshot.status.unwrap_or_default();
        let ready = conditions::get(&status.conditions, ConditionType::Ready);
        let lost = |reason: &str| {
            [Reason::SnapshotLost, Reason::RestoredWithoutState].iter().any(|r| r.as_str() == reason)
        };
        let failed = ready.filter(|c| c.status != "True" && lost(&c.reason)).map(|c| c.message.clone());
        Self {
            ready: ready.is_some_and(|c| c.status == "True"),
            epoch: status.checkpoint.as_ref().map_or(0, |c| c.epoch),
            volume_snapshot: status.volume_snapshot,
            restore_size: status.restore_size,
            driver: status.driver,
            failed,
            deleting,
        }
    }
}

/// A Workspace whose volume is to be cloned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloneSource {
    /// UID.
    pub uid: String,
    /// Its claim, unless that is going.
    pub claim: Option<String>,
    /// Whether that claim has a volume.
    pub bound: bool,
    /// Size of that volume.
    pub size: Option<String>,
    /// StorageClass of the claim.
    pub class: Option<String>,
    /// CSI driver of the volume.
    pub driver: Option<String>,
    /// Node on which it is in use.
    pub node: Option<String>,
    /// Its conversation epoch.
    pub epoch: i64,
    /// The Snapshot that stands for its volume while it is archived.
    pub archive: Option<String>,
    /// Whether its pod runs, so that there is something to flush.
    pub running: bool,
    /// Whether its runner answers.
    pub answers: bool,
}

/// When a StorageClass binds its claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    /// At once: the pod is better created after that, or the scheduler backs off.
    #[default]
    Immediate,
    /// When a pod needs it.
    WaitForFirstConsumer,
}

/// An Artifact of this Workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// `spec.name`.
    pub name: String,
    /// `spec.version`.
    pub version: i64,
    /// `spec.sha256`: what is known to be safe is known by its content, since a fork inherits files that its origin published.
    pub sha256: String,
    /// Stored, or known to be beyond storing.
    pub settled: bool,
}

impl Observed {
    /// A Workspace of which nothing else was seen.
    pub fn of(workspace: Workspace) -> Self {
        Self {
            workspace,
            environment: None,
            source: None,
            binding: Binding::Immediate,
            driver: None,
            restore: None,
            archive: None,
            clone_source: None,
            nodes: Vec::new(),
            older: Vec::new(),
            claim: None,
            pod: None,
            node: NodeState::NotAsked,
            secret: None,
            network_policy: None,
            desk: None,
            runner: None,
            artifacts: Vec::new(),
            snapshots: Vec::new(),
            conversation: None,
            in_use: BTreeSet::new(),
            protected: Vec::new(),
            warning: None,
            last_error: None,
        }
    }

    /// Name of the Workspace.
    pub fn name(&self) -> &str {
        self.workspace.metadata.name.as_deref().unwrap_or_default()
    }

    /// Namespace of the Workspace.
    pub fn namespace(&self) -> &str {
        self.workspace.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// UID of the Workspace.
    pub fn uid(&self) -> &str {
        self.workspace.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The Workspace, for what refers to it.
    pub fn target(&self) -> Target {
        Target {
            api_version: Workspace::api_version(&()).into_owned(),
            kind: "Workspace".into(),
            namespace: self.namespace().into(),
            name: self.name().into(),
            uid: self.uid().into(),
        }
    }

    /// When it was deleted.
    pub fn deleted_at(&self) -> Option<Timestamp> {
        self.workspace.metadata.deletion_timestamp.as_ref().map(|t| t.0)
    }

    pub(crate) fn has_finalizer(&self) -> bool {
        let all = self.workspace.metadata.finalizers.as_deref().unwrap_or_default();
        all.iter().any(|f| f == a8s_crds::labels::WORKSPACE_FINALIZER)
    }

    /// Name of the Session that owns it, or nothing.
    pub(crate) fn session(&self) -> &str {
        let owners = self.workspace.metadata.owner_references.as_deref().unwrap_or_default();
        owners.iter().find(|o| o.kind == "Session" && o.controller == Some(true)).map_or("", |o| &o.name)
    }

    /// Whether this is a child of exactly this Workspace, not of an earlier one of its name.
    pub(crate) fn owns(&self, meta: &ObjectMeta) -> bool {
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        owners.iter().any(|o| o.controller == Some(true) && o.uid == self.uid())
    }

    /// The pod, if it is ours.
    pub(crate) fn own_pod(&self) -> Option<&Pod> {
        self.pod.as_ref().filter(|p| self.owns(&p.metadata))
    }

    /// The claim, if it is ours.
    pub(crate) fn own_claim(&self) -> Option<&PersistentVolumeClaim> {
        self.claim.as_ref().filter(|c| self.owns(&c.metadata))
    }

    /// What has one of our names and is somebody else's: `Pod x`.
    pub(crate) fn foreign(&self) -> Option<String> {
        let name = self.name();
        let taken = [
            (self.claim.as_ref().map(|o| &o.metadata), "PersistentVolumeClaim", volume::claim_name(self)),
            (self.pod.as_ref().map(|o| &o.metadata), "Pod", names::pod(name)),
            (self.secret.as_ref(), "Secret", names::tls_secret(name)),
            (self.network_policy.as_ref().map(|o| &o.metadata), "NetworkPolicy", names::network_policy(name)),
        ];
        taken.into_iter().find_map(|(meta, kind, name)| {
            // What came back from a backup without an owner is applied anew, with one.
            let applied = kind == "NetworkPolicy";
            let taken = |meta: &ObjectMeta| {
                let ours = self.owns(meta) || applied && adoption::orphan(self, meta);
                !ours
            };
            meta.is_some_and(taken).then(|| format!("{kind} {name}"))
        })
    }

    pub(crate) fn owner_reference(&self) -> OwnerReference {
        let target = self.target();
        OwnerReference {
            api_version: target.api_version,
            kind: target.kind,
            name: target.name,
            uid: target.uid,
            controller: Some(true),
            block_owner_deletion: None,
        }
    }
}
