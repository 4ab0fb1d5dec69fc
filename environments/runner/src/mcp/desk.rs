//! The connection to deskd's MCP server. It is made again whenever it breaks; meanwhile the desktop's tools say that it is away.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rmcp::{
    RoleClient, ServiceExt,
    model::{CallToolRequestParams, CallToolResponse, CallToolResult, Tool},
    service::Peer,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::refusal;

/// A tool call that takes longer is given up. deskd's own waits end well before.
const CALL_TIMEOUT: Duration = Duration::from_secs(150);
/// How long a call waits for deskd to come back, so that a restart of deskd costs a moment and no failure.
const ABSENCE: Duration = Duration::from_secs(5);
/// Trying a socket costs nothing, and the pod is not ready before deskd answers.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// deskd's tools.
#[derive(Clone)]
pub struct Desk {
    peer: watch::Receiver<Option<Peer<RoleClient>>>,
    tools: Arc<tokio::sync::RwLock<Vec<Tool>>>,
}

impl Desk {
    /// Starts to connect in the background.
    pub fn connect(socket: PathBuf) -> Self {
        let (found, peer) = watch::channel(None);
        let tools = Arc::<tokio::sync::RwLock<Vec<Tool>>>::default();
        tokio::spawn(keep_connected(socket, found, tools.clone()));
        Self { peer, tools }
    }

    /// Waits until deskd is connected.
    pub async fn ready(&self) {
        // The connection is kept for as long as the process lives.
        let _ = self.peer.clone().wait_for(Option::is_some).await;
    }

    /// The tools that deskd offers, or offered last.
    pub async fn tools(&self) -> Vec<Tool> {
        let mut peer = self.peer.clone();
        let _ = timeout(ABSENCE, peer.wait_for(Option::is_some)).await;
        self.tools.read().await.clone()
    }

    /// Calls a tool of deskd.
    pub async fn call(&self, request: CallToolRequestParams) -> CallToolResult {
        let mut peer = self.peer.clone();
        let found = timeout(ABSENCE, peer.wait_for(Option::is_some)).await;
        let Some(peer) = found.ok().and_then(Result::ok).and_then(|peer| peer.clone()) else {
            return refusal("display_unavailable: the desktop is not running; try again in a moment");
        };
        match timeout(CALL_TIMEOUT, peer.call_tool_once(request)).await {
            Ok(Ok(CallToolResponse::Complete(result))) => result,
            Ok(Ok(_)) => refusal("the desktop gave an answer of an unknown kind"),
            Ok(Err(error)) => refusal(format!("display_unavailable: {error}")),
            Err(_) => refusal("display_unavailable: the desktop did not answer in time"),
        }
    }
}

async fn keep_connected(
    socket: PathBuf,
    found: watch::Sender<Option<Peer<RoleClient>>>,
    tools: Arc<tokio::sync::RwLock<Vec<Tool>>>,
) {
    let mut backoff = Duration::from_millis(50);
    while !found.is_closed() {
        match crate::acp::reach(&socket, backoff).await {
            Ok(stream) => match ().serve(stream).await {
                Ok(running) => {
                    backoff = Duration::from_millis(50);
                    match running.list_all_tools().await {
                        Ok(listed) => *tools.write().await = listed,
                        Err(error) => tracing::warn!(%error, "deskd does not list its tools"),
                    }
                    found.send_replace(Some(running.peer().clone()));
                    let reason = running.waiting().await;
                    found.send_replace(None);
                    tracing::info!(?reason, "the connection to deskd ended");
                }
                Err(error) => tracing::info!(%error, "deskd refused the connection"),
            },
            Err(error) => {
                tracing::debug!(%error, "deskd is not there yet");
                backoff = (backoff * 2).min(MAX_BACKOFF);
                continue;
            }
        }
        sleep(backoff).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}
