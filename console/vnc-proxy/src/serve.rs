//! Connections: accepted, tuned for input that is small and pictures that are large, and cut when a client does not come to the point.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, response::IntoResponse};
use http::{Request, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use crate::server::Proxy;

/// Largest head of a request.
const MAX_HEAD: usize = 16 * 1024;
/// What the kernel takes of a picture before the client has taken what went before. More would be sent late, and be old then.
const UNSENT: u32 = 128 * 1024;
/// After this long without an answer to what was sent, the client is gone.
const UNANSWERED: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Serves until the proxy stops. Streams go on and are in `proxy.streams`.
pub async fn serve(listener: TcpListener, router: Router, proxy: Arc<Proxy>) {
    loop {
        let accepted = tokio::select! {
            () = proxy.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Err(error) = tune(&stream) {
                    tracing::debug!(%error, "cannot tune a connection");
                }
                tokio::spawn(connection(stream, Peer(peer), router.clone(), proxy.clone()));
            }
            Err(error) => {
                // Too many open files, most likely; trying again at once would only burn time.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_tcp_user_timeout(Some(UNANSWERED))
}

async fn connection(stream: TcpStream, peer: Peer, router: Router, proxy: Arc<Proxy>) {
    let limit = proxy.timing.handshake;
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let answer = router.clone().oneshot(request.map(Body::new));
        async move {
            // A body that does not come.
            tokio::time::timeout(limit, answer)
                .await
                .unwrap_or_else(|_| Ok(StatusCode::REQUEST_TIMEOUT.into_response()))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let done = tokio::select! {
        done = &mut connection => done,
        () = proxy.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = done {
        tracing::debug!(%error, "a connection broke");
    }
}
