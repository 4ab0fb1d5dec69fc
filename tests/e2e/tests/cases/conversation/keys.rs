//! A key that changes while the agent works, and canaries that are looked for everywhere.

use anyhow::{Context, Result, ensure};

use super::{SMALL, answered, done, of_workspace, processes, say};
use crate::{
    MINUTE,
    asks::Model,
    common::{Desk, is_true},
};

const HEAD: &str = "apiVersion: a8s.dev/v1alpha1\nkind: ";
const NAME: &str = "keyed";
const FIRST: &str = "canary-first-71c09a5e";
const SECOND: &str = "canary-second-e40b6d82";

fn secret(desk: &Desk, key: &str) -> Result<()> {
    desk.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {NAME}}}\nstringData: {{api-key: {key}}}\n"
    ))
}

pub fn another_key_is_used_without_a_restart_and_no_key_is_found_anywhere(desk: &Desk) -> Result<()> {
    let model = Model::start(desk, FIRST)?;
    secret(desk, FIRST)?;
    desk.apply(&format!(
        "{HEAD}Connection\nmetadata: {{name: {NAME}}}\nspec: {{model: {{provider: openai-compatible, name: mock, baseUrl: \"{}/v1\", secretRef: {{name: {NAME}, key: api-key}}}}}}\n",
        model.url
    ))?;
    desk.until("the Connection is ready", MINUTE, |d| {
        d.get("connection", NAME).filter(|c| is_true(c, "Ready")).map(drop)
    })?;
    desk.apply(&format!(
        "{HEAD}Session\nmetadata: {{name: {NAME}}}\nspec: {{goal: /say with the first key, {SMALL}, agent: {{model: {{connection: {NAME}}}}}}}\n"
    ))?;
    answered(desk, NAME, "with the first key")?;
    let pod = || desk.get("pod", &format!("{NAME}-desktop")).context("the pod is there");
    let before = pod()?;

    // From now on the provider takes the other key only.
    drop(model);
    let _model = Model::start(desk, SECOND)?;
    secret(desk, SECOND)?;
    let mut asked = 0;
    desk.until("the next key is used", 2 * MINUTE, |d| {
        // What is asked with the old key is refused, and a8s says so; then it is asked again.
        let over = asked == 0
            || d.get("message", &format!("{NAME}-{asked}"))
                .is_some_and(|m| m["status"]["state"] == "Consumed");
        if over {
            asked += 1;
            say(d, NAME, &format!("{NAME}-{asked}"), "/say with the second key").ok()?;
        }
        super::said_by(d, NAME, "Agent").iter().any(|text| text == "with the second key").then_some(())
    })?;
    let now = pod()?;
    ensure!(now["metadata"]["uid"] == before["metadata"]["uid"], "it is the same pod");
    let restarts = |pod: &serde_json::Value| {
        let all = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        all.iter().filter_map(|c| c["restartCount"].as_i64()).sum::<i64>()
    };
    ensure!(restarts(&now) == restarts(&before), "no container was restarted");

    // An agent that looks for keys itself, and tells all that it finds. The pattern does not find the command that it is in.
    let look = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c '[c]anary-'; grep -rlsI '[c]anary-' /home/agent /run /tmp /etc 2>/dev/null; true";
    let pod = format!("{NAME}-desktop");
    for container in ["agent", "desktop"] {
        let seen = desk.kubectl(&["exec", &pod, "-c", container, "--", "sh", "-c", look])?;
        ensure!(seen.trim() == "0", "what {container} can see of keys: {seen}");
    }
    nowhere(desk)?;
    done(desk, NAME)?;
    desk.kubectl(&["delete", &format!("secret/{NAME}"), &format!("connection/{NAME}")]).map(drop)
}

/// No key is in any object but the Secrets, in no log, no argument, no environment, and not in the transcript.
fn nowhere(desk: &Desk) -> Result<()> {
    let kubectl = |args: &[&str]| desk.cluster().kubectl().run(args);
    let clean = |place: &str, text: &[u8]| {
        let found = [FIRST, SECOND].iter().find(|key| text.windows(key.len()).any(|w| w == key.as_bytes()));
        ensure!(found.is_none(), "{} is in {place}", found.unwrap_or(&""));
        Ok(())
    };
    let kinds = kubectl(&["api-resources", "--verbs=list", "--namespaced", "-o", "name"])?;
    // The list would be of no use if it were empty.
    ensure!(kinds.lines().any(|kind| kind == "messages.a8s.dev"), "{kinds}");
    for kind in kinds.lines().filter(|kind| *kind != "secrets") {
        clean(kind, kubectl(&["get", kind, "-A", "-o", "json"]).unwrap_or_default().as_bytes())?;
    }
    for namespace in ["a8s-system", crate::common::DEMO] {
        let pods = kubectl(&["-n", namespace, "get", "pods", "-o", "name"])?;
        for pod in pods.lines() {
            let log = kubectl(&["-n", namespace, "logs", pod, "--all-containers"]).unwrap_or_default();
            clean(&format!("the log of {pod}"), log.as_bytes())?;
        }
    }
    let runner = processes(desk, "a8s-runner", &of_workspace(NAME));
    let runner = runner.first().context("the runner runs")?;
    let transcript = std::fs::read(format!("/proc/{runner}/root/state/transcript.jsonl"))?;
    ensure!(transcript.windows(8).any(|w| w == b"turnEnde"), "the transcript is there");
    clean("the transcript", &transcript)?;
    for program in ["a8s-runner", "agent", "shim", "deskd"] {
        for pid in processes(desk, program, &of_workspace(NAME)) {
            for file in ["cmdline", "environ"] {
                clean(
                    &format!("{file} of {program}"),
                    &std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default(),
                )?;
            }
        }
    }
    Ok(())
}
