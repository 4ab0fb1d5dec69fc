//! How the refusals of the three wires are told apart. Servers agree on little: what counts is the status where it is clear, else the words.

use std::time::Duration;

use serde_json::Value;

use crate::{LlmError, Request};

/// Longest text of a server that is repeated, in characters.
const MAX_DETAIL: usize = 400;

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
        let status = self.status;
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
        self.unable(&lower, &detail).unwrap_or_else(|| self.by_status(&lower, detail))
    }

    /// What the model cannot do. Servers say these with 400, 404, 422 and even 500.
    fn unable(&self, lower: &str, detail: &str) -> Option<LlmError> {
        let says = |needles: &[&str]| needles.iter().any(|needle| lower.contains(needle));
        let (model, detail) = (self.model.to_owned(), detail.to_owned());
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
            return Some(LlmError::NoHostedComputer { model, detail });
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
            return Some(LlmError::NoTools { model, detail });
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
            return Some(LlmError::NoVision { model, detail });
        }
        if self.status == 413
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
            return Some(LlmError::TooLong { model, detail });
        }
        None
    }

    fn by_status(&self, lower: &str, detail: String) -> LlmError {
        let says = |needles: &[&str]| needles.iter().any(|needle| lower.contains(needle));
        let (model, status) = (self.model.to_owned(), self.status);
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

    type Case = (LlmError, fn(&LlmError) -> bool);

    /// Each text is one that a server really sends.
    fn assert_all(cases: &[Case]) {
        for (error, right) in cases {
            assert!(right(error), "{error:?}");
        }
    }

    #[test]
    fn keys_names_limits_and_failures_are_told_apart() {
        use LlmError as E;
        let plain = |status, body| refused(status, body, false, false);
        let key = r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#;
        let name = r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}"#;
        let local = r#"{"error":{"message":"model \"x\" not found, try pulling it first"}}"#;
        let quota = r#"{"error":{"code":"insufficient_quota","message":"You exceeded your current quota"}}"#;
        let busy = r#"{"error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        let other = r#"{"error":{"message":"temperature: must be low"}}"#;
        assert_all(&[
            (plain(401, key), |e| matches!(e, E::Key { .. })),
            (plain(404, name), |e| matches!(e, E::UnknownModel { .. })),
            (plain(404, local), |e| matches!(e, E::UnknownModel { .. })),
            (plain(404, "404 page not found"), |e| matches!(e, E::Endpoint { .. })),
            (plain(403, "{}"), |e| matches!(e, E::Forbidden { .. })),
            (plain(429, quota), |e| matches!(e, E::Quota { .. })),
            (plain(429, "{}"), |e| e.retry_after() == Some(Duration::from_secs(7)) && e.is_transient()),
            (plain(529, busy), |e| matches!(e, E::Overloaded { status: 529, .. }) && e.is_transient()),
            (plain(502, "<html>no</html>"), |e| e.is_transient() && !e.to_string().contains("html")),
            (refused(400, other, true, true), |e| matches!(e, E::Rejected { .. }) && !e.is_transient()),
        ]);
    }

    #[test]
    fn what_a_model_cannot_do_is_told_apart() {
        use LlmError as E;
        let ollama =
            r#"{"error":{"message":"registry.ollama.ai/library/llava:latest does not support tools"}}"#;
        let vllm = r#"{"object":"error","message":"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set"}"#;
        let llama = r#"{"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"}}"#;
        let blind = r#"{"message":"m is not a multimodal model None"}"#;
        let hosted = r#"{"type":"error","error":{"type":"invalid_request_error","message":"'claude-haiku' does not support tool types: computer_20251124."}}"#;
        let long = r#"{"error":{"message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#;
        let longer = r#"{"error":{"code":"context_length_exceeded","message":"Your input exceeds the context window of this model."}}"#;
        assert_all(&[
            (refused(400, ollama, false, true), |e| matches!(e, E::NoTools { .. })),
            (refused(400, vllm, false, true), |e| matches!(e, E::NoTools { .. })),
            (refused(500, llama, false, true), |e| matches!(e, E::NoVision { .. })),
            (refused(400, blind, false, true), |e| matches!(e, E::NoVision { .. })),
            (refused(400, hosted, true, true), |e| matches!(e, E::NoHostedComputer { .. })),
            (refused(400, long, true, true), |e| matches!(e, E::TooLong { .. })),
            (refused(400, longer, false, true), |e| matches!(e, E::TooLong { .. })),
        ]);
    }

    #[test]
    fn no_key_is_repeated_not_even_a_masked_one() {
        let body = r#"{"error":{"message":"Incorrect API key provided: sk-abc***xyz, or canary-key, see the docs."}}"#;
        let text = refused(401, body, false, false).to_string();
        assert!(!text.contains("canary-key") && !text.contains("sk-abc"), "{text}");
        assert!(text.contains("[key]"));
    }
}
