//! Environments: looks whether what an entry of the catalogue refers to is there, and counts its Workspaces now and then.

use std::{collections::HashMap, sync::Arc, time::Duration};

use a8s_crds::{
    Environment,
    conditions::{self, ConditionType},
};
use a8s_plan::environment::{Observed, plan};
use futures::{StreamExt, stream};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::{
    Api, ResourceExt,
    runtime::{
        Config, WatchStreamExt, applier,
        controller::{Action, ReconcileRequest},
        reflector::ObjectRef,
        watcher,
    },
};

use crate::{
    context::Context,
    errors::{Error, error_policy},
    execute,
};

/// Counts change with every Session, and people look at them now and then: so often they are brought up to date.
const COUNT: Duration = Duration::from_secs(10);

/// Reconciles Environments until the process ends.
pub async fn run(ctx: Arc<Context>) {
    ctx.stores.ready().await;
    let store = ctx.stores.environments.store();
    let own = ctx.stores.environments.changes().filter_map(|change| {
        std::future::ready((!change.gone).then(|| ObjectRef::from_obj(&*change.object)))
    });
    let all = store.clone();
    let every = move || {
        let all = all.state();
        stream::iter(all.into_iter().map(|e| ObjectRef::from_obj(&*e)))
    };
    let classes = Api::<RuntimeClass>::all(ctx.client.clone());
    let classes = watcher(classes, watcher::Config::default()).default_backoff().touched_objects();
    let classes = classes.filter_map(|class| std::future::ready(class.ok())).map(move |_| every()).flatten();
    let looking = ctx.clone();
    let counted = stream::unfold((), |()| async { Some((tokio::time::sleep(COUNT).await, ())) })
        .map(move |()| stream::iter(miscounted(&looking)))
        .flatten();
    let triggers = stream::select_all([own.boxed(), classes.boxed(), counted.boxed()])
        .map(|environment| Ok::<_, watcher::Error>(ReconcileRequest::from(environment)));
    let reconciler = |environment, ctx| Box::pin(reconcile(environment, ctx));
    applier(reconciler, error_policy, ctx, store, triggers, Config::default().concurrency(4))
        .for_each(|_| std::future::ready(()))
        .await;
}

/// How many Workspaces each Environment has, and how many of them are ready.
fn counts(ctx: &Context) -> HashMap<String, (i64, i64)> {
    let mut all: HashMap<String, (i64, i64)> = HashMap::new();
    for workspace in ctx.stores.workspaces.all() {
        let conditions = workspace.status.as_ref().map_or(&[][..], |s| &s.conditions);
        let count = all.entry(workspace.spec.environment.clone()).or_default();
        count.0 += 1;
        count.1 += i64::from(conditions::is_true(conditions, ConditionType::Ready));
    }
    all
}

fn miscounted(ctx: &Context) -> Vec<ObjectRef<Environment>> {
    let counts = counts(ctx);
    let wrong = |environment: &Arc<Environment>| {
        let now = counts.get(&environment.name_any()).copied().unwrap_or_default();
        let written = environment.status.as_ref().map(|s| (s.workspaces, s.ready_workspaces));
        written != Some((Some(now.0), Some(now.1)))
    };
    ctx.stores.environments.all().iter().filter(|e| wrong(e)).map(|e| ObjectRef::from_obj(&**e)).collect()
}

async fn reconcile(environment: Arc<Environment>, ctx: Arc<Context>) -> Result<Action, Error> {
    let class = environment.spec.pod.as_ref().and_then(|pod| pod.runtime_class_name.as_deref());
    let runtime_class = match class {
        Some(class) => Api::<RuntimeClass>::all(ctx.client.clone()).get_opt(class).await?.is_some(),
        None => true,
    };
    let (workspaces, ready_workspaces) =
        counts(&ctx).get(&environment.name_any()).copied().unwrap_or_default();
    let observed = Observed {
        environment: Environment::clone(&environment),
        runtime_class,
        workspaces,
        ready_workspaces,
    };
    let planned = plan(&observed, &ctx.env());
    execute::carry_out(&ctx, environment.as_ref(), planned).await
}
