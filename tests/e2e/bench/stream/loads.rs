//! The loads, each put on all subjects in turn.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use super::{
    desktop::Draw,
    subjects::{DESKTOPS, Stage, Subject, What},
    viewer::Viewer,
};
use crate::table::{Figures, Report, Row, short};

const ALL: [What; 4] = [What::Ours, What::Websockify, What::Relay, What::RelayTls];
/// 20 kB thirty times a second: a page that scrolls.
const PICTURES: Draw = Draw::Paced { hundreds: 200, rate: 30 };

fn name(what: What) -> &'static str {
    match what {
        What::Direct => "nothing between",
        What::Ours => "a8s",
        What::Websockify => "websockify",
        What::Relay => "plain relay",
        What::RelayTls => "relay with TLS",
    }
}

/// Viewers that read whatever comes, in tasks of their own.
fn watched(viewers: Vec<Viewer>) -> JoinSet<Result<()>> {
    let mut tasks = JoinSet::new();
    for mut viewer in viewers {
        tasks.spawn(async move { viewer.watch().await });
    }
    tasks
}

async fn drawing(subject: &Subject<'_>, many: usize, draw: Draw) -> Result<JoinSet<Result<()>>> {
    let mut viewers = subject.open_many(many).await?;
    for viewer in &mut viewers {
        viewer.ask(draw).await?;
    }
    Ok(watched(viewers))
}

/// A row for each of the others beside ours, with what ours is to stay within for each.
fn beside(
    what: &str,
    unit: &'static str,
    figures: &[(What, f64)],
    share: impl Fn(What) -> Option<f64>,
    report: &mut Report,
) {
    let ours = figures.iter().find(|(what, _)| *what == What::Ours).map_or(f64::NAN, |(_, figure)| *figure);
    for (other, figure) in figures.iter().filter(|(other, _)| *other != What::Ours) {
        let row = Row::new(what, ours, unit).beside(name(*other), *figure);
        report.row(match share(*other) {
            Some(share) => row.target(figure * share),
            None => row,
        });
    }
}

/// CPU of one core at fifty desktops, thirty pictures a second, 20 kB each.
pub async fn cpu(stage: &Stage, seconds: u64, report: &mut Report) -> Result<()> {
    const ROUNDS: usize = 3;
    let mut all: Vec<(What, Vec<f64>)> = ALL.iter().map(|what| (*what, Vec::new())).collect();
    for _ in 0..ROUNDS {
        for (what, figures) in &mut all {
            let subject = stage.start(*what).await?;
            let tasks = drawing(&subject, DESKTOPS, PICTURES).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (before, began) = (subject.cpu(), Instant::now());
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            figures.push((subject.cpu() - before) / began.elapsed().as_secs_f64() * 100.0);
            anyhow::ensure!(tasks.len() == DESKTOPS, "a stream ended");
        }
    }
    let medians: Vec<(What, f64)> =
        all.iter().map(|(what, figures)| (*what, Figures::from(figures.clone()).median())).collect();
    let share = |what| match what {
        What::Websockify => Some(1.0 / 3.0),
        What::Relay | What::RelayTls => Some(1.3),
        _ => None,
    };
    beside("CPU, 50 desktops × 30/s × 20 kB", "% of a core", &medians, share, report);
    for (what, figures) in &all {
        let figures: Vec<String> = figures.iter().map(|figure| short(*figure)).collect();
        report.note(format!("CPU of {}, %: {}", name(*what), figures.join(" ")));
    }
    Ok(())
}

