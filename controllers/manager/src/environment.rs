//! Environments: looks whether what an entry of the catalogue refers to is there, and counts its Workspaces now and then.

use std::{sync::Arc, time::Duration};

use a8s_crds::Environment;
use a8s_plan::environment::{Observed, plan};
use futures::{StreamExt, stream};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, reflector::ObjectRef, watcher},
};

use crate::{
    context::Context,
    errors::Error,
    execute,
    queue::{self, Action},
};

/// Counts change with every Session, and people look at them now and then: so often they are brought up to date.
const COUNT: Duration = Duration::from_secs(10);

/// Reconciles Environments until the process ends.
pub async fn run(ctx: Arc<Context>) {
    ctx.stores.ready().await;
    let own = queue::own(&ctx.stores.environments, |_| {});
    let every = ctx.clone();
    let classes = Api::<RuntimeClass>::all(ctx.client.clone());
    let classes = watcher(classes, watcher::Config::default()).default_backoff().touched_objects();
    let classes = classes.filter_map(|class| std::future::ready(class.ok()));
    let classes = classes.map(move |_| {
        let all = every.stores.environments.all().into_iter();
        stream::iter(all.map(|e| ObjectRef::from_obj(&*e)))
    });
    let looking = ctx.clone();
    let counted = stream::unfold((), |()| async { Some((tokio::time::sleep(COUNT).await, ())) })
        .map(move |()| stream::iter(miscounted(&looking)));
    let triggers = [own, classes.flatten().boxed(), counted.flatten().boxed()];
    let (passes, store) = (ctx.clone(), ctx.stores.environments.clone());
    queue::run(ctx, store, triggers, 4, move |environment| reconcile(environment, passes.clone())).await;
}

fn miscounted(ctx: &Context) -> Vec<ObjectRef<Environment>> {
    let wrong = |environment: &Arc<Environment>| {
        let now = ctx.stores.tally.of(&environment.name_any());
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
    let (workspaces, ready_workspaces) = ctx.stores.tally.of(&environment.name_any());
    let observed = Observed {
        environment: Environment::clone(&environment),
        runtime_class,
        workspaces,
        ready_workspaces,
    };
    let planned = plan(&observed, &ctx.env());
    execute::carry_out(&ctx, environment.as_ref(), planned).await
}
