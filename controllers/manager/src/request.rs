//! Requests: wakes the bridge of their Session when somebody decides, and closes those that no bridge attends to. What became of a
//! decision is written by the bridge.

use std::sync::Arc;

use a8s_crds::{Request, Session};
use a8s_plan::request::{Observed, is_open, plan};
use kube::{Api, ResourceExt, runtime::reflector::ObjectRef};

use crate::{
    context::Context,
    errors::Error,
    execute::{carry_out, write_status_if_unchanged},
    queue::{self, Action},
    stores::within,
};

/// Reconciles Requests until the process ends.
pub async fn run(ctx: Arc<Context>) {
    ctx.stores.ready().await;
    let live = ctx.live.clone();
    let gone = move |request: &Request| {
        if is_open(request) && request.spec.id.is_some() {
            // Nobody will decide any more; the bridge tells the agent.
            live.wake(&request.namespace().unwrap_or_default(), &request.spec.session);
        }
    };
    let stores = ctx.stores.clone();
    let of_session = move |session: &Session| {
        let key = within(session.metadata.namespace.as_deref(), &session.name_any());
        let theirs = stores.requests_of.get(&key).into_iter().filter(|r| is_open(r));
        theirs.map(|r| ObjectRef::from_obj(&*r)).collect::<Vec<_>>()
    };
    let triggers = [queue::own(&ctx.stores.requests, gone), queue::related(&ctx.stores.sessions, of_session)];
    let (passes, store) = (ctx.clone(), ctx.stores.requests.clone());
    queue::run(ctx, store, triggers, 8, move |request| reconcile(request, passes.clone())).await;
}

async fn reconcile(cached: Arc<Request>, ctx: Arc<Context>) -> Result<Action, Error> {
    if !is_open(&cached) || cached.spec.id.is_none() {
        return Ok(Action::await_change());
    }
    let namespace = cached.namespace().unwrap_or_default();
    if cached.status.as_ref().is_some_and(|s| s.decision.is_some()) {
        // The bridge reads itself what was decided.
        ctx.live.wake(&namespace, &cached.spec.session);
    }
    let session = ctx.stores.sessions.get(Some(&namespace), &cached.spec.session);
    let mut seen = Observed { request: Request::clone(&cached), session: session.as_deref().cloned() };
    let planned = plan(&seen, &ctx.env());
    if planned.status.is_none() {
        return carry_out(&ctx, &seen.request, planned).await;
    }
    // To be closed: that is decided on what the API server says now.
    let requests: Api<Request> = Api::namespaced(ctx.client.clone(), &namespace);
    let Some(request) = requests.get_opt(&cached.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let sessions: Api<Session> = Api::namespaced(ctx.client.clone(), &namespace);
    seen = Observed { request, session: sessions.get_opt(&cached.spec.session).await? };
    let mut planned = plan(&seen, &ctx.env());
    if let Some(status) = planned.status.take()
        && !write_status_if_unchanged(&ctx, &seen.request, &own_fields(&status)?).await?
    {
        // Somebody decided, or the bridge wrote, since; that asks for the next pass.
        return Ok(Action::await_change());
    }
    carry_out(&ctx, &seen.request, planned).await
}

/// The status without the decision: that is whoever's who made it.
pub fn own_fields(status: &a8s_crds::RequestStatus) -> Result<serde_json::Value, Error> {
    let mut status = status.clone();
    status.decision = None;
    Ok(serde_json::to_value(status)?)
}
