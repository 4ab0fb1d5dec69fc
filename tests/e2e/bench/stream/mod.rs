//! The desktop stream: the VNC proxy beside websockify and beside relays that do nothing but relay, in front of the same synthetic desktops,
//! one after the other; and a real desktop in a real browser. It needs no cluster.

mod api;
mod desktop;
mod filter;
mod loads;
mod photon;
mod programs;
mod relay;
mod subjects;
mod tree;
mod viewer;

use std::path::PathBuf;

use a8s_cluster::Paths;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::table::Report;
use subjects::Stage;

/// What is measured, and how much.
#[derive(Args)]
pub struct Settings {
    /// Only these parts. Default: all.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Seconds of each load.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Samples of each round trip.
    #[arg(long, default_value_t = 3000)]
    samples: usize,
    /// Most viewers of one proxy.
    #[arg(long, default_value_t = 500)]
    most: usize,
    /// Key presses of each kind.
    #[arg(long, default_value_t = 300)]
    presses: usize,
    /// Be the X client that answers keys with colours; given by the bench to itself.
    #[arg(long, hide = true)]
    flip: bool,
    /// Be a plain relay that listens on this port; given by the bench to itself.
    #[arg(long, hide = true, requires = "to")]
    relay: Option<u16>,
    /// Where the relay leads.
    #[arg(long, hide = true)]
    to: Option<u16>,
    /// CA of the desktop, if the relay speaks TLS to it.
    #[arg(long, hide = true, requires = "name")]
    ca: Option<PathBuf>,
    /// Name of the desktop in its certificate.
    #[arg(long, hide = true)]
    name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// CPU with fifty desktops that draw.
    Cpu,
    /// Memory of a viewer that watches a desktop at rest.
    Memory,
    /// From a request to the desktop's first words.
    Upgrade,
    /// There and back.
    Trip,
    /// Bytes a second of one stream.
    Throughput,
    /// Many viewers at once.
    Viewers,
    /// A viewer that does not read.
    Slow,
    /// The filter by itself.
    Filter,
    /// From a key to the pixel that it changes.
    Photon,
}

impl Settings {
    fn wanted(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Whether this process is a subject of the bench and not the bench.
    pub fn is_subject(&self) -> bool {
        self.relay.is_some() || self.flip
    }
}

/// All that is asked for.
pub async fn measure(settings: &Settings, paths: &Paths, report: &mut Report) -> Result<()> {
    if settings.flip {
        return photon::flip::run();
    }
    if let Some(from) = settings.relay {
        let tls = settings.ca.as_deref().zip(settings.name.as_deref());
        return relay::run(from, settings.to.context("a relay leads somewhere")?, tls).await;
    }
    let synthetic = |part: &Part| *part != Part::Photon;
    if settings.only.is_empty() || settings.only.iter().any(synthetic) {
        synthetic_desktops(settings, paths.cache.clone(), report).await?;
    }
    if settings.wanted(Part::Photon) {
        photon::measure(&paths.repo, &paths.cache, settings.presses, report).await?;
    }
    Ok(())
}

async fn synthetic_desktops(settings: &Settings, cache: PathBuf, report: &mut Report) -> Result<()> {
    let stage = Stage::set(cache).await?;
    if settings.wanted(Part::Cpu) {
        loads::cpu(&stage, settings.seconds, report).await?;
    }
    if settings.wanted(Part::Memory) {
        loads::memory(&stage, report).await?;
    }
    if settings.wanted(Part::Upgrade) {
        loads::upgrade(&stage, report).await?;
    }
    if settings.wanted(Part::Trip) {
        loads::trip(&stage, settings.samples, report).await?;
    }
    if settings.wanted(Part::Throughput) {
        loads::throughput(&stage, report).await?;
    }
    if settings.wanted(Part::Viewers) {
        loads::viewers(&stage, settings.most, settings.samples / 3, report).await?;
    }
    if settings.wanted(Part::Slow) {
        loads::slow(&stage, settings.samples, report).await?;
    }
    if settings.wanted(Part::Filter) {
        filter::measure(report)?;
    }
    Ok(())
}
