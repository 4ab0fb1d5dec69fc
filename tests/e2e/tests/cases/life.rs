//! A desktop that nobody uses, and one that something happens to: asleep, woken, archived, deleted, and back after it was lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    Case, MINUTE,
    common::{Desk, condition, is_true},
};

const HEAD: &str = "apiVersion: a8s.dev/v1alpha1\nkind: ";
/// Long enough for a start in between, short enough for a test.
const NAP: &str = "5s";
/// So that the cases run beside others on a small machine.
const SMALL: &str = "resources: {requests: {cpu: 1m, memory: 64Mi}, limits: {memory: 768Mi}}";

pub const CASES: &[Case] = &[
    (
        "a session sleeps when nobody uses it and a message wakes it",
        a_session_sleeps_when_nobody_uses_it_and_a_message_wakes_it,
    ),
    ("the annotation wakes every time", the_annotation_wakes_every_time),
    ("opening the desktop in the console wakes", opening_the_desktop_in_the_console_wakes),
    (
        "what sleeps long is archived and comes back with its files",
        what_sleeps_long_is_archived_and_comes_back_with_its_files,
    ),
    ("what sleeps longest is deleted with its session", what_sleeps_longest_is_deleted_with_its_session),
    (
        "a pod that is deleted by hand comes back on the same volume",
        a_pod_that_is_deleted_by_hand_comes_back_on_the_same_volume,
    ),
    ("an evicted pod is replaced on the same volume and the workspace says why", an_evicted_pod_is_replaced),
    ("each state is reached by hand and what was in the home is there again", each_state_is_reached_by_hand),
    (
        "a container that runs out of memory is named with its limit",
        a_container_that_runs_out_of_memory_is_named_with_its_limit,
    ),
    ("a quota that is used up is named and heals", a_quota_that_is_used_up_is_named_and_heals),
];

fn workspace(desk: &Desk, name: &str, spec: &str) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Workspace\nmetadata: {{name: {name}}}\nspec: {{environment: desktop, {SMALL}{spec}}}\n"
    ))?;
    ready(desk, name)
}

fn ready(desk: &Desk, name: &str) -> Result<()> {
    let what = format!("Workspace {name} is ready");
    desk.until(&what, 2 * MINUTE, |d| d.get("workspace", name).filter(|w| is_true(w, "Ready")).map(drop))
}

fn state(desk: &Desk, name: &str, wanted: &str) -> Result<Value> {
    desk.until(&format!("Workspace {name} is {wanted}"), 2 * MINUTE, |d| {
        d.get("workspace", name).filter(|w| w["status"]["state"] == wanted)
    })
}

fn asleep(desk: &Desk, name: &str) -> Result<()> {
    let found = state(desk, name, "Suspended")?;
    ensure!(
        condition(&found, "Ready").is_some_and(|(_, reason)| reason == "Idle"),
        "why: {}",
        found["status"]
    );
    let line = found["status"]["awake"].as_str().unwrap_or_default();
    ensure!(line.starts_with("asleep since"), "status.awake says: {line}");
    ensure!(desk.get("pod", &format!("{name}-desktop")).is_none(), "no pod is left");
    Ok(())
}

fn shell(desk: &Desk, name: &str, container: &str, script: &str) -> Result<String> {
    desk.kubectl(&["exec", &format!("{name}-desktop"), "-c", container, "--", "sh", "-c", script])
}

fn annotate(desk: &Desk, name: &str) -> Result<()> {
    desk.kubectl(&["annotate", "workspace", name, "a8s.dev/wake=now", "--overwrite"]).map(drop)
}

fn patch(desk: &Desk, kind: &str, name: &str, spec: &str) -> Result<()> {
    desk.kubectl(&["patch", kind, name, "--type=merge", "-p", &format!("{{\"spec\":{spec}}}")]).map(drop)
}

fn delete(desk: &Desk, kind: &str, name: &str) -> Result<()> {
    desk.kubectl(&["delete", kind, name, "--timeout=90s"]).map(drop)
}

fn said(desk: &Desk, session: &str, words: &str) -> bool {
    let all = desk.list("messages");
    all.iter().any(|m| {
        m["spec"]["session"] == session
            && m["spec"]["content"] == words
            && m["spec"]["author"]["kind"] != "User"
    })
}

/// What the Event of that reason says of `name`. Events follow what they tell by a second or so, and outlive what they tell of.
fn told(desk: &Desk, name: &str, reason: &str) -> Result<String> {
    desk.until(&format!("an Event {reason} tells of {name}"), Duration::from_secs(20), |d| {
        let all = d.list("events");
        let found = all.iter().find(|e| e["involvedObject"]["name"] == name && e["reason"] == reason)?;
        Some(found["message"].as_str().unwrap_or_default().to_owned())
    })
}

