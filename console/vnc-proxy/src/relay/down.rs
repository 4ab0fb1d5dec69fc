//! Desktop to browser. One piece at a time: what the browser does not take, Xvnc does not draw for it.

use bytes::{BufMut, BytesMut};
use futures::FutureExt;
use tokio::{
    io::{AsyncReadExt, ReadHalf},
    net::TcpStream,
    time::{Instant, MissedTickBehavior},
};
use tokio_rustls::client::TlsStream;

use super::pulse::Pulse;
use crate::{
    close::Close,
    metrics::Direction,
    server::Proxy,
    socket::{HEAD, MAX_PAYLOAD, Writer, ping, pong, seal},
};

/// What an idle stream is ready for. A picture is longer, and gets more room once it comes.
const FIRST: usize = 2048;

type Source = ReadHalf<TlsStream<TcpStream>>;

/// Passes on until the desktop ends the stream or the browser does not read. `already` is what the desktop has said before.
pub async fn run(
    proxy: &Proxy,
    mut desktop: Source,
    already: &[u8],
    browser: &mut Writer,
    pulse: &Pulse,
) -> Close {
    let sent = proxy.metrics.bytes.get_or_create_owned(&Direction { direction: "to_browser" });
    let mut interval = tokio::time::interval_at(Instant::now() + proxy.timing.ping, proxy.timing.ping);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut frame = room();
    for piece in already.chunks(FIRST) {
        frame.put_slice(piece);
        sent.inc_by(piece.len() as u64);
        if let Err(close) = send(proxy, browser, seal(std::mem::replace(&mut frame, room()))).await {
            return close;
        }
    }
    loop {
        let message = tokio::select! {
            read = first(&mut desktop, &mut frame) => {
                if !matches!(read, Ok(1..)) {
                    return Close::Upstream;
                }
                rest(&mut desktop, &mut frame);
                sent.inc_by((frame.len() - HEAD) as u64);
                seal(std::mem::replace(&mut frame, room()))
            }
            _ = interval.tick() => {
                let now = Instant::now();
                if pulse.silent(now) > proxy.timing.silence {
                    return Close::Silent;
                }
                ping(&pulse.ping(now))
            }
            payload = pulse.asked() => pong(&payload),
        };
        if let Err(close) = send(proxy, browser, message).await {
            return close;
        }
    }
}

fn room() -> BytesMut {
    let mut frame = BytesMut::with_capacity(HEAD + FIRST);
    frame.put_bytes(0, HEAD);
    frame
}

/// Waits for the desktop to say something. Nothing is lost when the future is dropped.
async fn first(desktop: &mut Source, frame: &mut BytesMut) -> std::io::Result<usize> {
    desktop.read_buf(&mut frame.limit(FIRST)).await
}

/// What else is there already, up to a whole frame.
fn rest(desktop: &mut Source, frame: &mut BytesMut) {
    if frame.len() < HEAD + FIRST {
        return;
    }
    frame.reserve(MAX_PAYLOAD - FIRST);
    while frame.len() < HEAD + MAX_PAYLOAD {
        let room = HEAD + MAX_PAYLOAD - frame.len();
        // The end of the stream is seen by the next read.
        if !matches!(desktop.read_buf(&mut frame.limit(room)).now_or_never(), Some(Ok(1..))) {
            break;
        }
    }
}

async fn send(proxy: &Proxy, browser: &mut Writer, frame: BytesMut) -> Result<(), Close> {
    match tokio::time::timeout(proxy.timing.stall, browser.send(frame, &proxy.metrics)).await {
        Ok(Ok(())) => Ok(()),
        // The reader notices the same and knows whether it was a goodbye.
        Ok(Err(_)) => std::future::pending().await,
        Err(_) => Err(Close::Stalled),
    }
}
