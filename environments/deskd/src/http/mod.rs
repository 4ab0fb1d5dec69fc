//! The HTTPS side: what people and the control plane may do. Every call but the health check carries a token for this Workspace.

mod auth;
mod rfb;

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use a8s_wire::{Scope, SetControl};
use anyhow::Context;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use axum_server::{
    Handle,
    accept::NoDelayAcceptor,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::time::Instant;

use crate::{desk::Desk, http::auth::Refused, lease::LeaseError};

/// A health check waits this long for a desktop that is still starting: a probe that comes a moment too early is then no lost second.
/// The kubelet gives up after a second.
const PATIENCE: Duration = Duration::from_millis(600);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Nothing is seen in less.
const LEAST_WIDTH: u16 = 32;
const BODY_LIMIT: usize = 16 * 1024;

/// All routes.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/v1/state", get(state))
        .route("/v1/control", post(control))
        .route("/v1/flush", post(flush))
        .route("/v1/rfb", get(rfb::upgrade))
        .route("/v1/screenshot", get(screenshot))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(desk)
}

/// Binds the address. Connections wait until [`serve`] is called.
pub fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true).context("cannot use the listener")?;
    Ok(listener)
}

/// Serves until `handle` says stop. The certificate is that of the pod; it does not change while the pod lives.
pub async fn serve(
    desk: Arc<Desk>,
    listener: TcpListener,
    tls: &Path,
    handle: Handle<SocketAddr>,
) -> anyhow::Result<()> {
    let config = RustlsConfig::from_config(Arc::new(server_config(tls)?));
    let acceptor = RustlsAcceptor::new(config).acceptor(NoDelayAcceptor::new());
    let server = axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle);
    server.serve(router(desk).into_make_service()).await.context("cannot serve")
}

fn server_config(tls: &Path) -> anyhow::Result<rustls::ServerConfig> {
    let (certificate, key) = (tls.join("tls.crt"), tls.join("tls.key"));
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificate {}", certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(&key)
        .with_context(|| format!("cannot read the key {}", key.display()))?;
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    // HTTP/2 has no Upgrade, and RFB needs one.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn healthz(State(desk): State<Arc<Desk>>) -> Response {
    let until = Instant::now() + PATIENCE;
    loop {
        let reason = tokio::time::timeout_at(until, desk.not_ready()).await;
        match reason.unwrap_or_else(|_| Some("the display does not answer".into())) {
            None => return "ok\n".into_response(),
            Some(_) if Instant::now() < until => tokio::time::sleep(LOOK_AGAIN).await,
            Some(reason) => {
                return (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response();
            }
        }
    }
}

/// Brings what programs wrote to the disk. The kernel does it for the whole volume, so this covers the runner's part too.
async fn flush(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Result<Response, Refused> {
    auth::check(&desk, &headers, &[Scope::Admin])?;
    let home = desk.options.home.clone();
    let flushed = tokio::task::spawn_blocking(move || {
        nix::unistd::syncfs(std::fs::File::open(home)?).map_err(std::io::Error::from)
    });
    let failed = |error: String| {
        Refused::new(
            StatusCode::INSUFFICIENT_STORAGE,
            format!("the home cannot be brought to the disk: {error}"),
        )
    };
    flushed.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn state(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Result<Response, Refused> {
    auth::check(&desk, &headers, &[Scope::View, Scope::Control, Scope::Admin])?;
    Ok(Json(desk.state().await).into_response())
}

async fn control(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Result<Response, Refused> {
    auth::check(&desk, &headers, &[Scope::Admin])?;
    let wanted: SetControl = serde_json::from_slice(&body)
        .map_err(|error| Refused::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    match desk.set_control(wanted).await {
        Ok(state) => Ok(Json(state).into_response()),
        Err(error @ LeaseError::Stale { .. }) => Err(Refused::new(StatusCode::CONFLICT, error.to_string())),
        Err(error @ LeaseError::NoUser) => Err(Refused::new(StatusCode::BAD_REQUEST, error.to_string())),
    }
}

/// What is wanted of a screenshot.
#[derive(Debug, serde::Deserialize)]
struct Wanted {
    /// Most pixels in a row, for a thumbnail.
    width: Option<u16>,
}

async fn screenshot(
    State(desk): State<Arc<Desk>>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let claims = auth::check(&desk, &headers, &[Scope::View, Scope::Control])?;
    auth::may_see(&desk, &claims)?;
    let jpeg = match wanted.width {
        Some(width) => desk.thumbnail(width.max(LEAST_WIDTH)).await,
        None => desk.screenshot().await,
    };
    // The desktop may have become private while the picture was made.
    auth::may_see(&desk, &claims)?;
    let jpeg = jpeg.map_err(|error| Refused::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")], jpeg).into_response())
}
