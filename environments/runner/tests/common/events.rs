//! Reads server-sent events.

use std::{pin::Pin, time::Duration};

use a8s_wire::{Event, EventBody, Question};
use futures::{Stream, StreamExt};
use reqwest::{Response, StatusCode};

fn live_only(event: &Event) -> bool {
    matches!(event.body, EventBody::Delta { .. } | EventBody::Thinking { .. })
}

type Bytes = Pin<Box<dyn Stream<Item = reqwest::Result<axum::body::Bytes>> + Send>>;

pub struct Events {
    body: Bytes,
    buffer: String,
    /// Everything read so far, deltas included.
    pub seen: Vec<Event>,
}

impl Events {
    pub fn new(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        Self { body: Box::pin(response.bytes_stream()), buffer: String::new(), seen: Vec::new() }
    }

    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                let data: String = block.lines().filter_map(|line| line.strip_prefix("data:")).collect();
                if data.is_empty() {
                    continue;
                }
                let event: Event = serde_json::from_str(data.trim()).unwrap();
                let id =
                    block.lines().find_map(|line| line.strip_prefix("id:")).map(|id| id.trim().to_owned());
                let recorded = !live_only(&event);
                assert_eq!(id, recorded.then(|| event.id.to_string()), "{block}");
                self.seen.push(event.clone());
                return event;
            }
            let chunk = self.body.next().await.expect("the stream ended").unwrap();
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Reads until an event fits.
    pub async fn until(&mut self, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
        let search = async {
            loop {
                let event = self.next().await;
                if fits(&event) {
                    return event;
                }
            }
        };
        let found = tokio::time::timeout(Duration::from_mins(1), search).await;
        found.unwrap_or_else(|_| panic!("no {what} within a minute; seen: {:#?}", self.seen))
    }

    /// Reads until the turn of this message has ended; returns its stop reason.
    pub async fn turn_end(&mut self, message: &str) -> String {
        let event = self
            .until(&format!("end of {message}"), |event| {
                matches!(&event.body, EventBody::TurnEnded { message_id, .. } if message_id == message)
            })
            .await;
        let EventBody::TurnEnded { stop_reason, .. } = event.body else { unreachable!() };
        stop_reason
    }

    /// Reads until the agent asks.
    pub async fn question(&mut self) -> Question {
        let event = self.until("question", |event| matches!(event.body, EventBody::Question(_))).await;
        let EventBody::Question(question) = event.body else { unreachable!() };
        question
    }

    /// Reads until this question is closed; returns how.
    pub async fn closed(&mut self, id: &str) -> String {
        let event = self
            .until(
                &format!("end of question {id}"),
                |event| matches!(&event.body, EventBody::QuestionClosed { id: closed, .. } if closed == id),
            )
            .await;
        let EventBody::QuestionClosed { outcome, .. } = event.body else { unreachable!() };
        outcome
    }

    /// Texts of the final messages seen.
    pub fn messages(&self) -> Vec<String> {
        let text = |event: &Event| match &event.body {
            EventBody::Message { text, .. } => Some(text.clone()),
            _ => None,
        };
        self.seen.iter().filter_map(text).collect()
    }

    /// What was recorded, without the live pieces.
    pub fn recorded(&self) -> Vec<Event> {
        self.seen.iter().filter(|event| !live_only(event)).cloned().collect()
    }
}
