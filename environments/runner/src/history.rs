//! The conversation so far: a pure fold over the transcript's records. Whatever the runner knows about turns comes from here, so a
//! restarted runner knows the same.

use std::collections::{HashMap, VecDeque};

use a8s_wire::{
    ArtifactInfo, Event, EventBody, EventId, Prompt, Question, SessionIdentity, Settings, Usage,
    event::PlanEntry,
};

use crate::record::Record;

/// A prompt with its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Number of the turn.
    pub number: i64,
    /// The message.
    pub prompt: Prompt,
}

/// State of the conversation after some records.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Id of the last event.
    pub last: EventId,
    /// The highest turn number given to a message.
    pub last_turn: i64,
    /// Turns of all messages, by message id.
    pub known: HashMap<String, i64>,
    /// Accepted, not begun.
    pub queue: VecDeque<Turn>,
    /// Begun, not ended.
    pub running: Option<Turn>,
    /// The turn that began last.
    pub current_turn: i64,
    /// Messages whose turn is over.
    pub consumed: Vec<String>,
    /// Title of the last tool call.
    pub step: Option<String>,
    /// The newest plan.
    pub plan: Vec<PlanEntry>,
    /// Everything published.
    pub artifacts: Vec<ArtifactInfo>,
    /// Time of the last event.
    pub last_activity: String,
    /// The Workspace in which the conversation was given to a Session last, and that Session.
    pub bound: Option<(String, SessionIdentity)>,
    /// The Workspace for which it was said last how the agent is run, and what was said.
    pub configured: Option<(String, Settings)>,
    /// Questions that are open, oldest first.
    pub questions: Vec<Question>,
    /// What was used, as of the last event that says so.
    pub usage: Usage,
    /// The limit that was told last and not left behind by a turn.
    pub limit: Option<String>,
    /// Turns that began.
    pub turns: i64,
    /// Whether the last turn was stopped by a person.
    pub interrupted: bool,
}

impl History {
    /// Takes one record into account.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Accepted { accepted, turn, .. } => {
                self.last_turn = self.last_turn.max(*turn);
                self.known.insert(accepted.message_id.clone(), *turn);
                self.queue.push_back(Turn { number: *turn, prompt: accepted.clone() });
            }
            Record::Bound { bound, workspace } => self.bound = Some((workspace.clone(), bound.clone())),
            Record::Configured { configured, workspace } => {
                self.configured = Some((workspace.clone(), (**configured).clone()));
            }
            Record::Event(event) => self.apply_event(event),
        }
    }

    fn apply_event(&mut self, event: &Event) {
        self.last = self.last.max(event.id);
        self.last_activity.clone_from(&event.ts);
        match &event.body {
            EventBody::TurnStarted { message_id, content, author } => {
                let queued = self.queue.iter().position(|turn| turn.prompt.message_id == *message_id);
                let turn = queued.and_then(|at| self.queue.remove(at)).unwrap_or_else(|| Turn {
                    number: event.turn,
                    prompt: Prompt {
                        message_id: message_id.clone(),
                        content: content.clone(),
                        author: author.clone(),
                        attachments: Vec::new(),
                    },
                });
                self.known.insert(message_id.clone(), event.turn);
                self.last_turn = self.last_turn.max(event.turn);
                self.current_turn = event.turn;
                self.running = Some(turn);
                self.step = None;
                self.turns += 1;
                self.limit = None;
            }
            EventBody::TurnEnded { message_id, stop_reason, .. } => {
                self.running = None;
                // A limit is no word of a person.
                self.interrupted =
                    self.limit.is_none() && matches!(stop_reason.as_str(), "cancelled" | "interrupted");
                self.consumed.push(message_id.clone());
            }
            EventBody::Step { title, .. } => self.step = Some(title.clone()),
            EventBody::Plan { entries } => self.plan.clone_from(entries),
            EventBody::Artifact(info) => self.artifacts.push(info.clone()),
            EventBody::Question(question) => self.questions.push(question.clone()),
            EventBody::QuestionClosed { id, .. } => self.questions.retain(|question| question.id != *id),
            EventBody::Usage(usage) => self.usage = *usage,
            EventBody::LimitReached { limit } => self.limit = Some(limit.clone()),
            EventBody::Message { .. }
            | EventBody::Delta { .. }
            | EventBody::Thinking { .. }
            | EventBody::Finished { .. }
            | EventBody::Notice { .. } => {}
        }
    }

    /// Begins a new epoch. What waited belongs to the branch that was left: it is forgotten, so that it can be sent again.
    /// Returns the ids of the messages that were dropped.
    pub fn enter_epoch(&mut self, epoch: i64) -> Vec<String> {
        self.last.epoch = epoch;
        let dropped: Vec<String> = self.queue.drain(..).map(|turn| turn.prompt.message_id).collect();
        for id in &dropped {
            self.known.remove(id);
        }
        dropped
    }

    /// The newest version of the artifact `name`.
    pub fn newest(&self, name: &str) -> Option<&ArtifactInfo> {
        self.artifacts.iter().filter(|info| info.name == name).max_by_key(|info| info.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(id: &str) -> Prompt {
        Prompt { message_id: id.into(), content: "x".into(), author: "jane".into(), attachments: Vec::new() }
    }

    fn accepted(id: &str, turn: i64) -> Record {
        Record::Accepted { accepted: prompt(id), turn, epoch: 0 }
    }

    fn event(seq: i64, turn: i64, body: EventBody) -> Record {
        Record::Event(Event { id: EventId { epoch: 0, seq }, ts: format!("t{seq}"), turn, body })
    }

    fn started(id: &str) -> EventBody {
        EventBody::TurnStarted { message_id: id.into(), content: "x".into(), author: "jane".into() }
    }

    fn ended(id: &str) -> EventBody {
        EventBody::TurnEnded { message_id: id.into(), stop_reason: "end_turn".into(), detail: None }
    }

    #[test]
    fn a_message_is_queued_then_running_then_consumed() {
        let mut history = History::default();
        history.apply(&accepted("a", 1));
        history.apply(&accepted("b", 2));
        assert_eq!(history.queue.len(), 2);
        history.apply(&event(1, 1, started("a")));
        assert_eq!(history.running.as_ref().map(|turn| turn.prompt.message_id.as_str()), Some("a"));
        history.apply(&event(2, 1, ended("a")));
        assert_eq!((history.running.is_none(), history.consumed.clone()), (true, vec!["a".to_owned()]));
        assert_eq!((history.queue.len(), history.last.seq, history.last_turn), (1, 2, 2));
    }

    #[test]
    fn a_new_epoch_keeps_the_sequence_and_forgets_what_waited() {
        let mut history = History::default();
        history.apply(&accepted("a", 1));
        history.apply(&event(1, 1, started("a")));
        history.apply(&event(2, 1, ended("a")));
        history.apply(&accepted("b", 2));
        assert_eq!(history.enter_epoch(1), ["b"]);
        assert_eq!(history.last, EventId { epoch: 1, seq: 2 });
        assert!(history.known.contains_key("a") && !history.known.contains_key("b"));
    }
}
