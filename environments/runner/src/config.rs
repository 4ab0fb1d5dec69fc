//! What the runner is started with. Everything has the pod's default; tests point it at a temporary directory.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use a8s_wire::paths;
use clap::{Args, Parser, Subcommand};

/// Command line of the runner.
#[derive(Clone, Debug, Parser)]
#[command(name = "a8s-runner", about = "Runs an agent's conversation in a workspace pod", version)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Cli {
    /// What to do instead of running a conversation.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run a conversation.
    #[command(flatten)]
    pub config: Option<Config>,
}

/// What the program does beside running.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Ask the running runner to bring conversation and files to the disk. For hooks of backup tools.
    Quiesce {
        /// The running runner's own directory.
        #[arg(long, default_value = paths::STATE)]
        state: PathBuf,
    },
}

/// Settings and environment of a running runner.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Address to serve HTTPS on.
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], paths::RUNNER_PORT)))]
    pub listen: SocketAddr,
    /// Directory with `tls.crt`, `tls.key` and `tokens.pub`.
    #[arg(long, default_value = paths::TLS)]
    pub tls: PathBuf,
    /// Own directory: transcript and blobs.
    #[arg(long, default_value = paths::STATE)]
    pub state: PathBuf,
    /// Home directory of the agent.
    #[arg(long, default_value = paths::HOME)]
    pub home: PathBuf,
    /// Socket of the shim.
    #[arg(long, default_value = paths::AGENT_SOCKET)]
    pub agent_socket: PathBuf,
    /// Socket to offer the aggregated MCP server on.
    #[arg(long, default_value = paths::MCP_SOCKET)]
    pub mcp_socket: PathBuf,
    /// Socket of deskd's MCP server.
    #[arg(long, default_value = paths::DESKD_SOCKET)]
    pub deskd_socket: PathBuf,
    /// Command that the harness runs as its stdio MCP server.
    #[arg(long, default_value = "/usr/libexec/a8s/shim")]
    pub mcp_command: PathBuf,
    /// UID of the Workspace: access tokens for another one are refused.
    #[arg(long, env = paths::env::WORKSPACE_UID)]
    pub workspace_uid: String,
    /// Name of the Session that the pod was made for; empty while it waits in a pool.
    #[arg(long, env = paths::env::SESSION, default_value = "")]
    pub session: String,
    /// Name of what the volume was made from; empty if it began empty.
    #[arg(long, env = paths::env::RESTORED_FROM, default_value = "")]
    pub restored_from: String,
    /// Conversation epoch.
    #[arg(long, env = paths::env::EPOCH, default_value_t = 0)]
    pub epoch: i64,
    /// What the Workspace was granted; the file may come and go.
    #[arg(long, default_value = paths::GRANTS)]
    pub grants: PathBuf,
    /// Where secrets are put that the agent may see.
    #[arg(long, default_value = paths::SECRETS)]
    pub secrets: PathBuf,
    /// Address of the credential gateway.
    #[arg(long, default_value_t = SocketAddr::from(([127, 0, 0, 1], paths::GATEWAY_PORT)))]
    pub gateway: SocketAddr,
    /// Seconds that a tool of the agent waits for a person before it says that the answer will come later.
    #[arg(long, default_value_t = 50.0)]
    pub ask_patience: f64,
    /// Largest file that may be published, in MiB.
    #[arg(long, default_value_t = 512)]
    pub max_artifact_mib: u64,
    /// Seconds that a harness has to obey an interrupt before its connection is cut.
    #[arg(long, default_value_t = 5.0)]
    pub cancel_grace: f64,
}

impl Config {
    /// [`Self::cancel_grace`] as a duration.
    pub fn cancel_grace(&self) -> Duration {
        Duration::try_from_secs_f64(self.cancel_grace).unwrap_or(Duration::from_secs(5))
    }

    /// [`Self::ask_patience`] as a duration. MCP clients give up after a minute.
    pub fn ask_patience(&self) -> Duration {
        Duration::try_from_secs_f64(self.ask_patience).unwrap_or(Duration::from_secs(50))
    }
}
