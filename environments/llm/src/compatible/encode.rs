//! Requests as chat completions want them.

use serde_json::{Map, Value, json};

use crate::{Choice, Image, Message, Part, Provider, Request, Role, ToolUse};

/// The body.
pub(crate) fn encode(provider: Provider, model: &str, request: &Request) -> Value {
    let mut messages: Vec<Value> = Vec::new();
    if !request.system.is_empty() {
        messages.push(json!({"role": "system", "content": request.system}));
    }
    for message in &request.messages {
        match message.role {
            Role::Assistant => messages.extend(assistant(provider, message)),
            Role::User => user(message, &mut messages),
        }
    }
    let mut body = json!({
        "model": model,
        "messages": messages,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    if let Some(most) = request.max_tokens {
        body["max_tokens"] = json!(most);
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            let function =
                json!({"name": tool.name, "description": tool.description, "parameters": tool.schema});
            json!({"type": "function", "function": function})
        });
        body["tools"] = Value::Array(tools.collect());
        match &request.choice {
            Choice::Auto => {}
            Choice::None => body["tool_choice"] = json!("none"),
            Choice::Tool(name) => {
                body["tool_choice"] = json!({"type": "function", "function": {"name": name}});
            }
        }
    }
    body
}

fn assistant(provider: Provider, message: &Message) -> Option<Value> {
    let calls: Vec<Value> = message.tool_uses().map(|used| call(provider, used)).collect();
    let text = message.text();
    if calls.is_empty() {
        return (!text.trim().is_empty()).then(|| json!({"role": "assistant", "content": text}));
    }
    // Some servers refuse a missing content, others an empty one; null is what OpenAI itself sends.
    let content = if text.trim().is_empty() { Value::Null } else { json!(text) };
    Some(json!({"role": "assistant", "content": content, "tool_calls": calls}))
}

fn call(provider: Provider, call: &ToolUse) -> Value {
    let arguments = if call.input.is_object() { call.input.clone() } else { Value::Object(Map::new()) };
    let function = json!({"name": call.name, "arguments": arguments.to_string()});
    let mut said = json!({"id": call.id, "type": "function", "function": function});
    // A signature of its thoughts, without which Gemini does not take its own call back.
    if let Some(raw) = call.raw.as_ref().filter(|raw| raw.provider == provider) {
        said["extra_content"] = raw.value.clone();
    }
    said
}

/// Results first, then what the person says. Pictures are refused in results by many servers, so they follow as the user's.
fn user(message: &Message, messages: &mut Vec<Value>) {
    let mut said: Vec<Value> = Vec::new();
    for result in message.tool_results() {
        let mut text = result.all_text();
        let pictures: Vec<&Image> = result.images().collect();
        if !pictures.is_empty() {
            text.push_str(if text.is_empty() {
                "See the picture below."
            } else {
                "\nSee the picture below."
            });
            said.push(json!({"type": "text", "text": format!("The picture of the result {}:", result.id)}));
            said.extend(pictures.into_iter().map(picture));
        }
        if result.is_error {
            text.insert_str(0, "Error: ");
        }
        messages.push(json!({"role": "tool", "tool_call_id": result.id, "content": text}));
    }
    for part in &message.parts {
        match part {
            Part::Text { text } if !text.trim().is_empty() => {
                said.push(json!({"type": "text", "text": text}));
            }
            Part::Image(image) => said.push(picture(image)),
            _ => {}
        }
    }
    let text_only = said.iter().all(|part| part["type"] == "text");
    if said.is_empty() {
        return;
    }
    // Servers of models that cannot see know only plain text.
    let content = if text_only {
        let texts: Vec<&str> = said.iter().filter_map(|part| part["text"].as_str()).collect();
        json!(texts.join("\n"))
    } else {
        Value::Array(said)
    };
    messages.push(json!({"role": "user", "content": content}));
}

fn picture(image: &Image) -> Value {
    json!({"type": "image_url", "image_url": {"url": image.data_url()}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Opaque, ResultPart, Tool, ToolResult};

    #[test]
    fn what_a_server_added_to_its_call_goes_back_to_it_and_to_nobody_else() {
        let raw = Opaque { provider: Provider::Gemini, value: json!({"google": {"thought_signature": "s"}}) };
        let used =
            ToolUse { id: "c1".into(), name: "look".into(), raw: Some(raw.clone()), ..ToolUse::default() };
        let message = Message { role: Role::Assistant, parts: vec![Part::ToolUse(used)] };
        let request = Request { messages: vec![message], ..Request::default() };
        let sent = |provider| encode(provider, "m", &request)["messages"][0]["tool_calls"][0].clone();
        assert_eq!(sent(Provider::Gemini)["extra_content"], raw.value);
        assert_eq!(sent(Provider::OpenAiCompatible).get("extra_content"), None);
    }

    #[test]
    fn pictures_of_results_follow_as_the_users() {
        let image = Image { media_type: "image/jpeg".into(), data: "QUJD".into() };
        let use_it = ToolUse {
            id: "c1".into(),
            name: "computer".into(),
            input: json!({"action": "wait"}),
            ..ToolUse::default()
        };
        let result =
            ToolResult { id: "c1".into(), content: vec![ResultPart::Image(image)], ..ToolResult::default() };
        let request = Request {
            system: "s".into(),
            messages: vec![
                Message::user("hi"),
                Message { role: Role::Assistant, parts: vec![Part::ToolUse(use_it)] },
                Message { role: Role::User, parts: vec![Part::ToolResult(result)] },
            ],
            tools: vec![Tool { name: "computer".into(), description: "d".into(), schema: json!({}) }],
            choice: Choice::Tool("computer".into()),
            ..Request::default()
        };
        let body = encode(Provider::OpenAiCompatible, "m", &request);
        assert_eq!(
            body["messages"],
            json!([
                {"role": "system", "content": "s"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "computer", "arguments": "{\"action\":\"wait\"}"}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "See the picture below."},
                {"role": "user", "content": [
                    {"type": "text", "text": "The picture of the result c1:"},
                    {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,QUJD"}}]},
            ])
        );
        assert_eq!(body["tool_choice"]["function"]["name"], "computer");
    }
}
