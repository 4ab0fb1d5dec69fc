//! Requests as the Responses API wants them.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::{
    Choice, ComputerTool, Image, Message, Opaque, Part, Provider, Request, ResultPart, Role, ToolResult,
    ToolUse,
};

/// Models that do not think refuse to hand out encrypted thoughts.
pub(crate) fn wants_no_thoughts(detail: &str) -> bool {
    detail.to_lowercase().contains("encrypted content is not supported")
}

/// The body.
pub(crate) fn encode(model: &str, request: &Request, thoughts: bool) -> Value {
    let mut input: Vec<Value> = Vec::new();
    let pictured = pictured(request);
    for message in &request.messages {
        match message.role {
            Role::Assistant => assistant(message, &pictured, &mut input),
            Role::User => user(message, &pictured, &mut input),
        }
    }
    let mut body = json!({"model": model, "input": input, "stream": true, "store": false});
    if thoughts {
        body["include"] = json!(["reasoning.encrypted_content"]);
    }
    if !request.system.is_empty() {
        body["instructions"] = json!(request.system);
    }
    if let Some(most) = request.max_tokens {
        body["max_output_tokens"] = json!(most);
    }
    let tools = tools(request);
    if !tools.is_empty() {
        body["tools"] = Value::Array(tools);
        match &request.choice {
            Choice::Auto => {}
            Choice::None => body["tool_choice"] = json!("none"),
            Choice::Tool(name) => body["tool_choice"] = json!({"type": "function", "name": name}),
        }
    }
    if request.computer.is_some_and(|computer| computer.tool == ComputerTool::Older) {
        body["truncation"] = json!("auto");
    }
    body
}

fn tools(request: &Request) -> Vec<Value> {
    let computer = request.computer.map(|computer| match computer.tool {
        ComputerTool::Current => json!({"type": "computer"}),
        ComputerTool::Older => json!({
            "type": "computer_use_preview",
            "environment": "linux",
            "display_width": computer.width,
            "display_height": computer.height,
        }),
    });
    let functions = request.tools.iter().map(|tool| {
        json!({
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.schema,
            // Strict schemas are a subset that tools of others do not keep to.
            "strict": false,
        })
    });
    computer.into_iter().chain(functions).collect()
}

/// Computer calls that can be sent as such: with the provider's own form and a picture in the answer, which the interface insists on. What
/// was interrupted, or whose picture was dropped, is told as text.
fn pictured(request: &Request) -> HashSet<String> {
    let own = request.messages.iter().flat_map(Message::tool_uses).filter(|call| own(call).is_some());
    let own: HashSet<&str> = own.map(|call| call.id.as_str()).collect();
    let results = request.messages.iter().flat_map(Message::tool_results);
    let with_picture = results.filter(|result| result.images().next().is_some());
    with_picture.filter(|result| own.contains(result.id.as_str())).map(|result| result.id.clone()).collect()
}

fn own(call: &ToolUse) -> Option<&Value> {
    call.raw.as_ref().filter(|raw| raw.provider == Provider::OpenAi).map(|raw| &raw.value)
}

fn assistant(message: &Message, pictured: &HashSet<String>, input: &mut Vec<Value>) {
    // A thought must be followed by what it led to; where that is told as text, the thought goes.
    let whole = message.tool_uses().all(|call| own(call).is_none() || pictured.contains(&call.id));
    for part in &message.parts {
        match part {
            Part::Text { text } if text.trim().is_empty() => {}
            Part::Text { text } => {
                input.push(json!({"role": "assistant", "content": [{"type": "output_text", "text": text}]}));
            }
            Part::Opaque(Opaque { provider: Provider::OpenAi, value }) if whole => input.push(value.clone()),
            Part::ToolUse(call) => input.push(match own(call) {
                Some(raw) if pictured.contains(&call.id) => raw.clone(),
                Some(_) => {
                    let text = format!("[I used the computer: {}]", call.input);
                    json!({"role": "assistant", "content": [{"type": "output_text", "text": text}]})
                }
                None => {
                    let arguments = if call.input.is_object() { call.input.clone() } else { Value::Object(Map::new()) };
                    json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments.to_string()})
                }
            }),
            Part::Opaque(_) | Part::Image(_) | Part::ToolResult(_) => {}
        }
    }
}

