//! From the upgrade request to a running relay.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use axum::{
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};

use crate::{close::Close, metrics::Code, relay, server::Proxy, ticket::Grant};

const PREFIX: &str = "a8s.ticket.";
/// RFB messages of a browser are small; only a clipboard is not, and noVNC sends that in pieces of 10 KiB.
const MAX_FRAME: usize = 64 * 1024;
const MAX_BUFFERED: usize = 1 << 20;
const GOODBYE: Duration = Duration::from_secs(2);

/// `GET /vnc/stream`.
pub async fn upgrade(
    State(proxy): State<Arc<Proxy>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    // A page of another origin learns nothing, not even whether its ticket was good.
    let Some(origin) = proxy.origins.check(&headers).map(str::to_owned) else {
        return (StatusCode::FORBIDDEN, "this page may not open desktops\n").into_response();
    };
    if !proxy.ready.load(Ordering::SeqCst) {
        return (StatusCode::SERVICE_UNAVAILABLE, "the proxy is stopping; connect again\n").into_response();
    }
    let offered: Vec<_> = upgrade.requested_protocols().filter_map(|value| value.to_str().ok()).collect();
    if !offered.contains(&"binary") {
        return (StatusCode::BAD_REQUEST, "the WebSocket subprotocol must be binary\n").into_response();
    }
    let ticket = offered.iter().find_map(|protocol| protocol.strip_prefix(PREFIX)).unwrap_or_default();
    let grant = proxy.tickets.redeem(ticket, &origin, Instant::now());
    let mut upgrade = upgrade
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_BUFFERED)
        .max_frame_size(MAX_FRAME)
        .max_message_size(MAX_FRAME);
    upgrade.set_selected_protocol(HeaderValue::from_static("binary"));
    let streams = proxy.streams.clone();
    upgrade.on_upgrade(move |socket| streams.track_future(run(proxy, socket, grant)))
}

async fn run(proxy: Arc<Proxy>, mut socket: WebSocket, grant: Option<Grant>) {
    // A browser cannot read the status of a refused upgrade, but it can read a close code.
    let close = match grant {
        None => Some(Close::Ticket),
        Some(grant) => match proxy.limits.take(&grant.target.uid, &grant.person.name) {
            None => Some(Close::Limit),
            Some(_place) => {
                proxy.metrics.streams.inc();
                let close = open(&proxy, &mut socket, &grant).await;
                proxy.metrics.streams.dec();
                let code = close.map_or(0, Close::code);
                tracing::info!(
                    user = grant.person.name,
                    namespace = grant.target.namespace,
                    workspace = grant.target.name,
                    code,
                    "stream ended"
                );
                close
            }
        },
    };
    proxy.metrics.closes.get_or_create(&Code { code: close.map_or(0, Close::code) }).inc();
    if let Some(close) = close {
        let frame = CloseFrame { code: close.code(), reason: close.reason().into() };
        // A browser that does not read will not read this either.
        let _ = tokio::time::timeout(GOODBYE, say_goodbye(&mut socket, frame)).await;
    }
}

/// Sends the code and reads until the browser has answered: closing with unread input would make TCP throw the code away.
async fn say_goodbye(socket: &mut WebSocket, frame: CloseFrame) -> Result<(), axum::Error> {
    socket.send(Message::Close(Some(frame))).await?;
    while let Some(message) = socket.recv().await {
        message?;
    }
    Ok(())
}

async fn open(proxy: &Proxy, socket: &mut WebSocket, grant: &Grant) -> Option<Close> {
    let began = Instant::now();
    let opening = proxy.upstream.open(&grant.person, &grant.target, grant.mode);
    let desktop = match tokio::time::timeout(proxy.timing.connect, opening).await {
        Ok(Ok(desktop)) => desktop,
        Ok(Err(close)) => return Some(close),
        Err(_) => return Some(Close::Upstream),
    };
    proxy.metrics.connect.observe(began.elapsed().as_secs_f64());
    relay::run(proxy, socket, desktop, grant).await
}
