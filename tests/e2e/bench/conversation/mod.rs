//! The conversation: from a person's Message to the agent, from the agent's words to a person, from Stop and from taking over to the last
//! thing that the agent does, each beside the same hop without a8s; what a turn costs the API server and etcd; and fifty agents at work.

mod bare;
mod fifty;
mod hops;
mod sse;
mod stops;
mod talk;
mod writes;

use std::process::Command;

use a8s_cluster::{Cluster, lifecycle};
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::table::{Figures, Report, Row, raw};

/// What is measured, and how much.
#[derive(Args)]
pub struct Settings {
    /// Only these parts. Default: all.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Samples of each hop.
    #[arg(long, default_value_t = 60)]
    samples: usize,
    /// Minutes in which fifty agents work.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Already in the cluster's network; given by the bench to itself.
    #[arg(long, hide = true)]
    inside: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A Message to the agent, and its words back.
    Hops,
    /// Stop, and taking over, to the last input.
    Stops,
    /// API writes and etcd's bytes of a turn.
    Writes,
    /// Fifty agents at work for some minutes, on an API server of their own.
    Fifty,
}

impl Settings {
    fn wanted(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Whether a cluster is needed.
    pub fn needs_cluster(&self) -> bool {
        [Part::Hops, Part::Stops, Part::Writes].into_iter().any(|part| self.wanted(part))
    }

    /// Whether this process can reach the pods.
    pub fn is_inside(&self) -> bool {
        self.inside
    }
}

/// Runs this program once more in the cluster's network, where pods can be reached without anything in between.
pub fn go_inside(cluster: &Cluster, settings: &Settings) -> Result<()> {
    let init = lifecycle::running(&cluster.paths).context("the cluster runs")?.init;
    let parts = [Part::Hops, Part::Stops, Part::Writes].into_iter().filter(|part| settings.wanted(*part));
    let parts: Vec<String> =
        parts.filter_map(|part| Some(part.to_possible_value()?.get_name().to_owned())).collect();
    let done = Command::new("nsenter")
        .args(["--target", &init.pid.to_string(), "--net", "--"])
        .arg(std::env::current_exe()?)
        .args(["--cluster", &cluster.paths.name, "--attach", "conversation", "--inside"])
        .args(["--only", &parts.join(","), "--samples", &settings.samples.to_string()])
        .status()
        .context("starting nsenter")?;
    ensure!(done.success(), "the bench in the cluster's network failed");
    Ok(())
}

/// All that is asked for and needs a cluster. Each part has a Session of its own: what is said in one is looked through in the next hop, and
/// goes after 200 Messages.
pub async fn measure(cluster: &Cluster, settings: &Settings, report: &mut Report) -> Result<()> {
    if settings.wanted(Part::Hops) {
        let talk = talk::Talk::begin(cluster, "hops").await?;
        hops::measure(cluster, &talk, settings.samples, report).await?;
        talk.end().await?;
    }
    if settings.wanted(Part::Stops) {
        let talk = talk::Talk::begin(cluster, "stops").await?;
        stops::measure(&talk, settings.samples, report).await?;
        talk.end().await?;
    }
    if settings.wanted(Part::Writes) {
        let talk = talk::Talk::begin(cluster, "writes").await?;
        writes::measure(cluster, &talk, report).await?;
        talk.end().await?;
    }
    Ok(())
}

/// What needs no cluster.
pub async fn alone(cluster: &a8s_cluster::Paths, settings: &Settings, report: &mut Report) -> Result<()> {
    if settings.wanted(Part::Fifty) {
        fifty::measure(cluster, settings.minutes, report).await?;
    }
    Ok(())
}

/// Two rows, the half and the 99th of a hundred, beside the same hop without a8s.
fn rows(
    what: &str,
    ours: &[f64],
    other: (&'static str, &[f64]),
    targets: [Option<f64>; 2],
    report: &mut Report,
) {
    let (figures, bare) = (Figures::from(ours.to_vec()), Figures::from(other.1.to_vec()));
    for (percentile, target) in [50, 99].into_iter().zip(targets) {
        let row = Row::new(format!("{what}, p{percentile}"), figures.percentile(percentile), "ms")
            .beside(other.0, bare.percentile(percentile));
        report.row(match target {
            Some(most) => row.target(most),
            None => row,
        });
    }
    report.note(format!("{what}, ms: {}  \n{}, ms: {}", raw(ours), other.0, raw(other.1)));
}
