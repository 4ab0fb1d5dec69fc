//! What a request asks, whichever wire it came over.

use serde_json::Value;

use crate::scenario;

/// Whose wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Anthropic,
    OpenAi,
    Chat,
    /// Only for harnesses of others; our own client does not speak it.
    Gemini,
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub model: String,
    pub stream: bool,
    /// The message with the scenario, or the last one.
    pub text: String,
    pub is_scenario: bool,
    /// Tool results since then.
    pub results: usize,
    pub last_results: Vec<String>,
    pub tools: Vec<String>,
    /// Tools that are offered within a namespace: its name and theirs. They are called by both, with two underscores between them.
    pub spaced: Vec<(String, String)>,
    /// Type of the hosted computer tool.
    pub hosted: Option<String>,
    pub forced: Option<String>,
    pub images: usize,
    pub thoughts: bool,
    pub bytes: usize,
}

enum Item {
    User(String),
    Model,
    Result(String),
}

/// Reads a request.
pub fn read(wire: Wire, body: &Value, bytes: usize) -> Asked {
    let mut items = Vec::new();
    match wire {
        Wire::Anthropic => list(&body["messages"]).for_each(|message| anthropic(message, &mut items)),
        Wire::Chat => list(&body["messages"]).for_each(|message| chat(message, &mut items)),
        Wire::Gemini => list(&body["contents"]).for_each(|message| gemini(message, &mut items)),
        Wire::OpenAi => match &body["input"] {
            Value::String(text) => items.push(Item::User(text.clone())),
            input => list(input).for_each(|item| openai(item, &mut items)),
        },
    }
    let mut asked = Asked {
        model: text(&body["model"]),
        stream: body["stream"].as_bool().unwrap_or(false),
        images: images(body),
        thoughts: body["include"].to_string().contains("encrypted_content"),
        bytes,
        ..Asked::default()
    };
    let is_scenario = |item: &Item| matches!(item, Item::User(text) if !scenario::lines(text).is_empty());
    let at = items.iter().rposition(is_scenario);
    asked.is_scenario = at.is_some();
    let at = at.or_else(|| items.iter().rposition(|item| matches!(item, Item::User(_))));
    let since = at.map_or(0, |at| at + 1);
    if let Some(Item::User(text)) = at.map(|at| &items[at]) {
        asked.text.clone_from(text);
    }
    let result = |item: &Item| match item {
        Item::Result(text) => Some(text.clone()),
        _ => None,
    };
    asked.results = items[since..].iter().filter_map(result).count();
    let last = items.iter().rposition(|item| matches!(item, Item::Model)).map_or(0, |at| at + 1);
    asked.last_results = items[last..].iter().filter_map(result).collect();
    for tool in list(&body["tools"]) {
        let kind = tool["type"].as_str().unwrap_or_default();
        if kind.starts_with("computer") {
            asked.hosted = Some(kind.to_owned());
        } else if kind == "namespace" {
            let theirs = list(&tool["tools"]).map(|inner| (text(&tool["name"]), text(&inner["name"])));
            asked.spaced.extend(theirs);
        } else if let Some(name) = tool["name"].as_str().or(tool["function"]["name"].as_str()) {
            asked.tools.push(name.to_owned());
        }
    }
    let declared = list(&body["tools"]).flat_map(|tool| list(&tool["functionDeclarations"]));
    asked.tools.extend(declared.filter_map(|tool| tool["name"].as_str().map(str::to_owned)));
    let choice = &body["tool_choice"];
    asked.forced = choice["name"].as_str().or(choice["function"]["name"].as_str()).map(str::to_owned);
    asked
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Text of a content that is text or a list of parts.
fn content(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        parts => list(parts).filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
    }
}

/// What a person said last in a message. After an interrupt a harness may put several messages into one, each a part of it.
fn spoken(value: &Value) -> String {
    let parts = list(value).filter_map(|part| part["text"].as_str());
    let scenario = parts.filter(|text| !scenario::lines(text).is_empty()).last();
    scenario.map_or_else(|| content(value), str::to_owned)
}

fn anthropic(message: &Value, items: &mut Vec<Item>) {
    if message["role"] == "assistant" {
        items.push(Item::Model);
        return;
    }
    for part in list(&message["content"]).filter(|part| part["type"] == "tool_result") {
        items.push(Item::Result(content(&part["content"])));
    }
    items.push(Item::User(spoken(&message["content"])));
}

fn chat(message: &Value, items: &mut Vec<Item>) {
    match message["role"].as_str().unwrap_or_default() {
        "user" => items.push(Item::User(spoken(&message["content"]))),
        "assistant" => items.push(Item::Model),
        "tool" => items.push(Item::Result(content(&message["content"]))),
        _ => {}
    }
}

fn gemini(message: &Value, items: &mut Vec<Item>) {
    if message["role"] == "model" {
        items.push(Item::Model);
        return;
    }
    for part in list(&message["parts"]).filter(|part| part["functionResponse"].is_object()) {
        items.push(Item::Result(part["functionResponse"]["response"].to_string()));
    }
    items.push(Item::User(spoken(&message["parts"])));
}

fn openai(item: &Value, items: &mut Vec<Item>) {
    match (item["type"].as_str().unwrap_or("message"), item["role"].as_str().unwrap_or_default()) {
        ("message", "user") => items.push(Item::User(spoken(&item["content"]))),
        ("message", "assistant") | ("function_call" | "computer_call", _) => items.push(Item::Model),
        ("function_call_output", _) => items.push(Item::Result(content(&item["output"]))),
        ("computer_call_output", _) => items.push(Item::Result("screenshot".into())),
        _ => {}
    }
}

fn images(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(images).sum(),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
            usize::from(matches!(kind, "image" | "image_url" | "input_image" | "computer_screenshot"))
                + fields.values().map(images).sum::<usize>()
        }
        _ => 0,
    }
}