fn a_session_sleeps_when_nobody_uses_it_and_a_message_wakes_it(desk: &Desk) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Session\nmetadata: {{name: naps}}\nspec: {{goal: /say hello, environment: desktop, workspace: {{{SMALL}}}, lifecycle: {{idleSuspendAfter: {NAP}}}}}\n"
    ))?;
    desk.until("the agent answers", 2 * MINUTE, |d| said(d, "naps", "hello").then_some(()))?;
    asleep(desk, "naps")?;
    ensure!(desk.get("pvc", "naps-home").is_some(), "the volume stays");
    desk.until("the Session says so", MINUTE, |d| {
        let session = d.get("session", "naps")?;
        condition(&session, "Ready").filter(|(_, reason)| reason == "Idle").map(drop)
    })?;
    desk.apply(&format!(
        "{HEAD}Message\nmetadata: {{name: naps-again}}\nspec: {{session: naps, content: /say again}}\n"
    ))?;
    desk.until("the woken agent answers", 2 * MINUTE, |d| said(d, "naps", "again").then_some(()))?;
    let why = told(desk, "naps", "Woken")?;
    ensure!(why.contains("for-a-message"), "{why}");
    ensure!(
        desk.list("messages").iter().filter(|m| m["spec"]["content"] == "hello").count() == 1,
        "the goal is not given again"
    );
    asleep(desk, "naps")
}

fn the_annotation_wakes_every_time(desk: &Desk) -> Result<()> {
    for _ in 0..2 {
        annotate(desk, "naps")?;
        ready(desk, "naps")?;
        asleep(desk, "naps")?;
    }
    Ok(())
}

fn opening_the_desktop_in_the_console_wakes(desk: &Desk) -> Result<()> {
    desk.console("sessions/naps/wake", &serde_json::json!({}))?;
    ready(desk, "naps")?;
    delete(desk, "session", "naps")
}

