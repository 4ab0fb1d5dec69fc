//! The runner's own tools: publish a file, set the plan, declare the goal reached.

use std::sync::Arc;

use a8s_wire::event::PlanEntry;
use rmcp::model::{CallToolRequestParams, CallToolResult, ContentBlock, JsonObject, Tool};
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal;
use crate::{artifacts::Blobs, handle::Handle};

/// Most entries that a plan can have, and the longest entry in characters.
const MAX_PLAN: (usize, usize) = (20, 200);

#[derive(Deserialize)]
struct Publish {
    path: String,
    #[serde(default)]
    title: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct SetPlan {
    entries: Vec<PlanEntry>,
}

#[derive(Deserialize)]
struct Finish {
    summary: String,
}

/// Descriptions of the tools.
pub fn tools() -> Vec<Tool> {
    let text = |description: &str| json!({"type": "string", "description": description});
    let status = json!({"type": "string", "enum": ["pending", "in_progress", "completed"]});
    vec![
        tool(
            "publish_artifact",
            "Hand a finished file to the user. It is kept even after the desktop is gone; publishing under the same name again makes a new version.",
            &json!({
                "path": text("file below the home directory"),
                "title": text("what the user reads"),
                "name": text("lower-case letters, digits and dashes; default: made of the file's name"),
                "kind": text("ignored; the kind follows from the file's type")
            }),
            &["path", "title"],
        ),
        tool(
            "set_plan",
            "Show the user what you are going to do, and how far you are. Always send the whole plan.",
            &json!({"entries": {"type": "array", "items": {
                "type": "object",
                "properties": {"title": {"type": "string"}, "status": status},
                "required": ["title", "status"]
            }}}),
            &["entries"],
        ),
        tool(
            "finish",
            "Declare the user's goal reached.",
            &json!({"summary": text("one line: what was made")}),
            &["summary"],
        ),
    ]
}

/// Describes a tool.
pub fn tool(name: &'static str, description: &'static str, properties: &Value, required: &[&str]) -> Tool {
    let schema = json!({"type": "object", "properties": properties, "required": required});
    let schema: JsonObject = schema.as_object().cloned().unwrap_or_default();
    Tool::new(name, description, Arc::new(schema))
}

/// Calls one of our tools; `None` if it is none of ours.
pub async fn call(engine: &Handle, blobs: &Blobs, request: &CallToolRequestParams) -> Option<CallToolResult> {
    let arguments = Value::Object(request.arguments.clone().unwrap_or_default());
    let result = match request.name.as_ref() {
        "publish_artifact" => publish(engine, blobs, arguments).await,
        "set_plan" => set_plan(engine, arguments).await,
        "finish" => finish(engine, arguments).await,
        _ => return None,
    };
    Some(result.unwrap_or_else(refusal))
}

/// Reads the arguments of a call.
pub fn read<T: serde::de::DeserializeOwned>(arguments: Value) -> Result<T, String> {
    serde_json::from_value(arguments).map_err(|error| format!("wrong arguments: {error}"))
}

async fn publish(engine: &Handle, blobs: &Blobs, arguments: Value) -> Result<CallToolResult, String> {
    let Publish { path, title, name } = read(arguments)?;
    let blobs = blobs.clone();
    let copy = tokio::task::spawn_blocking(move || blobs.publish(&path, &title, name.as_deref()));
    let new = copy.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let info = engine.artifact(new).await.map_err(|error| error.to_string())?;
    let text = format!(
        "published {} as {} version {}, {} bytes",
        info.file_name, info.name, info.version, info.size
    );
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = serde_json::to_value(info).ok();
    Ok(result)
}

async fn set_plan(engine: &Handle, arguments: Value) -> Result<CallToolResult, String> {
    let SetPlan { mut entries } = read(arguments)?;
    if entries.len() > MAX_PLAN.0 {
        return Err(format!("a plan has at most {} entries", MAX_PLAN.0));
    }
    for entry in &mut entries {
        if !["pending", "in_progress", "completed"].contains(&entry.status.as_str()) {
            return Err(format!("{:?} is no status; use pending, in_progress or completed", entry.status));
        }
        entry.title = entry.title.chars().take(MAX_PLAN.1).collect();
    }
    engine.plan(entries).await.map_err(|error| error.to_string())?;
    Ok(CallToolResult::success(vec![ContentBlock::text("ok")]))
}

async fn finish(engine: &Handle, arguments: Value) -> Result<CallToolResult, String> {
    let Finish { summary } = read(arguments)?;
    engine.finish(summary.chars().take(500).collect()).await.map_err(|error| error.to_string())?;
    Ok(CallToolResult::success(vec![ContentBlock::text("ok")]))
}
