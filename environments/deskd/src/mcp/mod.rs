//! The agent's side: an MCP server on a unix socket that only the runner can reach. Every tool asks the lease first.

mod call;
mod computer;
pub mod input;
mod tools;

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use anyhow::Context;
use rmcp::ServiceExt;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::UnixListener,
};
use tokio_util::sync::CancellationToken;

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
pub async fn serve(desk: Arc<Desk>, listener: UnixListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let caller = CancellationToken::new();
        let tools = DeskTools::new(desk.clone(), caller.clone());
        tokio::spawn(async move {
            let (reader, writer) = stream.into_split();
            let reader = Watched { reader, ended: caller.clone() };
            match tools.serve((reader, writer)).await {
                Ok(service) => {
                    if let Err(error) = service.waiting().await {
                        tracing::warn!(%error, "an MCP connection failed");
                    }
                }
                Err(error) => tracing::warn!(%error, "an MCP connection was not initialised"),
            }
            caller.cancel();
        });
    }
}

/// Notices at once that the other side is gone: the MCP library goes on with open calls for seconds, and nobody wants their input any more.
struct Watched<R> {
    reader: R,
    ended: CancellationToken,
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(cx, buffer);
        let ended = match &polled {
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended {
            self.ended.cancel();
        }
        polled
    }
}
