//! The runner's event stream. Every event but [`EventBody::Delta`] is in the transcript and can be replayed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    request::{Question, Usage},
    runner::ArtifactInfo,
};

/// Place of an event in the conversation; ordered by epoch, then sequence number. Written `epoch.seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId {
    /// Grows by one with every restore of a Snapshot.
    pub epoch: i64,
    /// Grows by one with every event; it goes on through a restart of the runner.
    pub seq: i64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

/// The text is not `epoch.seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event id has the form epoch.seq, for example 0.12")]
pub struct EventIdError;

impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, EventIdError> {
        let (epoch, seq) = text.split_once('.').ok_or(EventIdError)?;
        let parse = |part: &str| part.parse::<i64>().ok().filter(|n| *n >= 0).ok_or(EventIdError);
        Ok(Self { epoch: parse(epoch)?, seq: parse(seq)? })
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Where in the conversation. A `Delta` carries the id of the last recorded event.
    #[serde(flatten)]
    pub id: EventId,
    /// RFC 3339 time.
    pub ts: String,
    /// The turn it belongs to; 0 outside a turn.
    pub turn: i64,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened. Readers ignore types that they do not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "camelCase")]
pub enum EventBody {
    /// A user message was handed to the agent: its turn begins.
    TurnStarted {
        /// Id of the message.
        #[serde(rename = "messageId")]
        message_id: String,
        /// What the person wrote.
        content: String,
        /// Who wrote it.
        author: String,
    },
    /// The turn is over.
    TurnEnded {
        /// Id of the message.
        #[serde(rename = "messageId")]
        message_id: String,
        /// ACP stop reason: `end_turn`, `max_tokens`, `max_turn_requests`, `refusal`, `cancelled`, or ours: `error`, `interrupted`.
        #[serde(rename = "stopReason")]
        stop_reason: String,
        /// What went wrong, for `error`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// A final message of the agent.
    Message {
        /// Markdown.
        text: String,
        /// The whole text as a blob, if `text` is only its beginning.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        more: Option<LongText>,
    },
    /// A piece of what the agent thinks; never recorded.
    Thinking {
        /// The piece.
        text: String,
    },
    /// The agent asks.
    Question(Question),
    /// A question is closed.
    QuestionClosed {
        /// Its id.
        id: String,
        /// `granted`, `refused`, `expired` or `cancelled`.
        outcome: String,
        /// Who decided; absent if nobody did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// What was used so far.
    Usage(Usage),
    /// A limit was reached: the agent stands still until it is raised.
    LimitReached {
        /// `turns`, `tokens` or `activeDuration`.
        limit: String,
    },
    /// A piece of a message that is still being written; never recorded.
    Delta {
        /// The piece.
        text: String,
    },
    /// A tool call began, went on or ended.
    Step {
        /// Id of the tool call.
        id: String,
        /// What a person reads: `open report.html in the browser`.
        title: String,
        /// ACP status: `pending`, `in_progress`, `completed`, `failed`.
        status: String,
    },
    /// The plan, whole.
    Plan {
        /// All entries.
        entries: Vec<PlanEntry>,
    },
    /// A file was published.
    Artifact(ArtifactInfo),
    /// The agent declares the goal reached.
    Finished {
        /// One line.
        summary: String,
    },
    /// Something that people should know: the harness was restarted, a message was dropped.
    Notice {
        /// One line.
        text: String,
    },
}

impl EventBody {
    /// Name of the type on the wire, used as the SSE event name.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::TurnStarted { .. } => "turnStarted",
            Self::TurnEnded { .. } => "turnEnded",
            Self::Message { .. } => "message",
            Self::Delta { .. } => "delta",
            Self::Thinking { .. } => "thinking",
            Self::Question(_) => "question",
            Self::QuestionClosed { .. } => "questionClosed",
            Self::Usage(_) => "usage",
            Self::LimitReached { .. } => "limitReached",
            Self::Step { .. } => "step",
            Self::Plan { .. } => "plan",
            Self::Artifact(_) => "artifact",
            Self::Finished { .. } => "finished",
            Self::Notice { .. } => "notice",
        }
    }
}

/// Set to true in `_meta` of a piece of a message, it says that the message ends with it: an Agent Client Protocol client else learns that
/// only from what comes next.
pub const LAST_PIECE: &str = "a8s.dev/lastPiece";

/// A text that is kept as a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongText {
    /// Lower-case hex SHA-256; `GET /v1/blobs/<sha256>` has it.
    pub sha256: String,
    /// Bytes.
    pub size: i64,
}

/// One line of the agent's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEntry {
    /// What is to be done.
    pub title: String,
    /// ACP status: `pending`, `in_progress`, `completed`.
    pub status: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_one_flat_json_object() {
        let event = Event {
            id: EventId { epoch: 0, seq: 7 },
            ts: "2026-11-22T12:00:00Z".into(),
            turn: 1,
            body: EventBody::Message { text: "done".into(), more: None },
        };
        let json = serde_json::to_value(&event).unwrap();
        let expected = serde_json::json!({
            "epoch": 0, "seq": 7, "ts": "2026-11-22T12:00:00Z", "turn": 1, "type": "message", "data": {"text": "done"}
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
        assert_eq!(event.body.type_name(), "message");
    }

    #[test]
    fn event_ids_order_by_epoch_before_sequence() {
        assert!("0.900".parse::<EventId>().unwrap() < "1.0".parse().unwrap());
        assert_eq!("3.4".parse::<EventId>().unwrap().to_string(), "3.4");
        for bad in ["", "3", "a.b", "-1.2", "1.-2"] {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
    }
}
