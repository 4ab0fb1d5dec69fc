//! The conversation bridge: one task for each Session whose pod has an address. It stands between the API server, where people write
//! Messages and read what became of them, and the runner, which has the conversation. It writes Messages, their status, and Artifacts;
//! it never writes `Session.status` (see [`live`]) and keeps nothing that cannot be read again: killing it at any moment loses and
//! doubles nothing.

mod cluster;
mod conversation;
pub mod live;
mod objects;
mod world;

use std::{sync::Arc, time::Duration};

use a8s_crds::{ObjectRef as Reference, Session, Workspace, conditions::Reason, labels};
use a8s_plan::Notice;
use a8s_wire::EventId;
use futures::StreamExt;
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};

pub use conversation::{Conversation, Then};
pub use objects::{Subject, is_for_another};
pub use world::{Made, World};

use crate::{context::Context, errors::Error, pods::PodAddress};
use cluster::Cluster;
use live::{Bridge, LiveSessions, Terms, Volume};

/// Steps, plans and usage reach the status at most this often, and in a long turn ever more seldom: a hundred steps are no reason for more
/// than a dozen writes, and whoever wants to see each has the stream.
const COALESCE: Duration = Duration::from_secs(10);
/// As seldom as that.
const SELDOM: Duration = Duration::from_mins(1);
/// What happens within this time is one write: a message, its artifact and the end of the turn come together.
const SETTLE: Duration = Duration::from_millis(100);
/// Messages are looked at again after this time even if nobody told of a change.
const LOOK_AGAIN: Duration = Duration::from_secs(20);
/// Longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// One that is known not to answer is asked by others, who tell.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Sees to it that a bridge runs between `session` and the pod of `workspace`, or that none does. With `drain` it brings in what the
/// runner has still to say, and hands nothing over.
pub fn ensure(ctx: &Arc<Context>, session: &Session, workspace: Option<&Workspace>, drain: bool) {
    let Some(uid) = session.uid() else { return };
    let host = workspace.and_then(|w| w.status.as_ref()?.host.clone()).filter(|host| !host.is_empty());
    let (Some(workspace), Some(host)) = (workspace, host) else { return ctx.live.stop(&uid) };
    let at = PodAddress { uid: workspace.uid().unwrap_or_default(), host };
    let known = workspace.status.as_ref();
    let restored_from = known.and_then(|s| s.storage.as_ref()?.restored_from.clone());
    let volume = Volume { epoch: known.and_then(|s| s.epoch), restored_from };
    let terms =
        Terms { settings: cluster::settings(ctx, session, workspace), control: cluster::holder(workspace) };
    let mut bridges = ctx.live.bridges();
    let mut facts = None;
    if let Some(running) = bridges.get_mut(&uid) {
        if running.at == at && running.drain == drain && running.volume == volume {
            if running.terms != terms {
                running.terms = terms;
                running.wake.notify_one();
            }
            return;
        }
        running.task.abort();
        facts.clone_from(&running.facts);
    }
    let subject = subject(session, workspace);
    let wake = Arc::new(Notify::new());
    let cluster = Cluster { ctx: ctx.clone(), session: session.clone(), subject, at: at.clone() };
    let task = tokio::spawn(keep(cluster, wake.clone(), drain)).abort_handle();
    bridges.insert(
        uid,
        Bridge { session: ObjectRef::from_obj(session), at, drain, volume, terms, facts, wake, task },
    );
}

fn subject(session: &Session, workspace: &Workspace) -> Subject {
    let status = session.status.clone().unwrap_or_default();
    Subject {
        namespace: session.namespace().unwrap_or_default(),
        name: session.name_any(),
        uid: session.uid().unwrap_or_default(),
        created_by: session
            .annotations()
            .get(labels::CREATED_BY)
            .cloned()
            .unwrap_or_else(|| "unknown".into()),
        goal: a8s_plan::chat::first_prompt(session).map(str::to_owned),
        goal_epoch: status.goal_epoch,
        attachments: session.spec.attachments.clone(),
        workspace: Reference { name: workspace.name_any(), uid: workspace.uid().unwrap_or_default() },
        recorded: EventId { epoch: status.epoch.unwrap_or_default(), seq: status.seq.unwrap_or_default() },
        last_message: status.last_message.unwrap_or_default(),
        restored_from: workspace.status.as_ref().and_then(|s| s.storage.as_ref()?.restored_from.clone()),
    }
}

