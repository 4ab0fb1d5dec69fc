//! The running stream: bytes to the browser as they come, messages to the desktop as the filter allows, and everything that can end it.

use std::time::Duration;

use a8s_rfb::{Filter, Policy, Role};
use axum::extract::ws::{Message, WebSocket};
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    time::{Instant, MissedTickBehavior},
};

use crate::{
    access::{AccessError, Mode},
    close::Close,
    metrics::Direction,
    server::Proxy,
    ticket::Grant,
};

const CHUNK: usize = 64 * 1024;
const RELEASE_LIMIT: Duration = Duration::from_secs(1);
const POLICY: Policy = Policy { clipboard: true, resize: false };

/// Relays until one side ends or must be ended; `None` if the browser closed.
pub async fn run(
    proxy: &Proxy,
    socket: &mut WebSocket,
    desktop: TokioIo<Upgraded>,
    grant: &Grant,
) -> Option<Close> {
    let (to_browser, mut from_browser) = socket.split();
    let (from_desktop, to_desktop) = tokio::io::split(desktop);
    let mut up = Up { desktop: to_desktop, filter: Filter::new(POLICY), role: role(grant.mode) };
    let (pongs, pong) = tokio::sync::watch::channel(Instant::now());
    let down = down(proxy, from_desktop, to_browser, pong);
    tokio::pin!(down);
    let watch = watch(proxy, grant);
    tokio::pin!(watch);
    let close = loop {
        tokio::select! {
            close = &mut down => break Some(close),
            close = &mut watch => break Some(close),
            message = from_browser.next() => match message {
                Some(Ok(Message::Binary(bytes))) => {
                    if let Err(close) = up.input(proxy, &bytes).await {
                        break Some(close);
                    }
                }
                Some(Ok(Message::Pong(_))) => {
                    pongs.send_replace(Instant::now());
                }
                Some(Ok(Message::Ping(_))) => {}
                Some(Ok(Message::Text(_))) => break Some(Close::NotBinary),
                Some(Ok(Message::Close(_))) | None => break None,
                Some(Err(error)) => {
                    tracing::debug!(%error, "the browser's connection broke");
                    break None;
                }
            },
        }
    };
    up.release().await;
    proxy.metrics.dropped.inc_by(up.filter.dropped());
    close
}

fn role(mode: Mode) -> Role {
    match mode {
        Mode::View => Role::Viewer,
        // Whether this person holds the lease now is deskd's knowledge; here it matters that they may.
        Mode::Control => Role::Controller,
    }
}

struct Up {
    desktop: WriteHalf<TokioIo<Upgraded>>,
    filter: Filter,
    role: Role,
}

impl Up {
    async fn input(&mut self, proxy: &Proxy, bytes: &Bytes) -> Result<(), Close> {
        self.filter.push(bytes);
        let mut out = BytesMut::new();
        loop {
            match self.filter.next(self.role, std::time::Instant::now()) {
                Ok(Some(message)) => out.extend_from_slice(&message),
                Ok(None) => break,
                Err(violation) => {
                    tracing::warn!(%violation, "closing a stream");
                    return Err(Close::Violation);
                }
            }
        }
        let direction = Direction { direction: "to_desktop" };
        proxy.metrics.bytes.get_or_create(&direction).inc_by(out.len() as u64);
        let written = tokio::time::timeout(proxy.timing.stall, self.write(&out)).await;
        written.map_err(|_| Close::Upstream)?.map_err(|_| Close::Upstream)
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.desktop.write_all(bytes).await?;
        self.desktop.flush().await
    }

    /// Lets go of keys and buttons and says goodbye. deskd does the same when it sees the end of the stream; this is for the case that
    /// it sees it late.
    async fn release(&mut self) {
        let bytes = self.filter.release();
        let goodbye = async {
            self.write(&bytes).await?;
            self.desktop.shutdown().await
        };
        // The desktop may be gone, which is one reason to be here.
        let _ = tokio::time::timeout(RELEASE_LIMIT, goodbye).await;
    }
}

/// Desktop to browser. One chunk at a time: what the browser does not take, Xvnc does not draw for it.
async fn down(
    proxy: &Proxy,
    mut desktop: ReadHalf<TokioIo<Upgraded>>,
    mut browser: SplitSink<&mut WebSocket, Message>,
    pong: tokio::sync::watch::Receiver<Instant>,
) -> Close {
    let sent = proxy.metrics.bytes.get_or_create_owned(&Direction { direction: "to_browser" });
    let mut interval = tokio::time::interval_at(Instant::now() + proxy.timing.ping, proxy.timing.ping);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pinged = Instant::now();
    let mut measured = pinged;
    let mut chunk = BytesMut::new();
    loop {
        chunk.reserve(CHUNK);
        let message = tokio::select! {
            read = desktop.read_buf(&mut chunk) => match read {
                Ok(0) | Err(_) => return Close::Upstream,
                Ok(length) => {
                    sent.inc_by(length as u64);
                    Message::Binary(chunk.split().freeze())
                }
            },
            _ = interval.tick() => {
                let answered = *pong.borrow();
                if answered.elapsed() > proxy.timing.silence {
                    return Close::Silent;
                }
                if answered > pinged && measured != answered {
                    proxy.metrics.round_trip.observe((answered - pinged).as_secs_f64());
                    measured = answered;
                }
                pinged = Instant::now();
                Message::Ping(Bytes::new())
            }
        };
        match tokio::time::timeout(proxy.timing.stall, browser.send(message)).await {
            Ok(Ok(())) => {}
            // The reader notices the same and knows whether it was a goodbye.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => return Close::Stalled,
        }
    }
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
