//! Events go out a moment after they were told, one after the other. Each costs the API server as much as the status that it speaks of,
//! and while many people wait for theirs, what can be read a second later can wait a second.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::events::v1::Event;
use kube::{Api, Client, api::PostParams};
use tokio::sync::Notify;

use crate::context::Context;

/// How long after it was told an Event is sent.
const LATER: Duration = Duration::from_secs(1);
/// So many wait at most; what is told beyond that is not sent, as whatever tells so much says the same again and again.
const MOST: usize = 4096;

/// Events on their way.
#[derive(Debug, Default)]
pub struct Events {
    waiting: Mutex<VecDeque<(Instant, Box<Event>)>>,
    told: Notify,
}

impl Events {
    /// To be sent.
    pub fn tell(&self, event: Event) {
        let mut waiting = self.waiting();
        if waiting.len() < MOST {
            waiting.push_back((Instant::now(), Box::new(event)));
            self.told.notify_one();
        } else {
            tracing::warn!(reason = event.reason, "too many Events are waiting; this one is not sent");
        }
    }

    /// Sends at once whatever waits: the process is about to end.
    pub async fn flush(&self, client: &Client) {
        while let Some((_, event)) = self.next() {
            send(client, *event).await;
        }
    }

    fn next(&self) -> Option<(Instant, Box<Event>)> {
        self.waiting().pop_front()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(Instant, Box<Event>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends Events until the process ends.
pub async fn run(ctx: Arc<Context>) {
    loop {
        let Some((told, event)) = ctx.events.next() else {
            ctx.events.told.notified().await;
            continue;
        };
        tokio::time::sleep_until((told + LATER).into()).await;
        send(&ctx.client, *event).await;
    }
}

/// That it cannot be sent is never a reason to fail.
async fn send(client: &Client, event: Event) {
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    if let Err(error) = api.create(&PostParams::default(), &event).await {
        tracing::debug!(%error, "event not sent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> Event {
        Event { note: Some(number.to_string()), ..Event::default() }
    }

    #[test]
    fn events_come_in_the_order_in_which_they_were_told_and_never_pile_up_without_end() {
        let events = Events::default();
        (0..MOST + 3).for_each(|number| events.tell(event(number)));
        for number in 0..MOST {
            assert_eq!(events.next().and_then(|(_, e)| e.note), Some(number.to_string()));
        }
        assert!(events.next().is_none());
    }
}
