//! `shim serve` and `shim mcp`; see the library for what they do.

use std::{path::PathBuf, time::Duration};

use a8s_shim::{ServeOptions, bridge, serve};
use a8s_wire::paths;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "shim", about = "Carries a harness's standard input and output over unix sockets", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the harness for each connection and carry its standard input and output.
    Serve {
        /// Socket to listen on.
        #[arg(long, env = "A8S_AGENT_SOCKET", default_value = paths::AGENT_SOCKET)]
        socket: PathBuf,
        /// Working directory and HOME of the harness.
        #[arg(long, default_value = paths::HOME)]
        directory: PathBuf,
        /// Seconds between SIGTERM and SIGKILL.
        #[arg(long, default_value_t = 5.0)]
        grace: f64,
        /// The harness and its arguments.
        #[arg(last = true, required = true)]
        harness: Vec<String>,
    },
    /// Be a stdio MCP server: carry standard input and output to the runner's MCP socket.
    Mcp {
        /// Socket to connect to.
        #[arg(long, env = "A8S_MCP_SOCKET", default_value = paths::MCP_SOCKET)]
        socket: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Serve { socket, directory, grace, harness } => {
                let grace = Duration::try_from_secs_f64(grace)?;
                let workspace = std::env::var(paths::env::WORKSPACE_UID).ok().filter(|uid| !uid.is_empty());
                let machine = workspace.map(|uid| (paths::MACHINE_ID.into(), uid));
                serve(ServeOptions { socket, command: harness, directory, machine, grace }).await?;
            }
            Command::Mcp { socket } => bridge(&socket).await?,
        }
        anyhow::Ok(())
    });
    // Reading standard input happens on a thread that cannot be interrupted; leaving must not wait for it.
    runtime.shutdown_background();
    result
}
