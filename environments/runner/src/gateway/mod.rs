//! The credential gateway: plain HTTP on the pod's loopback interface. The agent calls what it was granted through it; the key is added on
//! the way out, and what a model uses is counted on the way back.
//!
//! Whoever calls shows the gateway's token. Everybody in the pod can reach the port, so the token is what makes a call the agent's. The
//! gateway follows no redirects, calls nothing but the granted URLs and keeps nothing.

mod count;
mod mask;
mod outward;
mod target;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use a8s_wire::{Grant, Grants, Usage};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

pub use self::outward::client;
use self::{count::Reader, mask::Mask, target::Target};
use crate::launch::Gateway;

/// How often a port that is taken is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What the routes share.
struct Shared {
    client: reqwest::Client,
    grants: watch::Receiver<Arc<Grants>>,
    token: String,
    used: mpsc::UnboundedSender<Usage>,
}

/// The listener, if the port is free now.
pub async fn bind(address: SocketAddr) -> Option<TcpListener> {
    TcpListener::bind(address)
        .await
        .inspect_err(|error| tracing::error!(%error, %address, "the gateway's port is taken"))
        .ok()
}

/// Serves for ever. A port that something else in the pod took is waited for.
pub async fn serve(
    mut listener: Option<TcpListener>,
    gateway: Gateway,
    client: reqwest::Client,
    grants: watch::Receiver<Arc<Grants>>,
    used: mpsc::UnboundedSender<Usage>,
) {
    let shared = Arc::new(Shared { client, grants, token: gateway.token, used });
    let router = Router::new()
        .route("/connections/{name}", any(root))
        .route("/connections/{name}/", any(root))
        .route("/connections/{name}/{*path}", any(below))
        .with_state(shared);
    loop {
        let Some(listening) = listener.take() else {
            tokio::time::sleep(RETRY).await;
            listener = bind(gateway.address).await;
            continue;
        };
        if let Err(error) = axum::serve(listening, router.clone()).await {
            tracing::error!(%error, "the gateway ended and is started again");
        }
    }
}

async fn root(shared: State<Arc<Shared>>, Path(name): Path<String>, request: Request) -> Response {
    forward(&shared, &name, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn below(
    shared: State<Arc<Shared>>,
    Path((name, _)): Path<(String, String)>,
    request: Request,
) -> Response {
    forward(&shared, &name, request).await.unwrap_or_else(IntoResponse::into_response)
}

/// A refusal in the shape that the clients of models show to people.
struct Refusal(StatusCode, &'static str, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"type": "error", "error": {"type": self.1, "message": self.2}});
        (self.0, Json(body)).into_response()
    }
}

impl Shared {
    fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let bearer =
            headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let named = ["x-api-key", "x-goog-api-key"].map(|name| headers.get(name).map(HeaderValue::as_bytes));
        let mut shown = named.into_iter().chain([bearer]).flatten();
        if shown.any(|token| same(token, self.token.as_bytes())) {
            return Ok(());
        }
        let text = "the gateway's token is needed (Authorization: Bearer $A8S_GATEWAY_TOKEN)";
        Err(Refusal(StatusCode::UNAUTHORIZED, "authentication_error", text.to_owned()))
    }

    fn grant(&self, name: &str) -> Result<Grant, Refusal> {
        let grants = self.grants.borrow();
        grants.connections.iter().find(|grant| grant.name == name).cloned().ok_or_else(|| {
            let text =
                format!("the connection {name:?} was not granted; ask for it with the tool request_access");
            Refusal(StatusCode::NOT_FOUND, "not_found_error", text)
        })
    }
}

/// Whether two texts are the same, in a time that does not tell how far they are.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

async fn forward(shared: &Shared, name: &str, request: Request) -> Result<Response, Refusal> {
    shared.check(request.headers())?;
    let grant = shared.grant(name)?;
    let (parts, body) = request.into_parts();
    // As it was sent: decoding it here and encoding it again would change it.
    let sent = parts.uri.path().strip_prefix("/connections/").and_then(|rest| rest.split_once('/'));
    let path = sent.map_or("", |(_, path)| path);
    let target = Target::of(&grant.kind, &parts.method, path, parts.uri.query())
        .map_err(|error| Refusal(StatusCode::FORBIDDEN, "permission_error", error.to_string()))?;
    let mut headers = target::passed_on(&parts.headers);
    if let Some((name, value)) = target.key {
        headers.insert(name, value);
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // A body that is none must not become a stream: servers refuse that with a GET.
    let has_body = parts.headers.contains_key(header::TRANSFER_ENCODING)
        || parts.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    let mut call = shared.client.request(parts.method, target.url).headers(headers);
    if has_body {
        call = call.body(reqwest::Body::wrap_stream(body.into_data_stream()));
    }
    let answer = call.send().await.map_err(|error| away(name, &error))?;
    let status = answer.status();
    let mut headers = target::passed_on(answer.headers());
    // A redirect would lead elsewhere, without the key.
    headers.remove(header::LOCATION);
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let count = (target.model && status.is_success()).then(|| Count {
        reader: Reader::new(kind.unwrap_or_default()),
        price: target.price,
        used: shared.used.clone(),
    });
    let passing = pass(answer.bytes_stream(), Mask::new(target.secret.as_deref()), count);
    let mut response = Response::new(Body::from_stream(passing));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// What went wrong on the way, without the URL: it may hold more than the agent should know.
fn away(name: &str, error: &reqwest::Error) -> Refusal {
    let why = if error.is_connect() {
        "cannot be reached"
    } else if error.is_timeout() {
        "did not answer in time"
    } else {
        "broke the connection"
    };
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    tracing::warn!(connection = name, %cause, "a call through the gateway failed");
    let text = format!("the server of the connection {name:?} {why} ({cause})");
    Refusal(StatusCode::BAD_GATEWAY, "api_error", text)
}

/// Counts one call when its answer is over, be it that nobody wanted the rest.
struct Count {
    reader: Reader,
    price: Option<(i64, i64)>,
    used: mpsc::UnboundedSender<Usage>,
}

impl Drop for Count {
    fn drop(&mut self) {
        let tokens = self.reader.tokens();
        let usage = Usage {
            requests: 1,
            input_tokens: tokens.input,
            output_tokens: tokens.output,
            cost_micros: count::cost(tokens, self.price),
            active_seconds: 0,
        };
        // The engine ends with the process.
        let _ = self.used.send(usage);
    }
}

fn pass(
    from: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
    mask: Mask,
    count: Option<Count>,
) -> impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static {
    let state = (Box::pin(from), mask, count, false);
    futures::stream::unfold(state, |(mut from, mut mask, mut count, over)| async move {
        if over {
            return None;
        }
        let (piece, over) = match from.next().await {
            Some(Ok(piece)) => {
                if let Some(count) = &mut count {
                    count.reader.push(&piece);
                }
                (Ok(mask.push(piece)), false)
            }
            Some(Err(error)) => (Err(error), true),
            None => (Ok(mask.finish()), true),
        };
        if over {
            // Counted before whoever called knows that it is over.
            drop(count.take());
        }
        Some((piece, (from, mask, count, over)))
    })
    .filter(|piece| futures::future::ready(!matches!(piece, Ok(piece) if piece.is_empty())))
}
