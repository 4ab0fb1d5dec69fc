//! T4: what Workspaces, Snapshots and pools do in a real cluster, by topic. One cluster serves all cases; `A8S_CASE` chooses by words of their
//! names.

mod asks;
#[allow(dead_code, reason = "shared with the other cases, which use more of it")]
#[path = "../common/mod.rs"]
mod common;
mod life;
mod restored;
mod snapshots;
mod talk;
mod volumes;

use std::time::Duration;

use anyhow::{Context, Result};
use common::Desk;

const MINUTE: Duration = Duration::from_mins(1);

type Case = (&'static str, fn(&Desk) -> Result<()>);

const LIFE: &[Case] = &[
    (
        "a session sleeps when nobody uses it and a message wakes it",
        life::a_session_sleeps_when_nobody_uses_it_and_a_message_wakes_it,
    ),
    ("the annotation wakes every time", life::the_annotation_wakes_every_time),
    ("opening the desktop in the console wakes", life::opening_the_desktop_in_the_console_wakes),
    (
        "what sleeps long is archived and comes back with its files",
        life::what_sleeps_long_is_archived_and_comes_back_with_its_files,
    ),
    (
        "what sleeps longest is deleted with its session",
        life::what_sleeps_longest_is_deleted_with_its_session,
    ),
    (
        "a pod that is deleted by hand comes back on the same volume",
        life::a_pod_that_is_deleted_by_hand_comes_back_on_the_same_volume,
    ),
    (
        "a container that runs out of memory is named with its limit",
        life::a_container_that_runs_out_of_memory_is_named_with_its_limit,
    ),
    ("a quota that is used up is named and heals", life::a_quota_that_is_used_up_is_named_and_heals),
];

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
    run(LIFE)
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
