//! Google's generateContent.

use serde_json::{Value, json};

use super::{Events, pieces, text, usage};
use crate::{
    asked::Asked,
    scenario::{Piece, Step, Stop},
};

fn chunk(asked: &Asked, step: &Step, parts: &[Value], over: bool) -> Value {
    let (input, output) = usage(asked, step);
    let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
    if over {
        candidate["finishReason"] = json!(match step.stop {
            Stop::Refusal => "SAFETY",
            Stop::MaxTokens => "MAX_TOKENS",
            Stop::Normal => "STOP",
        });
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": input, "candidatesTokenCount": output, "totalTokenCount": input + output},
        "modelVersion": asked.model,
        "responseId": "mock",
    })
}

fn part(piece: &Piece, text: &str) -> Value {
    match piece {
        Piece::Think(_) => json!({"text": text, "thought": true}),
        _ => json!({"text": text}),
    }
}

fn calls(step: &Step) -> impl Iterator<Item = Value> {
    step.calls.iter().map(|call| {
        let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
        json!({"functionCall": {"name": call.name, "args": arguments}})
    })
}

pub fn events(asked: &Asked, step: &Step) -> Events {
    let mut events = Events::new();
    for piece in &step.pieces {
        for some in pieces(text(piece)) {
            events.push((String::new(), chunk(asked, step, &[part(piece, &some)], false)));
        }
    }
    let calls: Vec<Value> = calls(step).collect();
    events.push((String::new(), chunk(asked, step, &calls, true)));
    events
}

pub fn whole(asked: &Asked, step: &Step) -> Value {
    let said = step.pieces.iter().map(|piece| part(piece, text(piece)));
    let parts: Vec<Value> = said.chain(calls(step)).collect();
    chunk(asked, step, &parts, true)
}
