//! The orderly end: SIGTERM or SIGINT cancels a token that everything else watches.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::ProcessError;

/// A token that is cancelled by the first SIGTERM or SIGINT. Must be called within a tokio runtime.
pub fn shutdown() -> Result<CancellationToken, ProcessError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ProcessError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ProcessError::Signal)?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
        cancelled.cancel();
    });
    Ok(token)
}
