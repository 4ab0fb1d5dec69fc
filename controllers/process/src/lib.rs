//! What every long-running process of the control plane does the same way: logs, metrics and health, an orderly end. It knows nothing
//! about Kubernetes and nothing about what the process is for.
//!
//! ```no_run
//! # use a8s_process::{HealthArgs, HealthServer, Readiness, Telemetry};
//! # use clap::Parser;
//! #[derive(Parser)]
//! struct Options {
//!     #[command(flatten)]
//!     telemetry: Telemetry,
//!     #[command(flatten)]
//!     health: HealthArgs,
//! }
//! # async fn run() -> Result<(), a8s_process::ProcessError> {
//! let options = Options::parse();
//! let _flush = a8s_process::start(&options.telemetry, env!("CARGO_PKG_NAME"));
//! let stop = a8s_process::shutdown()?;
//! let ready = Readiness::default();
//! let health = HealthServer::bind(&options.health, ready.clone(), Default::default()).await?;
//! let health = tokio::spawn(health.serve(stop.clone()));
//! ready.set(true);
//! stop.cancelled().await;
//! # Ok(())
//! # }
//! ```

mod health;
mod shutdown;
mod telemetry;
mod traces;

pub use health::{HealthArgs, HealthServer, Readiness};
pub use prometheus_client::registry::Registry;
pub use shutdown::shutdown;
pub use telemetry::{LogFormat, Telemetry};
pub use tokio_util::sync::CancellationToken;
pub use traces::{Flush, traced};

/// Version of the suite; all its processes have the same.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The health server's address cannot be used.
    #[error("cannot listen on {address} for health and metrics (choose another --health-addr): {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Signal handlers cannot be installed.
    #[error("cannot wait for SIGTERM: {0}")]
    Signal(std::io::Error),
    /// The health server ended.
    #[error("the health server ended: {0}")]
    Serve(std::io::Error),
}

/// The first thing that a process does: logs and traces as asked for, panics in the log, one TLS provider. What is returned lives as long
/// as the process works.
pub fn start(telemetry: &Telemetry, name: &str) -> Flush {
    telemetry::log_panics();
    // A second installation in one process is the only way this fails, and it would be the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let flush = telemetry.init(name);
    tracing::info!(process = name, version = VERSION, "starting");
    flush
}
