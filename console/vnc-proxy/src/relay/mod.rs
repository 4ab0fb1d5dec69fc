//! The running stream: bytes to the browser as they come, messages to the desktop as the filter allows, and everything that can end it.

mod down;
mod pulse;
mod up;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    access::AccessError,
    close::Close,
    server::Proxy,
    socket::{Reader, Writer},
    ticket::Grant,
    upstream::Desktop,
};

use pulse::Pulse;
use up::Up;

/// A stream that is to be relayed.
pub struct Open<'a> {
    /// Its other end.
    pub desktop: Desktop,
    /// Who may do what.
    pub grant: &'a Grant,
    /// Cancelled when the person needs its place.
    pub replaced: &'a CancellationToken,
    /// When it was asked for.
    pub began: std::time::Instant,
}

/// Relays until one side ends or must be ended; `None` if the browser closed.
pub async fn run(proxy: &Proxy, reader: &mut Reader, writer: &mut Writer, open: Open<'_>) -> Option<Close> {
    let Open { desktop, grant, replaced, began } = open;
    let (from_desktop, to_desktop) = tokio::io::split(desktop.stream);
    let mut up = Up::new(proxy, to_desktop, grant.mode);
    let pulse = Pulse::new(Instant::now());
    let close = tokio::select! {
        close = up.run(proxy, reader, &pulse, began) => close,
        close = down::run(proxy, from_desktop, desktop.already, writer, &pulse) => Some(close),
        close = watch(proxy, grant) => Some(close),
        () = replaced.cancelled() => Some(Close::Replaced),
    };
    up.finish().await;
    close
}

/// Resolves when the stream must end for a reason that is in neither direction's bytes.
async fn watch(proxy: &Proxy, grant: &Grant) -> Close {
    let mut verified = Instant::now();
    loop {
        tokio::select! {
            () = proxy.stop.cancelled() => {
                // All browsers at once would come back at once.
                let share = rand::random::<f64>();
                tokio::time::sleep(proxy.timing.drain.mul_f64(share)).await;
                return Close::Drain;
            }
            () = tokio::time::sleep(proxy.timing.recheck) => {}
        }
        match proxy.access.recheck(&grant.person, &grant.target, grant.mode).await {
            Ok(()) => verified = Instant::now(),
            Err(AccessError::Forbidden { .. } | AccessError::Unauthenticated) => return Close::Revoked,
            Err(AccessError::NotFound(..)) => return Close::Gone,
            Err(AccessError::NotRunning(..)) => return Close::Stopped,
            Err(AccessError::Api(error)) => {
                tracing::warn!(%error, "cannot check access again");
                if verified.elapsed() > proxy.timing.unchecked {
                    return Close::Upstream;
                }
            }
        }
    }
}
