//! The tools with which the agent asks people: a question, the desktop, access. They wait for less than MCP clients have patience; then
//! they say that the answer will come as a message.

use a8s_wire::{Choice, Field};
use rmcp::model::{CallToolRequestParams, CallToolResult, ContentBlock, Tool};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use super::own::{read, tool};
use crate::{
    handle::{Asked, Handle},
    question::{Closed, NewQuestion, Outcome, words},
};

#[derive(Deserialize)]
struct AskUser {
    question: String,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default)]
    form: Vec<Asks>,
}

#[derive(Deserialize)]
struct Asks {
    name: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default = "text", rename = "type", alias = "kind")]
    kind: String,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default)]
    optional: bool,
}

fn text() -> String {
    "text".to_owned()
}

#[derive(Deserialize)]
struct Takeover {
    reason: String,
    #[serde(default)]
    goal: Option<String>,
}

#[derive(Deserialize)]
struct Access {
    kind: String,
    what: String,
    why: String,
}

/// Descriptions of the tools.
pub fn tools() -> Vec<Tool> {
    let text = |description: &str| json!({"type": "string", "description": description});
    let field = json!({"type": "object", "required": ["name"], "properties": {
        "name": text("letters, digits, - and _"),
        "title": text("what the user reads"),
        "type": {"type": "string", "enum": ["text", "number", "boolean", "choice"]},
        "options": {"type": "array", "items": {"type": "string"}},
        "optional": {"type": "boolean"}
    }});
    vec![
        tool(
            "ask_user",
            "Ask the user something that you cannot find out or decide yourself. Never ask for passwords or keys: use request_access or request_takeover. \
             If the answer is `pending`, end your turn; you will be told the answer.",
            &json!({
                "question": text("one line"),
                "detail": text("what the user should know before answering; markdown"),
                "options": {"type": "array", "items": {"type": "string"}, "description": "answers to choose from"},
                "form": {"type": "array", "items": field, "description": "fields to fill in, instead of options"}
            }),
            &["question"],
        ),
        tool(
            "request_takeover",
            "Ask the user to take mouse and keyboard, for example to log in or to solve a captcha. If the answer is `pending`, end your turn; \
             you will be told when the desktop is yours again.",
            &json!({"reason": text("one line: why you cannot do it yourself"), "goal": text("what should be true when the user hands back")}),
            &["reason", "goal"],
        ),
        tool(
            "request_access",
            "Ask for something that you were not given: a tool, a credential (the name of a connection) or context (a document). If the answer \
             is `pending`, end your turn; you will be told the answer.",
            &json!({
                "kind": {"type": "string", "enum": ["tool", "credential", "context"]},
                "what": text("its name"),
                "why": text("what you need it for")
            }),
            &["kind", "what", "why"],
        ),
    ]
}

/// Calls one of these tools; `None` if it is none of them.
pub async fn call(
    engine: &Handle,
    patience: Duration,
    request: &CallToolRequestParams,
) -> Option<Result<CallToolResult, String>> {
    let arguments = Value::Object(request.arguments.clone().unwrap_or_default());
    let question = match request.name.as_ref() {
        "ask_user" => ask_user(arguments),
        "request_takeover" => takeover(arguments),
        "request_access" => access(arguments),
        _ => return None,
    };
    Some(match question.and_then(NewQuestion::fit) {
        Ok(question) => wait(engine, patience, question).await,
        Err(error) => Err(error),
    })
}

fn ask_user(arguments: Value) -> Result<NewQuestion, String> {
    let asked: AskUser = read(arguments)?;
    if !asked.options.is_empty() && !asked.form.is_empty() {
        return Err("give either options or a form".to_owned());
    }
    let choice = |title: String| Choice { id: title.clone(), title, kind: "AllowOnce".to_owned() };
    let form = asked.form.into_iter().map(|field| {
        let kind = match field.kind.to_lowercase().as_str() {
            _ if !field.options.is_empty() => "Choice",
            "text" | "string" => "Text",
            "number" | "integer" => "Number",
            "boolean" => "Boolean",
            other => {
                return Err(format!("{other:?} is no type of a field; use text, number, boolean or choice"));
            }
        };
        let Asks { name, title, options, optional, .. } = field;
        Ok(Field { name, title, kind: kind.to_owned(), options, optional })
    });
    let mut form = form.collect::<Result<Vec<_>, _>>()?;
    if asked.options.is_empty() && form.is_empty() {
        // A question in words has an answer in words.
        let title = Some("Answer".to_owned());
        form.push(Field {
            name: "answer".into(),
            title,
            kind: "Text".into(),
            options: vec![],
            optional: false,
        });
    }
    Ok(NewQuestion {
        kind: "Question",
        title: asked.question,
        detail: asked.detail,
        options: asked.options.into_iter().map(choice).collect(),
        form,
        subject: None,
    })
}

fn takeover(arguments: Value) -> Result<NewQuestion, String> {
    let Takeover { reason, goal } = read(arguments)?;
    Ok(NewQuestion { kind: "Takeover", title: reason, detail: goal, ..NewQuestion::default() })
}

fn access(arguments: Value) -> Result<NewQuestion, String> {
    let Access { kind, what, why } = read(arguments)?;
    let kind = match kind.to_lowercase().as_str() {
        "tool" => "Tool",
        "credential" => "Credential",
        "context" => "Context",
        other => return Err(format!("{other:?} cannot be asked for; use tool, credential or context")),
    };
    let title = format!("The agent asks for the {} {what}", kind.to_lowercase());
    Ok(NewQuestion { kind, title, detail: Some(why), subject: Some(what), ..NewQuestion::default() })
}

async fn wait(engine: &Handle, patience: Duration, question: NewQuestion) -> Result<CallToolResult, String> {
    let Asked { id, mut closed } = engine.ask(question).await.map_err(|error| error.to_string())?;
    let answered = if let Ok(answered) = timeout(patience, &mut closed).await {
        answered.ok()
    } else {
        // An answer of this very moment is not lost, and a later one is told by a message.
        closed.close();
        closed.try_recv().ok()
    };
    Ok(match answered {
        Some(closed) => told(&id, &closed),
        None => pending(&id),
    })
}

fn told(id: &str, closed: &Closed) -> CallToolResult {
    let content = vec![ContentBlock::text(words(closed))];
    let mut result = match closed.outcome {
        Outcome::Granted => CallToolResult::success(content),
        _ => CallToolResult::error(content),
    };
    result.structured_content = Some(json!({
        "id": id,
        "outcome": closed.outcome.name(),
        "option": closed.answer.option,
        "values": closed.answer.values,
    }));
    result
}

fn pending(id: &str) -> CallToolResult {
    let text = format!(
        "pending: nobody has answered yet (request {id}). Do what you can without the answer, or end your turn; you will get a message \
         with the answer."
    );
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(json!({"id": id, "outcome": "pending"}));
    result
}
