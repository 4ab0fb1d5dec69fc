//! One turn: what a brain can do while it answers a message. Cancelling drops the brain's future, so every wait in here is a place
//! where it stops.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use a8s_wire::event::LAST_PIECE;
use agent_client_protocol::{
    Client,
    v1::{
        ConnectionTo,
        schema::{
            ContentBlock, ContentChunk, MessageId, Meta, PermissionOption, PermissionOptionKind, Plan,
            PlanEntry, PlanEntryPriority, PlanEntryStatus, RequestPermissionOutcome,
            RequestPermissionRequest, SessionId, SessionNotification, SessionUpdate, TextContent, ToolCall,
            ToolCallStatus, ToolCallUpdate, ToolCallUpdateFields, ToolKind, UsageUpdate,
        },
    },
};
use rmcp::model::{CallToolResult, Tool};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::tools::{ToolError, Toolbox};

/// How long the agent waits for a person to hand the desktop back.
const PATIENCE: Duration = Duration::from_mins(10);

/// Why a turn cannot go on. The text is said in the chat.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl Failure {
    /// A failure with a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<ToolError> for Failure {
    fn from(error: ToolError) -> Self {
        Self(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// A message and the means to answer it.
pub struct Turn {
    /// What the person wrote.
    pub text: String,
    /// Attached files.
    pub attachments: Vec<PathBuf>,
    /// Pictures in the message: media type and base64.
    pub images: Vec<(String, String)>,
    /// The home directory.
    pub home: PathBuf,
    connection: ConnectionTo<Client>,
    session: SessionId,
    tools: Arc<Toolbox>,
    counter: AtomicU64,
    /// Ids must differ between turns of a session.
    prefix: String,
    told_held: AtomicBool,
}

impl Turn {
    /// A turn of `session`.
    pub fn new(
        connection: ConnectionTo<Client>,
        session: SessionId,
        tools: Arc<Toolbox>,
        home: PathBuf,
        text: String,
        attachments: Vec<PathBuf>,
    ) -> Self {
        let prefix = format!("{:x}", jiff::Timestamp::now().as_nanosecond());
        let (counter, told_held) = (AtomicU64::new(0), AtomicBool::new(false));
        Self {
            text,
            attachments,
            images: Vec::new(),
            home,
            connection,
            session,
            tools,
            counter,
            prefix,
            told_held,
        }
    }

    fn id(&self) -> String {
        format!("{}-{}", self.prefix, self.counter.fetch_add(1, Ordering::Relaxed))
    }

    fn update(&self, update: SessionUpdate) {
        // The client is gone: the process is about to end.
        let _ = self.connection.send_notification(SessionNotification::new(self.session.clone(), update));
    }

    /// Says something: one message in the chat.
    pub fn say(&self, text: impl Into<String>) {
        let chunk = ContentChunk::new(ContentBlock::Text(TextContent::new(text.into())))
            .message_id(MessageId::new(self.id()))
            .meta(Meta::from_iter([(LAST_PIECE.to_owned(), true.into())]));
        self.update(SessionUpdate::AgentMessageChunk(chunk));
    }

    /// A new message in the chat, to be said in pieces.
    pub fn message(&self) -> MessageId {
        MessageId::new(self.id())
    }

    /// Says a piece of a message.
    pub fn piece(&self, message: &MessageId, text: impl Into<String>) {
        let chunk = ContentChunk::new(ContentBlock::Text(TextContent::new(text.into())));
        self.update(SessionUpdate::AgentMessageChunk(chunk.message_id(message.clone())));
    }

    /// Says how much of the context is used.
    pub fn usage(&self, used: u64, size: u64) {
        self.update(SessionUpdate::UsageUpdate(UsageUpdate::new(used, size)));
    }

    /// Thinks aloud.
    pub fn think(&self, text: impl Into<String>) {
        let chunk = ContentChunk::new(ContentBlock::Text(TextContent::new(text.into())));
        self.update(SessionUpdate::AgentThoughtChunk(chunk));
    }

    /// Shows the plan: everything before `current` is done.
    pub fn plan(&self, titles: &[&str], current: usize) {
        let entry = |(at, title): (usize, &&str)| {
            let status = match at.cmp(&current) {
                std::cmp::Ordering::Less => PlanEntryStatus::Completed,
                std::cmp::Ordering::Equal => PlanEntryStatus::InProgress,
                std::cmp::Ordering::Greater => PlanEntryStatus::Pending,
            };
            PlanEntry::new(*title, PlanEntryPriority::Medium, status)
        };
        self.update(SessionUpdate::Plan(Plan::new(titles.iter().enumerate().map(entry).collect())));
    }

    /// Does something that people see as one step.
    pub async fn step<T>(
        &self,
        title: impl Into<String>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.step_of(ToolKind::Execute, title, work).await
    }

    /// Does something of a kind that people see as one step.
    pub async fn step_of<T, E>(
        &self,
        kind: ToolKind,
        title: impl Into<String>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let id = self.id();
        let call = ToolCall::new(id.clone(), title).kind(kind).status(ToolCallStatus::InProgress);
        self.update(SessionUpdate::ToolCall(call));
        let result = work.await;
        let status = if result.is_ok() { ToolCallStatus::Completed } else { ToolCallStatus::Failed };
        let fields = ToolCallUpdateFields::new().status(status);
        self.update(SessionUpdate::ToolCallUpdate(ToolCallUpdate::new(id, fields)));
        result
    }

    /// Calls an MCP tool. While a person holds the desktop it waits, and says so once.
    pub async fn tool(&self, name: &str, arguments: Value) -> Result<(String, Value), ToolError> {
        self.patiently(|| self.tools.call(name, arguments.clone())).await
    }

    /// Calls an MCP tool as [`Turn::tool`] does, and returns everything that it said.
    pub async fn request(&self, name: &str, arguments: Value) -> Result<CallToolResult, ToolError> {
        self.patiently(|| self.tools.request(name, arguments.clone())).await
    }

    /// The MCP tools that there are now.
    pub async fn list_tools(&self) -> Result<Vec<Tool>, ToolError> {
        self.tools.list().await
    }

    async fn patiently<T, F>(&self, call: impl Fn() -> F) -> Result<T, ToolError>
    where
        F: Future<Output = Result<T, ToolError>>,
    {
        let give_up = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(500);
        loop {
            match call().await {
                Err(ToolError::Held) if Instant::now() < give_up => {
                    if !self.told_held.swap(true, Ordering::Relaxed) {
                        self.say(
                            "You have control of the desktop. I wait and go on as soon as you hand it back.",
                        );
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                result => return result,
            }
        }
    }

    /// Sends input to the desktop.
    pub async fn computer(&self, action: &str, mut arguments: Value) -> Result<(), ToolError> {
        arguments["action"] = json!(action);
        arguments["screenshot_after"] = json!(false);
        self.tool("computer", arguments).await.map(|_| ())
    }

    /// Presses a key combination.
    pub async fn key(&self, keys: &str) -> Result<(), ToolError> {
        self.computer("key", json!({"text": keys})).await
    }

    /// Types text.
    pub async fn type_text(&self, text: &str) -> Result<(), ToolError> {
        self.computer("type", json!({"text": text})).await
    }

    /// Starts a program on the desktop.
    pub async fn launch(&self, program: &str, args: &[&str]) -> Result<(), ToolError> {
        self.tool("launch", json!({"program": program, "args": args})).await.map(|_| ())
    }

    /// Waits for a window; `false` if it does not come in time.
    pub async fn window(&self, title: &str, seconds: u64) -> Result<bool, ToolError> {
        let arguments = json!({"title_contains": title, "timeout_seconds": seconds});
        match self.tool("wait_for_window", arguments).await {
            Ok(_) => Ok(true),
            Err(ToolError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until the picture stands still, or does not after a while; either is fine.
    pub async fn settled(&self, quiet_seconds: f64) -> Result<(), ToolError> {
        match self.tool("wait_settled", json!({"quiet_seconds": quiet_seconds, "timeout_seconds": 5})).await {
            Ok(_) | Err(ToolError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that keys go to the window with this title. A window manager may leave the focus where it was when a program opens a
    /// window by itself; then the window is clicked, as a person would.
    pub async fn focus(&self, title: &str) -> Result<(), ToolError> {
        for attempt in 0..10 {
            let (text, _) = self.tool("desktop_info", json!({})).await?;
            let info: Value = serde_json::from_str(&text).unwrap_or_default();
            let Some(windows) = info["windows"].as_array() else { return Ok(()) };
            let matches = |window: &&Value| window["title"].as_str().is_some_and(|text| text.contains(title));
            let Some(window) = windows.iter().rev().find(matches) else { return Ok(()) };
            if window["active"] == json!(true) {
                return Ok(());
            }
            let number = |field: &str| window[field].as_i64().unwrap_or_default();
            if attempt >= 3 {
                let middle = [number("x") + number("width") / 2, number("y") + number("height") / 2];
                self.computer("left_click", json!({"coordinate": middle})).await?;
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Asks the person for permission.
    pub async fn ask(&self, title: &str) -> Result<bool, Failure> {
        let call = ToolCallUpdate::new(self.id(), ToolCallUpdateFields::new().title(title.to_owned()));
        let options = vec![
            PermissionOption::new("allow", "Allow", PermissionOptionKind::AllowOnce),
            PermissionOption::new("reject", "Reject", PermissionOptionKind::RejectOnce),
        ];
        let request = RequestPermissionRequest::new(self.session.clone(), call, options);
        let answer = self.connection.send_request(request).block_task().await;
        let answer = answer.map_err(|error| Failure::new(error.to_string()))?;
        Ok(match answer.outcome {
            RequestPermissionOutcome::Selected(selected) => selected.option_id.to_string() == "allow",
            _ => false,
        })
    }
}
