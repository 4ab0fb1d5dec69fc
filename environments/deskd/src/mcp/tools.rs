//! The tools as MCP sees them.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use rmcp::{
    ServerHandler,
    handler::server::{router::tool::ToolRouter, wrapper::Parameters},
    model::{CallToolResult, ContentBlock},
    tool, tool_handler, tool_router,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    computer::{self, seconds},
    input::{Action, ComputerInput, LaunchInput, WaitForWindowInput, WaitSettledInput},
};
use crate::{desk::Desk, error::DeskError};

const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

/// The MCP server of one connection.
#[derive(Clone)]
pub struct DeskTools {
    desk: Arc<Desk>,
    tool_router: ToolRouter<Self>,
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for DeskTools {}

#[tool_router(router = tool_router)]
impl DeskTools {
    /// For one connection.
    pub fn new(desk: Arc<Desk>) -> Self {
        Self { desk, tool_router: Self::tool_router() }
    }

    #[tool(
        description = "Use mouse, keyboard and screen of the desktop. Answers with a screenshot after the action has settled."
    )]
    async fn computer(&self, Parameters(input): Parameters<ComputerInput>) -> CallToolResult {
        let picture = input.screenshot_after.unwrap_or(true) || input.action == Action::Screenshot;
        let outcome = match computer::act(&self.desk, &input).await {
            Ok(value) => value,
            Err(error) => return failure(&error),
        };
        let mut content = Vec::new();
        if picture && input.action != Action::CursorPosition {
            // Control may have changed while the action ran.
            match self.desk.lease.agent().and(self.desk.screenshot().await) {
                Ok(jpeg) => content.push(ContentBlock::image(STANDARD.encode(jpeg), "image/jpeg")),
                Err(error) => return failure(&error),
            }
        }
        content.push(ContentBlock::text(outcome.to_string()));
        CallToolResult::success(content)
    }

    #[tool(
        description = "Start a program on the desktop: a short application name from desktop_info, or a program with arguments."
    )]
    async fn launch(&self, Parameters(input): Parameters<LaunchInput>) -> CallToolResult {
        let started = match self.desk.lease.agent() {
            Ok(()) => self.desk.launch(&input.program, &input.args).await,
            Err(error) => Err(error),
        };
        answer(started.map(|pid| json!({"pid": pid})))
    }

    #[tool(
        description = "Size of the screen, open windows, the active window, applications that can be launched, and who has control."
    )]
    async fn desktop_info(&self) -> CallToolResult {
        answer(self.info().await)
    }

    #[tool(description = "Wait until a window whose title contains a text is open. Answers with the window.")]
    async fn wait_for_window(&self, Parameters(input): Parameters<WaitForWindowInput>) -> CallToolResult {
        answer(self.find_window(&input).await)
    }

    #[tool(description = "Wait until the screen has stopped changing.")]
    async fn wait_settled(&self, Parameters(input): Parameters<WaitSettledInput>) -> CallToolResult {
        answer(self.settle(&input).await)
    }

    async fn info(&self) -> Result<Value, DeskError> {
        let control = self.desk.lease.state();
        let (width, height) = self.desk.screen.size();
        // Titles say what a person does; in private they are none of the agent's business.
        let windows = if control.private { Vec::new() } else { self.desk.windows.list().await? };
        let active = windows.iter().find(|window| window.active).map(|window| window.title.clone());
        Ok(json!({
            "width": width,
            "height": height,
            "windows": windows,
            "activeWindow": active,
            "applications": self.desk.config.applications.keys().collect::<Vec<_>>(),
            "control": control,
        }))
    }

    async fn find_window(&self, input: &WaitForWindowInput) -> Result<Value, DeskError> {
        let wanted = input.title_contains.to_lowercase();
        let until = Instant::now() + seconds(input.timeout_seconds, 10.0)?;
        loop {
            self.desk.lease.agent()?;
            let windows = self.desk.windows.list().await?;
            if let Some(window) = windows.iter().find(|window| window.title.to_lowercase().contains(&wanted))
            {
                return Ok(json!(window));
            }
            if Instant::now() >= until {
                let titles: Vec<_> = windows.into_iter().map(|window| window.title).collect();
                let text = format!(
                    "no window titled {:?} has opened; open windows: {titles:?}",
                    input.title_contains
                );
                return Err(DeskError::Timeout(text));
            }
            computer::wait(&self.desk, LOOK_AGAIN).await?;
        }
    }

    async fn settle(&self, input: &WaitSettledInput) -> Result<Value, DeskError> {
        self.desk.lease.agent()?;
        let quiet = seconds(input.quiet_seconds, 0.4)?;
        let limit = seconds(input.timeout_seconds, 10.0)?;
        let settled = self.desk.screen.settled(quiet, limit).await;
        self.desk.lease.agent()?;
        Ok(json!({"settled": settled}))
    }
}

fn answer(outcome: Result<Value, DeskError>) -> CallToolResult {
    match outcome {
        Ok(value) => CallToolResult::success(vec![ContentBlock::text(value.to_string())]),
        Err(error) => failure(&error),
    }
}

/// An error that the model reads as text and the runner by its code.
fn failure(error: &DeskError) -> CallToolResult {
    let mut result = CallToolResult::error(vec![ContentBlock::text(format!("{}: {error}", error.code()))]);
    let mut details = json!({"error": error.code()});
    if let DeskError::ControlHeldByUser { user, since } = error {
        details["user"] = json!(user);
        details["since"] = json!(since);
    }
    result.structured_content = Some(details);
    result
}