fn user(message: &Message, pictured: &HashSet<String>, input: &mut Vec<Value>) {
    let mut said: Vec<Value> = Vec::new();
    for part in &message.parts {
        match part {
            Part::Text { text } if text.trim().is_empty() => {}
            Part::Text { text } => said.push(json!({"type": "input_text", "text": text})),
            Part::Image(image) => said.push(picture(image)),
            Part::ToolResult(result) => answer(result, pictured, input, &mut said),
            Part::Opaque(_) | Part::ToolUse(_) => {}
        }
    }
    if !said.is_empty() {
        input.push(json!({"role": "user", "content": said}));
    }
}

fn answer(result: &ToolResult, pictured: &HashSet<String>, input: &mut Vec<Value>, said: &mut Vec<Value>) {
    let text = result.all_text();
    if pictured.contains(&result.id) {
        let image = result.images().last().map(Image::data_url);
        let mut output = json!({
            "type": "computer_call_output",
            "call_id": result.id,
            "output": {"type": "computer_screenshot", "image_url": image},
        });
        if !result.acknowledged.is_empty() {
            output["acknowledged_safety_checks"] = json!(result.acknowledged);
        }
        input.push(output);
        // The interface has no place for words beside the picture; errors and hints must be read all the same.
        if result.is_error || text.contains("[note]") {
            said.push(json!({"type": "input_text", "text": text}));
        }
        return;
    }
    let function =
        input.iter().any(|item| item["type"] == "function_call" && item["call_id"] == result.id.as_str());
    if !function {
        let text = if text.is_empty() { "the screenshot was removed" } else { &text };
        said.push(json!({"type": "input_text", "text": format!("[computer: {text}]")}));
        return;
    }
    let output = if result.images().next().is_none() {
        json!(text)
    } else {
        let parts = result.content.iter().map(|part| match part {
            ResultPart::Text { text } => json!({"type": "input_text", "text": text}),
            ResultPart::Image(image) => picture(image),
        });
        Value::Array(parts.collect())
    };
    input.push(json!({"type": "function_call_output", "call_id": result.id, "output": output}));
}

fn picture(image: &Image) -> Value {
    json!({"type": "input_image", "image_url": image.data_url(), "detail": "auto"})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SafetyCheck;

    fn history(result: ToolResult) -> Request {
        let raw = json!({"type": "computer_call", "call_id": "c1", "id": "cu_1", "actions": []});
        let call = ToolUse {
            id: "c1".into(),
            name: "computer".into(),
            input: json!({"action": "screenshot"}),
            raw: Some(Opaque { provider: Provider::OpenAi, value: raw }),
            ..ToolUse::default()
        };
        let thought =
            Opaque { provider: Provider::OpenAi, value: json!({"type": "reasoning", "id": "rs_1"}) };
        let parts = vec![Part::Opaque(thought), Part::ToolUse(call)];
        let messages = vec![
            Message::user("look"),
            Message { role: Role::Assistant, parts },
            Message { role: Role::User, parts: vec![Part::ToolResult(result)] },
        ];
        Request { messages, ..Request::default() }
    }

    #[test]
    fn a_computer_call_goes_back_as_it_came_with_its_picture_and_what_was_agreed_to() {
        let check = SafetyCheck { id: "s1".into(), code: Some("c".into()), message: None };
        let image = Image { media_type: "image/jpeg".into(), data: "QUJD".into() };
        let result = ToolResult {
            id: "c1".into(),
            content: vec![ResultPart::Image(image), ResultPart::text("{}")],
            acknowledged: vec![check],
            ..ToolResult::default()
        };
        let body = encode("m", &history(result), true);
        let input = body["input"].as_array().unwrap();
        let kinds: Vec<_> = input.iter().map(|item| item["type"].as_str().unwrap_or("message")).collect();
        assert_eq!(kinds, ["message", "reasoning", "computer_call", "computer_call_output"]);
        assert_eq!(input[3]["output"]["image_url"], "data:image/jpeg;base64,QUJD");
        assert_eq!(input[3]["acknowledged_safety_checks"][0]["id"], "s1");
    }

    #[test]
    fn a_computer_call_without_a_picture_is_told_as_text_and_its_thought_goes() {
        let body = encode("m", &history(ToolResult::error("c1", "interrupted")), false);
        let text = body["input"].to_string();
        assert!(!text.contains("computer_call") && !text.contains("reasoning"), "{text}");
        assert!(text.contains("[computer: interrupted]"));
        assert!(body.get("include").is_none());
    }
}
