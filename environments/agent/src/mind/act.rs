//! Carrying out what the model asks for. Whatever goes wrong becomes a result that the model reads; only a desktop that a person does not give
//! back ends the turn.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use a8s_llm::{Image, Provider, ResultPart, ToolResult, ToolUse};
use rmcp::model::CallToolResult;
use serde_json::{Value, json};

use super::{catalogue::Catalogue, computer};
use crate::{
    command,
    tools::ToolError,
    turn::{Failure, Turn},
};

/// Longest text of a result, in characters.
const MAX_TEXT: usize = 20_000;
/// How long a command may run: unless said otherwise, and at most.
const SHELL: (u64, u64) = (120, 1_800);

/// Why a step failed; the step is shown as failed.
enum Trouble {
    /// The model reads it.
    Result(ToolResult),
    /// The turn ends.
    Ends(Failure),
}

/// Carries out a call.
pub async fn carry_out(turn: &Turn, catalogue: &Catalogue, call: &ToolUse) -> Result<ToolResult, Failure> {
    if let Some(broken) = &call.broken {
        let shown: String = broken.chars().take(200).collect();
        return Ok(ToolResult::error(
            &call.id,
            format!("the arguments are not JSON, nothing was done: {shown}"),
        ));
    }
    let mut acknowledged = Vec::new();
    if !call.safety.is_empty() {
        let reasons: Vec<_> = call.safety.iter().filter_map(|check| check.message.as_deref()).collect();
        let title = format!("{} ({})", computer::title(&call.name, &call.input), reasons.join("; "));
        if !turn.ask(&title).await? {
            return with_picture(
                turn,
                ToolResult::error(&call.id, "the user did not allow this; nothing was done"),
                call,
            )
            .await;
        }
        acknowledged.clone_from(&call.safety);
    }
    let title = computer::title(&call.name, &call.input);
    let step = turn.step_of(computer::kind(&call.name, &call.input), title, async {
        let result = work(turn, catalogue, call).await?;
        if result.is_error { Err(Trouble::Result(result)) } else { Ok(result) }
    });
    let mut result = match step.await {
        Ok(result) | Err(Trouble::Result(result)) => result,
        Err(Trouble::Ends(failure)) => return Err(failure),
    };
    result.acknowledged = acknowledged;
    with_picture(turn, result, call).await
}

/// OpenAI's computer tool is answered with a picture, whatever happened.
async fn with_picture(turn: &Turn, mut result: ToolResult, call: &ToolUse) -> Result<ToolResult, Failure> {
    let hosted = call.raw.as_ref().is_some_and(|raw| raw.provider == Provider::OpenAi);
    if hosted && result.images().next().is_none() {
        match turn.request("computer", json!({"action": "screenshot"})).await {
            Ok(shot) => result
                .content
                .extend(content(&shot).into_iter().filter(|part| matches!(part, ResultPart::Image(_)))),
            Err(ToolError::Held) => return Err(held()),
            Err(_) => {}
        }
    }
    Ok(result)
}

async fn work(turn: &Turn, catalogue: &Catalogue, call: &ToolUse) -> Result<ToolResult, Trouble> {
    match call.name.as_str() {
        "shell" if catalogue.has("shell") => Ok(shell(turn, call).await),
        "computer" => {
            let mut result = ToolResult { id: call.id.clone(), ..ToolResult::default() };
            for (name, arguments) in computer::plan(&call.input, catalogue.batches) {
                let one = mcp(turn, &call.id, name, arguments).await?;
                // Only the last picture shows how things are now.
                result.content.retain(|part| matches!(part, ResultPart::Text { .. }));
                result.content.extend(one.content);
                result.is_error = one.is_error;
                if one.is_error {
                    break;
                }
            }
            Ok(result)
        }
        name => mcp(turn, &call.id, catalogue.mcp_name(name), call.input.clone()).await,
    }
}

async fn mcp(turn: &Turn, id: &str, name: &str, arguments: Value) -> Result<ToolResult, Trouble> {
    match turn.request(name, arguments).await {
        Ok(said) => Ok(ToolResult {
            id: id.to_owned(),
            content: content(&said),
            is_error: said.is_error == Some(true),
            ..ToolResult::default()
        }),
        Err(ToolError::Held) => Err(Trouble::Ends(held())),
        Err(error) => Ok(ToolResult::error(id, error.to_string())),
    }
}

fn held() -> Failure {
    Failure::new(
        "You still have control of the desktop, so I stop here. Hand it back and write to me, then I go on.",
    )
}

fn content(said: &CallToolResult) -> Vec<ResultPart> {
    let parts = said.content.iter().filter_map(|block| {
        if let Some(image) = block.as_image() {
            return Some(ResultPart::Image(Image {
                media_type: image.mime_type.clone(),
                data: image.data.clone(),
            }));
        }
        let text = match block.as_text() {
            Some(text) => text.text.clone(),
            // Embedded resources, links, sound: the model may still make something of them.
            None => serde_json::to_string(block).ok()?,
        };
        Some(ResultPart::text(capped(&text)))
    });
    parts.collect()
}

fn capped(text: &str) -> String {
    let length = text.chars().count();
    if length <= MAX_TEXT {
        return text.to_owned();
    }
    let (head, tail): (String, String) =
        (text.chars().take(MAX_TEXT / 2).collect(), text.chars().skip(length - MAX_TEXT / 2).collect());
    format!("{head}\n… {} characters left out …\n{tail}", length - MAX_TEXT)
}

async fn shell(turn: &Turn, call: &ToolUse) -> ToolResult {
    let Some(line) = call.input["command"].as_str().filter(|line| !line.trim().is_empty()) else {
        return ToolResult::error(&call.id, "`command` is missing");
    };
    let seconds = call.input["timeout_seconds"].as_u64().unwrap_or(SHELL.0).clamp(1, SHELL.1);
    match command::run(&turn.home, line, Duration::from_secs(seconds), MAX_TEXT).await {
        Ok(outcome) if outcome.success => {
            let output = if outcome.output.is_empty() { "(no output)".to_owned() } else { outcome.output };
            ToolResult::text(&call.id, output)
        }
        Ok(outcome) => ToolResult::error(&call.id, format!("{}\n[{}]", outcome.output, outcome.ended)),
        Err(error) => ToolResult::error(&call.id, format!("the command cannot be run: {error}")),
    }
}

/// What of a result tells whether anything changed: the pictures where there are some, else the text.
pub fn outcome(result: &ToolResult) -> String {
    let mut hasher = DefaultHasher::new();
    let mut pictures = 0;
    for image in result.images() {
        image.data.hash(&mut hasher);
        pictures += 1;
    }
    if pictures == 0 {
        result.all_text().hash(&mut hasher);
    }
    hasher.finish().to_string()
}
