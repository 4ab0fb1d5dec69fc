//! Questions that are open: who waits for the answer, what it does, when it is too late.
//!
//! A question is in the transcript and outlives the process; who waits for it is not. An answer that nobody waits for any more is told to
//! the agent by a message of the runner's own.

use std::collections::BTreeMap;

use a8s_wire::{Answer, EventBody, PermissionPolicy, Prompt, Question};
use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::oneshot,
    time::{Duration, Instant},
};

use super::Engine;
use crate::{
    acp::{Reply, ToHarness},
    handle::{Asked, ReplyError, StorageError},
    question::{Closed, NewQuestion, Outcome, judge, message},
};

/// Who the agent hears of an answer from that comes when it does not wait any more.
pub const AUTHOR: &str = "a8s";
/// Most questions that are open at a time; one more is refused at once.
const MOST: usize = 32;

/// Who waits for an answer.
pub enum Waiter {
    /// The harness, under this number.
    Harness(u64),
    /// A tool call.
    Tool(oneshot::Sender<Closed>),
}

impl Engine {
    /// The harness asks. Its permission requests are answered by the policy, if that can decide.
    pub(super) fn asked(&mut self, ask: u64, question: NewQuestion) {
        let reply = |reply| ToHarness::Reply { ask, reply };
        // Outside a turn, and while one is being stopped, nobody is asked.
        if self.history.running.is_none() || self.cancel_deadline.is_some() {
            let _ = self.harness.send(reply(Reply::Cancelled));
            return;
        }
        let question = match question.fit() {
            Ok(question) if self.history.questions.len() < MOST => question,
            unfit => {
                tracing::warn!(?unfit, "a question of the agent was cancelled");
                let _ = self.harness.send(reply(Reply::Cancelled));
                return;
            }
        };
        if question.kind == "Permission" {
            let of = |kind: &str| question.options.iter().find(|o| o.kind == kind).map(|o| o.id.clone());
            let chosen = |option| reply(Reply::Chosen { option, values: BTreeMap::new() });
            let decided = match self.settings().permissions {
                PermissionPolicy::Ask => None,
                PermissionPolicy::Allow => of("AllowOnce").map(chosen),
                PermissionPolicy::Deny => Some(reply(Reply::Declined(of("RejectOnce")))),
            };
            if let Some(decided) = decided {
                let _ = self.harness.send(decided);
                return;
            }
        }
        self.open_question(question, Waiter::Harness(ask));
    }

    /// A tool of ours asks. The same question once more is the same question.
    pub(super) fn ask(&mut self, question: NewQuestion) -> Asked {
        let (tell, closed) = oneshot::channel();
        let same = self.history.questions.iter().find(|open| {
            (open.kind == question.kind && open.title == question.title && open.subject == question.subject)
                && !matches!(self.waiters.get(&open.id), Some(Waiter::Harness(_)))
        });
        let id = if let Some(open) = same {
            let id = open.id.clone();
            self.waiters.insert(id.clone(), Waiter::Tool(tell));
            id
        } else {
            self.open_question(question, Waiter::Tool(tell))
        };
        Asked { id, closed }
    }

    fn open_question(&mut self, new: NewQuestion, waiter: Waiter) -> String {
        // What was said before a question belongs before it.
        self.flush_text();
        let id = format!("{}-{}", self.history.last.epoch, self.history.last.seq + 1);
        let seconds = i64::try_from(self.settings().request_timeout_seconds).unwrap_or(i64::MAX);
        let expires = Timestamp::now().checked_add(SignedDuration::from_secs(seconds));
        self.record(EventBody::Question(Question {
            id: id.clone(),
            kind: new.kind.to_owned(),
            title: new.title,
            detail: new.detail,
            options: new.options,
            form: new.form,
            subject: new.subject,
            turn: self.history.current_turn,
            expires: expires.unwrap_or(Timestamp::MAX).to_string(),
        }));
        self.waiters.insert(id.clone(), waiter);
        id
    }

    /// An answer from outside; false if there is nothing to answer any more.
    pub(super) fn reply(&mut self, id: &str, answer: &Answer) -> Result<bool, ReplyError> {
        let Some(question) = self.history.questions.iter().find(|question| question.id == id) else {
            return Ok(false);
        };
        let (outcome, answer) = judge(question, answer)?;
        self.close(&question.clone(), outcome, answer)?;
        Ok(true)
    }