fn what_sleeps_long_is_archived_and_comes_back_with_its_files(desk: &Desk) -> Result<()> {
    workspace(desk, "attic", &format!(", lifecycle: {{idleSuspendAfter: {NAP}, archiveAfter: {NAP}}}"))?;
    shell(desk, "attic", "desktop", "echo kept > ~/note; sync")?;
    let archived = state(desk, "attic", "Archived")?;
    let snapshot =
        archived["status"]["archive"].as_str().context("status.archive names the Snapshot")?.to_owned();
    ensure!(desk.get("snapshot", &snapshot).is_some_and(|s| is_true(&s, "Ready")), "{snapshot} is ready");
    desk.until("the volume is gone", MINUTE, |d| d.get("pvc", "attic-home").is_none().then_some(()))?;
    annotate(desk, "attic")?;
    ready(desk, "attic")?;
    let found = shell(desk, "attic", "desktop", "cat ~/note")?;
    ensure!(found.trim() == "kept", "{found}");
    // By hand, in place, and back by way of suspended.
    patch(desk, "workspace", "attic", r#"{"lifecycle":null,"state":"Archived"}"#)?;
    state(desk, "attic", "Archived")?;
    patch(desk, "workspace", "attic", r#"{"state":"Running"}"#)?;
    ready(desk, "attic")?;
    let found = shell(desk, "attic", "desktop", "cat ~/note")?;
    ensure!(found.trim() == "kept", "{found}");
    delete(desk, "workspace", "attic")
}

fn what_sleeps_longest_is_deleted_with_its_session(desk: &Desk) -> Result<()> {
    let lifecycle = format!("lifecycle: {{idleSuspendAfter: {NAP}, deleteAfter: {NAP}}}");
    desk.apply(&format!(
        "{HEAD}Session\nmetadata: {{name: fleeting}}\nspec: {{goal: /say hello, environment: desktop, workspace: {{{SMALL}}}, {lifecycle}}}\n---\n\
         {HEAD}Workspace\nmetadata: {{name: alone}}\nspec: {{environment: desktop, {SMALL}, {lifecycle}}}\n"
    ))?;
    for (kind, name) in [("session", "fleeting"), ("workspace", "alone")] {
        desk.until(&format!("{kind} {name} is gone"), 3 * MINUTE, |d| {
            d.get(kind, name).is_none().then_some(())
        })?;
        let why = told(desk, name, "Expired")?;
        ensure!(why.contains("deleteAfter"), "{why}");
    }
    desk.until("and all that was theirs", MINUTE, |d| {
        (d.get("workspace", "fleeting").is_none()
            && d.get("pvc", "fleeting-home").is_none()
            && d.get("pvc", "alone-home").is_none())
        .then_some(())
    })
}

fn a_pod_that_is_deleted_by_hand_comes_back_on_the_same_volume(desk: &Desk) -> Result<()> {
    workspace(desk, "sturdy", "")?;
    shell(desk, "sturdy", "desktop", "echo kept > ~/note")?;
    let uid = |kind: &str, name: &str| desk.get(kind, name).map(|o| o["metadata"]["uid"].to_string());
    let (pod, claim) = (uid("pod", "sturdy-desktop"), uid("pvc", "sturdy-home"));
    desk.kubectl(&["delete", "pod", "sturdy-desktop", "--timeout=60s"])?;
    desk.until("another pod", MINUTE, |d| {
        let found = d.get("pod", "sturdy-desktop")?;
        (Some(found["metadata"]["uid"].to_string()) != pod).then_some(())
    })?;
    desk.until("it is ready by another start", 2 * MINUTE, |d| {
        let found = d.get("workspace", "sturdy").filter(|w| is_true(w, "Ready"))?;
        (found["status"]["startup"]["kind"] == "Restart").then_some(())
    })?;
    ensure!(uid("pvc", "sturdy-home") == claim, "the claim is the same");
    ensure!(shell(desk, "sturdy", "desktop", "cat ~/note")?.trim() == "kept");
    Ok(())
}

fn an_evicted_pod_is_replaced(desk: &Desk) -> Result<()> {
    let uid = |kind: &str, name: &str| desk.get(kind, name).map(|o| o["metadata"]["uid"].to_string());
    let (pod, claim) = (uid("pod", "sturdy-desktop"), uid("pvc", "sturdy-home"));
    let began = |d: &Desk| d.get("workspace", "sturdy").map(|w| w["status"]["startup"]["began"].to_string());
    let before = began(desk);
    let eviction = tempfile::NamedTempFile::new()?;
    let body = r#"{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "sturdy-desktop", "namespace": "demo"}}"#;
    std::fs::write(eviction.path(), body)?;
    let path = "/api/v1/namespaces/demo/pods/sturdy-desktop/eviction";
    desk.kubectl(&["create", "--raw", path, "-f", &eviction.path().display().to_string()])?;
    // Its Ready may be of the start before for a moment.
    desk.until("another pod is ready by another start", 2 * MINUTE, |d| {
        let found = d.get("workspace", "sturdy").filter(|w| is_true(w, "Ready"))?;
        let again = began(d) != before && found["status"]["startup"]["total"].is_string();
        (again && uid("pod", "sturdy-desktop") != pod).then_some(())
    })?;
    ensure!(uid("pvc", "sturdy-home") == claim, "the claim is the same");
    ensure!(shell(desk, "sturdy", "desktop", "cat ~/note")?.trim() == "kept");
    let found = desk.get("workspace", "sturdy").context("the Workspace")?;
    let startup = &found["status"]["startup"];
    for stage in ["scheduled", "image", "storage", "containers", "desktop", "agent", "total"] {
        ensure!(startup[stage].as_str().is_some_and(|s| s.ends_with('s')), "{stage} was measured: {startup}");
    }
    Ok(())
}

fn each_state_is_reached_by_hand(desk: &Desk) -> Result<()> {
    let order =
        ["Suspended", "Running", "Archived", "Suspended", "Archived", "Running", "Suspended", "Running"];
    for wanted in order {
        patch(desk, "workspace", "sturdy", &format!("{{\"state\":\"{wanted}\"}}"))?;
        state(desk, "sturdy", wanted)?;
        if wanted == "Running" {
            ready(desk, "sturdy")?;
            ensure!(shell(desk, "sturdy", "desktop", "cat ~/note")?.trim() == "kept", "after {wanted}");
        } else {
            ensure!(desk.get("pod", "sturdy-desktop").is_none(), "{wanted}: no pod is left");
        }
    }
    Ok(())
}

fn a_container_that_runs_out_of_memory_is_named_with_its_limit(desk: &Desk) -> Result<()> {
    // Memory that belongs to no process, so that one after the other is ended, the container's first included, wherever the kernel ends
    // single processes. The command ends with it and its own result says nothing.
    let fill = |file: &str| format!("dd if=/dev/zero of={file} bs=1M count=500");
    let _ = shell(desk, "sturdy", "desktop", &format!("{}; {}", fill("/tmp/fill"), fill("/dev/shm/fill")));
    desk.until("the condition names container and limit", Duration::from_secs(20), |d| {
        let found = d.get("workspace", "sturdy")?;
        let text = found["status"]["conditions"].to_string();
        (text.contains("Container desktop ran out of memory (its limit is 768Mi)")).then_some(())
    })?;
    let why = told(desk, "sturdy", "OutOfMemory")?;
    ensure!(why.contains("spec.resources.limits.memory"), "{why}");
    ready(desk, "sturdy")?;
    delete(desk, "workspace", "sturdy")
}

fn a_quota_that_is_used_up_is_named_and_heals(desk: &Desk) -> Result<()> {
    let pods = desk.list("pods").len();
    desk.apply(&format!("apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: narrow}}\nspec: {{hard: {{pods: \"{pods}\"}}}}\n"))?;
    desk.until("the quota is counted", MINUTE, |d| {
        d.get("resourcequota", "narrow").filter(|q| q["status"]["used"]["pods"].is_string()).map(drop)
    })?;
    desk.apply(&format!(
        "{HEAD}Workspace\nmetadata: {{name: squeezed}}\nspec: {{environment: desktop, {SMALL}}}\n"
    ))?;
    let named = desk.until("the quota is named", Duration::from_secs(20), |d| {
        let found = d.get("workspace", "squeezed")?;
        let text = found["status"]["conditions"].to_string();
        (text.contains("QuotaExceeded") && text.contains("narrow")).then_some(())
    });
    delete(desk, "resourcequota", "narrow")?;
    named?;
    ready(desk, "squeezed")?;
    delete(desk, "workspace", "squeezed")
}
