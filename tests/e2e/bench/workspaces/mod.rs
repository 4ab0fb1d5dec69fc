//! Workspaces, Snapshots and pools: on the real node against bare pods, claims and VolumeSnapshots; on nodes that are objects only in great
//! numbers, beside the figures of the nearest peer.

pub mod audit;
mod fleet;
mod node;
mod peer;
mod processes;
mod rounds;
mod sessions;
mod size;

use a8s_cluster::{Cluster, lifecycle};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::{objects::Objects, table::Report};

/// What is measured, and how much.
#[derive(Args)]
pub struct Settings {
    /// Only these parts. Default: all.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Rounds of each pair on the real node.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Desktops that wait in the pool.
    #[arg(long, default_value_t = 330)]
    pool: usize,
    /// Sessions a second, each rate in turn.
    #[arg(long, value_delimiter = ',', default_values_t = [20, 45])]
    rates: Vec<u32>,
    /// Seconds of each run at a given rate.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Minutes in which a thousand Workspaces shall cause nothing.
    #[arg(long, default_value_t = 10)]
    idle_minutes: u64,
    /// Workspaces for the last figure of the controller's memory.
    #[arg(long, default_value_t = 10_000)]
    most: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The real node.
    Node,
    /// Sessions that take desktops out of a pool: one by one, and many at once.
    Sessions,
    /// The same at given rates, whether or not the last ones are ready yet.
    Rates,
    /// Many Workspaces: memory, and what they cause when nothing happens.
    Size,
}

/// Measures all that is asked for.
pub async fn measure(cluster: &Cluster, settings: &Settings, report: &mut Report) -> Result<()> {
    let wanted = |part| settings.only.is_empty() || settings.only.contains(&part);
    let objects = Objects::of(cluster).await?;
    if wanted(Part::Node) {
        node::measure(&objects, settings.rounds, report).await?;
    }
    let init = lifecycle::running(&cluster.paths).context("the cluster runs")?.init;
    let meter = processes::Meter::new(init.pid, cluster.paths.audit_log());
    if ![Part::Sessions, Part::Rates, Part::Size].into_iter().any(wanted) {
        return Ok(());
    }
    size::memory(&meter, 0, report)?;
    let fleet = fleet::Fleet::make(&objects, cluster, &meter).await?;
    if wanted(Part::Sessions) || wanted(Part::Rates) {
        rounds::fill(&fleet, settings, report).await?;
    }
    if wanted(Part::Sessions) {
        rounds::closed_loops(&fleet, settings, report).await?;
    }
    if wanted(Part::Rates) {
        rounds::open_loops(&fleet, settings, report).await?;
    }
    if wanted(Part::Size) {
        size::measure(&fleet, settings, report).await?;
    }
    Ok(())
}
