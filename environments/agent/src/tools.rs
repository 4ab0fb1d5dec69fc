//! The client side of MCP: one stdio server, named by the ACP client, started when the first tool is called and again if it breaks.
//! Dropping a call withdraws it, so that a cancelled turn does not go on typing.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use agent_client_protocol::v1::schema::{McpServer, McpServerStdio};
use rmcp::{
    ClientHandler, RoleClient, ServiceExt,
    model::{CallToolRequestParams, CallToolResponse, CallToolResult, Tool},
    service::{NotificationContext, Peer, RunningService},
};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    sync::Mutex,
};

/// Why a tool gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// A person holds the desktop: try later.
    #[error("a person holds control of the desktop")]
    Held,
    /// The tool said no.
    #[error("{0}")]
    Refused(String),
    /// There is no connection to the tools.
    #[error("the tools are not available: {0}")]
    Unavailable(String),
}

/// The tools of a session.
pub struct Toolbox {
    server: Option<McpServerStdio>,
    connection: Mutex<Option<Connection>>,
    listed: Mutex<Option<Vec<Tool>>>,
    changed: Arc<AtomicBool>,
}

/// Hears that there are other tools now.
struct Listener(Arc<AtomicBool>);

impl ClientHandler for Listener {
    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.0.store(true, Ordering::Release);
    }
}

struct Connection {
    client: RunningService<RoleClient, Listener>,
    // Ends the server when the connection is dropped.
    _process: Child,
}

impl Toolbox {
    /// Takes the first stdio server of the list.
    pub fn new(servers: Vec<McpServer>) -> Self {
        let server = servers.into_iter().find_map(|server| match server {
            McpServer::Stdio(server) => Some(server),
            _ => None,
        });
        Self { server, connection: Mutex::new(None), listed: Mutex::new(None), changed: Arc::default() }
    }

    /// Calls a tool and returns its text and structured content.
    pub async fn call(&self, name: &str, arguments: Value) -> Result<(String, Value), ToolError> {
        let mut result = self.request(name, arguments.clone()).await?;
        if text_of(&result).starts_with("control_handed_back") {
            // A script does not decide by what it sees; being told once is enough.
            result = self.request(name, arguments).await?;
        }
        let text = text_of(&result);
        if result.is_error == Some(true) {
            return Err(ToolError::Refused(text));
        }
        Ok((text, result.structured_content.unwrap_or_default()))
    }

    /// Calls a tool and returns everything that it said, refusals included; only a desktop that a person holds is an error.
    pub async fn request(&self, name: &str, arguments: Value) -> Result<CallToolResult, ToolError> {
        let mut request = CallToolRequestParams::new(name.to_owned());
        request.arguments = arguments.as_object().cloned();
        match Box::pin(self.peer().await?.call_tool_once(request)).await {
            Ok(CallToolResponse::Complete(result)) => {
                let text = text_of(&result);
                let later =
                    ["control_held_by_user", "control_pending"].iter().any(|code| text.starts_with(code));
                let held = result.is_error == Some(true) && later;
                if held { Err(ToolError::Held) } else { Ok(result) }
            }
            Ok(_) => Err(ToolError::Refused(format!("{name} gave an answer of an unknown kind"))),
            Err(error) => Err(ToolError::Unavailable(error.to_string())),
        }
    }

    /// The tools that there are now.
    pub async fn list(&self) -> Result<Vec<Tool>, ToolError> {
        let peer = self.peer().await?;
        let mut listed = self.listed.lock().await;
        if self.changed.swap(false, Ordering::AcqRel) {
            *listed = None;
        }
        if let Some(tools) = &*listed {
            return Ok(tools.clone());
        }
        let tools = peer.list_all_tools().await.map_err(|error| ToolError::Unavailable(error.to_string()))?;
        Ok(listed.insert(tools).clone())
    }

    async fn peer(&self) -> Result<Peer<RoleClient>, ToolError> {
        let mut connection = self.connection.lock().await;
        let open = |open: &Connection| !open.client.is_closed() && !open.client.is_transport_closed();
        if !connection.as_ref().is_some_and(open) {
            // On the heap: it is large, and every call of a tool would carry it along.
            *connection = Some(Box::pin(self.connect()).await?);
            // Whoever answers now may offer other tools.
            self.changed.store(true, Ordering::Release);
        }
        let Some(open) = connection.as_ref() else {
            return Err(ToolError::Unavailable("not connected".to_owned()));
        };
        Ok(open.client.peer().clone())
    }

    async fn connect(&self) -> Result<Connection, ToolError> {
        let unavailable = |text: String| ToolError::Unavailable(text);
        let server = self
            .server
            .as_ref()
            .ok_or_else(|| unavailable("this session was opened without an MCP server".to_owned()))?;
        let mut process = Command::new(&server.command)
            .args(&server.args)
            .envs(server.env.iter().map(|variable| (&variable.name, &variable.value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| unavailable(format!("{}: {error}", server.command.display())))?;
        let (Some(output), Some(input)) = (process.stdout.take(), process.stdin.take()) else {
            return Err(unavailable("the MCP server has no pipes".to_owned()));
        };
        let client = Listener(self.changed.clone())
            .serve((output, input))
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        Ok(Connection { client, _process: process })
    }
}

/// All text of a result.
pub fn text_of(result: &CallToolResult) -> String {
    let texts = result.content.iter().filter_map(|block| block.as_text().map(|text| text.text.as_str()));
    texts.collect::<Vec<_>>().join("\n")
}
