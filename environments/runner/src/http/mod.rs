//! The HTTPS interface: who may call what, and the translation between HTTP and the engine.

mod auth;
mod events;
mod files;
mod requests;

use std::{sync::Arc, time::Duration};

use a8s_wire::{Interrupt, Interrupted, Prompt, RunnerState, Scope, SessionIdentity};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};

use tokio::time::timeout;

pub use auth::Auth;

use crate::{
    artifacts::Blobs,
    attachments::{self, MAX_ATTACHMENT},
    config::Config,
    flush::{FlushError, Flusher},
    handle::{BindError, Handle, Stopped, StorageError},
    mcp::Desk,
};

/// Largest JSON body: a message has at most 32 KiB, and names.
const MAX_JSON: usize = 256 * 1024;

/// A health check waits this long for what is still starting.
const PATIENCE: Duration = Duration::from_millis(600);

/// What the routes share.
pub struct Shared {
    /// The conversation.
    pub engine: Handle,
    /// Brings everything to the disk.
    pub flusher: Flusher,
    /// Published files.
    pub blobs: Blobs,
    /// Whether the desktop answers.
    pub desk: Desk,
    /// Checks tokens.
    pub auth: Auth,
    /// Whether the volume is full.
    pub full: tokio::sync::watch::Receiver<bool>,
    /// Paths.
    pub config: Config,
}

type App = State<Arc<Shared>>;

/// A refusal: a status and one line that says why.
pub struct Refusal(StatusCode, String);

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self(status, text.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({"error": self.1}))).into_response()
    }
}

impl From<Stopped> for Refusal {
    fn from(error: Stopped) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string())
    }
}

impl From<FlushError> for Refusal {
    fn from(error: FlushError) -> Self {
        match error {
            FlushError::Stopped(error) => error.into(),
            FlushError::Storage(error) => error.into(),
        }
    }
}

impl From<BindError> for Refusal {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Other(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            BindError::Storage(error) => error.into(),
        }
    }
}

impl From<JsonRejection> for Refusal {
    fn from(error: JsonRejection) -> Self {
        Self::new(error.status(), error.body_text())
    }
}

/// All routes.
pub fn router(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/v1/state", get(state))
        .route("/v1/events", get(events::stream))
        .route("/v1/prompt", post(prompt))
        .route("/v1/interrupt", post(interrupt))
        .route("/v1/quiesce", post(quiesce))
        .route("/v1/session", put(session))
        .route("/v1/requests/{id}", post(requests::answer))
        .route("/v1/settings", put(requests::settings))
        .route("/v1/blobs/{sha256}", get(files::blob))
        .route(
            "/v1/attachments/{name}",
            put(files::put_attachment).layer(DefaultBodyLimit::max(MAX_ATTACHMENT)),
        )
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .with_state(Arc::new(shared))
}

async fn health(State(app): App) -> Response {
    // The kubelet's probe carries it to the control plane, which asks a desktop nothing while it is well.
    let full = || (StatusCode::SERVICE_UNAVAILABLE, "the volume is full\n").into_response();
    if *app.full.borrow() {
        return full();
    }
    // A probe that comes a moment too early is then no lost second; the kubelet gives up after one.
    let ready = async { tokio::join!(app.engine.ready(), app.desk.ready()) };
    let missing = match timeout(PATIENCE, ready).await {
        Ok(_) if *app.full.borrow() => return full(),
        Ok(_) => return "ok\n".into_response(),
        Err(_) if app.engine.connected() => "the desktop does not answer\n",
        Err(_) => "the agent is not connected\n",
    };
    (StatusCode::SERVICE_UNAVAILABLE, missing).into_response()
}

async fn state(State(app): App, headers: HeaderMap) -> Result<Response, Refusal> {
    app.auth.check(&headers, &[Scope::Stream, Scope::Admin])?;
    let volume_full = *app.full.borrow();
    Ok(Json(RunnerState { volume_full, ..app.engine.state().await? }).into_response())
}

async fn prompt(
    State(app): App,
    headers: HeaderMap,
    body: Result<Json<Prompt>, JsonRejection>,
) -> Result<Response, Refusal> {
    app.auth.check(&headers, &[Scope::Admin])?;
    let Json(prompt) = body?;
    if prompt.message_id.is_empty() || prompt.message_id.len() > 253 {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "messageId needs 1 to 253 bytes"));
    }
    if let Some(bad) = prompt.attachments.iter().find(|name| !attachments::valid_name(name)) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, format!("{bad:?} is no usable attachment name")));
    }
    let accepted = app.engine.prompt(prompt).await??;
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

async fn interrupt(
    State(app): App,
    headers: HeaderMap,
    body: Result<Json<Interrupt>, JsonRejection>,
) -> Result<Json<Interrupted>, Refusal> {
    app.auth.check(&headers, &[Scope::Admin])?;
    let Json(Interrupt { turn }) = body?;
    Ok(Json(Interrupted { applied: app.engine.interrupt(turn).await? }))
}

async fn quiesce(State(app): App, headers: HeaderMap) -> Result<Response, Refusal> {
    app.auth.check(&headers, &[Scope::Admin])?;
    Ok(Json(app.flusher.flush().await?.state).into_response())
}

async fn session(
    State(app): App,
    headers: HeaderMap,
    body: Result<Json<SessionIdentity>, JsonRejection>,
) -> Result<Json<SessionIdentity>, Refusal> {
    app.auth.check(&headers, &[Scope::Admin])?;
    let Json(session) = body?;
    if session.session.is_empty() || session.session.len() > 253 {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "a Session's name has 1 to 253 bytes"));
    }
    Ok(Json(app.engine.bind(session).await??))
}
