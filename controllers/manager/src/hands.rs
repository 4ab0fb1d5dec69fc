//! Whoever takes mouse and keyboard does not wait for a pass. As soon as the cache shows the wish deskd is told, and the pass, which comes as
//! for any other change, finds it done and writes the status. Both tell deskd the same, and it takes the same lease twice.

use std::sync::Arc;

use a8s_crds::Workspace;
use a8s_plan::workspace::{self as decide, Observed};
use futures::StreamExt;
use kube::ResourceExt;

use crate::{asking::ANSWER, context::Context, pods::PodAddress};

/// Follows all Workspaces until the process ends.
pub async fn run(ctx: Arc<Context>) {
    let changes = ctx.stores.workspaces.changes();
    changes
        .for_each(|change| {
            if !change.gone
                && let Some(at) = address(&change.object)
            {
                let ctx = ctx.clone();
                tokio::spawn(async move {
                    // The pass tries again, and says what is wrong.
                    drop(tokio::time::timeout(ANSWER, hand_over(&ctx, &change.object, &at)).await);
                });
            }
            std::future::ready(())
        })
        .await;
}

/// Where its deskd is, if the spec wants other hands than the status tells of.
fn address(workspace: &Workspace) -> Option<PodAddress> {
    let host = workspace.status.as_ref()?.host.clone().filter(|host| !host.is_empty())?;
    let going = workspace.metadata.deletion_timestamp.is_some();
    (!going && decide::other_hands(workspace))
        .then(|| PodAddress { uid: workspace.uid().unwrap_or_default(), host })
}

async fn hand_over(ctx: &Context, workspace: &Workspace, at: &PodAddress) {
    // What deskd last confirmed is mostly what it has; to ask it takes as long as the X server lets it.
    let mut observed = Observed::of(workspace.clone());
    observed.desk = Some(decide::last_hands(workspace));
    let Some(lease) = decide::lease(&observed) else { return };
    if ctx.pods.set_control(at, &lease).await.is_ok() {
        return;
    }
    // It has a newer lease than the status tells of.
    let Ok(desk) = ctx.pods.desk_state(at).await else { return };
    observed.desk = Some(desk);
    if let Some(lease) = decide::lease(&observed)
        && let Err(error) = ctx.pods.set_control(at, &lease).await
    {
        tracing::debug!(workspace = workspace.name_any(), %error, "the pass hands control over");
    }
}
