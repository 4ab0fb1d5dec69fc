//! `a8s-console`: serves the page and its API.

use std::{future::IntoFuture, path::Path, sync::Arc};

use a8s_console::{
    Console, clients::Clients, guard::Origins, options::Options, relay::Runners, router, seal::Sealer,
};
use a8s_process::{HealthServer, Readiness};
use anyhow::Context;
use axum::serve::ListenerExt;
use clap::Parser;
use object_store::{ObjectStore, local::LocalFileSystem};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let _flush = a8s_process::start(&options.telemetry, env!("CARGO_PKG_NAME"));
    let stop = a8s_process::shutdown()?;
    let ready = Readiness::default();
    let health = HealthServer::bind(&options.health, ready.clone(), Arc::default()).await?;
    let health = tokio::spawn(health.serve(stop.clone()));
    let config = kube::Config::infer().await.context("cannot find the Kubernetes API")?;
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let key = String::from_utf8(read(&options.signing_key)?).context("the signing key is no PEM")?;
    let console = Arc::new(Console {
        clients: Clients::new(config),
        sealer: Sealer::random().ok().context("cannot make a key for cookies")?,
        origins: Origins(options.public_urls),
        store: store(&options.store_url)?,
        runners: Runners::new(&key, &read(&options.ca)?).context("cannot use the signing key or the CA")?,
        vnc_proxy: options.vnc_proxy_url,
        read_only: options.read_only,
        stop: stop.clone(),
    });
    let listener = TcpListener::bind(options.addr).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", options.addr))?.tap_io(|stream| {
        // A person's input must not wait for more of it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    ready.set(true);
    tracing::info!(address = %options.addr, read_only = options.read_only, "serving");
    axum::serve(listener, a8s_process::traced(router(console)))
        .with_graceful_shutdown(stop.cancelled_owned())
        .into_future()
        .await?;
    health.await??;
    Ok(())
}

fn store(url: &str) -> anyhow::Result<Arc<dyn ObjectStore>> {
    let path = url
        .strip_prefix("file://")
        .with_context(|| format!("--store-url {url}: only file:///path is known"))?;
    let store = LocalFileSystem::new_with_prefix(path);
    Ok(Arc::new(store.with_context(|| format!("cannot use the artifact store {url}"))?))
}
