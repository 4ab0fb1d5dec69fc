//! Many Workspaces: the controller's memory, and what a thousand of them cause while nothing happens.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    Settings,
    audit::{self, CONTROLLER},
    fleet::Fleet,
    peer::{self, PEER},
    processes::Meter,
};
use crate::table::{Report, Row, per};

/// Longest that the pool may take to grow by ten thousand.
const GROWTH: Duration = Duration::from_mins(20);
/// How many shall cause nothing.
const IDLE: usize = 1000;

/// A thousand, ten minutes of nothing, then ten times as many.
pub async fn measure(fleet: &Fleet<'_>, settings: &Settings, report: &mut Report) -> Result<()> {
    grow(fleet, IDLE, report).await?;
    idle(fleet, settings.idle_minutes, report).await?;
    grow(fleet, settings.most, report).await
}

/// The controller's memory with so many Workspaces.
pub fn memory(meter: &Meter, workspaces: usize, report: &mut Report) -> Result<()> {
    let memory = meter.memory(CONTROLLER)?;
    report.note(format!(
        "Controller with {workspaces} Workspaces: {:.0} MiB resident, {:.0} MiB at most so far.",
        memory.now, memory.most
    ));
    let row =
        Row::new(format!("controller memory, {workspaces} Workspaces"), memory.now, "MiB").target(100.0);
    report.row(match workspaces {
        0 => row.beside(PEER, peer::MEMORY[0].1),
        10_000 => row.beside("peer with 7,854", peer::MEMORY[2].1),
        _ => row,
    });
    Ok(())
}

async fn grow(fleet: &Fleet<'_>, to: usize, report: &mut Report) -> Result<()> {
    let (had, _) = fleet.full(GROWTH).await?;
    fleet.stock(to.saturating_sub(had) + 50).await?;
    let (before, begun) = (fleet.meter.mark(), Instant::now());
    fleet.scale(to).await?;
    let (ready, _) = fleet.full(GROWTH).await?;
    let took = begun.elapsed().as_secs_f64();
    let after = fleet.meter.mark();
    let [ours, server] = [CONTROLLER, "kube-apiserver"].map(|program| after.cpu(&before, program));
    report.note(format!(
        "From {had} to {ready} Workspaces in {took:.0} s, {:.0} a second; CPU: controller {ours:.0} s, kube-apiserver {server:.0} s.",
        per(ready.saturating_sub(had), 1) / took
    ));
    if ready == to {
        fleet.settled(GROWTH).await?;
    } else {
        report.note(format!("{to} were asked for; {ready} were ready after {GROWTH:?}."));
    }
    memory(fleet.meter, ready, report)
}

async fn idle(fleet: &Fleet<'_>, minutes: u64, report: &mut Report) -> Result<()> {
    fleet.counted(IDLE).await?;
    let before = fleet.meter.mark();
    tokio::time::sleep(Duration::from_secs(minutes * 60)).await;
    let after = fleet.meter.mark();
    let requests = audit::read(&fleet.meter.audit, before.audit, after.audit)?;
    let count = |list: bool| per(requests.iter().filter(|r| r.ours && r.list == list).count(), 1);
    let what =
        |what: &str| format!("{what} of a8s in {minutes} min with {IDLE} Workspaces, all as they shall be");
    report.row(Row::new(what("writes"), count(false), "").target(0.0));
    report.row(Row::new(what("lists"), count(true), "").target(0.0));
    let cpu = after.cpu(&before, CONTROLLER);
    report.note(format!(
        "In those {minutes} min the controller used {cpu:.1} s of CPU; the lease of its leader is not counted. All writes and lists:\n\n{}",
        audit::by_writer(requests.iter(), 1)
    ));
    Ok(())
}
