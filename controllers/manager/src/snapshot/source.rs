//! What a Snapshot is taken of: Workspace, claim, driver and class, and the place in the conversation.

use std::collections::BTreeMap;

use a8s_crds::{Artifact, ObjectRef, Session, Workspace, names};
use a8s_plan::snapshot::{ArtifactFact, Claim, Class, Observed, Place, WorkspaceFacts};
use a8s_snapshots::choose;
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use kube::{Api, ResourceExt, api::ListParams};

use super::backend;
use crate::{context::Context, errors::Error};

/// Looks at everything that is needed to take one.
pub async fn gather(ctx: &Context, namespace: &str, observed: &mut Observed) -> Result<(), Error> {
    let workspaces: Api<Workspace> = Api::namespaced(ctx.client.clone(), namespace);
    let name = observed.snapshot.spec.workspace.clone();
    let (workspace, classes) =
        tokio::try_join!(async { Ok::<_, Error>(workspaces.get_opt(&name).await?) }, backend::classes(ctx))?;
    // One that is being deleted counts: its claim waits for unfinished Snapshots.
    let Some(workspace) = workspace else { return Ok(()) };
    observed.workspace = Some(workspace_facts(ctx, namespace, &workspace).await?);
    let ours = |c: &PersistentVolumeClaim| {
        c.owner_references().iter().any(|o| Some(&o.uid) == workspace.metadata.uid.as_ref())
    };
    let found = crate::volumes::claims(ctx, namespace, &workspace).await?;
    let Some(claim) = a8s_plan::workspace::claims(&workspace, found).0.filter(ours) else { return Ok(()) };
    let Some(driver) = driver(ctx, &claim).await? else { return Ok(()) };
    let none = BTreeMap::new();
    let annotations = claim.metadata.annotations.as_ref().unwrap_or(&none);
    let named = observed.snapshot.spec.snapshot_class_name.as_deref();
    observed.class =
        match classes.map(|all| choose(&all, &driver, named, annotations).map(ResourceExt::name_any)) {
            None => Class::NoApi,
            Some(Ok(name)) => Class::Chosen(name),
            Some(Err(error)) => Class::Missing(error.to_string()),
        };
    let claim = ObjectRef { name: claim.name_any(), uid: claim.uid().unwrap_or_default() };
    observed.claim = Claim::Bound { claim, driver };
    Ok(())
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

async fn workspace_facts(
    ctx: &Context,
    namespace: &str,
    workspace: &Workspace,
) -> Result<WorkspaceFacts, Error> {
    let uid = workspace.uid().unwrap_or_default();
    let owner =
        workspace.owner_references().iter().find(|o| o.kind == "Session" && o.controller == Some(true));
    let sessions: Api<Session> = Api::namespaced(ctx.client.clone(), namespace);
    let session = match owner {
        Some(owner) => {
            sessions.get_opt(&owner.name).await?.filter(|s| s.uid().as_deref() == Some(&owner.uid))
        }
        None => None,
    };
    let recorded = session.as_ref().and_then(|s| s.status.as_ref()).map(|s| Place {
        turn: s.turn.unwrap_or_default(),
        epoch: s.epoch.unwrap_or_default(),
        seq: s.seq.unwrap_or_default(),
    });
    let artifacts: Api<Artifact> = Api::namespaced(ctx.client.clone(), namespace);
    let all = artifacts.list(&ListParams::default()).await?;
    let fact = |a: Artifact| ArtifactFact {
        object: a.name_any(),
        own: a.spec.workspace.uid == uid,
        name: a.spec.name,
        version: a.spec.version,
        sha256: a.spec.sha256,
    };
    let artifacts = all.items.into_iter().map(fact).collect();
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    let pod = pods.get_opt(&names::pod(&workspace.name_any())).await?;
    Ok(WorkspaceFacts {
        environment: workspace.spec.environment.clone(),
        session: owner.map(|o| o.name.clone()),
        recorded,
        pod_ready: pod.is_some_and(|pod| answers(&pod, &uid)),
        artifacts,
        uid,
    })
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
