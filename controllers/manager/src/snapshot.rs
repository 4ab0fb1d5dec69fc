//! Snapshots: gathers Workspace, claim, class, VolumeSnapshot and content; asks the runner to flush when the plan says so. Everything is
//! read from the API server and not from a cache: a VolumeSnapshot that a cache does not show yet would be taken for not taken.

mod backend;
mod source;

use std::sync::Arc;

use a8s_crds::{
    Snapshot, SnapshotStatus, Workspace,
    conditions::{self, ConditionType},
    labels,
};
use a8s_plan::{
    Effect, Op, Plan, Wake,
    snapshot::{Observed, ReceiptFact, Runner, brings_handle, plan, volume_snapshot_name},
};
use a8s_snapshots::VolumeSnapshot;
use futures::StreamExt;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
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
            let restored =
                workspace.status.as_ref().and_then(|s| s.receipt.as_ref()).map(|r| r.snapshot.clone());
            let of_it = |s: &Arc<Snapshot>| {
                let to_take = s.spec.workspace == name && handle(s).is_none();
                let told = restored.as_deref() == Some(&*s.name_any()) && !verified(s);
                s.namespace() == namespace && (to_take || told)
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
                Ok(at) => ctx.pods.quiesce(&at).await.map_or_else(
                    |e| Runner::Silent(e.to_string()),
                    |state| Runner::Quiesced(Box::new(state)),
                ),
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

fn verified(snapshot: &Snapshot) -> bool {
    snapshot.status.as_ref().is_some_and(|s| conditions::is_true(&s.conditions, ConditionType::Verified))
}

async fn gather(ctx: &Context, snapshot: Snapshot) -> Result<Observed, Error> {
    let namespace = snapshot.namespace().unwrap_or_default();
    let name = volume_snapshot_name(&snapshot);
    let found: Option<VolumeSnapshot> =
        match Api::namespaced(ctx.client.clone(), &namespace).get_opt(&name).await {
            // The API itself is missing, and with it everything of it.
            Err(kube::Error::Api(s)) if s.code == 404 => None,
            other => other?,
        };
    let deleting = snapshot.metadata.deletion_timestamp.is_some();
    let mut observed = Observed::of(snapshot);
    observed.content = backend::content(ctx, found.as_ref(), &observed.snapshot, &namespace, &name).await?;
    observed.volume_snapshot = found.map(backend::facts);
    if observed.volume_snapshot.is_none() {
        if brings_handle(&observed.snapshot) || deleting {
            observed.class = backend::recorded_class(ctx, &observed.snapshot).await?;
        } else {
            source::gather(ctx, &namespace, &mut observed).await?;
        }
    }
    if handle(&observed.snapshot).is_some() && !verified(&observed.snapshot) && !deleting {
        observed.receipts = receipts(ctx, &namespace, &observed.snapshot).await?;
    }
    Ok(observed)
}

/// What desktops found that were made from this Snapshot, and not from an earlier one of its name.
async fn receipts(ctx: &Context, namespace: &str, snapshot: &Snapshot) -> Result<Vec<ReceiptFact>, Error> {
    let workspaces: Api<Workspace> = Api::namespaced(ctx.client.clone(), namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), namespace);
    let (name, made) = (snapshot.name_any(), snapshot.creation_timestamp());
    let mut found = Vec::new();
    for workspace in workspaces.list(&ListParams::default()).await?.items {
        let Some(status) = &workspace.status else { continue };
        let Some(receipt) = status.receipt.as_ref().filter(|r| r.snapshot == name) else { continue };
        let Some(storage) = &status.storage else { continue };
        let claim = claims.get_opt(&storage.claim).await?;
        if claim.is_some_and(|c| c.creation_timestamp() >= made) {
            let (workspace, verified) = (workspace.name_any(), receipt.verified);
            found.push(ReceiptFact { workspace, verified, detail: receipt.detail.clone() });
        }
    }
    Ok(found)
}
