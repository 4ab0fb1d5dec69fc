//! What a8s costs over bare Kubernetes and beside its nearest peer, measured on a cluster of its own and printed as a table. It says whether
//! the targets are met and fails on none: a figure depends on the machine. Build it with `--release`, since it shares the cores with what
//! it measures.

mod conversation;
mod objects;
mod stream;
mod table;
mod up;
mod workspaces;

use std::path::PathBuf;

use a8s_cluster::{Cluster, Options, Paths};
use anyhow::Result;
use clap::{Parser, Subcommand};

use table::Report;

#[derive(Parser)]
#[command(about = "Measures a8s")]
struct Cli {
    /// Cluster that is made for it, and removed afterwards.
    #[arg(long, env = "A8S_CLUSTER_NAME", default_value = "bench", global = true)]
    cluster: String,
    /// Take the cluster as it runs, and leave it.
    #[arg(long, global = true)]
    attach: bool,
    /// Leave the cluster.
    #[arg(long, global = true)]
    keep: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// `make up` with everything built.
    Up,
    /// Workspaces, Snapshots, pools.
    Workspaces(workspaces::Settings),
    /// Messages, words, Stop, taking over, and what a turn costs.
    Conversation(conversation::Settings),
    /// The desktop stream: CPU, memory, round trips, many viewers. Needs no cluster.
    Stream(stream::Settings),
}

fn main() -> Result<()> {
    // Only fails if a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let tool = std::env::var_os("A8S_CLUSTER_BIN").map(PathBuf::from);
    let options = Options { product: true, tool, measured: true, ..Options::default() };
    let mut report = Report::default();
    match &cli.what {
        What::Up => up::measure(&cli.cluster, &options, &mut report)?,
        What::Stream(settings) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let paths = Paths::from_env(&cli.cluster)?;
            let result = runtime.block_on(stream::measure(settings, &paths, &mut report));
            if settings.is_subject() {
                return result;
            }
            if let Err(error) = &result {
                report.note(format!("It ended early: {error:#}"));
            }
            report.print();
            return result;
        }
        What::Conversation(settings) => {
            let result = conversation(&cli, settings, &options, &mut report);
            if let Err(error) = &result {
                report.note(format!("It ended early: {error:#}"));
            }
            report.print();
            return result;
        }
        What::Workspaces(settings) => {
            let cluster = if cli.attach {
                Cluster::attach(Paths::from_env(&cli.cluster)?)?
            } else {
                Cluster::up(&cli.cluster, &options)?
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let result = runtime.block_on(workspaces::measure(&cluster, settings, &mut report));
            if !cli.keep && !cli.attach {
                cluster.down()?;
            }
            if let Err(error) = &result {
                report.note(format!("It ended early: {error:#}"));
            }
            report.print();
            return result;
        }
    }
    report.print();
    Ok(())
}

/// In two processes: pods are reached from within the cluster's network only.
fn conversation(
    cli: &Cli,
    settings: &conversation::Settings,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let paths = Paths::from_env(&cli.cluster)?;
    if settings.is_inside() {
        return runtime()?.block_on(conversation::measure(&Cluster::attach(paths)?, settings, report));
    }
    if settings.needs_cluster() {
        let cluster =
            if cli.attach { Cluster::attach(paths.clone())? } else { Cluster::up(&cli.cluster, options)? };
        let result = conversation::go_inside(&cluster, settings);
        if !cli.keep && !cli.attach {
            cluster.down()?;
        }
        result?;
    }
    runtime()?.block_on(conversation::alone(&paths, settings, report))
}
