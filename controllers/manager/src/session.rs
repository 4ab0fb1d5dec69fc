//! Sessions: gathers what the plan asks for, carries the plan out, and keeps the conversation bridge running or not. It is the only
//! writer of `Session.status`; what the bridge knows comes through [`crate::bridge::live`].

use std::{collections::HashMap, sync::Arc};

use a8s_crds::{
    Artifact, Attachment, Connection, Environment, Message, Request, Session, SessionState, SessionStatus,
    Snapshot, Workspace,
    conditions::{self, ConditionType, Reason},
    names,
};
use a8s_plan::{
    Op, Plan,
    chat::{Brain, brain},
    overseer,
    session::{Advice, Observed, Waiting, choose, fits, missing, no_connection, plan},
};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    runtime::reflector::ObjectRef,
};
use serde_json::json;

use crate::{
    bridge, chat,
    context::Context,
    errors::Error,
    execute::carry_out,
    queue::{self, Action, Triggers},
    reading,
    stores::{node_facts, within},
};

/// So many desktops of pools are looked at for one Session at most.
const CANDIDATES: usize = 4;
/// So often others are looked for when somebody else took all of those.
const TRIES: usize = 4;

/// Reconciles Sessions until the process ends.
pub async fn run(ctx: Arc<Context>) {
    ctx.stores.ready().await;
    let store = ctx.stores.sessions.clone();
    let without = store.clone();
    // A change of the catalogue matters to Sessions without a Workspace only.
    let unsettled = move || {
        let sessions = without.all().into_iter();
        let sessions = sessions.filter(|s| s.status.as_ref().is_none_or(|status| status.workspace.is_none()));
        sessions.map(|s| ObjectRef::from_obj(&*s)).collect::<Vec<_>>()
    };
    let written = ctx.clone();
    let sessions = queue::own(&ctx.stores.sessions, move |session| {
        written.written.forget(session.metadata.uid.as_deref().unwrap_or_default());
    });
    let owners = queue::related(&ctx.stores.workspaces, owners);
    let catalogue = queue::related(&ctx.stores.environments, move |_| unsettled());
    let asked = ctx.stores.requests.changes().map(|change| {
        ObjectRef::new(&change.object.spec.session).within(&change.object.namespace().unwrap_or_default())
    });
    let offered = offered(&ctx);
    let triggers = [sessions, owners, catalogue, asked.boxed(), offered, ctx.live.passes().boxed()];
    let passes = ctx.clone();
    queue::run(ctx, store, triggers, 16, move |session| reconcile(session, passes.clone())).await;
}

/// A Connection that comes, goes, changes or becomes ready may be granted, or asked, by every Session of its namespace. What else its
/// status says concerns none of them.
fn offered(ctx: &Arc<Context>) -> Triggers<Session> {
    let mut known: HashMap<String, (Option<i64>, bool)> = HashMap::new();
    let sessions = ctx.stores.sessions.clone();
    let changes = ctx.stores.connections.changes().filter_map(move |change| {
        let (connection, uid) = (&change.object, change.object.uid().unwrap_or_default());
        let conditions = connection.status.as_ref().map_or(&[][..], |s| &s.conditions);
        let now = (connection.metadata.generation, conditions::is_true(conditions, ConditionType::Ready));
        let before = if change.gone { known.remove(&uid) } else { known.insert(uid, now) };
        let matters = change.gone || before != Some(now);
        std::future::ready(matters.then(|| connection.namespace()))
    });
    let theirs = changes.map(move |namespace| {
        let all = sessions.all().into_iter();
        let all = all.filter(|s| s.namespace() == namespace && s.spec.state == SessionState::Active);
        stream::iter(all.map(|s| ObjectRef::from_obj(&*s)).collect::<Vec<_>>())
    });
    theirs.flatten().boxed()
}

fn owners(workspace: &Workspace) -> Vec<ObjectRef<Session>> {
    let namespace = workspace.namespace().unwrap_or_default();
    let sessions = workspace.owner_references().iter().filter(|r| r.kind == "Session");
    sessions.map(|r| ObjectRef::new(&r.name).within(&namespace)).collect()
}

