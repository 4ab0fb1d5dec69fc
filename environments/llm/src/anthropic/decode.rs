//! Answers of the Messages API.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::{
    Event, LlmError, Message, Opaque, Part, Provider, Reply, Role, Stop, ToolUse, Usage, http::Decode,
    refusal, sse::SseEvent,
};

/// Puts an answer together.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    open: BTreeMap<u64, Block>,
    parts: Vec<Part>,
    stop: Option<Stop>,
    usage: Usage,
}

#[derive(Debug)]
enum Block {
    Text(String),
    Tool { call: ToolUse, json: String },
    Thinking { text: String, signature: String },
    Other(Value),
}

impl Decode for Decoder {
    fn event(&mut self, event: SseEvent, out: &mut VecDeque<Event>) -> Result<(), LlmError> {
        let data: Value = serde_json::from_str(&event.data)
            .map_err(|error| LlmError::Malformed(format!("event {:?}: {error}", event.name)))?;
        let index = data["index"].as_u64().unwrap_or_default();
        match data["type"].as_str().unwrap_or(&event.name) {
            "message_start" => self.count(&data["message"]["usage"]),
            "content_block_start" => {
                let block = begin(&data["content_block"]);
                match &block {
                    Block::Tool { call, .. } => out.push_back(Event::Calling(call.name.clone())),
                    Block::Text(text) if !text.is_empty() => out.push_back(Event::Text(text.clone())),
                    _ => {}
                }
                self.open.insert(index, block);
            }
            "content_block_delta" => {
                let Some(block) = self.open.get_mut(&index) else {
                    return Err(LlmError::Malformed(format!(
                        "a piece of block {index}, which was not begun"
                    )));
                };
                delta(block, &data["delta"], out);
            }
            "content_block_stop" => {
                if let Some(block) = self.open.remove(&index) {
                    self.parts.extend(finish(block));
                }
            }
            "message_delta" => {
                self.count(&data["usage"]);
                if let Some(reason) = data["delta"]["stop_reason"].as_str() {
                    self.stop = Some(match reason {
                        "tool_use" => Stop::ToolUse,
                        "max_tokens" => Stop::MaxTokens,
                        "model_context_window_exceeded" => Stop::ContextFull,
                        "refusal" => Stop::Refusal,
                        "pause_turn" => Stop::Paused,
                        _ => Stop::EndTurn,
                    });
                }
            }
            "message_stop" => {
                let message = Message { role: Role::Assistant, parts: std::mem::take(&mut self.parts) };
                let stop = self.stop.take().unwrap_or(Stop::EndTurn);
                out.push_back(Event::Done(Reply { message, stop, usage: self.usage }));
            }
            "error" => {
                let text = |field: &str| data["error"][field].as_str().unwrap_or_default();
                return Err(refusal::in_stream(text("type"), text("message")));
            }
            // `ping`, and what is still to be invented.
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut VecDeque<Event>) -> Result<(), LlmError> {
        Err(LlmError::Broken("the server closed the connection early".into()))
    }
}

impl Decoder {
    fn count(&mut self, usage: &Value) {
        let number = |field: &str| usage[field].as_u64();
        if let Some(input) = number("input_tokens") {
            let cached = number("cache_read_input_tokens").unwrap_or_default();
            let written = number("cache_creation_input_tokens").unwrap_or_default();
            self.usage.input = input + cached + written;
            self.usage.cached = cached;
        }
        if let Some(output) = number("output_tokens") {
            self.usage.output = output;
        }
    }
}

fn text_of(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn begin(block: &Value) -> Block {
    match block["type"].as_str().unwrap_or_default() {
        "text" => Block::Text(text_of(block, "text")),
        "thinking" => {
            Block::Thinking { text: text_of(block, "thinking"), signature: text_of(block, "signature") }
        }
        "tool_use" => {
            let call = ToolUse {
                id: text_of(block, "id"),
                name: text_of(block, "name"),
                input: block["input"].clone(),
                ..ToolUse::default()
            };
            Block::Tool { call, json: String::new() }
        }
        _ => Block::Other(block.clone()),
    }
}

fn delta(block: &mut Block, delta: &Value, out: &mut VecDeque<Event>) {
    match (block, delta["type"].as_str().unwrap_or_default()) {
        (Block::Text(text), "text_delta") => {
            let piece = text_of(delta, "text");
            text.push_str(&piece);
            out.push_back(Event::Text(piece));
        }
        (Block::Tool { json, .. }, "input_json_delta") => {
            json.push_str(delta["partial_json"].as_str().unwrap_or_default());
        }
        (Block::Thinking { text, .. }, "thinking_delta") => {
            let piece = text_of(delta, "thinking");
            text.push_str(&piece);
            out.push_back(Event::Thinking(piece));
        }
        (Block::Thinking { signature, .. }, "signature_delta") => {
            signature.push_str(delta["signature"].as_str().unwrap_or_default());
        }
        _ => {}
    }
}

fn finish(block: Block) -> Option<Part> {
    let opaque = |value| Some(Part::Opaque(Opaque { provider: Provider::Anthropic, value }));
    match block {
        Block::Text(text) => (!text.is_empty()).then_some(Part::Text { text }),
        Block::Thinking { text, signature } => {
            opaque(json!({"type": "thinking", "thinking": text, "signature": signature}))
        }
        Block::Other(value) => opaque(value),
        Block::Tool { mut call, json } => {
            if !json.is_empty() {
                match serde_json::from_str::<Value>(&json) {
                    Ok(input) if input.is_object() => call.input = input,
                    _ => call.broken = Some(json),
                }
            }
            Some(Part::ToolUse(call))
        }
    }
}
