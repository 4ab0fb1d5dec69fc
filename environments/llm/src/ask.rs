//! Asking without looking at the stream, and asking for an answer of a given form.

use std::time::Duration;

use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    Choice, Client, Event, LlmError, Message, Part, Reply, Request, Role, Stop, Tool, ToolResult, Usage,
};

/// An answer of a given form.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    /// What was answered.
    pub value: T,
    /// What it cost, corrections included.
    pub usage: Usage,
}

/// How often an answer that broke off is asked for again.
const AGAIN: u32 = 2;

impl Client {
    /// Asks and waits for the whole answer. One that breaks off is asked for again.
    pub async fn ask(&self, request: Request) -> Result<Reply, LlmError> {
        let mut attempt = 0;
        loop {
            let mut events = self.stream(request.clone());
            let mut begun = false;
            let error = loop {
                match events.next().await {
                    Some(Ok(Event::Done(reply))) => return Ok(reply),
                    Some(Ok(_)) => begun = true,
                    Some(Err(error)) => break error,
                    None => break LlmError::Broken("it has no end".into()),
                }
            };
            // What failed before it began was retried by the stream itself.
            let broke_off = begun || matches!(error, LlmError::Broken(_));
            if attempt >= AGAIN || !broke_off || !error.is_transient() {
                return Err(error);
            }
            attempt += 1;
            tracing::info!(%error, attempt, "the model is asked again");
            sleep(Duration::from_millis(300) * attempt).await;
        }
    }

    /// Asks for an answer of the form that `schema` describes: the model is made to call a function `name` with it. An answer that does
    /// not fit is shown to the model once, with the reason. `valid` may refuse what fits the form and still makes no sense.
    pub async fn ask_json<T: DeserializeOwned>(
        &self,
        mut request: Request,
        name: &str,
        description: &str,
        schema: Value,
        valid: impl Fn(&T) -> Result<(), String>,
    ) -> Result<Answer<T>, LlmError> {
        request.tools = vec![Tool { name: name.to_owned(), description: description.to_owned(), schema }];
        request.choice = Choice::Tool(name.to_owned());
        request.computer = None;
        request.thinking = false;
        let mut usage = Usage::default();
        let mut corrected = false;
        loop {
            let reply = self.ask(request.clone()).await?;
            usage.input += reply.usage.input;
            usage.cached += reply.usage.cached;
            usage.output += reply.usage.output;
            if reply.stop == Stop::Refusal {
                return Err(LlmError::Refused(reply.message.text()));
            }
            let (value, call) = found(&reply.message, name);
            let reason = match value
                .map_or_else(Err, |value| serde_json::from_value::<T>(value).map_err(|e| e.to_string()))
            {
                Ok(value) => match valid(&value) {
                    Ok(()) => return Ok(Answer { value, usage }),
                    Err(reason) => reason,
                },
                Err(reason) => reason,
            };
            if std::mem::replace(&mut corrected, true) {
                return Err(LlmError::NotAsAsked(reason));
            }
            let text = format!("That does not fit: {reason}. Call {name} again with arguments that do.");
            let part = match call {
                Some(id) => Part::ToolResult(ToolResult::error(id, text)),
                None => Part::text(text),
            };
            request.messages.push(reply.message);
            request.messages.push(Message { role: Role::User, parts: vec![part] });
        }
    }
}

/// The arguments, and the id of the call. Small local models often write the object as text instead of calling the function.
fn found(message: &Message, name: &str) -> (Result<Value, String>, Option<String>) {
    if let Some(call) = message.tool_uses().find(|call| call.name == name) {
        let value = match &call.broken {
            Some(text) => {
                Err(format!("the arguments are not JSON: {}", text.chars().take(80).collect::<String>()))
            }
            None => Ok(call.input.clone()),
        };
        return (value, Some(call.id.clone()));
    }
    let text = message.text();
    let object = text.find('{').zip(text.rfind('}')).and_then(|(from, to)| text.get(from..=to));
    let value = object.and_then(|object| serde_json::from_str(object).ok());
    (value.ok_or_else(|| format!("{name} was not called")), None)
}
