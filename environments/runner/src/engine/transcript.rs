//! What the engine writes into the transcript, and what it does when that fails.

use std::io;

use a8s_wire::{Event, EventBody, EventId};

use super::Engine;
use crate::{handle::StorageError, log::Log, record::Record};

impl Engine {
    pub(super) fn end_turn(&mut self, stop_reason: &str, detail: Option<String>) {
        self.cancel_deadline = None;
        self.cancel_harness_questions();
        self.flush_text();
        self.speech.silences = 0;
        let open =
            self.steps.drain().filter(|(_, (_, status))| status == "pending" || status == "in_progress");
        let open: Vec<_> = open.collect();
        for (id, (title, _)) in open {
            self.record(EventBody::Step { id, title, status: "failed".to_owned() });
        }
        let Some(turn) = &self.history.running else { return };
        let (number, message_id) = (turn.number, turn.prompt.message_id.clone());
        self.count_spent();
        self.tell_usage();
        self.record_in(
            number,
            EventBody::TurnEnded { message_id, stop_reason: stop_reason.to_owned(), detail },
        );
    }

    /// Streams a piece that is clean already, if there is one.
    pub(super) fn live(&self, text: String, body: impl FnOnce(String) -> EventBody) {
        if !text.is_empty() {
            let event = self.event(self.history.last, body(text));
            self.log.feed().send_live(self.redactor.event(event));
        }
    }

    pub(super) fn notice(&mut self, text: &str) {
        self.record(EventBody::Notice { text: text.to_owned() });
    }

    pub(super) fn record(&mut self, body: EventBody) {
        self.record_in(self.history.running.as_ref().map_or(0, |turn| turn.number), body);
    }

    pub(super) fn record_in(&mut self, turn: i64, body: EventBody) {
        let durable = !matches!(body, EventBody::Step { .. } | EventBody::Plan { .. });
        let id = EventId { epoch: self.history.last.epoch, seq: self.history.last.seq + 1 };
        let event = Event { turn, ..self.event(id, body) };
        let record = self.redactor.record(Record::Event(event));
        self.history.apply(record.get());
        self.stored(|log| log.append(record, durable));
    }

    pub(super) fn event(&self, id: EventId, body: EventBody) -> Event {
        let turn = self.history.running.as_ref().map_or(0, |turn| turn.number);
        Event { id, ts: jiff::Timestamp::now().to_string(), turn, body }
    }

    pub(super) fn stored(&mut self, write: impl FnOnce(&mut Log) -> io::Result<()>) {
        match write(&mut self.log) {
            Ok(()) => {
                if self.storage_failure.take().is_some() {
                    tracing::info!("the transcript can be written again");
                }
            }
            Err(error) => {
                let text = StorageError(error).to_string();
                if self.storage_failure.as_ref() != Some(&text) {
                    tracing::error!("{text}");
                    self.storage_failure = Some(text);
                }
            }
        }
    }
}
