//! The conversation when something goes wrong in the middle of a turn: processes die, bridges overlap, people stop the agent, keys change.
//! Whatever happens, each Message is delivered once and answered once, or a8s says in the conversation what happened.

mod keys;
mod kills;
mod stops;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{Case, MINUTE, common::Desk};

const HEAD: &str = "apiVersion: a8s.dev/v1alpha1\nkind: ";
/// So that the cases run beside others on a small machine.
const SMALL: &str = "workspace: {resources: {requests: {cpu: 1m, memory: 64Mi}, limits: {memory: 768Mi}}}, environment: desktop";

pub const CASES: &[Case] = &[
    (
        "killing controller, runner and agent in a turn loses and doubles nothing",
        kills::killing_controller_runner_and_agent_in_a_turn_loses_and_doubles_nothing,
    ),
    (
        "a leader that was stopped and comes back doubles nothing",
        kills::a_leader_that_was_stopped_and_comes_back_doubles_nothing,
    ),
    ("stop ends every kind of turn", stops::stop_ends_every_kind_of_turn),
    (
        "another key is used without a restart and no key is found anywhere",
        keys::another_key_is_used_without_a_restart_and_no_key_is_found_anywhere,
    ),
];

/// A Session that waits for its first Message.
fn begin(desk: &Desk, name: &str, more: &str) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Session\nmetadata: {{name: {name}}}\nspec: {{goal: /say ready, {SMALL}{more}}}\n"
    ))?;
    answered(desk, name, "ready")
}

/// Lines of the script are joined by `|`.
fn say(desk: &Desk, session: &str, name: &str, script: &str) -> Result<()> {
    let content = script.replace('|', "\\n");
    desk.apply(&format!(
        "{HEAD}Message\nmetadata: {{name: {name}}}\nspec: {{session: {session}, content: \"{content}\"}}\n"
    ))
}

fn messages(desk: &Desk, session: &str) -> Vec<Value> {
    desk.list("messages").into_iter().filter(|m| m["spec"]["session"] == session).collect()
}

/// Texts of what was said by authors of this kind, sorted.
fn said_by(desk: &Desk, session: &str, kind: &str) -> Vec<String> {
    let all = messages(desk, session);
    let theirs = all.iter().filter(|m| m["spec"]["author"]["kind"] == kind);
    let mut texts: Vec<String> =
        theirs.filter_map(|m| m["spec"]["content"].as_str().map(str::to_owned)).collect();
    texts.sort();
    texts
}

fn answered(desk: &Desk, session: &str, words: &str) -> Result<()> {
    desk.until(&format!("the agent of {session} says {words:?}"), 3 * MINUTE, |d| {
        said_by(d, session, "Agent").iter().any(|text| text == words).then_some(())
    })
}

fn consumed(desk: &Desk, name: &str, limit: Duration) -> Result<Value> {
    desk.until(&format!("Message {name} is over"), limit, |d| {
        d.get("message", name).filter(|m| m["status"]["state"] == "Consumed")
    })
}

/// Everything that people said is over, nothing of the agent is there twice, and every Message has a place of its own.
fn nothing_is_lost_or_doubled(desk: &Desk, session: &str) -> Result<()> {
    desk.until("all that people said is over", 2 * MINUTE, |d| {
        let all = messages(d, session);
        let people = all.iter().filter(|m| m["spec"]["author"]["kind"] == "User");
        people.clone().all(|m| m["status"]["state"] == "Consumed").then_some(())
    })?;
    let mut said = said_by(desk, session, "Agent");
    let count = said.len();
    said.dedup();
    ensure!(count == said.len(), "something was said twice: {:?}", said_by(desk, session, "Agent"));
    let mut places: Vec<i64> =
        messages(desk, session).iter().filter_map(|m| m["status"]["seq"].as_i64()).collect();
    let count = places.len();
    places.sort_unstable();
    places.dedup();
    ensure!(count == places.len() && count == messages(desk, session).len(), "places: {places:?}");
    let mut turns: Vec<i64> = messages(desk, session)
        .iter()
        .filter(|m| m["spec"]["author"]["kind"] == "User" && m["spec"]["content"].is_string())
        .filter_map(|m| m["status"]["turn"].as_i64())
        .collect();
    let count = turns.len();
    turns.sort_unstable();
    turns.dedup();
    ensure!(count == turns.len(), "each was delivered in a turn of its own: {turns:?}");
    Ok(())
}

fn done(desk: &Desk, session: &str) -> Result<()> {
    desk.kubectl(&["delete", "session", session, "--timeout=90s"]).map(drop)
}

/// Processes of this cluster that run this program and have this in their environment, `NAME=value`. Without a match there may be none
/// just now.
fn processes(desk: &Desk, program: &str, variable: &str) -> Vec<i32> {
    let of_cluster = format!("/a8s-{}/", desk.cluster().paths.name);
    let matches = |folder: PathBuf| {
        let exe = std::fs::read_link(folder.join("exe")).ok()?;
        let group = std::fs::read_to_string(folder.join("cgroup")).ok()?;
        let environment = std::fs::read(folder.join("environ")).ok()?;
        let named =
            exe.file_name().is_some_and(|n| n.to_string_lossy().trim_end_matches(" (deleted)") == program);
        let has = environment.split(|b| *b == 0).any(|entry| entry == variable.as_bytes());
        (named && has && group.contains(&of_cluster)).then(|| folder.file_name()?.to_str()?.parse().ok())?
    };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| matches(entry.path())).collect()
}

fn signal(desk: &Desk, what: &str, program: &str, variable: &str) -> Result<()> {
    let found = desk.until(&format!("{program} runs"), MINUTE, |d| {
        Some(processes(d, program, variable)).filter(|all| !all.is_empty())
    })?;
    for pid in found {
        let sent = std::process::Command::new("kill").args([what, &pid.to_string()]).status()?;
        ensure!(sent.success(), "{program} ({pid}) cannot be sent {what}");
    }
    Ok(())
}

fn of_workspace(name: &str) -> String {
    format!("A8S_WORKSPACE={name}")
}

/// How the turn ended, as the Event says it.
fn ended(desk: &Desk, session: &str, turn: i64) -> Result<String> {
    let begins = format!("turn {turn} ended: ");
    desk.until(&format!("it is told how turn {turn} ended"), Duration::from_secs(20), |d| {
        let all = d.list("events");
        let ours = all.iter().filter(|e| {
            let about = if e["involvedObject"].is_object() { &e["involvedObject"] } else { &e["regarding"] };
            about["name"] == session && e["reason"] == "TurnEnded"
        });
        let texts = ours.filter_map(|e| e["message"].as_str().or(e["note"].as_str()));
        texts.filter_map(|text| text.strip_prefix(begins.as_str())).map(str::to_owned).next()
    })
}

fn turn_of(message: &Value) -> Result<i64> {
    message["status"]["turn"].as_i64().context("a Message that is over had a turn")
}
