//! The agent's side: an MCP server on a unix socket that only the runner can reach. Every tool asks the lease first.

mod computer;
mod input;
mod tools;

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use anyhow::Context;
use rmcp::ServiceExt;
use tokio::net::UnixListener;

use crate::{boot::home, desk::Desk};

pub use tools::DeskTools;

/// Listens on `socket`; only its owner and group (the runner's) may connect.
pub fn listen(socket: &Path) -> anyhow::Result<UnixListener> {
    home::remove(socket);
    let listener =
        UnixListener::bind(socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))
        .with_context(|| format!("cannot set the mode of {}", socket.display()))?;
    Ok(listener)
}

/// Serves each connection until it closes.
pub async fn serve(desk: Arc<Desk>, listener: UnixListener) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let tools = DeskTools::new(desk.clone());
        tokio::spawn(async move {
            match tools.serve(tokio::io::split(stream)).await {
                Ok(service) => {
                    if let Err(error) = service.waiting().await {
                        tracing::warn!(%error, "an MCP connection failed");
                    }
                }
                Err(error) => tracing::warn!(%error, "an MCP connection was not initialised"),
            }
        });
    }
}
