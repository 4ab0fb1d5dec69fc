//! Requests as the Messages API wants them.

use serde_json::{Map, Value, json};

use crate::{
    Choice, ComputerTool, Image, Message, Opaque, Part, Provider, Request, ResultPart, Role, ToolResult,
};

/// The interface's version.
pub(crate) const VERSION: &str = "2023-06-01";
/// Every current model may write as much.
const MAX_TOKENS: u32 = 8_192;
/// User messages that get a cache mark, besides the one of the system text; four marks are allowed in all.
const MARKED_MESSAGES: usize = 2;

/// The beta that the hosted computer tool needs.
pub(crate) fn beta(request: &Request) -> Option<&'static str> {
    request.computer.map(|computer| match computer.tool {
        ComputerTool::Current => "computer-use-2025-11-24",
        ComputerTool::Older => "computer-use-2025-01-24",
    })
}

/// The body.
pub(crate) fn encode(model: &str, request: &Request) -> Value {
    let mut messages: Vec<Value> = Vec::new();
    for message in &request.messages {
        let content: Vec<Value> = content(message);
        if content.is_empty() {
            continue;
        }
        let role = if message.role == Role::User { "user" } else { "assistant" };
        match messages.last_mut() {
            // Two messages of the same side are one to this interface.
            Some(last) if last["role"] == role => {
                if let Some(list) = last["content"].as_array_mut() {
                    list.extend(content);
                }
            }
            _ => messages.push(json!({"role": role, "content": content})),
        }
    }
    let of_user = messages.iter_mut().rev().filter(|message| message["role"] == "user");
    for message in of_user.take(MARKED_MESSAGES) {
        if let Some(part) = message["content"].as_array_mut().and_then(|content| content.last_mut()) {
            part["cache_control"] = json!({"type": "ephemeral"});
        }
    }
    let mut body = json!({
        "model": model,
        "max_tokens": request.max_tokens.unwrap_or(MAX_TOKENS),
        "messages": messages,
        "stream": true,
    });
    if !request.system.is_empty() {
        // Tools come before the system text in the provider's cache, so this mark covers them too.
        body["system"] =
            json!([{"type": "text", "text": request.system, "cache_control": {"type": "ephemeral"}}]);
    }
    let tools = tools(request);
    if !tools.is_empty() {
        body["tools"] = Value::Array(tools);
        match &request.choice {
            Choice::Auto => {}
            Choice::None => body["tool_choice"] = json!({"type": "none"}),
            Choice::Tool(name) => body["tool_choice"] = json!({"type": "tool", "name": name}),
        }
    }
    if request.thinking && !matches!(request.choice, Choice::Tool(_)) {
        body["thinking"] = json!({"type": "adaptive"});
    }
    body
}

fn tools(request: &Request) -> Vec<Value> {
    let computer = request.computer.map(|computer| {
        let mut tool = json!({
            "type": "computer_20250124",
            "name": "computer",
            "display_width_px": computer.width,
            "display_height_px": computer.height,
        });
        if computer.tool == ComputerTool::Current {
            tool["type"] = json!("computer_20251124");
            tool["enable_zoom"] = json!(true);
        }
        tool
    });
    let functions = request
        .tools
        .iter()
        .map(|tool| json!({"name": tool.name, "description": tool.description, "input_schema": tool.schema}));
    computer.into_iter().chain(functions).collect()
}

fn content(message: &Message) -> Vec<Value> {
    // The interface wants results before anything else that the user says.
    let results = message.tool_results().map(result);
    let others = message.parts.iter().filter_map(|part| match part {
        // Empty texts are refused.
        Part::Text { text } if text.trim().is_empty() => None,
        Part::Text { text } => Some(json!({"type": "text", "text": text})),
        Part::Image(picture) => Some(image(picture)),
        Part::ToolUse(call) => {
            let input = if call.input.is_object() { call.input.clone() } else { Value::Object(Map::new()) };
            Some(json!({"type": "tool_use", "id": id(&call.id), "name": call.name, "input": input}))
        }
        Part::Opaque(Opaque { provider: Provider::Anthropic, value }) => Some(value.clone()),
        Part::Opaque(_) | Part::ToolResult(_) => None,
    });
    results.chain(others).collect()
}

fn result(result: &ToolResult) -> Value {
    let content: Vec<Value> = result
        .content
        .iter()
        .filter_map(|part| match part {
            ResultPart::Text { text } if text.trim().is_empty() => None,
            ResultPart::Text { text } => Some(json!({"type": "text", "text": text})),
            // A failed call may only have text.
            ResultPart::Image(_) if result.is_error => None,
            ResultPart::Image(picture) => Some(image(picture)),
        })
        .collect();
    json!({"type": "tool_result", "tool_use_id": id(&result.id), "content": content, "is_error": result.is_error})
}

/// Ids of calls that another model made may have characters that this interface refuses.
fn id(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect()
}

fn image(image: &Image) -> Value {
    json!({"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.data}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Computer, Tool, ToolUse};

    #[test]
    fn a_request_has_the_hosted_tool_cache_marks_and_results_first() {
        let picture = Image { media_type: "image/jpeg".into(), data: "QUJD".into() };
        let call = ToolUse {
            id: "t1".into(),
            name: "computer".into(),
            input: json!({"action": "screenshot"}),
            ..ToolUse::default()
        };
        let thought = Opaque {
            provider: Provider::Anthropic,
            value: json!({"type": "thinking", "thinking": "x", "signature": "s"}),
        };
        let foreign = Opaque { provider: Provider::OpenAi, value: json!({"type": "reasoning"}) };
        let shot = ToolResult {
            id: "t1".into(),
            content: vec![ResultPart::Image(picture)],
            ..ToolResult::default()
        };
        let request = Request {
            system: "be good".into(),
            messages: vec![
                Message::user("look"),
                Message {
                    role: Role::Assistant,
                    parts: vec![
                        Part::Opaque(thought),
                        Part::Opaque(foreign),
                        Part::text(" "),
                        Part::ToolUse(call),
                    ],
                },
                Message { role: Role::User, parts: vec![Part::text("and?"), Part::ToolResult(shot)] },
                Message::user("quick"),
            ],
            tools: vec![Tool {
                name: "finish".into(),
                description: "ends".into(),
                schema: json!({"type": "object"}),
            }],
            computer: Some(Computer { width: 1280, height: 800, tool: ComputerTool::Current }),
            ..Request::default()
        };
        assert_eq!(beta(&request), Some("computer-use-2025-11-24"));
        let mark = json!({"type": "ephemeral"});
        let expected = json!({
            "model": "m", "max_tokens": 8192, "stream": true,
            "system": [{"type": "text", "text": "be good", "cache_control": mark}],
            "tools": [
                {"type": "computer_20251124", "name": "computer", "display_width_px": 1280, "display_height_px": 800, "enable_zoom": true},
                {"name": "finish", "description": "ends", "input_schema": {"type": "object"}},
            ],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "look", "cache_control": mark}]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "x", "signature": "s"},
                    {"type": "tool_use", "id": "t1", "name": "computer", "input": {"action": "screenshot"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "is_error": false, "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "QUJD"}}]},
                    {"type": "text", "text": "and?"},
                    {"type": "text", "text": "quick", "cache_control": mark},
                ]},
            ],
        });
        assert_eq!(encode("m", &request), expected);
    }
}
