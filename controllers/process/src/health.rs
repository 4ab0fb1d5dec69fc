//! The HTTP server for the kubelet and Prometheus. It is not for people and shows no object's content.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use clap::Args;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::ProcessError;

/// Command line of the health server.
#[derive(Args, Clone, Debug)]
pub struct HealthArgs {
    /// Address of `/healthz`, `/readyz` and `/metrics`.
    #[arg(long, env = "A8S_HEALTH_ADDR", default_value = "0.0.0.0:9090")]
    pub health_addr: SocketAddr,
}

/// Whether the process can do its work; not ready at first. Clones share one flag.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::SeqCst);
    }

    /// Asks.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Serves `/healthz`, `/readyz` and `/metrics`.
pub struct HealthServer {
    listener: TcpListener,
    router: Router,
}

impl HealthServer {
    /// Takes the address, so that a clash is seen at start.
    pub async fn bind(
        args: &HealthArgs,
        ready: Readiness,
        registry: Arc<Registry>,
    ) -> Result<Self, ProcessError> {
        let address = args.health_addr;
        let listener =
            TcpListener::bind(address).await.map_err(|source| ProcessError::Listen { address, source })?;
        Ok(Self { listener, router: router(ready, registry) })
    }

    /// The address in use; differs from the one asked for if that had port 0.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until `stop`.
    pub async fn serve(self, stop: CancellationToken) -> Result<(), ProcessError> {
        axum::serve(self.listener, self.router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
            .map_err(ProcessError::Serve)
    }
}

fn router(ready: Readiness, registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(ready))
        .route("/metrics", get(metrics).with_state(registry))
}

async fn readyz(State(ready): State<Readiness>) -> (StatusCode, &'static str) {
    if ready.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready yet\n")
    }
}

async fn metrics(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    let mut text = String::new();
    if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &registry) {
        tracing::error!(%error, "metrics cannot be written");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use prometheus_client::metrics::counter::Counter;
    use tower::ServiceExt;

    use super::*;

    async fn get(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 65_536).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_follows_the_flag_and_liveness_does_not() {
        let ready = Readiness::default();
        let router = router(ready.clone(), Arc::default());
        assert_eq!(get(&router, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(get(&router, "/healthz").await.0, StatusCode::OK);
        ready.set(true);
        assert_eq!(get(&router, "/readyz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_show_what_is_registered() {
        let counter = Counter::<u64>::default();
        let mut registry = Registry::default();
        registry.register("a8s_things", "Things done", counter.clone());
        counter.inc_by(7);
        let router = router(Readiness::default(), Arc::new(registry));
        let (status, text) = get(&router, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("a8s_things_total 7"), "{text}");
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let args = HealthArgs { health_addr: taken.local_addr().unwrap() };
        let error = HealthServer::bind(&args, Readiness::default(), Arc::default()).await.err().unwrap();
        assert!(error.to_string().contains(&args.health_addr.to_string()), "{error}");
    }

    #[tokio::test]
    async fn serving_ends_with_the_token() {
        let args = HealthArgs { health_addr: "127.0.0.1:0".parse().unwrap() };
        let server = HealthServer::bind(&args, Readiness::default(), Arc::default()).await.unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        server.serve(stop).await.unwrap();
    }
}
