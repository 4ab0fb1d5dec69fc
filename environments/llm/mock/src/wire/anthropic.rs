//! Anthropic's Messages.

use serde_json::{Value, json};

use super::{Events, id, pieces, text, usage};
use crate::{
    asked::Asked,
    scenario::{Piece, Step, Stop},
};

fn stop(step: &Step) -> &'static str {
    match step.stop {
        Stop::Refusal => "refusal",
        Stop::MaxTokens => "max_tokens",
        Stop::Normal if step.calls.is_empty() => "end_turn",
        Stop::Normal => "tool_use",
    }
}

fn tokens(asked: &Asked, step: &Step) -> Value {
    let (input, output) = usage(asked, step);
    let cached = input / 2;
    json!({
        "input_tokens": input - cached, "cache_creation_input_tokens": 0, "cache_read_input_tokens": cached,
        "output_tokens": output,
    })
}

pub fn events(asked: &Asked, step: &Step) -> Events {
    let mut events = Events::new();
    let mut emit = |kind: &str, mut data: Value| {
        data["type"] = json!(kind);
        events.push((kind.to_owned(), data));
    };
    let mut counted = tokens(asked, step);
    counted["output_tokens"] = json!(1);
    let message = json!({
        "id": id("msg", asked, 0), "type": "message", "role": "assistant", "model": asked.model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": counted,
    });
    emit("message_start", json!({"message": message}));
    emit("ping", json!({}));
    let mut index = 0;
    for piece in &step.pieces {
        let (block, kind, field) = match piece {
            Piece::Think(_) => {
                (json!({"type": "thinking", "thinking": "", "signature": ""}), "thinking_delta", "thinking")
            }
            _ => (json!({"type": "text", "text": ""}), "text_delta", "text"),
        };
        emit("content_block_start", json!({"index": index, "content_block": block}));
        for part in pieces(text(piece)) {
            emit("content_block_delta", json!({"index": index, "delta": {"type": kind, field: part}}));
        }
        if matches!(piece, Piece::Think(_)) {
            let delta = json!({"type": "signature_delta", "signature": "bW9jaw=="});
            emit("content_block_delta", json!({"index": index, "delta": delta}));
        }
        emit("content_block_stop", json!({"index": index}));
        index += 1;
    }
    for (number, call) in step.calls.iter().enumerate() {
        let block =
            json!({"type": "tool_use", "id": id("toolu", asked, number), "name": call.name, "input": {}});
        emit("content_block_start", json!({"index": index, "content_block": block}));
        for part in pieces(&call.arguments) {
            let delta = json!({"type": "input_json_delta", "partial_json": part});
            emit("content_block_delta", json!({"index": index, "delta": delta}));
        }
        emit("content_block_stop", json!({"index": index}));
        index += 1;
    }
    let output = usage(asked, step).1;
    let delta = json!({"stop_reason": stop(step), "stop_sequence": null});
    emit("message_delta", json!({"delta": delta, "usage": {"output_tokens": output}}));
    emit("message_stop", json!({}));
    events
}

pub fn whole(asked: &Asked, step: &Step) -> Value {
    let said = step.pieces.iter().filter_map(|piece| match piece {
        Piece::Say(text) => Some(json!({"type": "text", "text": text})),
        _ => None,
    });
    let calls = step.calls.iter().enumerate().map(|(number, call)| {
        let input: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
        json!({"type": "tool_use", "id": id("toolu", asked, number), "name": call.name, "input": input})
    });
    let content: Vec<Value> = said.chain(calls).collect();
    json!({
        "id": id("msg", asked, 0), "type": "message", "role": "assistant", "model": asked.model, "content": content,
        "stop_reason": stop(step), "stop_sequence": null, "usage": tokens(asked, step),
    })
}
