//! `a8s-agent`; see the library for what it does.

use std::path::PathBuf;

use a8s_wire::paths;
use clap::{Parser, ValueEnum};

#[derive(Parser)]
#[command(
    name = "a8s-agent",
    about = "The built-in agent: speaks the Agent Client Protocol on stdio",
    version
)]
struct Arguments {
    /// Which brain answers.
    #[arg(long, env = "A8S_AGENT_BRAIN", default_value = "scripted")]
    brain: Brain,
    /// Home directory: everything the agent makes and remembers is below it.
    #[arg(long, env = "HOME", default_value = paths::HOME)]
    home: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Brain {
    /// Deterministic, without a model.
    Scripted,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { brain: Brain::Scripted, home } = Arguments::parse();
    // Standard output belongs to the protocol.
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    a8s_agent::serve(a8s_agent::Options { home }).await?;
    Ok(())
}
