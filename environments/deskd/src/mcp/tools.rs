//! The tools as MCP sees them.

use std::sync::Arc;

use rmcp::{
    ServerHandler,
    handler::server::{router::tool::ToolRouter, wrapper::Parameters},
    model::{CallToolResult, ContentBlock},
    tool, tool_handler, tool_router,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    call::{self, Call},
    input::{
        BatchInput, ClipboardInput, ComputerInput, Given, LaunchInput, WaitForWindowInput, WaitSettledInput,
    },
};
use crate::{desk::Desk, error::DeskError, hands::Hands};

/// The MCP server of one connection.
#[derive(Clone)]
pub struct DeskTools {
    desk: Arc<Desk>,
    caller: CancellationToken,
    tool_router: ToolRouter<Self>,
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for DeskTools {}

#[tool_router(router = tool_router)]
impl DeskTools {
    /// For one connection, which has ended when `caller` is cancelled.
    pub fn new(desk: Arc<Desk>, caller: CancellationToken) -> Self {
        Self { desk, caller, tool_router: Self::tool_router() }
    }

    #[tool(
        description = "Use mouse, keyboard and screen of the desktop. Answers with a screenshot after the action has settled."
    )]
    async fn computer(
        &self,
        Parameters(input): Parameters<Given<ComputerInput>>,
        ct: CancellationToken,
    ) -> CallToolResult {
        self.run(input.0.map(Call::Computer), ct).await
    }

    #[tool(
        description = "Do up to 10 actions of `computer` one after the other, and answer with one screenshot after the last. Stops at the first that fails."
    )]
    async fn computer_batch(
        &self,
        Parameters(input): Parameters<Given<BatchInput>>,
        ct: CancellationToken,
    ) -> CallToolResult {
        self.run(input.0.map(Call::Batch), ct).await
    }

    #[tool(
        description = "Start a program on the desktop: a short application name from desktop_info, or a program with arguments."
    )]
    async fn launch(
        &self,
        Parameters(input): Parameters<Given<LaunchInput>>,
        ct: CancellationToken,
    ) -> CallToolResult {
        self.run(input.0.map(Call::Launch), ct).await
    }

    #[tool(description = "Read the text that was copied last, or put text into the clipboard.")]
    async fn clipboard(
        &self,
        Parameters(input): Parameters<Given<ClipboardInput>>,
        ct: CancellationToken,
    ) -> CallToolResult {
        self.run(input.0.map(Call::Clipboard), ct).await
    }

    #[tool(description = "Wait until a window whose title contains a text is open. Answers with the window.")]
    async fn wait_for_window(
        &self,
        Parameters(input): Parameters<Given<WaitForWindowInput>>,
        ct: CancellationToken,
    ) -> CallToolResult {
        self.run(input.0.map(Call::WaitForWindow), ct).await
    }

    #[tool(description = "Wait until the screen has stopped changing.")]
    async fn wait_settled(
        &self,
        Parameters(input): Parameters<Given<WaitSettledInput>>,
        ct: CancellationToken,
    ) -> CallToolResult {
        self.run(input.0.map(Call::WaitSettled), ct).await
    }

    #[tool(
        description = "Size of the screen, open windows, the active window, applications that can be launched, and who has control."
    )]
    async fn desktop_info(&self) -> CallToolResult {
        match self.info().await {
            Ok(value) => CallToolResult::success(vec![ContentBlock::text(value.to_string())]),
            Err(error) => call::failed(error),
        }
    }

    async fn run(&self, call: Result<Call, String>, ct: CancellationToken) -> CallToolResult {
        let hands = Hands::new(&self.desk.screen, &self.desk.lease, ct, self.caller.clone());
        match call {
            Ok(call) => call::run(&self.desk, &hands, call).await,
            Err(why) => call::failed(DeskError::BadArgument(why)),
        }
    }

    /// The one tool that answers whoever has control.
    async fn info(&self) -> Result<Value, DeskError> {
        let (width, height) = self.desk.screen.size();
        let windows = self.desk.windows.list().await?;
        // Asked after the windows were read: titles say what a person does, and in private they are none of the agent's business.
        let control = self.desk.lease.state();
        let windows = if control.private { Vec::new() } else { windows };
        let active = windows.iter().find(|window| window.active).map(|window| window.title.clone());
        Ok(json!({
            "width": width,
            "height": height,
            "windows": windows,
            "activeWindow": active,
            "applications": self.desk.applications(),
            "control": control,
        }))
    }
}
