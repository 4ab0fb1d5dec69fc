//! Snapshots: gathers Workspace, claim, class, VolumeSnapshot and content; asks the runner to flush when the plan says so. Everything is
//! read from the API server and not from a cache: a VolumeSnapshot that a cache does not show yet would be taken for not taken.

use std::{collections::BTreeMap, sync::Arc};

use a8s_crds::{Artifact, Session, Snapshot, SnapshotStatus, Workspace, conditions, labels};
use a8s_plan::{
    Effect, Op, Plan, Wake,
    snapshot::{
        ArtifactFact, Claim, Class, ContentFacts, Observed, Place, Runner, VolumeSnapshotFacts,
        WorkspaceFacts, plan, volume_snapshot_name,
    },
};
use a8s_snapshots::{VolumeSnapshot, VolumeSnapshotClass, VolumeSnapshotContent, choose};
use futures::StreamExt;
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use kube::{
    Api, ResourceExt,
    api::ListParams,
    runtime::{
        Controller,
        controller::{Action, Config},
        reflector::ObjectRef,
        watcher,
    },
};

use crate::{
    context::Context,
    errors::{Error, error_policy},
    execute,
};

/// Quiesce, status, create: more rounds than that are a defect.
const ROUNDS: usize = 5;

/// Runs until the process ends.
pub async fn run(ctx: Arc<Context>) {
    let client = ctx.client.clone();
    let controller = Controller::new(Api::<Snapshot>::all(client.clone()), watcher::Config::default());
    let snapshots = controller.store();
    controller
        .with_config(Config::default().concurrency(16))
        .owns(Api::<VolumeSnapshot>::all(client.clone()), watcher::Config::default())
        .watches(Api::<Workspace>::all(client), watcher::Config::default(), move |workspace| {
            let (namespace, name) = (workspace.namespace(), workspace.name_any());
            let of_it = |s: &Arc<Snapshot>| {
                s.namespace() == namespace && s.spec.workspace == name && handle(s).is_none()
            };
            let waiting = snapshots.state().into_iter().filter(of_it);
            waiting.map(|s| ObjectRef::from_obj(s.as_ref())).collect::<Vec<_>>()
        })
        .run(reconcile, error_policy, ctx)
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn reconcile(cached: Arc<Snapshot>, ctx: Arc<Context>) -> Result<Action, Error> {
    let api: Api<Snapshot> = Api::namespaced(ctx.client.clone(), &cached.namespace().unwrap_or_default());
    let Some(snapshot) = api.get_opt(&cached.name_any()).await? else { return Ok(Action::await_change()) };
    let mut observed = gather(&ctx, snapshot).await?;
    for _ in 0..ROUNDS {
        let mut decided = plan(&observed, &ctx.env());
        let again = decided.wake == Wake::AfterMillis(0);
        let quiesce = take_quiesce(&mut decided);
        remember(&mut observed.snapshot, &decided);
        let action = execute::carry_out(&ctx, &observed.snapshot, decided).await?;
        if let Some(workspace) = quiesce {
            // A runner that does not answer is an observation, not a failed pass: the plan decides how long to wait for it.
            observed.runner = match execute::address(&ctx, &workspace).await {
                Ok(at) => ctx
                    .pods
                    .quiesce(&at)
                    .await
                    .map_or_else(|e| Runner::Silent(e.to_string()), Runner::Quiesced),
                Err(error) => Runner::Silent(error.to_string()),
            };
        }
        if !again {
            return Ok(action);
        }
    }
    Err(Error::Plan("a Snapshot did not settle within one pass".into()))
}

/// The one effect that is done here, because its answer is needed in this pass.
fn take_quiesce(plan: &mut Plan<SnapshotStatus>) -> Option<a8s_plan::Target> {
    let index = plan.ops.iter().position(|op| matches!(op, Op::Effect(Effect::Quiesce { .. })))?;
    match plan.ops.remove(index) {
        Op::Effect(Effect::Quiesce { workspace }) => Some(workspace),
        _ => None,
    }
}

/// What the plan writes is what the next round of this pass reads.
fn remember(snapshot: &mut Snapshot, plan: &Plan<SnapshotStatus>) {
    if let Some(status) = &plan.status {
        snapshot.status = Some(status.clone());
    }
    if plan.ops.iter().any(|op| matches!(op, Op::Finalizer { present: true, .. })) {
        snapshot.finalizers_mut().push(labels::SNAPSHOT_FINALIZER.to_owned());
    }
}

fn handle(snapshot: &Snapshot) -> Option<&str> {
    snapshot.status.as_ref().and_then(|s| s.handle.as_deref())
}

async fn gather(ctx: &Context, snapshot: Snapshot) -> Result<Observed, Error> {
    let namespace = snapshot.namespace().unwrap_or_default();
    let name = volume_snapshot_name(&snapshot);
    let found: Option<VolumeSnapshot> =
        Api::namespaced(ctx.client.clone(), &namespace).get_opt(&name).await?;
    let deleting = snapshot.metadata.deletion_timestamp.is_some();
    let content = content(ctx, found.as_ref(), deleting.then_some((&namespace, &name))).await?;
    let mut observed = Observed {
        workspace: None,
        claim: Claim::Pending,
        class: Class::NoApi,
        runner: Runner::NotAsked,
        volume_snapshot: found.map(facts),
        content: content.map(content_facts),
        snapshot,
    };
    let to_take = observed.volume_snapshot.is_none() && handle(&observed.snapshot).is_none() && !deleting;
    if to_take {
        gather_for_taking(ctx, &namespace, &mut observed).await?;
    }
    Ok(observed)
}

async fn gather_for_taking(ctx: &Context, namespace: &str, observed: &mut Observed) -> Result<(), Error> {
    let client = || ctx.client.clone();
    let workspaces: Api<Workspace> = Api::namespaced(client(), namespace);
    let name = observed.snapshot.spec.workspace.clone();
    let classes: Api<VolumeSnapshotClass> = Api::all(client());
    let everything = ListParams::default();
    let (workspace, classes) = futures::join!(workspaces.get_opt(&name), classes.list(&everything));
    let classes = match classes {
        // The API itself is missing: the list of a kind that exists is never "not found".
        Err(kube::Error::Api(s)) if s.code == 404 => None,
        other => Some(other?.items),
    };
    // One that is being deleted counts: its claim waits for unfinished Snapshots.
    let Some(workspace) = workspace? else { return Ok(()) };
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
    observed.claim = Claim::Bound { name: claim.name_any(), driver };
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
    let of_it = all.items.into_iter().filter(|a| a.spec.workspace.uid == uid);
    let fact =
        |a: Artifact| ArtifactFact { object: a.name_any(), name: a.spec.name, version: a.spec.version };
    let artifacts = of_it.map(fact).collect();
    let status = workspace.status.as_ref();
    let ready = |kind| status.is_some_and(|s| conditions::is_true(&s.conditions, kind));
    Ok(WorkspaceFacts {
        uid,
        environment: workspace.spec.environment.clone(),
        session: owner.map(|o| o.name.clone()),
        recorded,
        pod_ready: ready(conditions::ConditionType::PodReady),
        artifacts,
    })
}

/// The content of a VolumeSnapshot, bound or not; when deleting, also one whose VolumeSnapshot is gone already.
async fn content(
    ctx: &Context,
    found: Option<&VolumeSnapshot>,
    deleting: Option<(&String, &String)>,
) -> Result<Option<VolumeSnapshotContent>, Error> {
    let contents: Api<VolumeSnapshotContent> = Api::all(ctx.client.clone());
    if let Some(found) = found {
        let bound = found.status.as_ref().and_then(|s| s.bound_volume_snapshot_content_name.clone());
        // The snapshot-controller's name for a content that it has made and not bound yet.
        let name = bound.unwrap_or_else(|| format!("snapcontent-{}", found.uid().unwrap_or_default()));
        return Ok(contents.get_opt(&name).await?);
    }
    let Some((namespace, name)) = deleting else { return Ok(None) };
    let all = match contents.list(&ListParams::default()).await {
        Err(kube::Error::Api(s)) if s.code == 404 => return Ok(None),
        other => other?,
    };
    let of_it = |c: &VolumeSnapshotContent| {
        let to = &c.spec.volume_snapshot_ref;
        to.namespace.as_ref() == Some(namespace) && to.name.as_ref() == Some(name)
    };
    Ok(all.items.into_iter().find(of_it))
}

fn facts(found: VolumeSnapshot) -> VolumeSnapshotFacts {
    let deleting = found.metadata.deletion_timestamp.is_some();
    let uid = found.uid().unwrap_or_default();
    let status = found.status.unwrap_or_default();
    VolumeSnapshotFacts {
        uid,
        ready: status.ready_to_use == Some(true),
        error: status.error.map(|e| e.message.unwrap_or_else(|| "unknown error".into())),
        restore_size: status.restore_size,
        taken_at: status.creation_time.map(|t| t.0),
        deleting,
    }
}

fn content_facts(found: VolumeSnapshotContent) -> ContentFacts {
    ContentFacts {
        name: found.name_any(),
        uid: found.uid().unwrap_or_default(),
        handle: found.handle().map(str::to_owned),
        policy_delete: found.spec.deletion_policy == "Delete",
        deleting: found.metadata.deletion_timestamp.is_some(),
        driver: found.spec.driver,
        class: found.spec.volume_snapshot_class_name,
    }
}
