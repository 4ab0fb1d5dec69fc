//! Answers of the Responses API.

use std::collections::VecDeque;

use serde_json::Value;

use super::actions::translate;
use crate::{
    Event, LlmError, Message, Opaque, Part, Provider, Reply, Role, SafetyCheck, Stop, ToolUse, Usage,
    http::Decode, refusal, sse::SseEvent,
};

/// Puts an answer together.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    parts: Vec<Part>,
    refused: bool,
}

impl Decode for Decoder {
    fn event(&mut self, event: SseEvent, out: &mut VecDeque<Event>) -> Result<(), LlmError> {
        if event.data == "[DONE]" {
            return Ok(());
        }
        let data: Value = serde_json::from_str(&event.data)
            .map_err(|error| LlmError::Malformed(format!("event {:?}: {error}", event.name)))?;
        let piece = || data["delta"].as_str().unwrap_or_default().to_owned();
        match data["type"].as_str().unwrap_or(&event.name) {
            "response.output_text.delta" => out.push_back(Event::Text(piece())),
            "response.refusal.delta" => {
                self.refused = true;
                out.push_back(Event::Text(piece()));
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                out.push_back(Event::Thinking(piece()));
            }
            "response.output_item.added" => match data["item"]["type"].as_str() {
                Some("computer_call") => out.push_back(Event::Calling("computer".into())),
                Some("function_call") => {
                    out.push_back(Event::Calling(data["item"]["name"].as_str().unwrap_or_default().into()));
                }
                _ => {}
            },
            "response.output_item.done" => self.item(&data["item"]),
            "response.completed" | "response.incomplete" => {
                let response = &data["response"];
                let stop = match response["incomplete_details"]["reason"].as_str() {
                    Some("content_filter") => Stop::Refusal,
                    Some(_) => Stop::MaxTokens,
                    None if self.refused => Stop::Refusal,
                    None if self.parts.iter().any(|part| matches!(part, Part::ToolUse(_))) => Stop::ToolUse,
                    None => Stop::EndTurn,
                };
                let message = Message { role: Role::Assistant, parts: std::mem::take(&mut self.parts) };
                out.push_back(Event::Done(Reply { message, stop, usage: usage(&response["usage"]) }));
            }
            "response.failed" => {
                let text = |field: &str| data["response"]["error"][field].as_str().unwrap_or_default();
                return Err(refusal::in_stream(text("code"), text("message")));
            }
            "error" => {
                let inner = data.get("error").unwrap_or(&data);
                let text = |field: &str| inner[field].as_str().unwrap_or_default();
                let kind = if text("code").is_empty() { text("type") } else { text("code") };
                let kind = if kind == "error" { "" } else { kind };
                return Err(refusal::in_stream(kind, text("message")));
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut VecDeque<Event>) -> Result<(), LlmError> {
        Err(LlmError::Broken("the server closed the connection early".into()))
    }
}

impl Decoder {
    fn item(&mut self, item: &Value) {
        let text_of = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
        let opaque = || Opaque { provider: Provider::OpenAi, value: item.clone() };
        match item["type"].as_str().unwrap_or_default() {
            "message" => {
                for content in item["content"].as_array().into_iter().flatten() {
                    let text = content["text"].as_str().or_else(|| content["refusal"].as_str());
                    self.refused |= content["type"] == "refusal";
                    self.parts.extend(text.filter(|text| !text.is_empty()).map(Part::text));
                }
            }
            "reasoning" => self.parts.push(Part::Opaque(opaque())),
            "function_call" => {
                let mut call =
                    ToolUse { id: text_of("call_id"), name: text_of("name"), ..ToolUse::default() };
                (call.input, call.broken) = arguments(&item["arguments"]);
                self.parts.push(Part::ToolUse(call));
            }
            "computer_call" => {
                let checks = item["pending_safety_checks"].clone();
                self.parts.push(Part::ToolUse(ToolUse {
                    id: text_of("call_id"),
                    name: "computer".into(),
                    input: translate(item),
                    safety: serde_json::from_value::<Vec<SafetyCheck>>(checks).unwrap_or_default(),
                    broken: None,
                    raw: Some(opaque()),
                }));
            }
            _ => {}
        }
    }
}

/// Arguments of a function: an object, or what came instead of one.
pub(crate) fn arguments(value: &Value) -> (Value, Option<String>) {
    let empty = || Value::Object(serde_json::Map::new());
    match value {
        Value::Object(_) => (value.clone(), None),
        Value::String(text) if text.trim().is_empty() => (empty(), None),
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(object) if object.is_object() => (object, None),
            _ => (empty(), Some(text.clone())),
        },
        _ => (empty(), None),
    }
}

fn usage(usage: &Value) -> Usage {
    Usage {
        input: usage["input_tokens"].as_u64().unwrap_or_default(),
        cached: usage["input_tokens_details"]["cached_tokens"].as_u64().unwrap_or_default(),
        output: usage["output_tokens"].as_u64().unwrap_or_default(),
    }
}