    /// Closes a question and tells whoever waits, or the agent by a message.
    pub(super) fn close(
        &mut self,
        question: &Question,
        outcome: Outcome,
        answer: Answer,
    ) -> Result<(), StorageError> {
        let closed = Closed { question: question.clone(), outcome, answer };
        let waiter = self.waiters.remove(&question.id);
        let nobody = match &waiter {
            None => true,
            Some(Waiter::Tool(tell)) => tell.is_closed(),
            Some(Waiter::Harness(_)) => false,
        };
        // The message comes first: if the process dies between the two, the answer is given again and the message is known already.
        if nobody && outcome != Outcome::Cancelled {
            self.tell_later(&closed)?;
        }
        let by = Some(closed.answer.by.clone()).filter(|by| !by.is_empty());
        self.record(EventBody::QuestionClosed {
            id: question.id.clone(),
            outcome: outcome.name().to_owned(),
            by,
        });
        match waiter {
            Some(Waiter::Harness(ask)) => {
                let reply = match outcome {
                    Outcome::Granted => Reply::Chosen {
                        option: closed.answer.option.unwrap_or_default(),
                        values: closed.answer.values,
                    },
                    Outcome::Refused => {
                        let theirs = closed
                            .answer
                            .option
                            .filter(|id| question.options.iter().any(|option| option.id == *id));
                        Reply::Declined(theirs)
                    }
                    Outcome::Expired | Outcome::Cancelled => Reply::Cancelled,
                };
                let _ = self.harness.send(ToHarness::Reply { ask, reply });
            }
            Some(Waiter::Tool(tell)) if !nobody => {
                if let Err(closed) = tell.send(closed)
                    && outcome != Outcome::Cancelled
                {
                    return self.tell_later(&closed);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn tell_later(&mut self, closed: &Closed) -> Result<(), StorageError> {
        let prompt = Prompt {
            message_id: format!("a8s-answer-{}", closed.question.id),
            content: message(closed),
            author: AUTHOR.to_owned(),
            attachments: Vec::new(),
        };
        self.accept(&prompt).map(|_| ())
    }

    /// Cancels the open questions that `which` chooses.
    pub(super) fn cancel_questions(&mut self, which: impl Fn(&Question, Option<&Waiter>) -> bool) {
        let open = self.history.questions.iter();
        let chosen = open.filter(|question| which(question, self.waiters.get(&question.id)));
        let chosen: Vec<Question> = chosen.cloned().collect();
        for question in chosen {
            // A cancelled question is told nobody, so nothing can fail.
            let _ = self.close(&question, Outcome::Cancelled, Answer::default());
        }
    }

    /// What the harness asked and does not wait for any more.
    pub(super) fn cancel_harness_questions(&mut self) {
        self.cancel_questions(|_, waiter| matches!(waiter, Some(Waiter::Harness(_))));
    }

    /// When the next question runs out.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        if self.storage_failure.is_some() {
            return None;
        }
        let first = self.history.questions.iter().filter_map(expires).min()?;
        let left = first.duration_since(Timestamp::now());
        Some(Instant::now() + Duration::try_from(left).unwrap_or_default())
    }

    /// Closes what nobody answered in time.
    pub(super) fn expire(&mut self) {
        let now = Timestamp::now();
        let open = self.history.questions.iter();
        // A time that cannot be read is over: an open question must not stay so for ever.
        let late: Vec<_> = open.filter(|q| expires(q).is_none_or(|at| at <= now)).cloned().collect();
        for question in late {
            if let Err(error) = self.close(&question, Outcome::Expired, Answer::default()) {
                tracing::warn!(%error, id = question.id, "a question that ran out stays open");
                self.storage_failure = Some(error.to_string());
                return;
            }
        }
    }

    /// Whether the running turn stands still until a person answers.
    pub(super) fn waits_for_person(&self) -> bool {
        self.waiters.values().any(|waiter| match waiter {
            Waiter::Harness(_) => true,
            Waiter::Tool(tell) => !tell.is_closed(),
        })
    }
}

fn expires(question: &Question) -> Option<Timestamp> {
    question.expires.parse().ok()
}
