//! What can go wrong with a model, said so that a person can act on it; and how refusals of the three wires are told apart.

use std::time::Duration;

use serde_json::Value;

use crate::Request;

/// Longest text of a server that is repeated, in characters.
const MAX_DETAIL: usize = 400;

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

/// What is known of a request that was refused.
pub(crate) struct Refusal<'a> {
    pub model: &'a str,
    pub url: &'a str,
    pub request: &'a Request,
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: &'a str,
    pub key: Option<&'a str>,
}

impl Refusal<'_> {
    /// Which error it is.
    pub fn error(&self) -> LlmError {
        let (kind, words) = words(self.body);
        let detail = tidy(&words, self.key);
        let detail = if detail.is_empty() { format!("HTTP {}", self.status) } else { detail };
        let lower = format!("{kind} {words}").to_lowercase();
        let says = |needles: &[&str]| needles.iter().any(|needle| lower.contains(needle));
        let (model, status) = (self.model.to_owned(), self.status);
        if status == 401 || (status == 400 && says(&["api key not valid", "invalid api key"])) {
            return LlmError::Key { detail };
        }
        if status == 402
            || says(&["insufficient_quota", "credit balance is too low", "exceeded your current quota"])
        {
            return LlmError::Quota { detail };
        }
        if status == 429 {
            return LlmError::RateLimited { retry_after: self.retry_after };
        }
        // Servers say these with 400, 404, 422 and even 500.
        let unable = says(&[
            "not support",
            "unsupported",
            "does not match",
            "invalid",
            "requires",
            "not allowed",
            "not available",
        ]);
        if self.request.computer.is_some()
            && unable
            && says(&[
                "computer_20",
                "computer-use",
                "computer_use",
                "tool types",
                "tool type",
                "'computer'",
                "computer tool",
            ])
        {
            return LlmError::NoHostedComputer { model, detail };
        }
        if says(&[
            "does not support tool",
            "not support function",
            "tool use is not supported",
            "support tool use",
            "enable-auto-tool-choice",
            "tools param requires",
            "tool calling is not supported",
            "tools is not supported",
        ]) {
            return LlmError::NoTools { model, detail };
        }
        if self.request.has_images()
            && says(&[
                "mmproj",
                "multimodal",
                "image input",
                "images",
                "vision",
                "image_url",
                "image content",
            ])
            && (unable || says(&["not a multimodal", "unknown variant", "expected"]))
            && !says(&["too large", "exceeds"])
        {
            return LlmError::NoVision { model, detail };
        }
        if status == 413
            || says(&[
                "prompt is too long",
                "context length",
                "context_length",
                "context size",
                "context window",
                "maximum context",
                "input is too long",
                "too many tokens",
            ])
        {
            return LlmError::TooLong { model, detail };
        }
        match status {
            403 => LlmError::Forbidden { model, detail },
            404 if says(&["model"]) => LlmError::UnknownModel { model, detail },
            400 if says(&["model_not_found", "unknown model", "is not a valid model", "does not exist"]) => {
                LlmError::UnknownModel { model, detail }
            }
            404 | 405 => LlmError::Endpoint { url: self.url.to_owned(), detail },
            408 | 409 | 500.. => LlmError::Overloaded { status, detail },
            _ => LlmError::Rejected { status, detail },
        }
    }
}

/// An `error` event within a stream that had begun. What passes is all the same there: the answer broke off.
pub(crate) fn in_stream(kind: &str, message: &str) -> LlmError {
    let detail = tidy(message, None);
    match kind {
        "context_length_exceeded" => LlmError::TooLong { model: String::new(), detail },
        "insufficient_quota" => LlmError::Quota { detail },
        "" => LlmError::Broken(detail),
        kind => LlmError::Broken(format!("{kind}: {detail}")),
    }
}

