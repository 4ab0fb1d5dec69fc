//! `a8s-runner`; see the library for what it does.

use std::process::ExitCode;

use a8s_runner::{
    config::{Cli, Command},
    control,
};
use a8s_wire::paths;
use clap::{CommandFactory, Parser, error::ErrorKind};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Quiesce { state }) = cli.command {
        return match control::ask(&state.join(paths::CONTROL_SOCKET)) {
            Ok(line) => {
                println!("{line}");
                ExitCode::SUCCESS
            }
            Err(line) => {
                eprintln!("{line}");
                ExitCode::FAILURE
            }
        };
    }
    let Some(config) = cli.config else {
        Cli::command().error(ErrorKind::MissingRequiredArgument, "--workspace-uid is needed").exit();
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,rmcp=warn"));
    tracing_subscriber::registry().with(filter).with(fmt::layer().json().with_writer(std::io::stderr)).init();
    // Only fails if a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(a8s_runner::run(config)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the runner stops");
            ExitCode::FAILURE
        }
    }
}
