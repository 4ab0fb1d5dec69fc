//! SIGKILL in the middle of a turn, and two controllers at once.

use std::{ops::Range, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    answered, begin, consumed, done, ended, messages, nothing_is_lost_or_doubled, of_workspace, processes,
    said_by, say, signal, turn_of,
};
use crate::{MINUTE, common::Desk};

const SYSTEM: &str = "a8s-system";

/// A turn that says a line every so often.
fn counting(prefix: &str, lines: Range<usize>) -> String {
    lines.map(|n| format!("/say {prefix} {n}|/sleep 300")).collect::<Vec<_>>().join("|")
}

pub fn killing_controller_runner_and_agent_in_a_turn_loses_and_doubles_nothing(desk: &Desk) -> Result<()> {
    begin(desk, "struck", "")?;
    controller(desk)?;
    runner(desk)?;
    agent(desk)?;
    nothing_is_lost_or_doubled(desk, "struck")?;
    done(desk, "struck")
}

/// Three times, while the agent talks and people do.
fn controller(desk: &Desk) -> Result<()> {
    say(desk, "struck", "struck-talk", &counting("talk", 0..30))?;
    for n in [2, 10, 20] {
        answered(desk, "struck", &format!("talk {n}"))?;
        say(desk, "struck", &format!("struck-{n}"), &format!("/say heard {n}"))?;
        // Whichever of its replicas: only the leader works.
        let leader = leader(desk)?;
        signal(desk, "-9", "a8s-controller", &format!("POD_NAME={leader}"))?;
    }
    for n in [2, 10, 20] {
        answered(desk, "struck", &format!("heard {n}"))?;
    }
    let said = said_by(desk, "struck", "Agent");
    let talked = said.iter().filter(|text| text.starts_with("talk ")).count();
    ensure!(talked == 30, "the turn went on without the controller and all of it was recorded: {said:?}");
    ensure!(said_by(desk, "struck", "System").is_empty(), "no turn failed");
    Ok(())
}

fn runner(desk: &Desk) -> Result<()> {
    say(desk, "struck", "struck-before", &counting("before", 0..200))?;
    answered(desk, "struck", "before 3")?;
    say(desk, "struck", "struck-after", "/say after")?;
    desk.until("the Message has its place", MINUTE, |d| {
        d.get("message", "struck-after").filter(|m| m["status"]["seq"].is_i64()).map(drop)
    })?;
    signal(desk, "-9", "a8s-runner", &of_workspace("struck"))?;
    answered(desk, "struck", "after")?;
    told(desk, "struck-before", "the runner was restarted during this turn")
}

fn agent(desk: &Desk) -> Result<()> {
    say(desk, "struck", "struck-agent", &counting("agent", 0..200))?;
    answered(desk, "struck", "agent 3")?;
    say(desk, "struck", "struck-last", "/say last")?;
    signal(desk, "-9", "agent", &of_workspace("struck"))?;
    answered(desk, "struck", "last")?;
    told(desk, "struck-agent", "The turn ended with an error")
}

/// The Message's turn is over, and the conversation says why.
fn told(desk: &Desk, message: &str, words: &str) -> Result<()> {
    let turn = turn_of(&consumed(desk, message, MINUTE)?)?;
    let how = ended(desk, "struck", turn)?;
    ensure!(how.starts_with("error"), "turn {turn} ended: {how}");
    let all = messages(desk, "struck");
    let by_a8s =
        all.iter().filter(|m| m["spec"]["author"]["kind"] == "System" && m["status"]["turn"] == turn);
    let texts: Vec<&str> = by_a8s.filter_map(|m| m["spec"]["content"].as_str()).collect();
    let [text] = &texts[..] else { anyhow::bail!("it is said once what happened: {texts:?}") };
    ensure!(text.contains(words), "{text}");
    Ok(())
}

fn leader(desk: &Desk) -> Result<String> {
    let lease = ["-n", SYSTEM, "get", "lease", "a8s-controller", "-o", "jsonpath={.spec.holderIdentity}"];
    desk.until("a controller leads", MINUTE, |d| {
        let holder = d.cluster().kubectl().run(&lease).ok()?;
        let runs = !processes(d, "a8s-controller", &format!("POD_NAME={holder}")).is_empty();
        (!holder.is_empty() && runs).then_some(holder)
    })
}

fn scale(desk: &Desk, replicas: usize) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    desk.cluster().kubectl().run(&["-n", SYSTEM, "scale", "deployment/a8s-controller", &replicas])?;
    let wait = ["-n", SYSTEM, "rollout", "status", "deployment/a8s-controller", "--timeout=90s"];
    desk.cluster().kubectl().run(&wait).map(drop)
}

/// A leader stands still until another one leads, and wakes up in the middle of what it did. Its bridge is then the second one.
pub fn a_leader_that_was_stopped_and_comes_back_doubles_nothing(desk: &Desk) -> Result<()> {
    begin(desk, "ruled", "")?;
    scale(desk, 2)?;
    let outcome = overlapping(desk);
    // The cluster goes on with one, whatever came out.
    let back = scale(desk, 1);
    outcome?;
    back?;
    nothing_is_lost_or_doubled(desk, "ruled")?;
    done(desk, "ruled")
}

fn overlapping(desk: &Desk) -> Result<()> {
    let first = leader(desk)?;
    let frozen = format!("POD_NAME={first}");
    say(desk, "ruled", "ruled-talk", &counting("talk", 0..100))?;
    answered(desk, "ruled", "talk 2")?;
    signal(desk, "-STOP", "a8s-controller", &frozen)?;
    let woken = (|| {
        // It had no time to see these.
        for n in 0..5 {
            say(desk, "ruled", &format!("ruled-{n}"), &format!("/say heard {n}"))?;
        }
        desk.until("another one leads", MINUTE, |d| {
            let now = leader(d).ok()?;
            (now != first).then_some(())
        })?;
        desk.until("and knows the Messages", MINUTE, |d| {
            d.get("message", "ruled-4").filter(|m| m["status"]["seq"].is_i64()).map(drop)
        })
    })();
    // The kubelet may have ended it for its silence; then there is nothing to wake.
    for pid in processes(desk, "a8s-controller", &frozen) {
        let _ = std::process::Command::new("kill").args(["-CONT", &pid.to_string()]).status();
    }
    woken?;
    for n in 0..5 {
        answered(desk, "ruled", &format!("heard {n}"))?;
    }
    let talked = said_by(desk, "ruled", "Agent").iter().filter(|text| text.starts_with("talk ")).count();
    ensure!(talked == 100, "{talked} lines of 100 were recorded");
    // Once more, and this time the leader is killed at once.
    say(desk, "ruled", "ruled-more", &counting("more", 0..30))?;
    answered(desk, "ruled", "more 2")?;
    let second = leader(desk)?;
    signal(desk, "-9", "a8s-controller", &format!("POD_NAME={second}"))?;
    say(desk, "ruled", "ruled-last", "/say last")?;
    answered(desk, "ruled", "last")?;
    let said = said_by(desk, "ruled", "Agent");
    let more = said.iter().filter(|text| text.starts_with("more ")).count();
    ensure!(more == 30, "{more} lines of 30 were recorded");
    let over = consumed(desk, "ruled-talk", Duration::from_secs(20))?;
    over["status"]["seq"].as_i64().context("it has its place").map(drop)
}
