//! Snapshots: gathers Workspace, claim, class, VolumeSnapshot and content; asks the runner to flush when the plan says so. Everything is
//! read one by one from the API server and not from a cache: a VolumeSnapshot that a cache does not show yet would be taken for not taken.
//! Lists are not asked for where that can be avoided: see [`backend::Lists`].

mod backend;
mod source;

use std::{future::ready, sync::Arc};

use a8s_crds::{
    Snapshot, SnapshotStatus, Workspace,
    conditions::{self, ConditionType},
    labels,
};
use a8s_plan::{
    Effect, Op, Plan, Target, Wake,
    snapshot::{Observed, ReceiptFact, Runner, brings_handle, plan, volume_snapshot_name},
};
use a8s_snapshots::VolumeSnapshot;
use futures::StreamExt;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, ResourceExt,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher},
};

use crate::{
    context::Context,
    errors::Error,
    execute,
    pods::PodAddress,
    queue::{self, Action},
    reading::{self, Reads},
    stores::within,
};

/// Quiesce, status, create: more rounds than that are a defect.
const ROUNDS: usize = 5;

/// Runs until the process ends.
pub async fn run(ctx: Arc<Context>) {
    ctx.stores.ready().await;
    let stores = ctx.stores.clone();
    let of_workspace = move |workspace: &Workspace| {
        let (namespace, name) = (workspace.namespace().unwrap_or_default(), workspace.name_any());
        let mut all = stores.snapshots_of.get(&within(Some(&namespace), &name));
        all.retain(|s| handle(s).is_none());
        let receipt = workspace.status.as_ref().and_then(|s| s.receipt.as_ref());
        let restored = receipt.and_then(|r| stores.snapshots.get(Some(&namespace), &r.snapshot));
        all.extend(restored.filter(|s| !verified(s)));
        queue::references(&all)
    };
    // What is said in them is read when it is needed; that something is said is all that is to be known here.
    let taken = Api::<PartialObjectMeta<VolumeSnapshot>>::all(ctx.client.clone());
    let taken = watcher(taken, watcher::Config::default()).default_backoff().touched_objects();
    let taken = taken.filter_map(|v| ready(v.ok().and_then(|v| queue::controller_of(&v))));
    let triggers = [
        queue::own(&ctx.stores.snapshots, |_| {}),
        queue::related(&ctx.stores.workspaces, of_workspace),
        taken.boxed(),
    ];
    let (passes, store) = (ctx.clone(), ctx.stores.snapshots.clone());
    queue::run(ctx, store, triggers, 16, move |snapshot| reconcile(snapshot, passes.clone())).await;
}

async fn reconcile(cached: Arc<Snapshot>, ctx: Arc<Context>) -> Result<Action, Error> {
    let Some((mut observed, runner)) = Box::pin(gather(&ctx, &cached)).await? else {
        return Ok(Action::await_change());
    };
    for _ in 0..ROUNDS {
        let mut decided = plan(&observed, &ctx.env());
        let again = decided.wake == Wake::AfterMillis(0);
        let to_flush = take_quiesce(&mut decided);
        remember(&mut observed.snapshot, &decided);
        // The finalizer is written meanwhile: both only have to be done before the VolumeSnapshot is made.
        let flush = async {
            match to_flush {
                Some(workspace) => Some(quiesce(&ctx, &workspace, runner.as_ref()).await),
                None => None,
            }
        };
        let (action, flushed) = tokio::join!(execute::carry_out(&ctx, &observed.snapshot, decided), flush);
        let action = action?;
        observed.runner = flushed.unwrap_or(observed.runner);
        if !again {
            return Ok(action);
        }
    }
    Err(Error::Plan("a Snapshot did not settle within one pass".into()))
}

