//! The HTTP surface: tickets and streams for the console, metrics and health for the cluster.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    access::{Access, AccessError, Mode},
    limits::Limits,
    metrics::{Metrics, Outcome},
    options::Timing,
    origin::Origins,
    rates::Rates,
    stream,
    ticket::{Grant, LIFETIME, Tickets},
    upstream::Upstream,
};

const BODY_LIMIT: usize = 4096;

/// Everything that requests share.
pub struct Proxy {
    /// Questions to the API server.
    pub access: Access,
    /// Open tickets.
    pub tickets: Tickets,
    /// Which pages may connect.
    pub origins: Origins,
    /// Connections to desktops.
    pub upstream: Upstream,
    /// Open streams.
    pub limits: Limits,
    /// Streams that are opened.
    pub rates: Rates,
    /// Numbers.
    pub metrics: Metrics,
    /// Best quality of the picture for those who may only watch, 0 to 9; none: what they ask for.
    pub view_quality: Option<u8>,
    /// Time limits.
    pub timing: Timing,
    /// Cancelled when the proxy stops.
    pub stop: CancellationToken,
    /// Running streams.
    pub streams: TaskTracker,
    /// False once the proxy stops, so that no new streams are sent to it.
    pub ready: AtomicBool,
}

/// Routes for the console.
pub fn router(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/vnc/ticket", post(ticket))
        .route("/vnc/stream", get(stream::upgrade))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(proxy)
}

/// Routes for the cluster.
pub fn operations(proxy: Arc<Proxy>) -> Router {
    Router::new().route("/healthz", get(healthz)).route("/metrics", get(metrics)).with_state(proxy)
}

async fn healthz(State(proxy): State<Arc<Proxy>>) -> Response {
    if proxy.ready.load(Ordering::SeqCst) {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
    }
}

async fn metrics(State(proxy): State<Arc<Proxy>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], proxy.metrics.encode()).into_response()
}

#[derive(Deserialize)]
struct TicketRequest {
    namespace: String,
    workspace: String,
    mode: Mode,
}

struct Refusal(StatusCode, &'static str, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1, "message": self.2}))).into_response()
    }
}

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        let (status, code) = match &error {
            AccessError::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            AccessError::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden"),
            AccessError::NotFound(..) => (StatusCode::NOT_FOUND, "not_found"),
            AccessError::NotRunning(..) => (StatusCode::CONFLICT, "not_running"),
            AccessError::Api(cause) => {
                tracing::warn!(error = %cause, "cannot check access");
                let text = "the Kubernetes API did not answer; try again".into();
                return Self(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text);
            }
        };
        Self(status, code, error.to_string())
    }
}

async fn ticket(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: axum::body::Bytes) -> Response {
    let (result, response) = match issue(&proxy, &headers, &body).await {
        Ok(ticket) => {
            let body = json!({"ticket": ticket, "expiresIn": LIFETIME.as_secs()});
            ("ok", ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
        }
        Err(refusal) => (refusal.1, refusal.into_response()),
    };
    proxy.metrics.tickets.get_or_create(&Outcome { result }).inc();
    response
}

async fn issue(proxy: &Proxy, headers: &HeaderMap, body: &[u8]) -> Result<String, Refusal> {
    let Some(origin) = proxy.origins.check(headers) else {
        let text = "this page may not open desktops; the proxy's --allowed-origin does not name it".into();
        return Err(Refusal(StatusCode::FORBIDDEN, "origin", text));
    };
    let bad = |text: String| Refusal(StatusCode::BAD_REQUEST, "bad_request", text);
    let request: TicketRequest = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    // Both become part of a URL of the API server.
    for name in [&request.namespace, &request.workspace] {
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if name.is_empty() || name.len() > 253 || !name.chars().all(valid) {
            return Err(bad(format!("{name:?} is no Kubernetes name")));
        }
    }
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).filter(|token| !token.is_empty());
    let person = proxy.access.authenticate(token.ok_or(AccessError::Unauthenticated)?).await?;
    proxy.access.authorize(&person, &request.namespace, &request.workspace, request.mode).await?;
    let target = proxy.access.find(&request.namespace, &request.workspace).await?;
    let grant = Grant { person, target, mode: request.mode, origin: origin.to_owned() };
    proxy.tickets.issue(grant, Instant::now()).ok_or_else(|| {
        let text = "there are too many unused tickets; wait a few seconds".into();
        Refusal(StatusCode::TOO_MANY_REQUESTS, "too_many", text)
    })
}
