//! Environments: an entry of the catalogue is ready as soon as it was seen; the API server has checked it.

use std::sync::Arc;

use a8s_crds::{
    Environment,
    conditions::{self, ConditionType, Reason, Status},
};
use futures::StreamExt;
use kube::{
    Api,
    runtime::{
        Controller,
        controller::{Action, Config},
        watcher,
    },
};

use crate::{
    context::Context,
    errors::{Error, error_policy},
    execute,
};

/// Runs until the process ends.
pub async fn run(ctx: Arc<Context>) {
    let environments: Api<Environment> = Api::all(ctx.client.clone());
    Controller::new(environments, watcher::Config::default())
        .with_config(Config::default().concurrency(16))
        .run(reconcile, error_policy, ctx)
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn reconcile(environment: Arc<Environment>, ctx: Arc<Context>) -> Result<Action, Error> {
    let old = environment.status.clone().unwrap_or_default();
    let mut status = old.clone();
    let generation = environment.metadata.generation;
    status.observed_generation = generation;
    conditions::set(
        &mut status.conditions,
        ConditionType::Ready,
        Status::True,
        Reason::Ready,
        "",
        generation,
        ctx.env().now,
    );
    let plan = a8s_plan::Plan { status: (status != old).then_some(status), ..a8s_plan::Plan::default() };
    execute::carry_out(&ctx, environment.as_ref(), plan).await
}
