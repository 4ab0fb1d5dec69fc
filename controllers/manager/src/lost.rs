//! Looks at the node of a pod that gives a reason to. What is concluded from a node that is gone cannot be taken back, so it is read from the
//! API server and not from a cache.

use a8s_plan::workspace::{NodeState, Observed, suspect};
use k8s_openapi::api::core::v1::Node;
use kube::Api;

use crate::{context::Context, errors::Error};

/// The state of the node, if there is a reason to look.
pub async fn node(ctx: &Context, observed: &Observed) -> Result<NodeState, Error> {
    let Some(name) = observed.pod.as_ref().and_then(|pod| suspect(pod, ctx.env().now)) else {
        return Ok(NodeState::NotAsked);
    };
    Ok(NodeState::of(Api::<Node>::all(ctx.client.clone()).get_opt(name).await?.as_ref()))
}