/// Kind and message of an error body, whatever its form.
fn words(body: &str) -> (String, String) {
    let Ok(value) = serde_json::from_str::<Value>(body) else {
        // A page of a proxy: its tags help nobody.
        let page = body.trim_start().starts_with('<');
        return (String::new(), if page { String::new() } else { body.to_owned() });
    };
    let error = value.get("error").unwrap_or(&value);
    let text = |field: &str| error.get(field).or_else(|| value.get(field)).and_then(Value::as_str);
    let kind = [text("type"), text("code")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let message =
        error.as_str().or_else(|| text("message")).or_else(|| text("detail")).or_else(|| text("reason"));
    (kind, message.unwrap_or_default().to_owned())
}

/// One short line without a key, not even a masked one.
fn tidy(text: &str, key: Option<&str>) -> String {
    let mut text = text.to_owned();
    if let Some(key) = key.filter(|key| key.len() >= 4) {
        text = text.replace(key, "[key]");
    }
    let word = |word: &str| if word.starts_with("sk-") { "[key]".to_owned() } else { word.to_owned() };
    let line = text.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_DETAIL).collect::<String>().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Computer, ComputerTool, Image, Message, Part, Role};

    fn refused(status: u16, body: &str, computer: bool, image: bool) -> LlmError {
        let mut request = Request::default();
        if computer {
            request.computer = Some(Computer { width: 1, height: 1, tool: ComputerTool::Current });
        }
        if image {
            let image = Image { media_type: "image/png".into(), data: "x".into() };
            request.messages.push(Message { role: Role::User, parts: vec![Part::Image(image)] });
        }
        Refusal {
            model: "m",
            url: "http://x/v1",
            request: &request,
            status,
            retry_after: Some(Duration::from_secs(7)),
            body,
            key: Some("canary-key"),
        }
        .error()
    }

    #[test]
    fn what_servers_say_becomes_what_a_person_can_act_on() {
        use LlmError as E;
        // Each text is one that a server of the kind named really sends.
        let cases: Vec<(LlmError, fn(&LlmError) -> bool)> = vec![
            (
                refused(
                    401,
                    r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
                    false,
                    false,
                ),
                |e| matches!(e, E::Key { .. }),
            ),
            (
                refused(
                    404,
                    r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}"#,
                    false,
                    false,
                ),
                |e| matches!(e, E::UnknownModel { .. }),
            ),
            (
                refused(
                    404,
                    r#"{"error":{"message":"model \"x\" not found, try pulling it first"}}"#,
                    false,
                    false,
                ),
                |e| matches!(e, E::UnknownModel { .. }),
            ),
            (refused(404, "404 page not found", false, false), |e| matches!(e, E::Endpoint { .. })),
            (
                refused(
                    400,
                    r#"{"error":{"message":"registry.ollama.ai/library/llava:latest does not support tools"}}"#,
                    false,
                    true,
                ),
                |e| matches!(e, E::NoTools { .. }),
            ),
            (
                refused(
                    400,
                    r#"{"object":"error","message":"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set"}"#,
                    false,
                    true,
                ),
                |e| matches!(e, E::NoTools { .. }),
            ),
            (
                refused(
                    500,
                    r#"{"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"}}"#,
                    false,
                    true,
                ),
                |e| matches!(e, E::NoVision { .. }),
            ),
            (refused(400, r#"{"message":"m is not a multimodal model None"}"#, false, true), |e| {
                matches!(e, E::NoVision { .. })
            }),
            (
                refused(
                    400,
                    r#"{"type":"error","error":{"type":"invalid_request_error","message":"'claude-haiku' does not support tool types: computer_20251124."}}"#,
                    true,
                    true,
                ),
                |e| matches!(e, E::NoHostedComputer { .. }),
            ),
            (
                refused(
                    400,
                    r#"{"error":{"message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
                    true,
                    true,
                ),
                |e| matches!(e, E::TooLong { .. }),
            ),
            (
                refused(
                    400,
                    r#"{"error":{"code":"context_length_exceeded","message":"Your input exceeds the context window of this model."}}"#,
                    false,
                    true,
                ),
                |e| matches!(e, E::TooLong { .. }),
            ),
            (
                refused(
                    429,
                    r#"{"error":{"code":"insufficient_quota","message":"You exceeded your current quota"}}"#,
                    false,
                    false,
                ),
                |e| matches!(e, E::Quota { .. }),
            ),
            (refused(429, "{}", false, false), |e| {
                e.retry_after() == Some(Duration::from_secs(7)) && e.is_transient()
            }),
            (
                refused(529, r#"{"error":{"type":"overloaded_error","message":"Overloaded"}}"#, false, false),
                |e| matches!(e, E::Overloaded { status: 529, .. }) && e.is_transient(),
            ),
            (refused(502, "<html>bad gateway</html>", false, false), |e| {
                matches!(e, E::Overloaded { .. }) && !e.to_string().contains("html")
            }),
            (refused(403, "{}", false, false), |e| matches!(e, E::Forbidden { .. })),
            (refused(400, r#"{"error":{"message":"temperature: must be low"}}"#, true, true), |e| {
                matches!(e, E::Rejected { .. }) && !e.is_transient()
            }),
        ];
        for (error, right) in cases {
            assert!(right(&error), "{error:?}");
        }
    }

    #[test]
    fn no_key_is_repeated_not_even_a_masked_one() {
        let body = r#"{"error":{"message":"Incorrect API key provided: sk-abc***xyz, or canary-key, see the docs."}}"#;
        let text = refused(401, body, false, false).to_string();
        assert!(!text.contains("canary-key") && !text.contains("sk-abc"), "{text}");
        assert!(text.contains("[key]"));
    }
}
