//! Sessions: gathers what the plan asks for, carries the plan out, and keeps the conversation bridge running or not. It is the only
//! writer of `Session.status`; what the bridge knows comes through [`crate::bridge::live`].

use std::sync::Arc;

use a8s_crds::{
    Artifact, Attachment, Environment, Message, Session, SessionState, Snapshot, Workspace,
    conditions::{self, ConditionType, Reason},
    names,
};
use a8s_plan::session::{Observed, missing, plan};
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::ListParams,
    runtime::{
        Config, WatchStreamExt, applier,
        controller::{Action, ReconcileRequest, trigger_owners, trigger_self, trigger_with},
        reflector, watcher,
    },
};

use crate::{
    bridge,
    context::Context,
    errors::{Error, error_policy},
    execute::carry_out,
};

type Triggers = stream::BoxStream<'static, Result<ReconcileRequest<Session>, watcher::Error>>;

/// Reconciles Sessions until the process ends.
///
/// It is a `Controller` in all but name: besides watches, passes are asked for by the bridges, which `Controller` offers only as unstable.
pub async fn run(ctx: Arc<Context>) {
    let (store, writer) = reflector::store();
    let all = watcher::Config::default;
    let sessions = watcher(Api::<Session>::all(ctx.client.clone()), all()).default_backoff().reflect(writer);
    let workspaces = watcher(Api::<Workspace>::all(ctx.client.clone()), all()).default_backoff();
    let catalogue = watcher(Api::<Environment>::all(ctx.client.clone()), all()).default_backoff();
    let unsettled = {
        let store = store.clone();
        // A change of the catalogue matters to Sessions without a Workspace only.
        move |_: Environment| {
            let without =
                |s: &Arc<Session>| s.status.as_ref().is_none_or(|status| status.workspace.is_none());
            store
                .state()
                .into_iter()
                .filter(without)
                .map(|s| reflector::ObjectRef::from_obj(&*s))
                .collect::<Vec<_>>()
        }
    };
    let triggers: Vec<Triggers> = vec![
        trigger_self(sessions.applied_objects(), ()).boxed(),
        trigger_owners(workspaces.touched_objects(), (), ()).boxed(),
        trigger_with(catalogue.applied_objects(), unsettled).boxed(),
        ctx.live.passes().map(|session| Ok(session.into())).boxed(),
    ];
    drive(ctx, store, stream::select_all(triggers)).await;
}

async fn drive(
    ctx: Arc<Context>,
    store: reflector::Store<Session>,
    triggers: impl Stream<Item = Result<ReconcileRequest<Session>, watcher::Error>>,
) {
    let reconciler = |session, ctx| Box::pin(reconcile(session, ctx));
    applier(reconciler, error_policy, ctx, store, triggers, Config::default().concurrency(16))
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "session pass");
            }
        })
        .await;
}

async fn reconcile(cached: Arc<Session>, ctx: Arc<Context>) -> Result<Action, Error> {
    let namespace = cached.namespace().unwrap_or_default();
    // Freshly read: a stale status would take back what the bridge has recorded since.
    let api: Api<Session> = Api::namespaced(ctx.client.clone(), &namespace);
    let Some(session) = api.get_opt(&cached.name_any()).await? else { return Ok(Action::await_change()) };
    let seen = gather(&ctx, session, &namespace).await?;
    let uid = seen.session.uid().unwrap_or_default();
    let ours =
        |w: &&Workspace| w.owner_references().iter().any(|r| r.controller == Some(true) && r.uid == uid);
    let workspace = seen.workspaces.iter().find(ours);
    let leaving = seen.session.metadata.deletion_timestamp.is_some()
        || workspace.is_some_and(|w| w.metadata.deletion_timestamp.is_some());
    bridge::ensure(
        &ctx,
        &seen.session,
        workspace,
        leaving || seen.session.spec.state != SessionState::Active,
    );
    let planned = plan(&seen, &ctx.env());
    carry_out(&ctx, &seen.session, planned).await
}

async fn gather(ctx: &Context, session: Session, namespace: &str) -> Result<Observed, Error> {
    let (name, uid) = (session.name_any(), session.uid().unwrap_or_default());
    let client = || ctx.client.clone();
    let workspaces_api: Api<Workspace> = Api::namespaced(client(), namespace);
    let mut workspaces = Vec::new();
    let recorded = session.status.as_ref().and_then(|s| s.workspace.clone());
    if let Some(recorded) = &recorded {
        workspaces.extend(workspaces_api.get_opt(&recorded.name).await?);
        workspaces.retain(|w| w.uid().as_ref() == Some(&recorded.uid));
    }
    // It has none yet, or the one it had is gone.
    let without = workspaces.is_empty();
    if without {
        for taken in [false, true] {
            workspaces.extend(workspaces_api.get_opt(&names::workspace(&name, &uid, taken)).await?);
        }
    }
    let undelivered = if recorded.is_some() && without {
        let said = ListParams::default().fields(&format!("spec.session={name}"));
        let all = Api::<Message>::namespaced(client(), namespace).list(&said).await?.items;
        all.iter().filter(|m| m.is_undelivered() && !bridge::is_for_another(m, &uid)).count()
    } else {
        0
    };
    let environments = if recorded.is_none() {
        Api::<Environment>::all(client()).list(&ListParams::default()).await?.items
    } else {
        Vec::new()
    };
    let snapshot = match session.spec.source.as_ref().and_then(|s| s.snapshot.as_ref()) {
        Some(source) => Api::<Snapshot>::namespaced(client(), namespace).get_opt(source).await?,
        None => None,
    };
    let mut unresolved = Vec::new();
    let began = session.status.as_ref();
    let began = began.is_some_and(|s| s.seq.unwrap_or_default() > 0 || s.goal_epoch.is_some());
    let needed = session.spec.state == SessionState::Active && !began;
    for attachment in session.spec.attachments.iter().filter(|_| needed) {
        unresolved.extend(unresolved_reason(ctx, attachment, namespace).await?);
    }
    let live = ctx.live.facts(&uid);
    Ok(Observed {
        session,
        environments,
        snapshot,
        missing: unresolved,
        workspaces,
        pool: Vec::new(),
        undelivered,
        live,
    })
}

async fn unresolved_reason(
    ctx: &Context,
    attachment: &Attachment,
    namespace: &str,
) -> Result<Option<(Reason, String)>, Error> {
    let found = if let Some(source) = &attachment.config_map {
        let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), namespace);
        api.get_opt(&source.name).await?.is_some_and(|map| {
            map.data.is_some_and(|data| data.contains_key(&source.key))
                || map.binary_data.is_some_and(|data| data.contains_key(&source.key))
        })
    } else if let Some(source) = &attachment.artifact {
        let api: Api<Artifact> = Api::namespaced(ctx.client.clone(), namespace);
        let status = api.get_opt(&source.name).await?.and_then(|a| a.status);
        status.is_some_and(|s| conditions::is_true(&s.conditions, ConditionType::Ready))
    } else {
        true
    };
    Ok((!found).then(|| missing(attachment)))
}
