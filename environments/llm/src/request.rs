//! What a model is asked, and what comes back.

use std::str::FromStr;

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{LlmError, Message, message::Part};

/// Whose interface a model speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Anthropic's Messages API.
    Anthropic,
    /// OpenAI's Responses API.
    #[serde(rename = "openai")]
    OpenAi,
    /// OpenAI's chat completions, as local servers speak them.
    #[serde(rename = "openai-compatible")]
    OpenAiCompatible,
    /// Google's, by its door for chat completions. The base URL is that of its own interface, which other programs speak.
    Gemini,
}

impl Provider {
    /// Its name in objects and environment variables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::OpenAiCompatible => "openai-compatible",
            Self::Gemini => "gemini",
        }
    }

    /// The provider's own base URL; compatible servers have none.
    pub fn default_base_url(self) -> Option<&'static str> {
        match self {
            Self::Anthropic => Some("https://api.anthropic.com"),
            Self::OpenAi => Some("https://api.openai.com/v1"),
            Self::OpenAiCompatible => None,
            Self::Gemini => Some("https://generativelanguage.googleapis.com"),
        }
    }

    /// Whether it has a computer tool of its own.
    pub fn hosts_computer(self) -> bool {
        matches!(self, Self::Anthropic | Self::OpenAi)
    }
}

impl std::fmt::Display for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no such provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no provider of models; there are anthropic, openai, openai-compatible and gemini")]
pub struct UnknownProvider(pub String);

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(text: &str) -> Result<Self, UnknownProvider> {
        [Self::Anthropic, Self::OpenAi, Self::OpenAiCompatible, Self::Gemini]
            .into_iter()
            .find(|provider| provider.as_str() == text)
            .ok_or_else(|| UnknownProvider(text.to_owned()))
    }
}

/// One question to a model, with everything that was said before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Standing orders.
    pub system: String,
    /// The conversation; the last message is the user's.
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// The provider's own computer tool.
    pub computer: Option<Computer>,
    /// Whether it must, may or must not call a tool.
    pub choice: Choice,
    /// Most tokens that it may write; the provider's or our default without it.
    pub max_tokens: Option<u32>,
    /// Whether the model may think before it answers, where it can and the provider leaves the choice.
    pub thinking: bool,
}

/// A function that a model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON schema of its arguments.
    pub schema: Value,
}

/// The hosted computer tool and the screen that it works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Computer {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Which generation of the tool.
    pub tool: ComputerTool,
}

/// Generations of the hosted computer tools. A model knows one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ComputerTool {
    /// Anthropic's `computer_20251124`, OpenAI's `computer`.
    #[default]
    Current,
    /// Anthropic's `computer_20250124`, OpenAI's `computer_use_preview`.
    Older,
}

/// Whether a tool is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The model decides.
    #[default]
    Auto,
    /// None.
    None,
    /// This one.
    Tool(String),
}

impl Request {
    /// Whether a picture is in it.
    pub fn has_images(&self) -> bool {
        self.messages.iter().flat_map(|message| &message.parts).any(|part| match part {
            Part::Image(_) => true,
            Part::ToolResult(result) => result.images().next().is_some(),
            _ => false,
        })
    }
}

/// What arrives while a model answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A piece of the text.
    Text(String),
    /// A piece of what it thinks.
    Thinking(String),
    /// It begins to write a call of this tool.
    Calling(String),
    /// It is done: always the last event.
    Done(Reply),
}

/// The events of one answer.
pub type Events = BoxStream<'static, Result<Event, LlmError>>;

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// What the model said; it goes into the history as it is.
    pub message: Message,
    /// Why it stopped.
    pub stop: Stop,
    /// What it cost.
    pub usage: Usage,
}

/// Why a model stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It has said what it wanted to say.
    EndTurn,
    /// It wants tools to be run.
    ToolUse,
    /// It was cut off at the most tokens that it may write.
    MaxTokens,
    /// The context was full while it wrote.
    ContextFull,
    /// It, or its provider, refuses.
    Refusal,
    /// Its provider paused it: asked again with its message, it goes on.
    Paused,
}

/// Tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Read, cached ones included.
    pub input: u64,
    /// Of those, read from the provider's cache.
    pub cached: u64,
    /// Written.
    pub output: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_written_as_in_objects() {
        for provider in [Provider::Anthropic, Provider::OpenAi, Provider::OpenAiCompatible, Provider::Gemini]
        {
            assert_eq!(provider.as_str().parse(), Ok(provider));
            assert_eq!(serde_json::to_value(provider).unwrap(), provider.as_str());
        }
        assert!("Anthropic".parse::<Provider>().unwrap_err().to_string().contains("openai-compatible"));
    }
}
