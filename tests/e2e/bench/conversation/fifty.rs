//! Fifty agents at work for some minutes. Real runners, agents and controller; toy displays; an API server of their own.

use std::time::Duration;

use a8s_cluster::Paths;
use a8s_e2e::{
    pods::Programs,
    steady::{self, MOST},
    world::World,
};
use anyhow::Result;

use crate::table::{Report, Row, per};

const SESSIONS: usize = 50;

pub async fn measure(paths: &Paths, minutes: u64, report: &mut Report) -> Result<()> {
    let world = World::start(Programs { folder: paths.release() }).await?;
    let time = Duration::from_secs(minutes * 60);
    let writes = steady::measure(&world, SESSIONS, time).await?;
    let (name, most) = writes.most();
    let what =
        |what: &str| format!("{SESSIONS} Sessions at work for {minutes} min: writes a second of {what}");
    report.row(Row::new(what("the busiest"), per(most, 1) / time.as_secs_f64(), "/s").target(MOST));
    let mean = per(writes.total(), SESSIONS) / time.as_secs_f64();
    report.row(Row::new(what("each, on average"), mean, "/s").target(MOST));
    report.note(format!("The busiest was {name} with {most}. All writes: {:?}", writes.by_kind()));
    Ok(())
}
