//! Workspaces: looks at what there is, has `a8s_plan::workspace` decide, carries that out.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    time::Duration,
};

use a8s_crds::{
    Artifact, Workspace, WorkspaceState,
    conditions::{self, ConditionType},
    names,
};
use a8s_plan::workspace::{self as decide, Made, Observed, Source};
use a8s_wire::RunnerPhase;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{Api, ResourceExt, api::ListParams, runtime::reflector::ObjectRef};

use crate::{
    asking::Stage,
    context::Context,
    errors::Error,
    execute, keeping,
    pods::PodAddress,
    queue::{self, Action},
    reading::{self, Reads},
    rush,
    stores::within,
    volumes, warnings,
};

/// Most that may be worked on at once.
const CONCURRENCY: usize = 16;
/// While many Sessions take desktops over, what is to go and where nobody works is looked at again after so long, and waits for so many
/// seconds at most.
const LATER: Duration = Duration::from_secs(5);
const LATEST: i64 = 60;
/// Something that has not come up after this many seconds may have a warning to show.
const SLOW: i64 = 3;

/// Shared by the passes of all Workspaces.
struct Passes {
    ctx: Arc<Context>,
    /// What the API server refused, by UID of the Workspace, until it is said in its status.
    refused: Mutex<HashMap<String, String>>,
}

/// Runs the controller until the process ends.
pub async fn run(ctx: Arc<Context>) {
    let stores = ctx.stores.clone();
    stores.ready().await;
    let store = stores.workspaces.clone();
    let forgetting = ctx.clone();
    let own = queue::own(&stores.workspaces, move |workspace| {
        let uid = workspace.uid().unwrap_or_default();
        forgetting.written.forget(&uid);
        forgetting.asking.forget(&uid);
        forgetting.pods.forget(&uid);
        forgetting.secrets.forget(&uid);
        forgetting.rush.forget(&uid);
    });
    let (waiting, ordered) = (stores.waiting_for.clone(), stores.waiting_for.clone());
    let catalogue = queue::related(&stores.environments, move |environment| {
        queue::references(&waiting.get(&format!("environment/{}", environment.name_any())))
    });
    let snapshots = queue::related(&stores.snapshots, move |snapshot| {
        let namespace = snapshot.namespace();
        let name = within(namespace.as_deref(), &snapshot.name_any());
        let mut all = queue::references(&ordered.get(&format!("snapshot/{name}")));
        // What it is of may wait for it before it lets go of its pod or its volume.
        all.push(ObjectRef::new(&snapshot.spec.workspace).within(&namespace.unwrap_or_default()));
        all
    });
    let (followers, askers) = (stores.clone(), stores.clone());
    let triggers = [
        own,
        queue::related(&stores.pods, queue::controller_of),
        queue::related(&stores.claims, queue::controller_of),
        queue::related(&stores.policies, queue::controller_of),
        catalogue,
        snapshots,
        ctx.asking.passes().boxed(),
        warnings::passes(&ctx),
        queue::related(&stores.sessions, move |session| keeping::follower(&followers, session)),
        queue::related(&stores.requests, move |request| keeping::asked(&askers, request)),
    ];
    let passes = Arc::new(Passes { ctx: ctx.clone(), refused: Mutex::default() });
    queue::run(ctx, store, triggers, CONCURRENCY, move |workspace| pass(workspace, passes.clone())).await;
}

async fn pass(workspace: Arc<Workspace>, passes: Arc<Passes>) -> Result<Action, Error> {
    let ctx = &passes.ctx;
    let current = reading::current(&ctx.stores.workspaces, &*workspace, |uid| reading::behind(ctx, uid));
    let workspace = match current {
        Ok(workspace) => workspace,
        Err(action) => return Ok(action),
    };
    let uid = workspace.uid().unwrap_or_default();
    if is_settled(&workspace) && ctx.rush.gives_way(&uid) {
        return Ok(Action::requeue(rush::AGAIN));
    }
    if ctx.rush.is_on() && may_end_later(ctx, &workspace).await {
        return Ok(Action::requeue(LATER));
    }
    let refused = passes.forget(&uid);
    let env = ctx.env();
    let Some(mut observed) = Box::pin(gather(ctx, &workspace, Reads::Caches)).await? else {
        return Ok(Action::await_change());
    };
    if is_outdated(ctx, &observed.workspace) {
        return Ok(Action::requeue(Duration::ZERO));
    }
    observed.last_error.clone_from(&refused);
    let mut plan = decide::plan(&observed, &env);
    if decide::irrevocable(&plan) || reading::is_final(&plan, &workspace) {
        // Whatever is on a volume goes with its claim: that is decided on what the API server says now, and on nothing older.
        let Some(fresh) = Box::pin(gather(ctx, &workspace, Reads::Server)).await? else {
            return Ok(Action::await_change());
        };
        observed = fresh;
        observed.last_error = refused;
        plan = decide::plan(&observed, &env);
    }
    if let Some(violation) = decide::check(&observed, &env, &plan).first() {
        return Err(Error::Plan(violation.to_string()));
    }
    if let Some(status) = &plan.status {
        ctx.metrics.started(observed.workspace.status.as_ref(), status);
    }
    let result = execute::carry_out(ctx, &observed.workspace, plan).await;
    match &result {
        Err(error) if error.status().is_some_and(|s| matches!(s.code, 403 | 422)) => {
            let text = error.status().map(|s| s.message.clone()).unwrap_or_default();
            tracing::info!(workspace = workspace.name_any(), text, "the API server refused a step");
            passes.remember(uid, format!("The API server refused a step: {text}"));
            Ok(Action::requeue(Duration::from_millis(50)))
        }
        _ => result,
    }
}

