//! What a Snapshot is taken of: Workspace, claim, driver and class, and the place in the conversation.

use std::collections::BTreeMap;

use a8s_crds::{Artifact, ObjectRef, Session, Snapshot, Workspace, names};
use a8s_plan::snapshot::{ArtifactFact, Claim, Class, Observed, Place, WorkspaceFacts};
use a8s_snapshots::{VolumeSnapshotClass, choose};
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, ResourceExt};

use super::backend::{self, Lists};
use crate::{context::Context, errors::Error, pods::PodAddress};

/// Everything that is needed to take one.
pub struct Seen {
    workspace: Option<WorkspaceFacts>,
    claim: Claim,
    class: Class,
    /// Where its runner is.
    pub runner: Option<PodAddress>,
}

impl Seen {
    const NOTHING: Self = Self { workspace: None, claim: Claim::Pending, class: Class::NoApi, runner: None };

    /// Puts it where the plan looks.
    pub fn into_observed(self, observed: &mut Observed) -> Option<PodAddress> {
        (observed.workspace, observed.claim, observed.class) = (self.workspace, self.claim, self.class);
        self.runner
    }
}

/// Looks. What does not depend on each other is asked for at once: a person waits for the sum of what is asked one after the other.
pub async fn look(ctx: &Context, namespace: &str, snapshot: &Snapshot) -> Result<Seen, Error> {
    let name = snapshot.spec.workspace.clone();
    let workspaces: Api<Workspace> = Api::namespaced(ctx.client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    let pod_name = names::pod(&name);
    let (workspace, classes, pod) = tokio::try_join!(
        async { Ok::<_, Error>(workspaces.get_opt(&name).await?) },
        backend::classes(ctx, Lists::Late),
        async { Ok(pods.get_opt(&pod_name).await?) },
    )?;
    // One that is being deleted counts: its claim waits for unfinished Snapshots.
    let Some(workspace) = workspace else { return Ok(Seen::NOTHING) };
    let (session, claims) =
        tokio::try_join!(session(ctx, namespace, &workspace), claims(ctx, namespace, &workspace))?;
    let facts = workspace_facts(ctx, &workspace, session, pod.as_ref());
    let host = pod.and_then(|p| p.status).and_then(|s| s.pod_ip);
    let runner = host.map(|host| PodAddress { uid: facts.uid.clone(), host });
    let mut seen = Seen { workspace: Some(facts), runner, ..Seen::NOTHING };
    let ours = |c: &PersistentVolumeClaim| {
        c.owner_references().iter().any(|o| Some(&o.uid) == workspace.metadata.uid.as_ref())
    };
    let Some(claim) = a8s_plan::workspace::claims(&workspace, claims).0.filter(ours) else { return Ok(seen) };
    let Some(driver) = driver(ctx, &claim).await? else { return Ok(seen) };
    let none = BTreeMap::new();
    let annotations = claim.metadata.annotations.as_ref().unwrap_or(&none);
    let named = snapshot.spec.snapshot_class_name.as_deref();
    let choice = |classes: Option<Vec<VolumeSnapshotClass>>| match classes
        .map(|all| choose(&all, &driver, named, annotations).map(ResourceExt::name_any))
    {
        None => Class::NoApi,
        Some(Ok(name)) => Class::Chosen(name),
        Some(Err(error)) => Class::Missing(error.to_string()),
    };
    seen.class = choice(classes);
    if !matches!(seen.class, Class::Chosen(_)) {
        // It may have been made a moment ago.
        seen.class = choice(backend::classes(ctx, Lists::Current).await?);
    }
    let claim = ObjectRef { name: claim.name_any(), uid: claim.uid().unwrap_or_default() };
    seen.claim = Claim::Bound { claim, driver };
    Ok(seen)
}

/// The Workspace's claims: from the cache, if that has the one that the Workspace says to have; else from the API server.
async fn claims(
    ctx: &Context,
    namespace: &str,
    workspace: &Workspace,
) -> Result<Vec<PersistentVolumeClaim>, Error> {
    let known = ctx.stores.claims_of.get(&workspace.uid().unwrap_or_default());
    let recorded = workspace.status.as_ref().and_then(|s| s.storage.as_ref()).map(|s| &s.claim);
    if known.iter().any(|claim| claim.metadata.name.as_ref() == recorded && recorded.is_some()) {
        return Ok(known.iter().map(|claim| PersistentVolumeClaim::clone(claim)).collect());
    }
    crate::volumes::claims(ctx, namespace, workspace).await
}

/// The driver of a bound claim: its volume's, or, for a volume that does not say, its StorageClass's.
async fn driver(ctx: &Context, claim: &PersistentVolumeClaim) -> Result<Option<String>, Error> {
    let spec = claim.spec.as_ref();
    let Some(volume) = spec.and_then(|s| s.volume_name.as_deref()) else { return Ok(None) };
    let volume: Option<PersistentVolume> = Api::all(ctx.client.clone()).get_opt(volume).await?;
    if let Some(csi) = volume.and_then(|v| v.spec).and_then(|s| s.csi) {
        return Ok(Some(csi.driver));
    }
    let Some(class) = spec.and_then(|s| s.storage_class_name.as_deref()) else { return Ok(None) };
    let class: Option<StorageClass> = Api::all(ctx.client.clone()).get_opt(class).await?;
    Ok(class.map(|c| c.provisioner))
}

fn owner(workspace: &Workspace) -> Option<&OwnerReference> {
    workspace.owner_references().iter().find(|o| o.kind == "Session" && o.controller == Some(true))
}

/// The Session that owns it.
async fn session(ctx: &Context, namespace: &str, workspace: &Workspace) -> Result<Option<Session>, Error> {
    let Some(owner) = owner(workspace) else { return Ok(None) };
    let sessions: Api<Session> = Api::namespaced(ctx.client.clone(), namespace);
    let found = sessions.get_opt(&owner.name).await?;
    Ok(found.filter(|s| s.uid().as_deref() == Some(&owner.uid)))
}

fn workspace_facts(
    ctx: &Context,
    workspace: &Workspace,
    session: Option<Session>,
    pod: Option<&Pod>,
) -> WorkspaceFacts {
    let uid = workspace.uid().unwrap_or_default();
    let recorded = session.and_then(|s| s.status).map(|s| Place {
        turn: s.turn.unwrap_or_default(),
        epoch: s.epoch.unwrap_or_default(),
        seq: s.seq.unwrap_or_default(),
    });
    let fact = |a: &Artifact| ArtifactFact {
        object: a.name_any(),
        own: a.spec.workspace.uid == uid,
        name: a.spec.name.clone(),
        version: a.spec.version,
        sha256: a.spec.sha256.clone(),
    };
    // One that the cache does not show yet was published a moment ago, and the name that it gets is known.
    let artifacts = ctx.stores.artifacts.all();
    let here = artifacts.iter().filter(|a| a.metadata.namespace == workspace.metadata.namespace);
    WorkspaceFacts {
        environment: workspace.spec.environment.clone(),
        session: owner(workspace).map(|o| o.name.clone()),
        recorded,
        pod_ready: pod.is_some_and(|pod| answers(pod, &uid)),
        artifacts: here.map(|a| fact(a)).collect(),
        uid,
    }
}

/// Whether the Workspace's runner can be asked. The Workspace's status says less: one that is about to stop has a runner still.
fn answers(pod: &Pod, workspace: &str) -> bool {
    let ours = pod.owner_references().iter().any(|o| o.controller == Some(true) && o.uid == workspace);
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    let running = |c: &&k8s_openapi::api::core::v1::ContainerStatus| {
        c.name == "runner" && c.state.as_ref().is_some_and(|s| s.running.is_some())
    };
    ours && pod.metadata.deletion_timestamp.is_none() && statuses.iter().find(running).is_some()
}
