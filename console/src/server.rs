//! All routes, and what they share.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{StatusCode, Uri},
    middleware,
    routing::{get, post},
};
use object_store::ObjectStore;
use tokio_util::sync::CancellationToken;

use crate::{
    clients::Clients, errors::Refusal, guard, guard::Origins, login, page, relay::Runners, seal::Sealer,
    sessions, vnc,
};

/// Bodies are goals and messages with small attachments.
const BODY_LIMIT: usize = 1024 * 1024;

/// What requests share.
pub struct Console {
    /// Clients of the API server.
    pub clients: Clients,
    /// Seals cookies.
    pub sealer: Sealer,
    /// The page's own origins.
    pub origins: Origins,
    /// Where artifacts are kept.
    pub store: Arc<dyn ObjectStore>,
    /// The way to runners.
    pub runners: Runners,
    /// The VNC proxy.
    pub vnc_proxy: Uri,
    /// Whether people can only look.
    pub read_only: bool,
    /// Cancelled when the process ends, so that streams do.
    pub stop: CancellationToken,
}

/// Everything the console serves.
pub fn router(console: Arc<Console>) -> Router {
    Router::new()
        .route("/api/login", post(login::login))
        .route("/api/logout", post(login::logout))
        .route("/api/session", get(login::session))
        .nest("/api/namespaces", sessions::routes())
        .route("/vnc/ticket", post(vnc::ticket))
        .route("/vnc/stream", get(vnc::stream))
        .fallback_service(get(page::serve))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "this call has another method")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(console.clone(), guard::check))
        .with_state(console)
}
