//! What the runner is asked and what it answers.

use serde::{Deserialize, Serialize};

use crate::event::PlanEntry;

/// Body of `POST /v1/prompt`: one user message for the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prompt {
    /// Identity of the message; posting it twice has the effect of once.
    pub message_id: String,
    /// Markdown.
    pub content: String,
    /// Kubernetes user name of the author.
    pub author: String,
    /// File names below the attachments directory that belong to this message.
    #[serde(default)]
    pub attachments: Vec<String>,
}

/// Answer to a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromptAccepted {
    /// The turn that carries, or will carry, this message.
    pub turn: i64,
    /// 0 while its turn runs or has run, else its place in the queue.
    pub position: usize,
}

/// Body of `POST /v1/interrupt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupt {
    /// The turn that the person meant to stop; another turn is left alone.
    pub turn: i64,
}

/// Answer to an interrupt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    /// False if that turn was over already.
    pub applied: bool,
}

/// What the runner is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunnerPhase {
    /// The harness is being started.
    Starting,
    /// No turn runs.
    Idle,
    /// A turn runs.
    Running,
    /// The harness cannot be started; `RunnerState::reason` says why.
    Failed,
}

/// Answer of `GET /v1/state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunnerState {
    /// Conversation epoch.
    pub epoch: i64,
    /// Sequence number of the last event in the transcript.
    pub seq: i64,
    /// The running turn, or the last one; 0 before the first.
    pub turn: i64,
    /// What the runner is doing.
    pub state: RunnerPhase,
    /// Why, if `state` is `Failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The volume has no room left: neither files nor the conversation can be kept.
    #[serde(default)]
    pub volume_full: bool,
    /// Ids of accepted messages whose turn has not begun, oldest first.
    #[serde(default)]
    pub queue: Vec<String>,
    /// Ids of all messages whose turn is over, oldest first.
    #[serde(default)]
    pub consumed: Vec<String>,
    /// Title of the last tool call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The newest plan.
    #[serde(default)]
    pub plan: Vec<PlanEntry>,
    /// Everything published so far.
    #[serde(default)]
    pub artifacts: Vec<ArtifactInfo>,
    /// RFC 3339 time of the last event.
    #[serde(default)]
    pub last_activity: String,
}

/// One published file. Its content is `GET /v1/blobs/<sha256>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactInfo {
    /// Same path published again: same name, next version.
    pub name: String,
    /// 1, 2, 3, …
    pub version: i64,
    /// Human-readable title.
    pub title: String,
    /// File name offered for a download.
    pub file_name: String,
    /// Media type such as `application/pdf`.
    pub media_type: String,
    /// Bytes.
    pub size: i64,
    /// Lower-case hex SHA-256 of the content.
    pub sha256: String,
    /// The turn that made it.
    pub turn: i64,
}