/// Serves until the Workspace is gone.
async fn keep(cluster: Cluster, wake: Arc<Notify>, drain: bool) {
    let live = cluster.ctx.live.clone();
    let uid = cluster.subject.uid.clone();
    let mut subject = cluster.subject.clone();
    let mut pause = Duration::from_millis(200);
    let mut told = None;
    loop {
        let began = Instant::now();
        let result = serve(&cluster, &mut subject, &live, &wake, drain).await;
        if let Err(error) = &result {
            tracing::info!(session = %subject.name, namespace = %subject.namespace, %error, "bridge reconnects");
            tell_refusal(&cluster, error, &mut told).await;
        }
        if cluster.is_over().await {
            return live.forget(&uid);
        }
        pause = if began.elapsed() > LONGEST_PAUSE {
            Duration::from_millis(200)
        } else {
            (pause * 2).min(LONGEST_PAUSE)
        };
        sleep(pause).await;
        let asking = &cluster.ctx.asking;
        // Out of time is as good as heard: then it is tried.
        drop(timeout(LONGEST_SILENCE, asking.heard(&subject.workspace.uid)).await);
    }
}

/// What the runner will not take however often it is tried is a person's matter. They are told of it once.
async fn tell_refusal(cluster: &Cluster, error: &Error, told: &mut Option<String>) {
    let Error::Pod(error) = error else { return };
    let Some(why) = error.refused().filter(|why| told.as_ref() != Some(why)) else { return };
    let note = format!("the desktop's runner does not take this conversation: {why}");
    cluster.say(Notice { warning: true, reason: Reason::AgentFailed, note }).await;
    *told = Some(why);
}

/// One connection to the runner, from its state and the whole transcript to the end of the stream.
pub async fn serve<W: World>(
    world: &W,
    subject: &mut Subject,
    live: &LiveSessions,
    wake: &Notify,
    drain: bool,
) -> Result<(), Error> {
    let mut conversation = Conversation::open(world, subject.clone(), drain).await?;
    let mut events = world.events(EventId::default()).await?;
    let mut publish_at: Option<Instant> = None;
    let (mut deliver, mut ended, mut published) = (true, false, false);
    let (mut coalesce, mut urgent) = (COALESCE, false);
    loop {
        if conversation.caught_up() && deliver {
            let before = conversation.live.clone();
            conversation.deliver().await?;
            deliver = false;
            // That somebody looked is no news: a status that is written wakes this bridge. The first facts are waited for.
            if !published || conversation.live != before {
                urgent = true;
                publish_at = Some(sooner(publish_at, if published { SETTLE } else { Duration::ZERO }));
            }
        }
        if ended && !conversation.is_behind() {
            return Ok(());
        }
        tokio::select! {
            // What people say comes before the objects of what the agent said; to hear that costs nothing.
            biased;
            () = wake.notified() => deliver = true,
            event = events.next(), if !ended => match event.transpose()? {
                Some(event) => deliver |= conversation.hear(event),
                None => ended = true,
            },
            () = sleep_until(publish_at.unwrap_or_else(Instant::now)), if publish_at.is_some() && conversation.has_facts() => {
                publish_at = None;
                coalesce = if urgent { COALESCE } else { (coalesce * 2).min(SELDOM) };
                (urgent, published) = (false, true);
                live.publish(&subject.uid, Some(conversation.live.clone()));
            }
            () = std::future::ready(()), if conversation.caught_up() && conversation.is_behind() => {
                let reason = conversation.record_next().await?;
                subject.recorded = conversation.live.recorded;
                subject.last_message = conversation.live.last_message;
                deliver |= reason == Then::Look;
                urgent |= reason != Then::Later;
                publish_at = Some(sooner(publish_at, if reason == Then::Later { coalesce } else { SETTLE }));
            }
            () = sleep(LOOK_AGAIN) => {
                // A node that vanished closes no connection; only a question that nobody answers tells.
                let before = conversation.live.clone();
                conversation.refresh(world.runner_state().await?);
                if conversation.live != before {
                    publish_at = Some(sooner(publish_at, SETTLE));
                }
                deliver = true;
            }
        }
    }
}

/// What is due already, or after this time.
fn sooner(due: Option<Instant>, within: Duration) -> Instant {
    let at = Instant::now() + within;
    due.map_or(at, |due| due.min(at))
}

#[cfg(test)]
mod tests;
