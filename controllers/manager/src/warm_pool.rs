//! Pools: gathers from the caches, has `a8s_plan::warm_pool` decide, and makes or removes several members at a time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use a8s_crds::{Environment, Snapshot, WarmPool, Workspace};
use a8s_plan::{
    Op,
    warm_pool::{Golden, Observed, plan},
};
use futures::{StreamExt, stream};
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use crate::{
    context::Context,
    errors::Error,
    execute,
    queue::{self, Action},
    stores::node_facts,
    waiting::pool_of,
};

/// Members made or removed at the same time.
const AT_ONCE: usize = 8;
/// Many Sessions at once make many changes; a pass for each would only see half of them.
const PAUSE: Duration = Duration::from_millis(100);
/// The same while Sessions take desktops over: what a pass makes then is what they wait for.
const BUSY: Duration = Duration::from_millis(500);

/// Shared by the passes of all pools.
struct Passes {
    ctx: Arc<Context>,
    /// By UID: when the next pass may begin, and when the status was written.
    times: Mutex<HashMap<String, Times>>,
}

#[derive(Clone, Copy, Default)]
struct Times {
    next: Option<Instant>,
    status: Option<Instant>,
    /// Desktops that Sessions had taken over, and when there was one more than before.
    taken: usize,
    taken_at: Option<Instant>,
}

/// Reconciles pools until the process ends.
pub async fn run(ctx: Arc<Context>) {
    ctx.stores.ready().await;
    let store = ctx.stores.pools.clone();
    let passes = Arc::new(Passes { ctx: ctx.clone(), times: Mutex::default() });
    let forgetting = passes.clone();
    let own = queue::own(&ctx.stores.pools, move |pool| {
        forgetting.forget(pool.metadata.uid.as_deref().unwrap_or_default());
    });
    let all = store.clone();
    let catalogue = queue::related(&ctx.stores.environments, move |e| of_environment(&all.all(), e));
    let members = queue::related(&ctx.stores.workspaces, pool_ref);
    let golden = queue::related(&ctx.stores.snapshots, golden_ref);
    let (all, mut known) = (store.clone(), BTreeMap::new());
    let nodes = ctx.stores.nodes.changes().map(move |change| {
        let facts = (!change.gone).then(|| node_facts(&change.object));
        // Heartbeats change nothing that matters here.
        let news = known.insert(change.object.name_any(), facts) != Some(facts);
        let pools = if news { all.all() } else { Vec::new() };
        stream::iter(pools.into_iter().map(|p| ObjectRef::from_obj(&*p)))
    });
    let triggers = [own, members, catalogue, golden, nodes.flatten().boxed()];
    queue::run(ctx, store, triggers, 8, move |pool| pass(pool, passes.clone())).await;
}

fn pool_ref(workspace: &Workspace) -> Option<ObjectRef<WarmPool>> {
    Some(ObjectRef::new(&pool_of(workspace)?).within(&workspace.namespace()?))
}

fn golden_ref(snapshot: &Snapshot) -> Option<ObjectRef<WarmPool>> {
    let pool = snapshot.owner_references().iter().find(|r| r.kind == "WarmPool")?;
    Some(ObjectRef::new(&pool.name).within(&snapshot.namespace()?))
}

fn of_environment(pools: &[Arc<WarmPool>], environment: &Environment) -> Vec<ObjectRef<WarmPool>> {
    let name = environment.name_any();
    pools.iter().filter(|p| p.spec.environment == name).map(|p| ObjectRef::from_obj(&**p)).collect()
}

async fn pass(pool: Arc<WarmPool>, passes: Arc<Passes>) -> Result<Action, Error> {
    let ctx = &passes.ctx;
    let uid = pool.uid().unwrap_or_default();
    let began = Instant::now();
    let times = passes.times(&uid);
    if let Some(wait) = times.next.and_then(|next| next.checked_duration_since(began)) {
        return Ok(Action::requeue(wait));
    }
    let mut seen = gather(ctx, &pool, &uid, times);
    let taken = seen.members.iter().filter(|m| !m.waiting).count();
    let taken_at = if taken > times.taken { Some(began) } else { times.taken_at };
    let millis = |at: Instant| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
    // Somebody who is about to take one counts like somebody who just did.
    let busy = ctx.rush.is_busy();
    seen.taken_age = if busy { Some(0) } else { taken_at.map(millis) };
    let mut planned = plan(&seen, &ctx.env());
    let ops = std::mem::take(&mut planned.ops);
    let writes_status = planned.status.is_some();
    let worked = carry_out_at_once(ctx, &pool, ops).await;
    let result = execute::carry_out(ctx, pool.as_ref(), planned).await;
    let status = if writes_status { Some(Instant::now()) } else { times.status };
    // A big pool takes longer to look at; it must not take all the time there is.
    let least = if busy { BUSY } else { PAUSE };
    let pause = least.max(began.elapsed().min(Duration::from_secs(1)));
    passes.set(uid, Times { next: Some(Instant::now() + pause), status, taken, taken_at });
    worked?;
    result
}

/// Steps for different members do not depend on each other. All are tried; the first that failed is reported.
async fn carry_out_at_once(ctx: &Context, pool: &WarmPool, ops: Vec<Op>) -> Result<(), Error> {
    let steps = ops.into_iter().map(|op| async move { execute::step_for(ctx, pool, &op).await });
    let results: Vec<_> = stream::iter(steps).buffer_unordered(AT_ONCE).collect().await;
    results.into_iter().collect()
}

fn gather(ctx: &Context, pool: &WarmPool, uid: &str, times: Times) -> Observed {
    let stores = &ctx.stores;
    let (name, namespace) = (pool.name_any(), pool.namespace().unwrap_or_default());
    let behind = ctx.written.behind(uid, "Workspace", stores.workspaces.seen())
        || ctx.written.behind(uid, "Snapshot", stores.snapshots.seen())
        || ctx.written.behind(uid, "WarmPool", stores.pools.seen());
    let (mut members, mut taken) = (Vec::new(), BTreeSet::new());
    for made in stores.waiting.made_by(&namespace, &name) {
        match made.member_of(&name, uid) {
            Some(member) => members.push(member),
            None => drop(taken.insert(made.name.clone())),
        }
    }
    let snapshots = stores.snapshots.all();
    Observed {
        environment: stores.environments.get(None, &pool.spec.environment).map(|e| Environment::clone(&e)),
        members,
        taken,
        nodes: stores.nodes.all().iter().map(|n| (n.name_any(), node_facts(n))).collect(),
        golden: snapshots.iter().filter_map(|s| Golden::of(s, uid)).collect(),
        behind,
        status_age: times.status.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
        taken_age: None,
        pool: crate::reading::current(&stores.pools, pool, |_| false)
            .map_or_else(|_| pool.clone(), |now| WarmPool::clone(&now)),
    }
}

impl Passes {
    fn times(&self, uid: &str) -> Times {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).get(uid).copied().unwrap_or_default()
    }

    fn set(&self, uid: String, times: Times) {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, times);
    }

    fn forget(&self, uid: &str) {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.ctx.written.forget(uid);
    }
}
