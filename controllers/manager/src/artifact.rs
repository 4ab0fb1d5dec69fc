//! Artifacts: gathers whether the content is stored and who still has it; the plan says what to do. Whether storing worked is observed
//! in the same pass, so that a wrong digest becomes a condition and not an endless repetition.

use std::sync::Arc;

use a8s_crds::{Artifact, Workspace, WorkspaceState, conditions};
use a8s_plan::{
    Effect, Op,
    artifact::{Observed, Outcome, Source, is_stored, key, plan},
};
use kube::{Api, ResourceExt, runtime::reflector::ObjectRef};

use crate::{
    context::Context,
    errors::Error,
    execute,
    pods::PodError,
    queue::{self, Action},
    store::{self, FetchError, StoreError},
};

/// Runs until the process ends.
pub async fn run(ctx: Arc<Context>) {
    ctx.stores.ready().await;
    let artifacts = ctx.stores.artifacts_of.clone();
    // A Workspace that comes back, or goes, matters to the Artifacts whose content is still there only.
    let of_workspace = move |workspace: &Workspace| {
        let waiting = artifacts.get(&workspace.uid().unwrap_or_default()).into_iter();
        waiting.filter(|a| !is_stored(a)).map(|a| ObjectRef::from_obj(&*a)).collect::<Vec<_>>()
    };
    let triggers =
        [queue::own(&ctx.stores.artifacts, |_| {}), queue::related(&ctx.stores.workspaces, of_workspace)];
    let (passes, store) = (ctx.clone(), ctx.stores.artifacts.clone());
    queue::run(ctx, store, triggers, 16, move |artifact| reconcile(artifact, passes.clone())).await;
}

async fn reconcile(artifact: Arc<Artifact>, ctx: Arc<Context>) -> Result<Action, Error> {
    let mut observed = gather(&ctx, &artifact).await?;
    let mut decided = plan(&observed, &ctx.env());
    if let Some(Op::Effect(Effect::StoreContent { artifact: target, workspace, sha256, key })) =
        decided.ops.last().cloned()
    {
        decided.ops.pop();
        // What comes before it, the finalizer, is done first: stored content without one would never be deleted.
        for op in &decided.ops {
            execute::step(&ctx, op).await?;
        }
        observed.outcome = Some(match store::fetch(&ctx, &target, &workspace, &sha256, &key).await {
            Ok(()) => {
                ctx.metrics.stored(&artifact.spec);
                Outcome::Stored
            }
            Err(FetchError::Store(StoreError::Mismatch { found, .. })) => Outcome::Mismatch(found),
            Err(FetchError::Runner(Error::Pod(PodError::Refused { status: 404, .. }))) => Outcome::Lost,
            Err(error) => Outcome::Failed(error.to_string()),
        });
        decided = plan(&observed, &ctx.env());
    }
    execute::carry_out(&ctx, artifact.as_ref(), decided).await
}

async fn gather(ctx: &Context, artifact: &Artifact) -> Result<Observed, Error> {
    let mut observed =
        Observed { artifact: artifact.clone(), stored: false, source: Source::Gone, outcome: None };
    if is_stored(artifact) || artifact.metadata.deletion_timestamp.is_some() {
        return Ok(observed);
    }
    let size = u64::try_from(artifact.spec.size).unwrap_or_default();
    observed.stored = store::holds(ctx.store.as_ref(), &key(artifact), size, &artifact.spec.sha256).await?;
    if !observed.stored {
        let workspaces: Api<Workspace> =
            Api::namespaced(ctx.client.clone(), &artifact.namespace().unwrap_or_default());
        let found = workspaces.get_opt(&artifact.spec.workspace.name).await?;
        observed.source =
            source(found.filter(|w| w.uid().as_deref() == Some(&artifact.spec.workspace.uid)).as_ref());
    }
    Ok(observed)
}

fn source(workspace: Option<&Workspace>) -> Source {
    let Some(workspace) = workspace else { return Source::Gone };
    let status = workspace.status.as_ref();
    let runs =
        status.is_some_and(|s| conditions::is_true(&s.conditions, conditions::ConditionType::AgentReady));
    match a8s_plan::workspace::settled(workspace) {
        // The pod of a Workspace that is being suspended or deleted is asked as long as it answers.
        _ if runs => Source::Ready,
        WorkspaceState::Suspended | WorkspaceState::Archived => Source::Suspended,
        WorkspaceState::Running => Source::Starting,
    }
}