async fn reconcile(session: Arc<Session>, ctx: Arc<Context>) -> Result<Action, Error> {
    // An older status would take back what the bridge has recorded since, and an older list of Workspaces would make a second one.
    let behind = |uid: &str| {
        ctx.written.behind(uid, "Session", ctx.stores.sessions.seen())
            || ctx.written.behind(uid, "Workspace", ctx.stores.workspaces.seen())
    };
    let session = match reading::current(&ctx.stores.sessions, &*session, behind) {
        Ok(session) => session,
        Err(action) => return Ok(action),
    };
    let uid = session.uid().unwrap_or_default();
    let mut seen = gather(&ctx, (*session).clone(), &session.namespace().unwrap_or_default()).await?;
    let ours =
        |w: &&Workspace| w.owner_references().iter().any(|r| r.controller == Some(true) && r.uid == uid);
    let workspace = seen.workspaces.iter().find(ours);
    let leaving = seen.session.metadata.deletion_timestamp.is_some()
        || workspace.is_some_and(|w| w.metadata.deletion_timestamp.is_some());
    let resting = workspace.is_some_and(a8s_plan::workspace::asleep);
    bridge::ensure(
        &ctx,
        &seen.session,
        workspace,
        // What falls asleep is given nothing more: the Message wakes it first.
        leaving || resting || seen.session.spec.state != SessionState::Active,
    );
    if a8s_plan::chat::applies(&seen.session, workspace.is_some()) {
        let Some(stage) = chat::pass(&ctx, &seen).await? else {
            return Ok(Action::requeue(reading::BEHIND));
        };
        seen.chat = Some(stage);
    } else {
        ctx.thoughts.forget(&uid);
        oversee(&ctx, &seen).await?;
        seen.advice = advice(&ctx, &seen, workspace.is_some());
    }
    let mut tries = 0;
    loop {
        if seen.pool.is_empty() && (1..TRIES).contains(&tries) {
            seen.pool = waiting(&ctx, &seen, &session.namespace().unwrap_or_default());
        }
        let planned = plan(&seen, &ctx.env());
        let Some(wanted) = taken_over(&planned) else { return carry_out(&ctx, &seen.session, planned).await };
        let _first = ctx.rush.one();
        tries += 1;
        if ctx.stores.waiting.hide(&wanted) {
            match carry_out(&ctx, &seen.session, planned).await {
                // Somebody was faster; there may be another.
                Err(Error::Kube(kube::Error::Api(s))) if matches!(s.code, 404 | 409) => {}
                Err(error) => {
                    ctx.stores.waiting.show(&wanted);
                    return Err(error);
                }
                done => return done,
            }
        }
        seen.pool.retain(|waiting| waiting.workspace.uid().as_ref() != Some(&wanted));
    }
}

/// What a model says about the Environment, where there is a choice, no rule speaks for any, and the Session has a model.
fn advice(ctx: &Arc<Context>, seen: &Observed, has_workspace: bool) -> Advice {
    let session = &seen.session;
    let recorded = session.status.as_ref().is_some_and(|s| s.workspace.is_some());
    let open = !has_workspace && !recorded && session.spec.state == SessionState::Active;
    if open
        && seen.environments.len() > 1
        && let Ok(choice) = choose(seen)
        && !choice.certain
        && let Brain::Model(connection) = brain(session, &seen.connections)
    {
        return chat::advice(ctx, seen, &connection);
    }
    ctx.advice.forget(&session.uid().unwrap_or_default());
    Advice::None
}