/// Whether its desktop is ready, as it was asked for: nobody waits for its next pass.
fn is_settled(workspace: &Workspace) -> bool {
    let status = workspace.status.as_ref();
    workspace.metadata.deletion_timestamp.is_none()
        && status.is_some_and(|s| {
            s.observed_generation == workspace.metadata.generation
                && conditions::is_true(&s.conditions, ConditionType::Ready)
        })
}

/// Whether it is to go, and can go a little later as well: nobody works in it.
async fn may_end_later(ctx: &Context, workspace: &Workspace) -> bool {
    let Some(deleted) = &workspace.metadata.deletion_timestamp else { return false };
    if Timestamp::now().as_second() - deleted.0.as_second() >= LATEST {
        return false;
    }
    let pod = ctx.stores.pods.get(workspace.namespace().as_deref(), &names::pod(&workspace.name_any()));
    let Some(pod) = pod.filter(|pod| pod.metadata.deletion_timestamp.is_none()) else { return false };
    let uid = workspace.uid().unwrap_or_default();
    let Some(host) = pod.status.as_ref().and_then(|s| s.pod_ip.clone()) else { return true };
    match ctx.asking.runner(&PodAddress { uid, host }).await {
        Some(runner) => runner.state != RunnerPhase::Running && runner.queue.is_empty(),
        None => true,
    }
}

/// Whether the spec was changed since this pass began. deskd may have been told of a newer wish already, which the pass would take back.
fn is_outdated(ctx: &Context, workspace: &Workspace) -> bool {
    let now = ctx.stores.workspaces.get(workspace.namespace().as_deref(), &workspace.name_any());
    now.is_some_and(|now| {
        now.metadata.generation > workspace.metadata.generation && now.uid() == workspace.uid()
    })
}

impl Passes {
    fn forget(&self, uid: &str) -> Option<String> {
        self.refused.lock().ok()?.remove(uid)
    }

    fn remember(&self, uid: String, text: String) {
        if let Ok(mut all) = self.refused.lock() {
            all.insert(uid, text);
        }
    }
}

/// Everything that the decision needs; nothing if the Workspace is gone. [`reading`] says what rests on a cache, and why it may.
async fn gather(ctx: &Context, cached: &Workspace, reads: Reads) -> Result<Option<Observed>, Error> {
    let namespace = cached.namespace().unwrap_or_default();
    let name = cached.name_any();
    let stores = &ctx.stores;
    let (pod_name, policy) = (names::pod(&name), names::network_policy(&name));
    // Of one that goes the garbage collector takes the volume; nothing is decided about that here.
    let of_volume = if cached.metadata.deletion_timestamp.is_some() { Reads::Caches } else { reads };
    let (workspace, environment, sources, found, pod, network_policy, snapshots) = tokio::try_join!(
        workspace(ctx, cached, reads),
        // No end depends on these two, nor on the certificate.
        reading::environment(ctx, &cached.spec.environment),
        sources(ctx, of_volume, &namespace, cached),
        reading::claims(ctx, of_volume, &namespace, cached),
        reading::one(ctx, &stores.pods, reads, &namespace, &pod_name),
        reading::one(ctx, &stores.policies, Reads::Caches, &namespace, &policy),
        reading::snapshots(ctx, of_volume, &namespace, cached),
    )?;
    let Some(workspace) = workspace.filter(|w| w.uid() == cached.uid()) else { return Ok(None) };
    let secret = reading::secret(ctx, &workspace, pod.is_some()).await?;
    let mut observed = Observed::of(workspace);
    observed.environment = environment;
    (observed.source, observed.restore) = sources;
    (observed.claim, observed.older) = decide::claims(&observed.workspace, found);
    observed.pod = pod;
    observed.node = crate::lost::node(ctx, &observed).await?;
    observed.secret = secret;
    observed.network_policy = network_policy;
    observed.protected.clone_from(&ctx.settings.protected);
    observed.snapshots = snapshots;
    observed.conversation = keeping::conversation(ctx, &observed.workspace);
    let doomed = decide::doomed(&observed, &ctx.env());
    if !doomed.is_empty() {
        observed.in_use = keeping::in_use(ctx, &namespace, &doomed);
    }
    volumes::for_the_next(ctx, &mut observed).await?;
    ask(ctx, &mut observed).await;
    let going = observed.deleted_at().is_some()
        || decide::wanted(&observed, &ctx.env()).state != WorkspaceState::Running;
    if (going || decide::restored_snapshot(&observed.workspace).is_some()) && observed.pod.is_some() {
        observed.artifacts = artifacts(ctx, reads, &observed).await?;
    }
    observed.warning = warning(ctx, &observed);
    Ok(Some(observed))
}

