//! MCP servers that the Workspace was granted. Their tools stand among the agent's own as `<connection>__<tool>`; a harness is told when
//! they change. A harness that does not listen to that finds them with `list_tools` and calls them with `call_tool`.
//!
//! A server that is away costs its own tools only, and is tried again. Its key never leaves this process but in the header to its URL.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use a8s_wire::{Grant, GrantKind, Grants, Header};
use rmcp::{
    ClientHandler, RoleClient, ServiceExt,
    model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Tool},
    service::{NotificationContext, Peer},
    transport::streamable_http_client::{StreamableHttpClientTransport, StreamableHttpClientTransportConfig},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    Granted,
    own::{read, tool},
    refusal,
    streamable::Http,
};

/// A call that takes longer is given up.
const CALL_TIMEOUT: Duration = Duration::from_mins(5);
/// A server that says nothing for so long at the beginning is away.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_mins(1);
/// Between a Connection's name and its tool's.
const BETWEEN: &str = "__";
/// Longest name of a tool that models take.
const MAX_NAME: usize = 64;

/// The servers that were granted.
#[derive(Clone)]
pub struct Remotes {
    servers: Arc<RwLock<BTreeMap<String, Server>>>,
    changed: watch::Sender<u64>,
}

/// One server, once it is connected.
struct Server {
    grant: Grant,
    task: JoinHandle<()>,
    tools: Vec<Tool>,
    peer: Option<Peer<RoleClient>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Hears when a server's tools change.
#[derive(Clone)]
struct Listener(watch::Sender<u64>);

impl ClientHandler for Listener {
    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.0.send_modify(|count| *count += 1);
    }
}

impl Remotes {
    /// Connects to what is granted, and to what will be.
    pub fn start(client: reqwest::Client, mut grants: watch::Receiver<Arc<Grants>>) -> Self {
        let remotes = Self { servers: Arc::default(), changed: watch::Sender::new(0) };
        let keeper = remotes.clone();
        tokio::spawn(async move {
            loop {
                let now = grants.borrow_and_update().clone();
                keeper.arrange(&client, &now);
                if grants.changed().await.is_err() {
                    return;
                }
            }
        });
        remotes
    }