/// What a rule may decide of what the agent asks is decided, and what asks for a hand-over that is over is closed.
async fn oversee(ctx: &Context, seen: &Observed) -> Result<(), Error> {
    let session = &seen.session;
    let left = a8s_plan::chat::leftovers(session, &seen.requests, &ctx.env());
    // What has changed since is looked at in the pass that follows from that.
    chat::carry_out(ctx, session, &left).await?;
    let name = session.status.as_ref().and_then(|s| s.environment.as_deref());
    let environment = name.and_then(|name| ctx.stores.environments.get(None, name));
    for request in &seen.requests {
        let Some(decision) = overseer::decide(request, environment.as_deref(), &seen.connections, &ctx.env())
        else {
            continue;
        };
        let api: Api<Request> = Api::namespaced(ctx.client.clone(), &request.namespace().unwrap_or_default());
        let patch = json!({
            "metadata": {"uid": request.uid(), "resourceVersion": request.resource_version()},
            "status": {"decision": decision},
        });
        let params = PatchParams { field_manager: Some("a8s/overseer".into()), ..PatchParams::default() };
        match api.patch_status(&request.name_any(), &params, &Patch::Merge(&patch)).await {
            // Somebody decided, or closed it, since.
            Err(kube::Error::Api(s)) if matches!(s.code, 404 | 409) => {}
            other => drop(other?),
        }
    }
    Ok(())
}

/// UID of the Workspace that the plan takes from a pool.
fn taken_over(plan: &Plan<SessionStatus>) -> Option<String> {
    plan.ops
        .iter()
        .find_map(|op| if let Op::Swap { target, .. } = op { Some(target.uid.clone()) } else { None })
}

async fn gather(ctx: &Context, session: Session, namespace: &str) -> Result<Observed, Error> {
    let (name, uid) = (session.name_any(), session.uid().unwrap_or_default());
    let client = || ctx.client.clone();
    let recorded = session.status.as_ref().and_then(|s| s.workspace.clone());
    // A Workspace that was taken from a pool has a name of its own.
    let mut workspaces: Vec<Workspace> =
        ctx.stores.waiting.of_owner(&uid).iter().map(|w| Workspace::clone(w)).collect();
    if workspaces.len() > 1
        && let Some(recorded) = &recorded
        && workspaces.iter().any(|w| w.uid().as_ref() == Some(&recorded.uid))
    {
        workspaces.retain(|w| w.uid().as_ref() == Some(&recorded.uid));
    }
    let without = workspaces.is_empty();
    if without {
        let api: Api<Workspace> = Api::namespaced(client(), namespace);
        let candidates = [false, true].map(|taken| names::workspace(&name, &uid, taken));
        if let Some(recorded) = &recorded {
            // That a desktop is gone is told to people and starts a new conversation: it is not concluded from a cache.
            let there = api.get_opt(&recorded.name).await?;
            workspaces.extend(there.filter(|w| w.uid().as_ref() == Some(&recorded.uid)));
            let gone = workspaces.is_empty();
            for candidate in candidates.iter().filter(|_| gone) {
                workspaces.extend(api.get_opt(candidate).await?);
            }
        } else {
            let cached = candidates.iter().filter_map(|c| ctx.stores.workspaces.get(Some(namespace), c));
            workspaces.extend(cached.map(|w| Workspace::clone(&w)));
        }
    }
    let owned =
        |w: &Workspace| w.owner_references().iter().any(|r| r.controller == Some(true) && r.uid == uid);
    let without = without && !workspaces.iter().any(owned);
    // One that is asleep has nothing under way: whatever is not settled yet is said to nobody.
    let asleep = workspaces.iter().any(a8s_plan::workspace::asleep);
    let undelivered = if recorded.is_some() && (without || asleep) {
        let said = ListParams::default().fields(&format!("spec.session={name}"));
        let all = Api::<Message>::namespaced(client(), namespace).list(&said).await?.items;
        all.iter()
            .filter(|m| {
                (m.is_undelivered() || asleep && m.spec.content.is_some() && !m.is_settled())
                    && !bridge::is_for_another(m, &uid)
            })
            .count()
    } else {
        0
    };
    let environments: Vec<Environment> = if recorded.is_none() {
        ctx.stores.environments.all().iter().map(|e| Environment::clone(e)).collect()
    } else {
        // What was chosen says which tools and Connections it offers.
        let chosen = session.status.as_ref().and_then(|s| s.environment.as_deref());
        let chosen = chosen.and_then(|name| ctx.stores.environments.get(None, name));
        chosen.iter().map(|e| Environment::clone(e)).collect()
    };
    let snapshot = match session.spec.source.as_ref().and_then(|s| s.snapshot.as_ref()) {
        Some(source) => Api::<Snapshot>::namespaced(client(), namespace).get_opt(source).await?,
        None => None,
    };
    let origin = match session.spec.source.as_ref().and_then(|s| s.workspace.as_ref()) {
        Some(source) => Api::<Workspace>::namespaced(client(), namespace).get_opt(source).await?,
        None => None,
    };
    let mut unresolved = Vec::new();
    let began = session.status.as_ref();
    let began = began.is_some_and(|s| s.seq.unwrap_or_default() > 0 || s.goal_epoch.is_some());
    let needed = session.spec.state == SessionState::Active && !began;
    let connections = connections(ctx, &session, namespace, needed || without).await?;
    for attachment in session.spec.attachments.iter().filter(|_| needed) {
        unresolved.extend(unresolved_reason(ctx, attachment, &connections, namespace).await?);
    }
    if let Some(model) = session.spec.agent.as_ref().and_then(|a| a.model.as_ref()).filter(|_| needed)
        && !is_among(&connections, &model.connection)
    {
        unresolved.push(no_connection("agent.model", &model.connection));
    }
    let live = ctx.live.facts(&uid);
    let mut seen = Observed {
        session,
        environments,
        snapshot,
        origin,
        missing: unresolved,
        workspaces,
        pool: Vec::new(),
        undelivered,
        live,
        requests: ctx.stores.requests_of.get(&within(Some(namespace), &name)),
        connections,
        chat: None,
        advice: Advice::None,
    };
    // A Session that starts from something has no use for what others wait for.
    if recorded.is_none() && without && seen.session.spec.source.is_none() {
        seen.pool = waiting(ctx, &seen, namespace);
    }
    Ok(seen)
}

