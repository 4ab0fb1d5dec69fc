//! Shares: gathers, has `a8s_plan::share` decide, and carries it out. What a pass changes it decides on what the API server says; and what
//! is left of a Share that is gone is looked for by itself, since garbage collection may be late and can be told to leave it.

use std::{fmt::Debug, sync::Arc};

use a8s_crds::{Session, Share, Workspace, names};
use a8s_plan::share::{
    Observed,
    access::{leftover, made_for},
    plan, refused,
};
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use crate::{
    context::Context,
    errors::Error,
    execute::{carry_out, step},
    queue::{self, Action},
    reading::{self, Reads, one},
    stores::{Cache, Cached, within},
};

/// Reconciles Shares until the process ends.
pub async fn run(ctx: Arc<Context>) {
    ctx.stores.ready().await;
    let (forgetting, all) = (ctx.clone(), ctx.stores.shares_of.clone());
    let own = queue::own(&ctx.stores.shares, move |share| {
        forgetting.written.forget(share.metadata.uid.as_deref().unwrap_or_default());
    });
    let of_session = move |session: &Session| {
        let key = within(session.metadata.namespace.as_deref(), &session.name_any());
        queue::references(&all.get(&key))
    };
    let all = ctx.stores.shares_of.clone();
    let of_workspace = move |workspace: &Workspace| {
        let namespace = workspace.metadata.namespace.as_deref();
        let sessions = workspace.owner_references().iter().filter(|r| r.kind == "Session");
        let shares = sessions.flat_map(|session| all.get(&within(namespace, &session.name)));
        shares.map(|share| ObjectRef::from_obj(&*share)).collect::<Vec<_>>()
    };
    let triggers = [
        own,
        queue::related(&ctx.stores.sessions, of_session),
        queue::related(&ctx.stores.workspaces, of_workspace),
        queue::related(&ctx.stores.roles, queue::controller_of),
        queue::related(&ctx.stores.bindings, queue::controller_of),
    ];
    let (passes, store) = (ctx.clone(), ctx.stores.shares.clone());
    let shares = queue::run(ctx.clone(), store, triggers, 4, move |share| pass(share, passes.clone()));
    let (bindings, roles) = (ctx.stores.bindings.clone(), ctx.stores.roles.clone());
    futures::join!(shares, sweep(ctx.clone(), bindings), sweep(ctx, roles));
}

async fn pass(share: Arc<Share>, ctx: Arc<Context>) -> Result<Action, Error> {
    let stores = &ctx.stores;
    let behind = |uid: &str| ctx.written.behind(uid, "Share", stores.shares.seen());
    let share = match reading::current(&stores.shares, &*share, behind) {
        Ok(share) => share,
        Err(action) => return Ok(action),
    };
    let (namespace, name) = (share.namespace().unwrap_or_default(), names::share_access(&share.name_any()));
    let within = Some(namespace.as_str());
    let session = stores.sessions.get(within, &share.spec.session);
    let workspace = session.as_deref().and_then(desk).and_then(|desk| stores.workspaces.get(within, desk));
    let seen = Observed {
        workspace: workspace.as_deref().cloned(),
        session: session.as_deref().cloned(),
        role: stores.roles.get(within, &name).as_deref().cloned(),
        binding: stores.bindings.get(within, &name).as_deref().cloned(),
        share: Share::clone(&share),
    };
    let planned = plan(&seen, &ctx.env());
    if planned.ops.is_empty() {
        return carry_out(&ctx, &*share, planned).await;
    }
    // Rights are given and taken on nothing that may be late.
    let reads = Reads::Server;
    let Some(share) = one(&ctx, &stores.shares, reads, &namespace, &share.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let session = one(&ctx, &stores.sessions, reads, &namespace, &share.spec.session).await?;
    let workspace = match session.as_ref().and_then(desk) {
        Some(desk) => one(&ctx, &stores.workspaces, reads, &namespace, desk).await?,
        None => None,
    };
    let role = one(&ctx, &stores.roles, reads, &namespace, &name).await?;
    let binding = one(&ctx, &stores.bindings, reads, &namespace, &name).await?;
    let seen = Observed { share, session, workspace, role, binding };
    match carry_out(&ctx, &seen.share, plan(&seen, &ctx.env())).await {
        Err(Error::Kube(kube::Error::Api(answer))) if answer.code == 403 => {
            carry_out(&ctx, &seen.share, refused(&seen, &answer.message, &ctx.env())).await?;
            // It is tried again, more and more seldom.
            Err(Error::Kube(kube::Error::Api(answer)))
        }
        done => done,
    }
}

fn desk(session: &Session) -> Option<&str> {
    Some(session.status.as_ref()?.workspace.as_ref()?.name.as_str())
}

/// Takes away what is left of Shares that are gone.
async fn sweep<K: Cached + Debug>(ctx: Arc<Context>, cache: Arc<Cache<K>>) {
    let theirs = |share: &Share| {
        let access = ObjectRef::new(&names::share_access(&share.name_any()));
        Some(access.within(&share.namespace().unwrap_or_default()))
    };
    let triggers = [queue::own(&cache, |_| {}), queue::related(&ctx.stores.shares, theirs)];
    let passes = ctx.clone();
    queue::run(ctx, cache.clone(), triggers, 4, move |found| left(found, passes.clone())).await;
}

async fn left<K: Cached>(found: Arc<K>, ctx: Arc<Context>) -> Result<Action, Error> {
    let namespace = found.namespace().unwrap_or_default();
    let Some((name, _)) = made_for(found.meta()) else { return Ok(Action::await_change()) };
    let cached = ctx.stores.shares.get(Some(&namespace), name);
    if leftover(&K::kind(&()), found.meta(), cached.as_deref()).is_some() {
        let share = one(&ctx, &ctx.stores.shares, Reads::Server, &namespace, name).await?;
        if let Some(op) = leftover(&K::kind(&()), found.meta(), share.as_ref()) {
            step(&ctx, &op).await?;
        }
    }
    Ok(Action::await_change())
}