async fn workspace(ctx: &Context, cached: &Workspace, reads: Reads) -> Result<Option<Workspace>, Error> {
    if reads == Reads::Caches {
        return Ok(Some(cached.clone()));
    }
    let api: Api<Workspace> = Api::namespaced(ctx.client.clone(), &cached.namespace().unwrap_or_default());
    Ok(api.get_opt(&cached.name_any()).await?)
}

/// The Snapshots that the spec, and an order to restore, name.
async fn sources(
    ctx: &Context,
    reads: Reads,
    namespace: &str,
    workspace: &Workspace,
) -> Result<(Option<Source>, Option<Source>), Error> {
    let wanted = workspace.spec.source.as_ref().and_then(|s| s.snapshot.as_deref());
    tokio::try_join!(
        volumes::source(ctx, reads, namespace, wanted),
        volumes::source(ctx, reads, namespace, decide::restored_snapshot(workspace)),
    )
}

pub(crate) fn bound(claim: Option<&PersistentVolumeClaim>) -> bool {
    claim.and_then(|c| c.status.as_ref()?.phase.as_deref()) == Some("Bound")
}

/// Asks deskd and runner. That they do not answer is nothing special: it is what a start looks like.
async fn ask(ctx: &Context, observed: &mut Observed) {
    let status = observed.pod.as_ref().and_then(|p| p.status.as_ref());
    let over = status.and_then(|s| s.phase.as_deref()).is_none_or(|phase| phase != "Running");
    let Some(host) = status.and_then(|s| s.pod_ip.clone()).filter(|_| !over) else {
        return ctx.asking.forget(observed.uid());
    };
    let at = PodAddress { uid: observed.uid().to_owned(), host };
    let stage = observed.pod.as_ref().map_or(Stage { number: 0, ready: false }, stage);
    (observed.desk, observed.runner) =
        ctx.asking.ask(ObjectRef::from_obj(&observed.workspace), at, stage).await;
}

/// Changes whenever one of the pod's containers starts, gets ready or goes down.
fn stage(pod: &Pod) -> Stage {
    let status = pod.status.as_ref();
    let all = status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    for container in all {
        (&container.container_id, container.started, container.ready).hash(&mut hasher);
    }
    Stage { number: hasher.finish(), ready: !all.is_empty() && all.iter().all(|c| c.ready) }
}

async fn artifacts(ctx: &Context, reads: Reads, observed: &Observed) -> Result<Vec<Made>, Error> {
    let made = |artifact: &Artifact| {
        let conditions = artifact.status.as_ref().map_or(&[][..], |s| &s.conditions);
        let stored = conditions::is_true(conditions, ConditionType::Ready);
        let settled = stored || conditions::is_true(conditions, ConditionType::Stalled);
        let spec = &artifact.spec;
        // Of other Workspaces only what is stored counts: a fork inherits their files.
        let counts = stored || spec.workspace.uid == observed.uid();
        let (name, sha256) = (spec.name.clone(), spec.sha256.clone());
        counts.then_some(Made { name, version: spec.version, sha256, settled })
    };
    if reads == Reads::Caches {
        let here = |a: &&Arc<Artifact>| a.metadata.namespace.as_deref() == Some(observed.namespace());
        return Ok(ctx.stores.artifacts.all().iter().filter(here).filter_map(|a| made(a)).collect());
    }
    let api: Api<Artifact> = Api::namespaced(ctx.client.clone(), observed.namespace());
    Ok(api.list(&ListParams::default()).await?.items.iter().filter_map(made).collect())
}

/// The newest warning about what should be up by now.
fn warning(ctx: &Context, observed: &Observed) -> Option<String> {
    let late =
        |made: Option<Timestamp>| made.is_some_and(|t| Timestamp::now().as_second() - t.as_second() >= SLOW);
    let claim = observed.claim.as_ref().filter(|c| !bound(Some(c)));
    let pod = observed.pod.as_ref().filter(|p| {
        p.status.as_ref().and_then(|s| s.phase.as_deref()).is_none_or(|phase| phase == "Pending")
    });
    let meta = claim.map(|c| &c.metadata).or(pod.map(|p| &p.metadata))?;
    if !late(meta.creation_timestamp.as_ref().map(|t| t.0)) {
        return None;
    }
    ctx.warnings.of(meta.uid.as_deref()?)
}
