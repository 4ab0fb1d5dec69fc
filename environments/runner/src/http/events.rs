//! The event stream as server-sent events: first what was missed, then what happens.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use a8s_wire::{Event, EventId, Scope};
use axum::{
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::sse::{self, KeepAlive, Sse},
};
use futures::Stream;
use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};

use super::{App, Refusal};
use crate::{log::Feed, redact::live_only};

/// Silence longer than this is broken by a comment, so that both ends notice a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
pub struct Parameters {
    after: Option<String>,
}

/// `GET /v1/events`.
pub async fn stream(
    State(app): App,
    headers: HeaderMap,
    Query(parameters): Query<Parameters>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Refusal> {
    app.auth.check(&headers, &[Scope::Stream, Scope::Admin])?;
    let resumed = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let after: EventId = match resumed.or(parameters.after).filter(|text| !text.is_empty()) {
        Some(text) => {
            text.parse().map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("{error}")))?
        }
        None => EventId::default(),
    };
    let keep_alive = KeepAlive::new().interval(HEARTBEAT).text("heartbeat");
    Ok(Sse::new(events(app.engine.feed().clone(), after)).keep_alive(keep_alive))
}

struct Reader {
    feed: Feed,
    live: broadcast::Receiver<Arc<Event>>,
    missed: VecDeque<Arc<Event>>,
    at: EventId,
}

fn events(feed: Feed, after: EventId) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    // Subscribed before the replay is read: an event of this very moment comes twice rather than never, and is skipped once.
    let live = feed.subscribe();
    let missed = feed.after(after).into();
    futures::stream::unfold(Reader { feed, live, missed, at: after }, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(render(&event)), reader))
    })
}

impl Reader {
    async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            if let Some(event) = self.missed.pop_front() {
                self.at = event.id;
                return Some(event);
            }
            match self.live.recv().await {
                Ok(event) if live_only(&event.body) => return Some(event),
                Ok(event) if event.id > self.at => {
                    self.at = event.id;
                    return Some(event);
                }
                Ok(_) => {}
                // A slow reader lost live events; the recorded ones are still there.
                Err(RecvError::Lagged(_)) => self.missed = self.feed.after(self.at).into(),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn render(event: &Event) -> sse::Event {
    let rendered = sse::Event::default().event(event.body.type_name());
    // A delta is not recorded, so a reader must not resume after it by an id of its own.
    let rendered = if live_only(&event.body) { rendered } else { rendered.id(event.id.to_string()) };
    rendered.json_data(event).unwrap_or_else(|_| sse::Event::default().comment("unreadable event"))
}
