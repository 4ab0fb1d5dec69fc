//! Chat completions.

use serde_json::{Value, json};

use super::{Events, id, pieces, said, text, usage};
use crate::{
    asked::Asked,
    scenario::{Piece, Step, Stop},
};

fn reason(step: &Step) -> &'static str {
    match step.stop {
        Stop::Refusal => "content_filter",
        Stop::MaxTokens => "length",
        Stop::Normal if step.calls.is_empty() => "stop",
        Stop::Normal => "tool_calls",
    }
}

fn tokens(asked: &Asked, step: &Step) -> Value {
    let (input, output) = usage(asked, step);
    json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
}

pub fn events(asked: &Asked, step: &Step) -> Events {
    let mut events = Events::new();
    let mut chunk = |choices: Value, usage: Value| {
        let data = json!({
            "id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": 0, "model": asked.model,
            "choices": choices, "usage": usage,
        });
        events.push((String::new(), data));
    };
    let delta = |delta: Value| json!([{"index": 0, "delta": delta, "finish_reason": null}]);
    chunk(delta(json!({"role": "assistant", "content": ""})), Value::Null);
    for piece in &step.pieces {
        let field = if matches!(piece, Piece::Think(_)) { "reasoning_content" } else { "content" };
        for part in pieces(text(piece)) {
            chunk(delta(json!({field: part})), Value::Null);
        }
    }
    for (number, call) in step.calls.iter().enumerate() {
        let function = json!({"name": call.name, "arguments": ""});
        let begin = json!({"index": number, "id": id("call", asked, number), "type": "function", "function": function});
        chunk(delta(json!({"tool_calls": [begin]})), Value::Null);
        for part in pieces(&call.arguments) {
            let more = json!({"index": number, "function": {"arguments": part}});
            chunk(delta(json!({"tool_calls": [more]})), Value::Null);
        }
    }
    chunk(json!([{"index": 0, "delta": {}, "finish_reason": reason(step)}]), Value::Null);
    chunk(json!([]), tokens(asked, step));
    events.push((String::new(), json!("[DONE]")));
    events
}

pub fn whole(asked: &Asked, step: &Step) -> Value {
    let calls = step.calls.iter().enumerate().map(|(number, call)| {
        let function = json!({"name": call.name, "arguments": call.arguments});
        json!({"id": id("call", asked, number), "type": "function", "function": function})
    });
    let calls: Vec<Value> = calls.collect();
    let mut message = json!({"role": "assistant", "content": said(step)});
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    json!({
        "id": "chatcmpl-mock", "object": "chat.completion", "created": 0, "model": asked.model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason(step)}],
        "usage": tokens(asked, step),
    })
}
