//! A client of the runner's MCP server, as a harness has one.

use std::time::Duration;

use rmcp::{
    ClientHandler, RoleClient, ServiceExt,
    model::{CallToolRequestParams, ContentBlock},
    service::{NotificationContext, RunningService},
};
use serde_json::Value;
use tokio::{net::UnixStream, sync::watch};

use super::Pod;

#[derive(Clone)]
struct Listener(watch::Sender<u32>);

impl ClientHandler for Listener {
    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.0.send_modify(|count| *count += 1);
    }
}

pub struct Tools {
    running: RunningService<RoleClient, Listener>,
    changes: watch::Receiver<u32>,
}

impl Tools {
    pub async fn connect(pod: &Pod) -> Self {
        let stream = UnixStream::connect(pod.folder.path().join("mcp.sock")).await.unwrap();
        let heard = watch::Sender::new(0);
        let changes = heard.subscribe();
        Self { running: Listener(heard).serve(stream).await.unwrap(), changes }
    }

    /// Waits until the list of tools changes once more.
    pub async fn changed(&mut self) {
        tokio::time::timeout(Duration::from_secs(30), self.changes.changed()).await.unwrap().unwrap();
    }

    pub async fn names(&self) -> Vec<String> {
        let tools = self.running.list_all_tools().await.unwrap();
        tools.into_iter().map(|tool| tool.name.to_string()).collect()
    }

    /// The result's text and its structured content.
    pub async fn call(&self, tool: &'static str, arguments: Value) -> (String, Value) {
        let request = CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone());
        let result = self.running.call_tool(request).await.unwrap();
        let text = result.content.first().and_then(ContentBlock::as_text).map(|text| text.text.clone());
        (text.unwrap_or_default(), result.structured_content.unwrap_or_default())
    }
}
