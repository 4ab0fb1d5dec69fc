//! People stop the agent: one that obeys, a deaf one, one that has just died, one that asks, and one whose tool runs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{
    answered, begin, consumed, done, ended, messages, of_workspace, processes, say, signal, turn_of,
};
use crate::{MINUTE, common::Desk};

const HEAD: &str = "apiVersion: a8s.dev/v1alpha1\nkind: ";
const NAME: &str = "stops";
/// A turn that is stopped is over by then, whatever the agent does: 5 s for it to obey, and its end.
const LADDER: Duration = Duration::from_secs(12);

/// What a turn does when it is stopped.
struct Turn {
    name: &'static str,
    /// It has begun when this was said.
    script: &'static str,
    /// What is done to the agent just before.
    before: fn(&Desk) -> Result<()>,
    /// How the turn may end.
    ends: &'static [&'static str],
    /// What holds afterwards.
    after: fn(&Desk) -> Result<()>,
}

#[expect(clippy::unnecessary_wraps, reason = "one of several of the same type")]
fn nothing(_: &Desk) -> Result<()> {
    Ok(())
}

pub fn stop_ends_every_kind_of_turn(desk: &Desk) -> Result<()> {
    begin(desk, NAME, "")?;
    let turns = [
        Turn {
            name: "obeys",
            script: "/wait-for-cancel",
            before: nothing,
            ends: &["cancelled"],
            after: nothing,
        },
        Turn {
            name: "shell",
            script: "/shell exec sleep 4711",
            before: sleeps,
            ends: &["cancelled"],
            after: slept,
        },
        Turn {
            name: "types",
            script: "/launch terminal|/type TEXT|/type TEXT|/type TEXT|/type TEXT|/wait-for-cancel",
            before: nothing,
            ends: &["cancelled"],
            after: nothing,
        },
        Turn { name: "asks", script: "/ask Go on?", before: asks, ends: &["cancelled"], after: asked },
        Turn {
            name: "crashed",
            script: "/wait-for-cancel",
            before: |d| signal(d, "-9", "agent", &of_workspace(NAME)),
            ends: &["cancelled", "error"],
            after: nothing,
        },
        // The last: it ends by force, after which another agent is started.
        Turn {
            name: "deaf",
            script: "/wait-for-cancel",
            before: |d| signal(d, "-STOP", "agent", &of_workspace(NAME)),
            ends: &["interrupted"],
            after: nothing,
        },
    ];
    for turn in &turns {
        stop(desk, turn).with_context(|| format!("a turn that {}", turn.name))?;
    }
    done(desk, NAME)
}

fn stop(desk: &Desk, turn: &Turn) -> Result<()> {
    let name = format!("{NAME}-{}", turn.name);
    let script = turn.script.replace("TEXT", &"all work and no play ".repeat(200));
    // What is said is a Message once something else follows it.
    say(desk, NAME, &name, &format!("/say {} begins|/write begun x|{script}", turn.name))?;
    answered(desk, NAME, &format!("{} begins", turn.name))?;
    (turn.before)(desk)?;
    let begun = Instant::now();
    desk.apply(&format!(
        "{HEAD}Message\nmetadata: {{name: {name}-stop}}\nspec: {{session: {NAME}, delivery: Interrupt}}\n"
    ))?;
    let over = consumed(desk, &name, MINUTE)?;
    let took = begun.elapsed();
    let how = ended(desk, NAME, turn_of(&over)?)?;
    let first = how.split(':').next().unwrap_or_default();
    ensure!(turn.ends.contains(&first), "it ended: {how}");
    ensure!(took < LADDER, "it took {took:?}");
    (turn.after)(desk)?;
    // Who was stopped hears the next thing that is said.
    say(desk, NAME, &format!("{name}-next"), &format!("/say after {}", turn.name))?;
    answered(desk, NAME, &format!("after {}", turn.name))?;
    let again = messages(desk, NAME)
        .iter()
        .filter(|m| m["spec"]["content"] == format!("{} begins", turn.name))
        .count();
    ensure!(again == 1, "what was stopped does not begin again");
    Ok(())
}

fn asks(desk: &Desk) -> Result<()> {
    desk.until("it asks", MINUTE, |d| {
        d.list("requests")
            .iter()
            .any(|r| {
                r["spec"]["session"] == NAME
                    && r["status"]["state"] == "Open"
                    && r["spec"]["expires"].is_string()
            })
            .then_some(())
    })?;
    desk.until("the Session says what it waits for, and until when", MINUTE, |d| {
        let doing = d.get("session", NAME)?["status"]["doing"].as_str()?.to_owned();
        (doing.starts_with("waits for 1 request until ") && doing.contains("UTC: Go on?")).then_some(())
    })
}

fn asked(desk: &Desk) -> Result<()> {
    desk.until("the Request is cancelled", MINUTE, |d| {
        let all = d.list("requests");
        let mut ours = all.iter().filter(|r| r["spec"]["session"] == NAME);
        ours.all(|r| r["status"]["state"] == "Cancelled").then_some(())
    })
}

fn sleepers(desk: &Desk) -> usize {
    let of_us = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|b| *b == 0).any(|word| word == b"4711")
    };
    // Whichever program plays `sleep` in the image.
    ["sleep", "coreutils", "busybox"]
        .iter()
        .map(|program| processes(desk, program, &of_workspace(NAME)).iter().filter(|pid| of_us(pid)).count())
        .sum()
}

fn sleeps(desk: &Desk) -> Result<()> {
    desk.until("the command runs", MINUTE, |d| (sleepers(d) > 0).then_some(()))
}

fn slept(desk: &Desk) -> Result<()> {
    desk.until("the command has ended", MINUTE, |d| (sleepers(d) == 0).then_some(()))
}
