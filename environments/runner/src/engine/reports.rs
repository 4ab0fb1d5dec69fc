//! What the harness reports: that it is there or gone, what it says and does, and that a turn is over.

use super::{Engine, FAILED_AFTER};
use crate::{
    acp::{FromHarness, Update},
    question,
};

use a8s_wire::EventBody;

/// What cannot be started is not going to be started by trying; as many attempts as this it counts.
const REFUSAL: u32 = FAILED_AFTER / 2;
/// Longest notice of a harness.
const MAX_NOTICE: usize = 1000;

impl Engine {
    pub(super) fn report(&mut self, report: FromHarness) {
        match report {
            FromHarness::Up { resumed, launch, notice } => {
                self.needs_summary = !resumed;
                self.uninstructed = !resumed;
                self.failures = 0;
                self.failure = None;
                self.launched = Some(launch);
                if !resumed {
                    self.new_session();
                }
                if let Some(text) = notice {
                    self.notice(&text);
                }
                self.connected.send_replace(true);
            }
            FromHarness::Asked { ask, question } => self.asked(ask, question),
            FromHarness::Down { reason, was_up, refused } => self.down(reason, was_up, refused),
            FromHarness::Update(update) if self.history.running.is_some() => self.update(update),
            FromHarness::Update(_) => {}
            FromHarness::Ended { turn, outcome } => {
                // An answer that comes after its turn was given up must not end another one.
                if self.history.running.as_ref().is_some_and(|running| running.number == turn) {
                    self.ended(outcome);
                }
            }
        }
    }

    fn ended(&mut self, outcome: Result<String, String>) {
        let interrupted = self.cancel_deadline.is_some();
        match outcome {
            // Harnesses answer an interrupt with all sorts of things; to people it is one.
            Ok(_) | Err(_) if interrupted => self.end_turn("cancelled", None),
            Ok(reason) => self.end_turn(&reason, None),
            Err(detail) => self.end_turn("error", Some(detail)),
        }
    }

    fn down(&mut self, reason: String, was_up: bool, refused: bool) {
        self.connected.send_replace(false);
        self.launched = None;
        self.cancel_harness_questions();
        if self.history.running.is_some() {
            let interrupted = self.cancel_deadline.is_some();
            if interrupted {
                self.end_turn("cancelled", None);
            } else {
                self.end_turn("error", Some(reason.clone()));
                self.notice("The agent ended unexpectedly and is being restarted.");
            }
        }
        tracing::info!(reason, was_up, "no connection to the agent");
        if was_up {
            self.failures = 0;
            self.failure = None;
        } else {
            self.failures += if refused { REFUSAL } else { 1 };
            if self.failures >= FAILED_AFTER {
                self.failure = Some(reason);
            }
        }
    }

    fn update(&mut self, update: Update) {
        match update {
            Update::Text { text, message, last } => self.says(&text, message, last),
            Update::Thinking(text) => {
                let text = self.speech.thought.push(&self.redactor, &text);
                self.live(text, |text| EventBody::Thinking { text });
            }
            Update::Notice(text) => self.notice(&question::one_line(&text, MAX_NOTICE)),
            Update::Compacted => self.compacted = true,
            Update::Spent { context, cost_micros } => self.spent(context, cost_micros),
            Update::Step { id, title, status } => self.step(id, title, status),
            Update::Plan(entries) => self.set_plan(entries),
        }
    }

    fn step(&mut self, id: String, title: Option<String>, status: Option<String>) {
        let before = self.steps.get(&id).cloned();
        let now = match &before {
            Some((old_title, old_status)) => {
                (title.unwrap_or_else(|| old_title.clone()), status.unwrap_or_else(|| old_status.clone()))
            }
            None => (title.unwrap_or_else(|| id.clone()), status.unwrap_or_else(|| "pending".to_owned())),
        };
        if before.as_ref() == Some(&now) {
            return;
        }
        self.flush_text();
        self.steps.insert(id.clone(), now.clone());
        self.record(EventBody::Step { id, title: now.0, status: now.1 });
    }
}