/// Memory that each of a hundred viewers adds who have seen a picture of a megabyte and now watch a desktop at rest.
pub async fn memory(stage: &Stage, report: &mut Report) -> Result<()> {
    const VIEWERS: u16 = 100;
    let mut figures = Vec::new();
    for what in ALL {
        let subject = stage.start(what).await?;
        // What the first streams make it allocate once for all.
        drop(subject.open_many(3).await?);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = subject.memory();
        let mut viewers = subject.open_many(VIEWERS.into()).await?;
        for viewer in &mut viewers {
            viewer.ask(Draw::Flood { mib: 1 }).await?;
            viewer.take(1 << 20).await?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        figures.push((what, (subject.memory() - before) / f64::from(VIEWERS)));
    }
    let ours = figures[0].1;
    report.row(
        Row::new("memory of an idle viewer", ours, "KiB")
            .beside(name(What::Websockify), figures[1].1)
            .target(32.0),
    );
    beside("memory of an idle viewer", "KiB", &[figures[0], figures[2], figures[3]], |_| None, report);
    Ok(())
}

/// From the request for a stream until the desktop's first words.
pub async fn upgrade(stage: &Stage, report: &mut Report) -> Result<()> {
    const TIMES: usize = 300;
    let mut all = Vec::new();
    for what in ALL {
        let subject = stage.start(what).await?;
        let mut times = Vec::new();
        for place in 0..TIMES {
            times.push(subject.open(place).await?.opened_in.as_secs_f64() * 1e3);
        }
        all.push((what, Figures::from(times)));
    }
    percentiles("from the request for a stream to the desktop's first words", "ms", &all, report);
    Ok(())
}

fn percentiles(what: &str, unit: &'static str, all: &[(What, Figures)], report: &mut Report) {
    for percentile in [50, 99] {
        let figures: Vec<(What, f64)> =
            all.iter().map(|(what, figures)| (*what, figures.percentile(percentile))).collect();
        beside(&format!("{what}, p{percentile}"), unit, &figures, |_| None, report);
    }
}

/// The pointer's way to the desktop and the answer's way back, at rest.
pub async fn trip(stage: &Stage, samples: usize, report: &mut Report) -> Result<()> {
    let mut all = Vec::new();
    for what in [What::Ours, What::Websockify, What::Relay, What::RelayTls, What::Direct] {
        let subject = stage.start(what).await?;
        let mut viewer = subject.open(0).await?;
        all.push((what, trips(&mut viewer, samples).await?));
    }
    percentiles("round trip of a PointerEvent", "µs", &all, report);
    for percentile in [50, 99] {
        let added = all[0].1.percentile(percentile) - all[4].1.percentile(percentile);
        let row = Row::new(format!("what a8s adds to a round trip, p{percentile}"), added, "µs");
        report.row(if percentile == 99 { row.target(1000.0) } else { row });
    }
    Ok(())
}

async fn trips(viewer: &mut Viewer, samples: usize) -> Result<Figures> {
    for _ in 0..samples / 10 {
        viewer.round_trip().await?;
    }
    let mut times = Vec::with_capacity(samples);
    for _ in 0..samples {
        times.push(viewer.round_trip().await?.as_secs_f64() * 1e6);
    }
    Ok(Figures::from(times))
}

/// One stream as fast as it goes.
pub async fn throughput(stage: &Stage, report: &mut Report) -> Result<()> {
    const MIB: u16 = 512;
    let mut figures = Vec::new();
    for what in [What::Ours, What::Websockify, What::Relay, What::RelayTls, What::Direct] {
        let subject = stage.start(what).await?;
        let mut viewer = subject.open(0).await?;
        let mut rounds = Vec::new();
        for _ in 0..3 {
            let began = Instant::now();
            viewer.ask(Draw::Flood { mib: MIB }).await?;
            viewer.take(usize::from(MIB) << 20).await?;
            rounds.push(f64::from(MIB) * 1.048_576 / began.elapsed().as_secs_f64());
        }
        figures.push((what, Figures::from(rounds).median()));
    }
    beside("throughput of one stream", "MB/s", &figures, |_| None, report);
    Ok(())
}

/// Round trips of one viewer among many, each of whom gets a picture of 2 kB a second.
pub async fn viewers(stage: &Stage, most: usize, samples: usize, report: &mut Report) -> Result<()> {
    for what in [What::Ours, What::Websockify] {
        let mut line = Vec::new();
        for many in [1, 50, 200, 500].into_iter().filter(|many| *many <= most) {
            let subject = stage.start(what).await?;
            let tasks = drawing(&subject, many - 1, Draw::Paced { hundreds: 20, rate: 1 }).await?;
            let mut viewer = subject.open(0).await?;
            let figures = trips(&mut viewer, samples).await?;
            anyhow::ensure!(tasks.len() == many - 1, "a stream ended");
            line.push(format!("{many}: {} / {}", short(figures.median()), short(figures.percentile(99))));
            if what == What::Ours && many == 500 {
                report.row(Row::new("viewers of one proxy at once", 500.0, "viewers"));
            }
        }
        report.note(format!(
            "Round trip through {} by number of viewers, p50 / p99 in µs: {}",
            name(what),
            line.join(", ")
        ));
    }
    Ok(())
}

/// What a viewer that does not read adds to the round trips of another, while ten watch.
pub async fn slow(stage: &Stage, samples: usize, report: &mut Report) -> Result<()> {
    const ROUNDS: usize = 5;
    for what in [What::Ours, What::Websockify, What::Relay] {
        let subject = stage.start(what).await?;
        let _tasks = drawing(&subject, 10, PICTURES).await?;
        let mut viewer = subject.open(0).await?;
        let (mut without, mut with) = (Vec::new(), Vec::new());
        // In turn, so that both meet the same machine.
        for _ in 0..ROUNDS {
            without.push(trips(&mut viewer, samples / ROUNDS).await?.median());
            let mut stuck = subject.open(1).await?;
            stuck.ask(Draw::Flood { mib: 1024 }).await?;
            // Until all buffers on the way are full.
            tokio::time::sleep(Duration::from_millis(500)).await;
            with.push(trips(&mut viewer, samples / ROUNDS).await?.median());
            drop(stuck);
        }
        let (without, with) = (Figures::from(without).median(), Figures::from(with).median());
        let added = (with / without - 1.0) * 100.0;
        let row = Row::new(
            format!("what one slow viewer adds to another's round trip, {}", name(what)),
            added,
            "%",
        );
        report.row(if what == What::Ours { row.target(5.0) } else { row });
        report.note(format!(
            "Median round trip through {} without and with a slow viewer, µs: {} {}",
            name(what),
            short(without),
            short(with)
        ));
    }
    Ok(())
}
