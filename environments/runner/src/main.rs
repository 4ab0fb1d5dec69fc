//! `a8s-runner`; see the library for what it does.

use a8s_runner::config::Config;
use clap::Parser;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,rmcp=warn"));
    tracing_subscriber::registry().with(filter).with(fmt::layer().json().with_writer(std::io::stderr)).init();
    // Only fails if a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    a8s_runner::run(config).await
}
