//! Entry point of the VNC proxy.

use std::{
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use a8s_vnc_proxy::{
    access::Access,
    limits::Limits,
    metrics::Metrics,
    options::{Options, Timing},
    origin::Origins,
    rates::Rates,
    serve,
    server::{self, Proxy},
    stream,
    ticket::Tickets,
    upstream::Upstream,
};
use anyhow::Context;
use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let log_level = std::env::var("A8S_LOG").unwrap_or_else(|_| "info".to_owned());
    let telemetry = a8s_process::Telemetry { log_format: a8s_process::LogFormat::Json, log_level };
    let _flush = a8s_process::start(&telemetry, env!("CARGO_PKG_NAME"));
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the proxy stops");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    anyhow::ensure!(
        options.same_host || !options.allowed_origins.is_empty(),
        "no page could connect: give --allowed-origin or --same-host"
    );
    let client = kube::Client::try_default().await.context("cannot find the Kubernetes API")?;
    let proxy = Arc::new(Proxy {
        access: Access::new(client),
        tickets: Tickets::default(),
        origins: Origins { allowed: options.allowed_origins, same_host: options.same_host },
        upstream: Upstream::load(&options.ca, &options.signing_key, options.deskd_port)?,
        limits: Limits::new(options.max_per_desktop, options.max_per_user),
        view_quality: Some(options.view_quality).filter(|level| *level < 9),
        rates: Rates::new(options.upgrades_per_second),
        metrics: Metrics::default(),
        timing: Timing::default(),
        stop: CancellationToken::new(),
        streams: TaskTracker::new(),
        ready: AtomicBool::new(true),
    });
    let listener = bind(options.listen).await?;
    let operations = bind(options.metrics_listen).await?;
    tracing::info!(address = %options.listen, "serving");
    let router = a8s_process::traced(server::router(proxy.clone()));
    let serve = serve::serve(listener, router, proxy.clone());
    let stopping = proxy.clone();
    tokio::spawn(async move {
        terminated().await;
        tracing::info!(streams = stopping.streams.len(), "stopping");
        stopping.ready.store(false, Ordering::SeqCst);
        stopping.stop.cancel();
    });
    let operations = axum::serve(operations, server::operations(proxy.clone())).into_future();
    tokio::select! {
        () = serve => {}
        done = operations => done.context("the metrics server ended")?,
    }
    proxy.streams.close();
    let limit = proxy.timing.drain + proxy.timing.connect + stream::GOODBYE + Duration::from_secs(1);
    if tokio::time::timeout(limit, proxy.streams.wait()).await.is_err() {
        tracing::warn!(streams = proxy.streams.len(), "some streams did not end in time");
    }
    Ok(())
}

async fn bind(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Resolves on SIGTERM or SIGINT.
async fn terminated() {
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match (terminate, interrupt) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        // Without handlers the signals end the process anyway.
        _ => std::future::pending().await,
    }
}
