//! T4: what Workspaces, Snapshots and pools do in a real cluster, by topic. One cluster serves all cases; `A8S_CASE` chooses by words of their
//! names.

mod asks;
mod backups;
#[allow(dead_code, reason = "shared with the other cases, which use more of it")]
#[path = "../common/mod.rs"]
mod common;
mod conversation;
mod environments;
mod life;
mod pools;
mod readme;
mod restored;
mod snapshots;
mod talk;
mod volumes;
mod watched;

use std::time::Duration;

use anyhow::{Context, Result};
use common::Desk;

const MINUTE: Duration = Duration::from_mins(1);

type Case = (&'static str, fn(&Desk) -> Result<()>);

fn run(cases: &[Case]) -> Result<()> {
    let desk = Desk::up()?;
    let only = std::env::var("A8S_CASE").unwrap_or_default();
    for (name, case) in cases.iter().filter(|(name, _)| name.contains(&only)) {
        eprintln!("case: {name}");
        case(&desk).with_context(|| format!("case failed: {name}"))?;
    }
    Ok(())
}

#[test]
#[ignore = "T4: needs root and some minutes; run by `make test`"]
fn volumes_that_go_and_come_back() -> Result<()> {
    run(volumes::CASES)
}

#[test]
#[ignore = "T4: needs root and some minutes; run by `make test`"]
fn the_life_of_a_workspace() -> Result<()> {
    run(life::CASES)
}

#[test]
#[ignore = "T4: needs root and some minutes; run by `make test`"]
fn snapshots_that_are_taken_kept_and_rebuilt() -> Result<()> {
    run(snapshots::CASES)
}

#[test]
#[ignore = "T4: needs root and some minutes; run by `make test`"]
fn talk_before_the_work() -> Result<()> {
    run(talk::CASES)
}

#[test]
#[ignore = "T4: needs root and some minutes; run by `make test`"]
fn what_the_agent_may_not_decide() -> Result<()> {
    run(asks::CASES)
}

#[test]
#[ignore = "T4: needs root and some minutes; run by `make test`"]
fn restored_desktops_start() -> Result<()> {
    run(restored::CASES)
}

#[test]
#[ignore = "T4: needs root and some minutes; run by `make test`"]
fn desktops_that_wait_before_anybody_asks() -> Result<()> {
    run(pools::CASES)
}

#[test]
#[ignore = "T4: needs root and some minutes; run by `make test`"]
fn what_environments_give_and_keep_away() -> Result<()> {
    run(environments::CASES)
}

#[test]
#[ignore = "T4: needs root and some minutes; run by `make test`"]
fn what_a_backup_brings_back() -> Result<()> {
    run(backups::CASES)
}

#[test]
#[ignore = "T4: needs root and some minutes; run by `make test`"]
fn conversation_when_something_goes_wrong() -> Result<()> {
    run(conversation::CASES)
}

#[test]
#[ignore = "T4: needs root and some minutes; run by `make test`"]
fn what_the_readme_says() -> Result<()> {
    run(readme::CASES)
}

#[test]
#[ignore = "T4: needs root and some minutes; run by `make test`"]
fn what_people_see_of_a_desktop() -> Result<()> {
    run(watched::CASES)
}
