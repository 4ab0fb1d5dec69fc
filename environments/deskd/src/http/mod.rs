//! The HTTPS side: what people and the control plane may do. Every call but the health check carries a token for this Workspace.

mod auth;
mod rfb;

use std::{net::SocketAddr, path::Path, sync::Arc};

use a8s_wire::{Scope, SetControl};
use anyhow::Context;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
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

use crate::{desk::Desk, http::auth::Refused, lease::LeaseError};

const BODY_LIMIT: usize = 16 * 1024;

/// All routes.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/v1/state", get(state))
        .route("/v1/control", post(control))
        .route("/v1/rfb", get(rfb::upgrade))
        .route("/v1/screenshot", get(screenshot))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(desk)
}

/// Serves until `handle` says stop. The certificate is that of the pod; it does not change while the pod lives.
pub async fn serve(
    desk: Arc<Desk>,
    listen: SocketAddr,
    tls: &Path,
    handle: Handle<SocketAddr>,
) -> anyhow::Result<()> {
    let config = RustlsConfig::from_config(Arc::new(server_config(tls)?));
    let acceptor = RustlsAcceptor::new(config).acceptor(NoDelayAcceptor::new());
    let server = axum_server::bind(listen).acceptor(acceptor).handle(handle);
    server.serve(router(desk).into_make_service()).await.with_context(|| format!("cannot serve on {listen}"))
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
    match desk.not_ready().await {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
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
    match desk.lease.set(wanted).await {
        Ok(state) => Ok(Json(state).into_response()),
        Err(error @ LeaseError::Stale { .. }) => Err(Refused::new(StatusCode::CONFLICT, error.to_string())),
        Err(error @ LeaseError::NoUser) => Err(Refused::new(StatusCode::BAD_REQUEST, error.to_string())),
    }
}

async fn screenshot(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Result<Response, Refused> {
    let claims = auth::check(&desk, &headers, &[Scope::View, Scope::Control])?;
    auth::may_see(&desk, &claims)?;
    let jpeg = desk.screenshot().await;
    let jpeg = jpeg.map_err(|error| Refused::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")], jpeg).into_response())
}
