//! The one MCP server that a harness is given: deskd's tools, passed on as they are, and the runner's own.

mod asking;
mod desk;
mod fit;
mod granted;
mod own;
mod remote;
mod streamable;

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use rmcp::{
    RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        InitializeResult, ListToolsResult, PaginatedRequestParams, ServerCapabilities, SubscriptionFilter,
    },
    service::{RequestContext, SubscriptionContext},
};
use tokio::{net::UnixListener, sync::watch};

pub use desk::Desk;
pub use granted::Granted;
pub use remote::Remotes;

use crate::{artifacts::Blobs, handle::Handle};

/// Serves one harness connection.
#[derive(Clone)]
pub struct Server {
    engine: Handle,
    blobs: Blobs,
    desk: Desk,
    remotes: Remotes,
    patience: Duration,
}

impl Server {
    /// A server over these parts. Tools that ask a person wait for the answer for at most `patience`.
    pub fn new(engine: Handle, blobs: Blobs, desk: Desk, remotes: Remotes, patience: Duration) -> Self {
        Self { engine, blobs, desk, remotes, patience }
    }

    /// Accepts connections for ever.
    pub async fn listen(self, socket: &Path) -> std::io::Result<()> {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket)?;
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
        loop {
            let (stream, _) = listener.accept().await?;
            let server = self.clone();
            tokio::spawn(async move {
                let mut changes = Changes::of(&server);
                match server.serve(stream).await {
                    Ok(running) => {
                        let peer = running.peer().clone();
                        let telling = tokio::spawn(async move {
                            while changes.next().await {
                                if peer.notify_tool_list_changed().await.is_err() {
                                    break;
                                }
                            }
                        });
                        let _ = running.waiting().await;
                        telling.abort();
                    }
                    Err(error) => tracing::info!(%error, "an MCP client left before it was ready"),
                }
            });
        }
    }
}

/// What changes the list of tools: servers that come and go, and what is granted.
struct Changes {
    remotes: watch::Receiver<u64>,
    granted: watch::Receiver<Granted>,
}

impl Changes {
    fn of(server: &Server) -> Self {
        Self { remotes: server.remotes.changes(), granted: server.engine.granted() }
    }

    /// Waits for the next change; false when the process ends.
    async fn next(&mut self) -> bool {
        tokio::select! {
            changed = self.remotes.changed() => changed.is_ok(),
            changed = self.granted.changed() => changed.is_ok(),
        }
    }
}

/// A result that tells the agent what went wrong.
fn refusal(text: impl Into<String>) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

impl ServerHandler for Server {
    fn get_info(&self) -> InitializeResult {
        let mut info = InitializeResult::new(
            ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build(),
        );
        info.server_info = Implementation::new("a8s-runner", env!("CARGO_PKG_VERSION"));
        info
    }

    fn accepted_subscription_filter(&self, _requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(SubscriptionFilter::builder().tools_list_changed().build())
    }

    // Clients of the newer protocol hear of changes here, older ones as they always did.
    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), rmcp::ErrorData> {
        let mut changes = Changes::of(self);
        loop {
            tokio::select! {
                () = subscription.cancelled() => return Ok(()),
                more = changes.next() => {
                    if !more || subscription.sink().notify_tool_list_changed().await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, rmcp::ErrorData> {
        let mut tools = own::tools();
        tools.extend(asking::tools());
        let desktop = self.desk.tools().await;
        let granted = self.engine.granted().borrow().clone();
        tools.extend(desktop.into_iter().filter(|tool| granted.desktop(&tool.name)).map(fit::fit));
        tools.extend(remote::tools());
        tools.extend(self.remotes.tools(&granted).into_iter().map(fit::fit));
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, rmcp::ErrorData> {
        let granted = self.engine.granted().borrow().clone();
        let result = if let Some(result) = own::call(&self.engine, &self.blobs, &request).await {
            result
        } else if let Some(result) = asking::call(&self.engine, self.patience, &request).await {
            result.unwrap_or_else(refusal)
        } else if let Some(result) = self.remotes.call(&request, &granted).await {
            result
        } else if !granted.desktop(&request.name) {
            refusal(format!(
                "tool_not_granted: {} is not among your tools; ask for it with request_access",
                request.name
            ))
        } else {
            // A call that is dropped is withdrawn, and deskd sends no further input for it.
            tokio::select! {
                biased;
                () = self.engine.halted() => refusal("cancelled: the turn is being stopped"),
                () = context.ct.cancelled() => refusal("cancelled: the call was withdrawn"),
                result = self.desk.call(request) => result,
            }
        };
        Ok(result.into())
    }
}
