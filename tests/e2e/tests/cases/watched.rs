//! What people see of a desktop that works without them: its recordings, and what somebody else shares with them. In a real browser.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{
    Case, MINUTE,
    common::{DEMO, Desk, browser, condition, is_true},
};

const HEAD: &str = "apiVersion: a8s.dev/v1alpha1\nkind: ";
/// Somebody who may do nothing.
const GUEST: &str = "guest";

pub const CASES: &[Case] = &[
    (
        "a recorded turn is played in the console and forked",
        a_recorded_turn_is_played_in_the_console_and_forked,
    ),
    ("a guest watches, works, and is cut off", a_guest_watches_works_and_is_cut_off),
];

fn session(desk: &Desk, name: &str, policy: &str) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Session\nmetadata: {{name: {name}}}\nspec: {{goal: /say ready, environment: desktop{policy}}}\n"
    ))?;
    let ready = |d: &Desk| d.get("session", name).filter(|s| is_true(s, "Ready")).map(drop);
    desk.until("the Session is ready", 2 * MINUTE, ready)
}

fn a_recorded_turn_is_played_in_the_console_and_forked(desk: &Desk) -> Result<()> {
    session(desk, "recorded", ", policy: {recording: Enabled}")?;
    browser::spec(desk, "recording", &[("A8S_SESSION", "recorded"), ("A8S_FORK", "recorded-fork")])?;
    let recording = desk.list("artifacts").into_iter().find(|a| {
        a["spec"]["session"] == "recorded" && a["spec"]["name"] == "recording-turn-2" && is_true(a, "Ready")
    });
    ensure!(
        recording.is_some_and(|r| r["spec"]["mediaType"] == "application/vnd.a8s.recording+tar"),
        "the second turn is an Artifact"
    );
    desk.until("the fork comes from the Snapshot", MINUTE, |d| {
        let fork = d.get("session", "recorded-fork")?;
        let snapshot = fork["spec"]["source"]["snapshot"].as_str()?;
        (is_true(&d.get("snapshot", snapshot)?, "Ready") && is_true(&fork, "Ready")).then_some(())
    })?;
    desk.kubectl(&["delete", "session", "recorded", "recorded-fork", "--timeout=90s"])?;
    desk.kubectl(&["delete", "artifacts,snapshots", "--all", "--timeout=90s"]).map(drop)
}

fn a_guest_watches_works_and_is_cut_off(desk: &Desk) -> Result<()> {
    session(desk, "shared", "")?;
    desk.kubectl(&["create", "serviceaccount", GUEST])?;
    let guest = format!("system:serviceaccount:{DEMO}:{GUEST}");
    let soon = desk.kubectl(&["create", "token", GUEST, "--duration=1h"])?;
    desk.apply(&format!(
        "{HEAD}Share\nmetadata: {{name: shared-brief}}\nspec: {{session: shared, role: Watch, subjects: [{{kind: User, name: '{guest}'}}], expires: '{}'}}\n",
        in_seconds(3)
    ))?;
    desk.until("a Share has ended", MINUTE, |d| {
        let share = d.get("share", "shared-brief")?;
        condition(&share, "Ready").filter(|(_, reason)| reason == "Expired").map(drop)
    })?;
    let variables = [
        ("A8S_SESSION", "shared"),
        ("A8S_GUEST", &guest),
        ("A8S_GUEST_TOKEN", soon.trim()),
        ("A8S_EXPIRED", "shared-brief"),
    ];
    browser::spec(desk, "share", &variables)?;
    desk.kubectl(&["delete", "session", "shared", "--timeout=90s"])?;
    desk.until("nothing is granted any more", MINUTE, |d| {
        let granted = d.kubectl(&["get", "roles,rolebindings", "-o", "name"]).ok()?;
        (!granted.contains("a8s-share-")).then_some(())
    })?;
    desk.kubectl(&["delete", "shares", "--all", "--timeout=60s"])?;
    desk.kubectl(&["delete", "serviceaccount", GUEST]).map(drop)
}

fn in_seconds(seconds: u64) -> String {
    let end = jiff::Timestamp::now() + Duration::from_secs(seconds);
    end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
