//! Answers of chat completions.

use std::collections::VecDeque;

use serde_json::Value;

use crate::{
    Event, LlmError, Message, Opaque, Part, Provider, Reply, Role, Stop, ToolUse, Usage, http::Decode,
    openai::arguments, refusal, sse::SseEvent,
};

/// Puts an answer together.
#[derive(Debug)]
pub(crate) struct Decoder {
    provider: Provider,
    text: String,
    calls: Vec<Call>,
    reason: Option<String>,
    refused: bool,
    usage: Usage,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    text: String,
    object: Option<Value>,
    extra: Option<Value>,
}

impl Decode for Decoder {
    fn event(&mut self, event: SseEvent, out: &mut VecDeque<Event>) -> Result<(), LlmError> {
        if event.data.trim() == "[DONE]" {
            return self.end(out);
        }
        let data: Value =
            serde_json::from_str(&event.data).map_err(|error| LlmError::Malformed(error.to_string()))?;
        if let Some(failure) = data.get("error").filter(|error| !error.is_null()) {
            let text = |field: &str| failure[field].as_str().unwrap_or_default();
            let message = failure.as_str().unwrap_or(text("message"));
            return Err(refusal::in_stream(text("type"), message));
        }
        if data["usage"].is_object() {
            self.usage = usage(&data["usage"]);
        }
        let choice = &data["choices"][0];
        self.delta(&choice["delta"], out);
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.reason = Some(reason.to_owned());
        }
        Ok(())
    }

    fn end(&mut self, out: &mut VecDeque<Event>) -> Result<(), LlmError> {
        let Some(reason) = self.reason.take() else {
            return Err(LlmError::Broken("the server closed the connection early".into()));
        };
        let mut parts = Vec::new();
        if !self.text.trim().is_empty() {
            parts.push(Part::text(std::mem::take(&mut self.text)));
        }
        let calls = std::mem::take(&mut self.calls);
        for (number, call) in calls.into_iter().enumerate().filter(|(_, call)| !call.name.is_empty()) {
            let (input, broken) = arguments(&call.object.unwrap_or(Value::String(call.text)));
            let id = if call.id.is_empty() { format!("call_{number}") } else { call.id };
            let raw = call.extra.map(|value| Opaque { provider: self.provider, value });
            let name = call.name;
            parts.push(Part::ToolUse(ToolUse { id, name, input, broken, raw, ..ToolUse::default() }));
        }
        let wants = parts.iter().any(|part| matches!(part, Part::ToolUse(_)));
        let stop = match reason.as_str() {
            "length" => Stop::MaxTokens,
            "content_filter" => Stop::Refusal,
            // Some servers say `stop` when they mean `tool_calls`.
            _ if wants => Stop::ToolUse,
            _ if self.refused => Stop::Refusal,
            _ => Stop::EndTurn,
        };
        let message = Message { role: Role::Assistant, parts };
        out.push_back(Event::Done(Reply { message, stop, usage: self.usage }));
        Ok(())
    }
}

impl Decoder {
    /// For an answer of this provider.
    pub(crate) fn of(provider: Provider) -> Self {
        let (text, calls, reason) = (String::new(), Vec::new(), None);
        Self { provider, text, calls, reason, refused: false, usage: Usage::default() }
    }

    fn delta(&mut self, delta: &Value, out: &mut VecDeque<Event>) {
        let text = |field: &str| delta[field].as_str().filter(|text| !text.is_empty());
        if let Some(piece) = text("reasoning_content").or_else(|| text("reasoning")) {
            out.push_back(Event::Thinking(piece.to_owned()));
        }
        if let Some(piece) = text("refusal") {
            self.refused = true;
            self.text.push_str(piece);
            out.push_back(Event::Text(piece.to_owned()));
        }
        if let Some(piece) = text("content") {
            self.text.push_str(piece);
            out.push_back(Event::Text(piece.to_owned()));
        }
        for piece in delta["tool_calls"].as_array().into_iter().flatten() {
            self.call(piece, out);
        }
    }

    fn call(&mut self, piece: &Value, out: &mut VecDeque<Event>) {
        let index = piece["index"].as_u64();
        let id = piece["id"].as_str().unwrap_or_default();
        let same = |call: &Call| match (index, id) {
            (Some(index), _) => call.index == Some(index),
            (None, "") => true,
            (None, id) => call.id == id,
        };
        let known = self.calls.iter().rposition(same);
        let at = known.unwrap_or_else(|| {
            self.calls.push(Call { index, ..Call::default() });
            self.calls.len() - 1
        });
        let call = &mut self.calls[at];
        if call.id.is_empty() {
            id.clone_into(&mut call.id);
        }
        if let Some(extra) = piece.get("extra_content") {
            call.extra = Some(extra.clone());
        }
        let function = &piece["function"];
        if let Some(name) = function["name"].as_str().filter(|_| call.name.is_empty()) {
            name.clone_into(&mut call.name);
            out.push_back(Event::Calling(name.to_owned()));
        }
        match &function["arguments"] {
            Value::String(text) => call.text.push_str(text),
            Value::Null => {}
            object => call.object = Some(object.clone()),
        }
    }
}

fn usage(usage: &Value) -> Usage {
    Usage {
        input: usage["prompt_tokens"].as_u64().unwrap_or_default(),
        cached: usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or_default(),
        output: usage["completion_tokens"].as_u64().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialects_are_understood() {
        let mut decoder = Decoder::of(Provider::Gemini);
        let mut out = VecDeque::new();
        // No index, no id, arguments as an object, `stop` instead of `tool_calls`, no `[DONE]`: all seen in the field.
        let data = r#"{"choices":[{"delta":{"reasoning":"hm","tool_calls":[{"function":{"name":"f","arguments":{"a":1}},"extra_content":{"google":{"thought_signature":"s"}}}]},"finish_reason":"stop"}]}"#;
        decoder.event(SseEvent { name: String::new(), data: data.into() }, &mut out).unwrap();
        decoder.end(&mut out).unwrap();
        assert_eq!(out[0], Event::Thinking("hm".into()));
        let Some(Event::Done(reply)) = out.back() else { panic!("{out:?}") };
        let call = reply.message.tool_uses().next().unwrap();
        assert_eq!(
            (call.name.as_str(), call.id.as_str(), &call.input["a"]),
            ("f", "call_0", &Value::from(1))
        );
        assert_eq!(reply.stop, Stop::ToolUse);
        assert_eq!(call.raw.as_ref().unwrap().value["google"]["thought_signature"], "s");
    }

    #[test]
    fn an_answer_without_an_end_is_broken() {
        let mut decoder = Decoder::of(Provider::Gemini);
        let mut out = VecDeque::new();
        let data = r#"{"choices":[{"delta":{"content":"half a"}}]}"#;
        decoder.event(SseEvent { name: String::new(), data: data.into() }, &mut out).unwrap();
        assert!(matches!(decoder.end(&mut out), Err(LlmError::Broken(_))));
    }
}
