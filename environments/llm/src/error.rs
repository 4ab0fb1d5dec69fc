//! What can go wrong with a model, said so that a person can act on it.

use std::time::Duration;

/// Why a model gave no answer. The text says what is wrong and what to do; it never has a key in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum LlmError {
    /// The settings cannot work.
    #[error("the model's settings cannot work: {0}")]
    Settings(String),
    /// 401.
    #[error(
        "the key for the model was refused ({detail}). Put a valid key into the Secret that the Connection names."
    )]
    Key { detail: String },
    /// 403.
    #[error(
        "access to the model {model:?} was refused ({detail}). Check what the key may use, and that the Connection is granted."
    )]
    Forbidden { model: String, detail: String },
    /// 402, or words to that effect.
    #[error(
        "the account behind the key has no credit or quota left ({detail}). Add credit or use another Connection."
    )]
    Quota { detail: String },
    /// The model is not known.
    #[error(
        "the model {model:?} is not known to the server ({detail}). Correct the model's name in the Connection."
    )]
    UnknownModel { model: String, detail: String },
    /// 404 without a word of a model.
    #[error("there is no model interface at {url} ({detail}). Correct the base URL in the Connection.")]
    Endpoint { url: String, detail: String },
    /// The model cannot call functions.
    #[error(
        "the model {model:?} cannot use tools ({detail}). Use a model with tool calling, or start its server with tool calling enabled."
    )]
    NoTools { model: String, detail: String },
    /// The model cannot see.
    #[error(
        "the model {model:?} cannot see pictures ({detail}), so it cannot work on a desktop. Use a model with vision."
    )]
    NoVision { model: String, detail: String },
    /// The model does not know the hosted computer tool; it may know an older one, or a function of the same name.
    #[error("the model {model:?} does not know its provider's computer tool ({detail})")]
    NoHostedComputer { model: String, detail: String },
    /// The conversation does not fit.
    #[error("the conversation is too long for the model {model:?} ({detail})")]
    TooLong { model: String, detail: String },
    /// 429.
    #[error("the model's rate limit is reached{}. Try again later, or raise the limit with the provider.", later(*.retry_after))]
    RateLimited { retry_after: Option<Duration> },
    /// 5xx and 529.
    #[error("the model's server is overloaded or has failed ({status}: {detail}). Try again later.")]
    Overloaded { status: u16, detail: String },
    /// Another refusal.
    #[error("the model's server refused the request ({status}: {detail})")]
    Rejected { status: u16, detail: String },
    /// No connection.
    #[error(
        "the model's server {url} cannot be reached ({detail}). Check the base URL in the Connection and that the server runs."
    )]
    Unreachable { url: String, detail: String },
    /// Silence.
    #[error("the model's server has said nothing for {} s. It may be overloaded, or loading the model; try again.", .after.as_secs())]
    Timeout { after: Duration },
    /// The stream ended early.
    #[error("the model's answer broke off ({0}). Try again.")]
    Broken(String),
    /// The stream makes no sense.
    #[error(
        "the model's server sent something that is no answer ({0}). Check that the provider in the Connection is the right one."
    )]
    Malformed(String),
    /// Not what was asked for.
    #[error("the model did not answer in the form that was asked for ({0})")]
    NotAsAsked(String),
    /// It refuses.
    #[error("the model refused to answer{}", if .0.is_empty() { String::new() } else { format!(": {}", .0) })]
    Refused(String),
}

fn later(after: Option<Duration>) -> String {
    after.map(|after| format!(" for another {} s", after.as_secs())).unwrap_or_default()
}

impl LlmError {
    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Overloaded { .. }
                | Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::Broken(_)
        )
    }

    /// How long the server asks us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => *retry_after,
            _ => None,
        }
    }
}
