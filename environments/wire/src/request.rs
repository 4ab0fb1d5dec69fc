//! What the agent asks, how it is answered, and what an agent is run with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A question of the agent that is open or was closed. It becomes an object of kind Request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// The runner's name of it: `<epoch>-<seq of the event that opened it>`; unique in the conversation.
    pub id: String,
    /// `Permission`, `Takeover`, `Question`, `Credential`, `Tool` or `Context`.
    pub kind: String,
    /// One line for people.
    pub title: String,
    /// Why; markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What can be chosen; empty where a form is to be filled in, or where only `allow` and `deny` make sense.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Choice>,
    /// Fields to fill in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub form: Vec<Field>,
    /// For `Credential`, `Tool` and `Context`: the name of what is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The turn in which it was asked.
    pub turn: i64,
    /// RFC 3339 time at which the runner refuses it by itself.
    pub expires: String,
}

/// One thing that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Exactly what the harness called it.
    pub id: String,
    /// For people.
    pub title: String,
    /// `AllowOnce`, `AllowAlways`, `RejectOnce` or `RejectAlways`.
    pub kind: String,
}

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// Key of the value.
    pub name: String,
    /// For people; default: the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// `Text`, `Number`, `Boolean` or `Choice`.
    pub kind: String,
    /// For `Choice`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Whether it may stay empty.
    #[serde(default)]
    pub optional: bool,
}

/// Body of `POST /v1/requests/{id}`: the answer. Answering twice has the effect of once; a question that is closed is 200 `{applied: false}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The chosen option: one of the question's, or `allow` or `deny`. Absent: cancelled, which is a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option: Option<String>,
    /// Values of the form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// A word to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who decided; for the transcript.
    pub by: String,
}

/// Answer to an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// False if the question was closed already, or is not known.
    pub applied: bool,
}

/// What was used so far in this conversation, all epochs and models together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Calls of models.
    pub requests: i64,
    /// Tokens read, cached ones included.
    pub input_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
    /// Price in millionths of a US dollar, as far as prices are known.
    pub cost_micros: i64,
    /// Seconds in which a turn ran, without those in which a person was waited for.
    pub active_seconds: i64,
}

/// Body of `PUT /v1/settings`: how this Session's agent is run. The runner keeps it beside the transcript and applies what changes at once; another
/// harness takes over at the end of the running turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The harness's name, for people and the transcript; empty for the built-in agent.
    #[serde(default)]
    pub harness: String,
    /// Its program and arguments; empty for the built-in agent.
    #[serde(default)]
    pub command: Vec<String>,
    /// The Connection of the model that the harness uses; absent: none, and the built-in agent follows its script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Standing instructions of the Session and the Environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// What is to be reached; told again to a harness that lost its memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirement: Option<String>,
    /// Tools that the agent was granted: `computer` is the desktop, `shell` and `files` are the harness's own, `<connection>__<tool>` is one
    /// of an MCP server and `<connection>__*` are all of its. Absent: whatever there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// What a harness that asks for permission is told.
    #[serde(default)]
    pub permissions: PermissionPolicy,
    /// Seconds after which an unanswered question counts as refused.
    #[serde(default = "half_an_hour")]
    pub request_timeout_seconds: u64,
    /// Whether the desktop is recorded while a turn runs. A runner that does not know this records nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recording: bool,
    /// Most turns; 0: any number.
    #[serde(default)]
    pub max_turns: i64,
    /// Most tokens, read and written together; 0: any number.
    #[serde(default)]
    pub max_tokens: i64,
    /// Most seconds of [`Usage::active_seconds`]; 0: any number.
    #[serde(default)]
    pub max_active_seconds: i64,
}

fn half_an_hour() -> u64 {
    1_800
}

/// What a harness that asks for permission is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PermissionPolicy {
    /// A person decides.
    #[default]
    Ask,
    /// The option of kind `allow_once`; without one a person decides.
    Allow,
    /// The option of kind `reject_once`; without one the question is cancelled.
    Deny,
}
