//! OpenAI's Responses.

use serde_json::{Value, json};

use super::{Events, id, pieces, said, text, usage};
use crate::{
    asked::Asked,
    scenario::{Call, Piece, Step, Stop, openai_action},
};

fn response(asked: &Asked, step: &Step, output: &[Value], over: bool) -> Value {
    let (input, written) = usage(asked, step);
    let cut = step.stop == Stop::MaxTokens;
    let status = match (over, cut) {
        (false, _) => "in_progress",
        (true, true) => "incomplete",
        (true, false) => "completed",
    };
    let details = if over && cut { json!({"reason": "max_output_tokens"}) } else { Value::Null };
    let mut value = json!({
        "id": "resp_mock", "object": "response", "created_at": 0, "status": status, "model": asked.model,
        "output": output, "error": null, "incomplete_details": details, "parallel_tool_calls": true,
        "tools": [], "tool_choice": "auto", "usage": null,
    });
    if over {
        value["usage"] = json!({
            "input_tokens": input, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": written, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": input + written,
        });
    }
    value
}

fn call_item(asked: &Asked, step: &Step, number: usize, call: &Call) -> Value {
    let call_id = id("call", asked, number);
    if call.name != "computer" || asked.hosted.is_none() {
        let mut item = json!({
            "type": "function_call", "id": id("fc", asked, number), "call_id": call_id, "name": call.name,
            "arguments": call.arguments, "status": "completed",
        });
        let spaced = asked.spaced.iter().find(|(space, tool)| call.name == format!("{space}__{tool}"));
        if let Some((space, tool)) = spaced {
            item["namespace"] = json!(space);
            item["name"] = json!(tool);
        }
        return item;
    }
    let input: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
    let actions: Vec<Value> = match input["actions"].as_array() {
        Some(actions) => actions.iter().map(openai_action).collect(),
        None => vec![openai_action(&input)],
    };
    let checks: Vec<Value> = step
        .safety
        .iter()
        .map(|text| json!({"id": "cu_sc_mock", "code": "malicious_instructions", "message": text}))
        .collect();
    let mut item = json!({
        "type": "computer_call", "id": id("cu", asked, number), "call_id": call_id,
        "pending_safety_checks": checks, "status": "completed",
    });
    if asked.hosted.as_deref() == Some("computer") {
        item["actions"] = json!(actions);
    } else {
        item["action"] = actions.first().cloned().unwrap_or_default();
    }
    item
}

fn message(content: &Value) -> Value {
    json!({"type": "message", "id": "msg_mock", "status": "completed", "role": "assistant", "content": content})
}

fn items(asked: &Asked, step: &Step) -> Vec<Value> {
    let mut items = Vec::new();
    for piece in &step.pieces {
        if let Piece::Think(thought) = piece {
            let summary = json!([{"type": "summary_text", "text": thought}]);
            items.push(json!({"type": "reasoning", "id": "rs_mock", "summary": summary, "encrypted_content": "bW9jaw=="}));
        }
    }
    let said = said(step);
    if step.stop == Stop::Refusal {
        items.push(message(&json!([{"type": "refusal", "refusal": said}])));
    } else if !said.is_empty() {
        items.push(message(&json!([{"type": "output_text", "text": said, "annotations": []}])));
    }
    items.extend(step.calls.iter().enumerate().map(|(number, call)| call_item(asked, step, number, call)));
    items
}

pub fn events(asked: &Asked, step: &Step) -> Events {
    let mut events = Events::new();
    let mut emit = |kind: &str, mut data: Value| {
        data["type"] = json!(kind);
        data["sequence_number"] = json!(events.len());
        events.push((kind.to_owned(), data));
    };
    let items = items(asked, step);
    emit("response.created", json!({"response": response(asked, step, &[], false)}));
    emit("response.in_progress", json!({"response": response(asked, step, &[], false)}));
    for (index, item) in items.iter().enumerate() {
        let mut begun = item.clone();
        begun["status"] = json!("in_progress");
        match item["type"].as_str().unwrap_or_default() {
            "message" => {
                begun["content"] = json!([]);
                let refusal = item["content"][0]["type"] == "refusal";
                let kind = if refusal { "refusal" } else { "output_text" };
                let field = if refusal { "refusal" } else { "text" };
                let place = json!({"item_id": "msg_mock", "output_index": index, "content_index": 0});
                let with = |field: &str, value: Value| {
                    let mut data = place.clone();
                    data[field] = value;
                    data
                };
                emit("response.output_item.added", json!({"output_index": index, "item": begun}));
                emit("response.content_part.added", with("part", json!({"type": kind, field: ""})));
                for part in pieces(item["content"][0][field].as_str().unwrap_or_default()) {
                    emit(&format!("response.{kind}.delta"), with("delta", json!(part)));
                }
                emit(&format!("response.{kind}.done"), with(field, item["content"][0][field].clone()));
                emit("response.content_part.done", with("part", item["content"][0].clone()));
            }
            "function_call" => {
                begun["arguments"] = json!("");
                emit("response.output_item.added", json!({"output_index": index, "item": begun}));
                for part in pieces(item["arguments"].as_str().unwrap_or_default()) {
                    let data = json!({"item_id": item["id"], "output_index": index, "delta": part});
                    emit("response.function_call_arguments.delta", data);
                }
                let data =
                    json!({"item_id": item["id"], "output_index": index, "arguments": item["arguments"]});
                emit("response.function_call_arguments.done", data);
            }
            kind => {
                emit("response.output_item.added", json!({"output_index": index, "item": begun}));
                if kind == "reasoning" {
                    for piece in step.pieces.iter().filter(|piece| matches!(piece, Piece::Think(_))) {
                        let data = json!({"item_id": "rs_mock", "output_index": index, "summary_index": 0, "delta": text(piece)});
                        emit("response.reasoning_summary_text.delta", data);
                    }
                }
            }
        }
        emit("response.output_item.done", json!({"output_index": index, "item": item}));
    }
    let last = if step.stop == Stop::MaxTokens { "response.incomplete" } else { "response.completed" };
    emit(last, json!({"response": response(asked, step, &items, true)}));
    events
}

pub fn whole(asked: &Asked, step: &Step) -> Value {
    response(asked, step, &items(asked, step), true)
}
