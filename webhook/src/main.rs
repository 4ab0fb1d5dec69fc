//! Entry point of the webhook.

use std::{process::ExitCode, sync::Arc, time::Duration};

use a8s_process::{HealthServer, Readiness, Registry};
use a8s_webhook::{
    metrics::Metrics,
    options::Options,
    publish::Publisher,
    server::{self, Webhook},
};
use anyhow::Context;
use axum_server::{Handle, tls_rustls::RustlsConfig};
use clap::Parser;

/// Requests under way may end; the API server waits no longer than ten seconds.
const DRAIN: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let _flush = a8s_process::start(&options.telemetry, "a8s-webhook");
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the webhook stops");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    let stop = a8s_process::shutdown()?;
    let ready = Readiness::default();
    let metrics = Metrics::default();
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let health = HealthServer::bind(&options.health, ready.clone(), Arc::new(registry)).await?;
    let health = tokio::spawn(health.serve(stop.clone()));

    let client = kube::Client::try_default().await.context("cannot find the Kubernetes API")?;
    let publisher = Publisher::new(client.clone(), options.clone());
    let material = tokio::select! {
        material = publisher.first() => material,
        () = stop.cancelled() => return Ok(()),
    };
    let (certificate, key) = material.serving();
    let tls = RustlsConfig::from_pem(certificate, key).await.context("cannot serve the certificate")?;

    let webhook = Webhook { authorizer: client, controller: options.controller(), metrics };
    let handle = Handle::new();
    let server = axum_server::bind_rustls(options.listen, tls.clone())
        .handle(handle.clone())
        .serve(a8s_process::traced(server::router(Arc::new(webhook))).into_make_service());
    let server = tokio::spawn(server);
    handle.listening().await.with_context(|| format!("cannot listen on {}", options.listen))?;
    tracing::info!(address = %options.listen, "serving");

    let ended = stop.clone();
    tokio::spawn(async move {
        ended.cancelled().await;
        handle.graceful_shutdown(Some(DRAIN));
    });
    let keeping = tokio::spawn(async move { publisher.keep(material, tls, ready, stop).await });
    server.await.context("the server panicked")?.context("the server ended")?;
    keeping.await.context("the keeper of the certificate panicked")?;
    health.await.context("the health server panicked")??;
    Ok(())
}
