//! What is said between a person, a model and its tools; the same for every provider, and the form in which a history is kept.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Provider;

/// Who speaks. Tool results are the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The person, and the tools.
    User,
    /// The model.
    Assistant,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part>,
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text {
        /// Markdown.
        text: String,
    },
    /// A picture.
    Image(Image),
    /// The model wants a tool to be run.
    ToolUse(ToolUse),
    /// What the tool said.
    ToolResult(ToolResult),
    /// What only its provider understands, thinking for example; others never see it.
    Opaque(Opaque),
}

/// A picture.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `image/jpeg` or `image/png`.
    pub media_type: String,
    /// Base64.
    pub data: String,
}

impl std::fmt::Debug for Image {
    // A screenshot in a log helps nobody.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}, {} characters)", self.media_type, self.data.len())
    }
}

impl Image {
    /// As a `data:` URL.
    pub fn data_url(&self) -> String {
        format!("data:{};base64,{}", self.media_type, self.data)
    }
}

/// The model wants a tool to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolUse {
    /// The result must carry the same.
    pub id: String,
    /// Name of the tool. The computer is always `computer`, hosted tool or not.
    pub name: String,
    /// Arguments. Those of the computer have the form of Anthropic's tool; several actions at once are `{"actions": [...]}`.
    pub input: Value,
    /// The arguments as they came, if they are not JSON; `input` is then empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
    /// What a person must agree to before this is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub safety: Vec<SafetyCheck>,
    /// The provider's own form of it, sent back as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Opaque>,
}

/// Something that the provider wants a person to agree to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafetyCheck {
    /// Its id.
    pub id: String,
    /// Its kind.
    #[serde(default)]
    pub code: Option<String>,
    /// For people.
    #[serde(default)]
    pub message: Option<String>,
}

/// What a tool said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    /// Id of the [`ToolUse`].
    pub id: String,
    /// What it said.
    pub content: Vec<ResultPart>,
    /// Whether it failed.
    #[serde(default)]
    pub is_error: bool,
    /// Checks of the [`ToolUse`] that a person agreed to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acknowledged: Vec<SafetyCheck>,
}

/// A piece of a tool result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResultPart {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image(Image),
}

/// A value that only its provider understands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opaque {
    /// Whose it is.
    pub provider: Provider,
    /// The value.
    pub value: Value,
}

impl Message {
    /// What a person says.
    pub fn user(text: impl Into<String>) -> Self {
        Self { role: Role::User, parts: vec![Part::text(text)] }
    }

    /// What the model said.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self { role: Role::Assistant, parts: vec![Part::text(text)] }
    }

    /// All text of it.
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The tools that it wants to be run.
    pub fn tool_uses(&self) -> impl Iterator<Item = &ToolUse> {
        self.parts.iter().filter_map(|part| match part {
            Part::ToolUse(call) => Some(call),
            _ => None,
        })
    }

    /// The tool results in it.
    pub fn tool_results(&self) -> impl Iterator<Item = &ToolResult> {
        self.parts.iter().filter_map(|part| match part {
            Part::ToolResult(result) => Some(result),
            _ => None,
        })
    }
}

impl Part {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

impl ResultPart {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

impl ToolResult {
    /// A result that is text.
    pub fn text(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { id: id.into(), content: vec![ResultPart::text(text)], ..Self::default() }
    }

    /// A failure.
    pub fn error(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { is_error: true, ..Self::text(id, text) }
    }

    /// All text of it.
    pub fn all_text(&self) -> String {
        let texts = self.content.iter().filter_map(|part| match part {
            ResultPart::Text { text } => Some(text.as_str()),
            ResultPart::Image(_) => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The pictures in it.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.content.iter().filter_map(|part| match part {
            ResultPart::Image(image) => Some(image),
            ResultPart::Text { .. } => None,
        })
    }
}
