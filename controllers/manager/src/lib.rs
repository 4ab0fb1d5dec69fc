//! The controller: gathers what a plan needs to know, carries the plan out, writes the status. It decides nothing; decisions are in
//! `a8s-plan`. It never serves people.

pub mod artifact;
pub mod asking;
pub mod bridge;
pub mod chat;
pub mod connection;
pub mod context;
pub mod environment;
pub mod errors;
pub mod events;
pub mod execute;
pub mod grants;
pub mod hands;
pub mod install;
pub mod keeping;
pub mod lease;
pub mod lost;
pub mod message;
pub mod metrics;
pub mod pods;
pub mod protected;
pub mod queue;
pub mod reading;
pub mod request;
pub mod rush;
pub mod serving;
pub mod session;
pub mod share;
pub mod snapshot;
pub mod store;
pub mod stores;
pub mod volumes;
pub mod waiting;
pub mod warm_pool;
pub mod warnings;
pub mod workspace;
pub mod writing;
pub mod written;

pub use context::{Context, Settings};
pub use errors::Error;

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::task::JoinSet;

/// Runs the watches and the controllers of all kinds until one ends, which none does by itself. Each is a task of its own, so that none
/// waits for another's turn.
///
/// Boxed, so that all of it is compiled here once and not again in every program and test that calls it.
pub fn run(ctx: Arc<Context>, watches: Vec<BoxFuture<'static, ()>>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut tasks = JoinSet::new();
        for watch in watches {
            tasks.spawn(watch);
        }
        tasks.spawn(workspace::run(ctx.clone()));
        tasks.spawn(hands::run(ctx.clone()));
        tasks.spawn(session::run(ctx.clone()));
        tasks.spawn(warm_pool::run(ctx.clone()));
        tasks.spawn(message::run(ctx.clone()));
        tasks.spawn(snapshot::run(ctx.clone()));
        tasks.spawn(artifact::run(ctx.clone()));
        tasks.spawn(request::run(ctx.clone()));
        tasks.spawn(connection::run(ctx.clone()));
        tasks.spawn(share::run(ctx.clone()));
        tasks.spawn(grants::run(ctx.clone()));
        tasks.spawn(environment::run(ctx.clone()));
        tasks.spawn(events::run(ctx));
        tasks.join_next().await;
    })
}