/// Some desktops that wait in pools and would do. The plan looks at them again.
fn waiting(ctx: &Context, seen: &Observed, namespace: &str) -> Vec<Waiting> {
    let Ok(choice) = choose(seen) else { return Vec::new() };
    let Some(environment) = seen.environments.iter().find(|e| e.name_any() == choice.environment) else {
        return Vec::new();
    };
    let uid = seen.session.uid().unwrap_or_default();
    let serves = |workspace: &Workspace| {
        let node = workspace.status.as_ref().and_then(|s| s.node.as_deref());
        let node = node.and_then(|node| ctx.stores.nodes.get(None, node));
        node.is_some_and(|node| {
            let facts = node_facts(&node);
            facts.ready && facts.schedulable
        })
    };
    let fits = |workspace: &Workspace| serves(workspace) && fits(&seen.session, environment, workspace);
    let some = ctx.stores.waiting.some(namespace, &choice.environment, &uid, CANDIDATES, fits);
    some.into_iter().map(|workspace| Waiting { workspace, serves: true }).collect()
}

async fn unresolved_reason(
    ctx: &Context,
    attachment: &Attachment,
    connections: &[Arc<Connection>],
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
    } else if let Some(source) = &attachment.connection {
        is_among(connections, &source.name)
    } else {
        true
    };
    Ok((!found).then(|| missing(attachment)))
}

fn is_among(connections: &[Arc<Connection>], name: &str) -> bool {
    connections.iter().any(|c| c.name_any() == name)
}

/// The namespace's Connections. Before its desktop works (`early`), those that the Session names are asked for when the cache does not
/// have them yet: they are not called missing for nothing, and a desktop has all its grants from the beginning.
async fn connections(
    ctx: &Context,
    session: &Session,
    namespace: &str,
    early: bool,
) -> Result<Vec<Arc<Connection>>, Error> {
    let mut all = ctx.stores.connections_of.get(namespace);
    for name in overseer::named(session) {
        if early && !is_among(&all, name) {
            let api: Api<Connection> = Api::namespaced(ctx.client.clone(), namespace);
            all.extend(api.get_opt(name).await?.map(Arc::new));
        }
    }
    Ok(all)
}
