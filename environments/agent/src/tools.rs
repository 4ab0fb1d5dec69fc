//! The client side of MCP: one stdio server, named by the ACP client, started when the first tool is called and again if it breaks.

use std::process::Stdio;

use agent_client_protocol::v1::schema::{McpServer, McpServerStdio};
use rmcp::{
    RoleClient, ServiceExt,
    model::{CallToolRequestParams, CallToolResponse, CallToolResult},
    service::RunningService,
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
}

struct Connection {
    client: RunningService<RoleClient, ()>,
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
        Self { server, connection: Mutex::new(None) }
    }

    /// Calls a tool and returns its text and structured content.
    pub async fn call(&self, name: &str, arguments: Value) -> Result<(String, Value), ToolError> {
        let mut request = CallToolRequestParams::new(name.to_owned());
        request.arguments = arguments.as_object().cloned();
        let peer = {
            let mut connection = self.connection.lock().await;
            if connection
                .as_ref()
                .is_none_or(|open| open.client.is_closed() || open.client.is_transport_closed())
            {
                *connection = Some(self.connect().await?);
            }
            let Some(open) = connection.as_ref() else {
                return Err(ToolError::Unavailable("not connected".to_owned()));
            };
            open.client.peer().clone()
        };
        match peer.call_tool_once(request).await {
            Ok(CallToolResponse::Complete(result)) => read(result),
            Ok(_) => Err(ToolError::Refused(format!("{name} gave an answer of an unknown kind"))),
            Err(error) => Err(ToolError::Unavailable(error.to_string())),
        }
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
        let client = ().serve((output, input)).await.map_err(|error| unavailable(error.to_string()))?;
        Ok(Connection { client, _process: process })
    }
}

fn read(result: CallToolResult) -> Result<(String, Value), ToolError> {
    let texts: Vec<&str> =
        result.content.iter().filter_map(|block| block.as_text().map(|text| text.text.as_str())).collect();
    let text = texts.join("\n");
    if result.is_error == Some(true) {
        return Err(if text.contains("control_held_by_user") {
            ToolError::Held
        } else {
            ToolError::Refused(text)
        });
    }
    Ok((text, result.structured_content.unwrap_or_default()))
}