/// A runner that does not answer is an observation, not a failed pass: the plan decides how long to wait for it.
async fn quiesce(ctx: &Context, workspace: &Target, seen: Option<&PodAddress>) -> Runner {
    let asked = async {
        let at = match seen {
            Some(at) => at.clone(),
            None => execute::address(ctx, workspace).await?,
        };
        Ok::<_, Error>(ctx.pods.quiesce(&at).await?)
    };
    asked.await.map_or_else(|e| Runner::Silent(e.to_string()), |state| Runner::Quiesced(Box::new(state)))
}

/// The one effect that is done here, because its answer is needed in this pass.
fn take_quiesce(plan: &mut Plan<SnapshotStatus>) -> Option<Target> {
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

/// Everything that the plan looks at, and where the runner is; nothing if the Snapshot is gone. What is cached only says what to ask for: all of
/// it is asked for at once, and again if that was wrong.
async fn gather(ctx: &Context, cached: &Snapshot) -> Result<Option<(Observed, Option<PodAddress>)>, Error> {
    let namespace = cached.namespace().unwrap_or_default();
    let (name, own) = (volume_snapshot_name(cached), cached.name_any());
    let api: Api<Snapshot> = Api::namespaced(ctx.client.clone(), &namespace);
    let to_take = |s: &Snapshot| !brings_handle(s) && s.metadata.deletion_timestamp.is_none();
    // Its name is written down just before it is made.
    let taken =
        |s: &Snapshot| handle(s).is_some() || s.status.as_ref().is_some_and(|s| s.volume_snapshot.is_some());
    let ahead = async {
        if to_take(cached) && !taken(cached) {
            return source::look(ctx, &namespace, cached).await.map(Some);
        }
        Ok(None)
    };
    let (snapshot, found, seen) = tokio::try_join!(
        async { Ok::<_, Error>(api.get_opt(&own).await?) },
        backend::volume_snapshot(ctx, &namespace, &name),
        ahead,
    )?;
    let Some(snapshot) = snapshot else { return Ok(None) };
    if volume_snapshot_name(&snapshot) != name || snapshot.spec != cached.spec {
        return Box::pin(gather(ctx, &snapshot)).await;
    }
    let deleting = snapshot.metadata.deletion_timestamp.is_some();
    let mut observed = Observed::of(snapshot);
    let mut runner = None;
    observed.content = backend::content(ctx, found.as_ref(), &observed.snapshot, &namespace, &name).await?;
    observed.volume_snapshot = found.map(backend::facts);
    if observed.volume_snapshot.is_none() {
        if to_take(&observed.snapshot) {
            let seen = match seen {
                Some(seen) => seen,
                None => source::look(ctx, &namespace, &observed.snapshot).await?,
            };
            runner = seen.into_observed(&mut observed);
        } else {
            observed.class = backend::recorded_class(ctx, &observed.snapshot).await?;
        }
    }
    if handle(&observed.snapshot).is_some() && !verified(&observed.snapshot) && !deleting {
        observed.receipts = receipts(ctx, &namespace, &observed.snapshot).await?;
    }
    Ok(Some((observed, runner)))
}

/// What desktops found that were made from this Snapshot, and not from an earlier one of its name.
async fn receipts(ctx: &Context, namespace: &str, snapshot: &Snapshot) -> Result<Vec<ReceiptFact>, Error> {
    let (name, made) = (snapshot.name_any(), snapshot.creation_timestamp());
    let mut found = Vec::new();
    for workspace in ctx.stores.checking.get(&within(Some(namespace), &name)) {
        let Some(status) = &workspace.status else { continue };
        let (Some(receipt), Some(storage)) = (&status.receipt, &status.storage) else { continue };
        let claim: Option<PersistentVolumeClaim> =
            reading::one(ctx, &ctx.stores.claims, Reads::Caches, namespace, &storage.claim).await?;
        if claim.is_some_and(|c| c.creation_timestamp() >= made) {
            let (workspace, verified) = (workspace.name_any(), receipt.verified);
            found.push(ReceiptFact { workspace, verified, detail: receipt.detail.clone() });
        }
    }
    Ok(found)
}