    /// Counts the changes of the list of tools.
    pub fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changed.subscribe();
        changes.mark_unchanged();
        changes
    }

    fn arrange(&self, client: &reqwest::Client, grants: &Grants) {
        let wanted = |grant: &&Grant| matches!(grant.kind, GrantKind::Mcp { .. });
        let wanted: BTreeMap<&str, &Grant> =
            grants.connections.iter().filter(wanted).map(|grant| (grant.name.as_str(), grant)).collect();
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        let before = servers.values().map(|server| server.tools.len()).sum::<usize>();
        servers.retain(|name, server| wanted.get(name.as_str()).is_some_and(|grant| **grant == server.grant));
        if servers.values().map(|server| server.tools.len()).sum::<usize>() != before {
            self.changed.send_modify(|count| *count += 1);
        }
        for (name, grant) in wanted {
            if !servers.contains_key(name) {
                let task = tokio::spawn(self.clone().keep(client.clone(), grant.clone()));
                let server = Server { grant: grant.clone(), task, tools: Vec::new(), peer: None };
                servers.insert(name.to_owned(), server);
            }
        }
    }

    /// Keeps one server connected for ever.
    async fn keep(self, client: reqwest::Client, grant: Grant) {
        let GrantKind::Mcp { url, header, tools: chosen } = &grant.kind else { return };
        let mut backoff = FIRST_BACKOFF;
        loop {
            let heard = watch::Sender::new(0);
            let transport = transport(client.clone(), url, header.as_ref());
            match timeout(START_TIMEOUT, Listener(heard.clone()).serve(transport)).await {
                Ok(Ok(running)) => {
                    backoff = FIRST_BACKOFF;
                    let mut heard = heard.subscribe();
                    let waiting = running.peer().clone();
                    let listing = async {
                        loop {
                            match waiting.list_all_tools().await {
                                Ok(tools) => self.found(&grant.name, tools, chosen, waiting.clone()),
                                Err(error) => {
                                    tracing::warn!(%error, connection = grant.name, "an MCP server does not list its tools");
                                }
                            }
                            if heard.changed().await.is_err() {
                                std::future::pending::<()>().await;
                            }
                        }
                    };
                    tokio::select! {
                        () = listing => {}
                        reason = running.waiting() => {
                            tracing::info!(?reason, connection = grant.name, "the connection to an MCP server ended");
                        }
                    }
                    self.lost(&grant.name);
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, connection = grant.name, "an MCP server cannot be reached");
                }
                Err(_) => tracing::warn!(connection = grant.name, "an MCP server does not answer"),
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    fn found(&self, name: &str, tools: Vec<Tool>, chosen: &[String], peer: Peer<RoleClient>) {
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        let Some(server) = servers.get_mut(name) else { return };
        server.peer = Some(peer);
        let usable = |tool: &Tool| chosen.is_empty() || chosen.iter().any(|chosen| *chosen == tool.name);
        let tools: Vec<Tool> = tools.into_iter().filter(usable).collect();
        if server.tools != tools {
            server.tools = tools;
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Its tools stay on the list: it will be back, and a harness that forgot them would not look again.
    fn lost(&self, name: &str) {
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = servers.get_mut(name) {
            server.peer = None;
        }
    }

    /// The granted tools of all servers, under the names that the agent uses.
    pub fn tools(&self, granted: &Granted) -> Vec<Tool> {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        let named = |(connection, server): (&String, &Server)| {
            let theirs = server.tools.iter().filter(|tool| granted.remote(connection, &tool.name));
            let named = theirs.map(|tool| {
                let mut tool = tool.clone();
                tool.name = full_name(connection, &tool.name).into();
                tool
            });
            named.collect::<Vec<_>>()
        };
        servers.iter().flat_map(named).collect()
    }

    /// Calls a tool of a server, or one of the two that stand for all; `None` if it is none of them.
    pub async fn call(&self, request: &CallToolRequestParams, granted: &Granted) -> Option<CallToolResult> {
        match request.name.as_ref() {
            "list_tools" => Some(self.list(granted)),
            "call_tool" => {
                let arguments = Value::Object(request.arguments.clone().unwrap_or_default());
                Some(match read::<Call>(arguments) {
                    Ok(Call { name, arguments }) => match self.find(&name, granted) {
                        Some(found) => call(found, arguments.as_object().cloned()).await,
                        None => refusal(format!("there is no tool {name:?}; list_tools shows all")),
                    },
                    Err(error) => refusal(error),
                })
            }
            name => {
                let found = self.find(name, granted)?;
                Some(call(found, request.arguments.clone()).await)
            }
        }
    }

    fn find(&self, name: &str, granted: &Granted) -> Option<(String, String, Option<Peer<RoleClient>>)> {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        servers.iter().find_map(|(connection, server)| {
            let mut theirs = server.tools.iter().filter(|tool| granted.remote(connection, &tool.name));
            let tool = theirs.find(|tool| full_name(connection, &tool.name) == name)?;
            Some((connection.clone(), tool.name.to_string(), server.peer.clone()))
        })
    }

    fn list(&self, granted: &Granted) -> CallToolResult {
        let tools = self.tools(granted);
        let list: Vec<Value> = tools
            .iter()
            .map(|tool| json!({"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}))
            .collect();
        CallToolResult::success(vec![ContentBlock::text(Value::Array(list).to_string())])
    }
}

#[derive(Deserialize)]
struct Call {
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// The two tools that stand for all.
pub fn tools() -> Vec<Tool> {
    let text = |description: &str| json!({"type": "string", "description": description});
    vec![
        tool(
            "list_tools",
            "List the tools of the connections that you were granted, also those that came after you started.",
            &json!({}),
            &[],
        ),
        tool(
            "call_tool",
            "Call a tool that list_tools shows and that is not among your own.",
            &json!({"name": text("as list_tools shows it"), "arguments": {"type": "object"}}),
            &["name"],
        ),
    ]
}

/// A name that models take; two of one connection that only differ after so many letters would be the same.
pub fn full_name(connection: &str, tool: &str) -> String {
    let name = format!("{connection}{BETWEEN}{tool}");
    let usable = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
    name.chars().map(usable).take(MAX_NAME).collect()
}

async fn call(
    (connection, tool, peer): (String, String, Option<Peer<RoleClient>>),
    arguments: Option<serde_json::Map<String, Value>>,
) -> CallToolResult {
    let Some(peer) = peer else {
        return refusal(format!("the server of {connection} is away at the moment; try again later"));
    };
    let mut request = CallToolRequestParams::new(tool);
    request.arguments = arguments;
    match timeout(CALL_TIMEOUT, peer.call_tool_once(request)).await {
        Ok(Ok(CallToolResponse::Complete(result))) => result,
        Ok(Ok(_)) => refusal(format!("{connection} gave an answer of an unknown kind")),
        Ok(Err(error)) => refusal(format!("{connection}: {error}")),
        Err(_) => refusal(format!("{connection} did not answer in time")),
    }
}

fn transport(
    client: reqwest::Client,
    url: &str,
    header: Option<&Header>,
) -> StreamableHttpClientTransport<Http> {
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    StreamableHttpClientTransport::with_client(Http::new(client, header), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_named_after_its_connection_with_letters_that_models_take() {
        assert_eq!(full_name("crm", "find.user"), "crm__find_user");
        assert_eq!(full_name("crm", &"x".repeat(100)).len(), MAX_NAME);
    }
}
