//! What the agent may not decide: it asks, a person answers, and nobody else can. Limits stop it, a key never reaches it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use a8s_cluster::lifecycle;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    Case, MINUTE,
    common::{Desk, repo},
};

const HEAD: &str = "apiVersion: a8s.dev/v1alpha1\nkind: ";
const SOON: Duration = Duration::from_secs(20);
/// So that the cases run beside others on a small machine.
const SMALL: &str = "workspace: {resources: {requests: {cpu: 1m, memory: 64Mi}, limits: {memory: 768Mi}}}, environment: desktop";

pub const CASES: &[Case] = &[
    ("a permission waits for a person and their name is on the decision", a_permission_waits_for_a_person),
    ("what cannot decide does not decide", what_cannot_decide_does_not_decide),
    ("a question that nobody answers counts as refused", a_question_that_nobody_answers_counts_as_refused),
    ("a limit stops the agent until it is raised", a_limit_stops_the_agent_until_it_is_raised),
    (
        "a model is used through the runner and its key is found nowhere",
        a_model_is_used_through_the_runner_and_its_key_is_found_nowhere,
    ),
];

fn session(desk: &Desk, name: &str, goal: &str, more: &str) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Session\nmetadata: {{name: {name}}}\nspec: {{goal: \"{goal}\", {SMALL}{more}}}\n"
    ))
}

fn asked(desk: &Desk, session: &str, state: &str, limit: Duration) -> Result<Value> {
    desk.until(&format!("a Request of {session} is {state}"), limit, |d| {
        let mut all = d.list("requests").into_iter();
        all.find(|r| r["spec"]["session"] == session && r["status"]["state"] == state)
    })
}

fn said(desk: &Desk, session: &str, words: &str) -> Result<()> {
    desk.until(&format!("the agent of {session} says {words:?}"), 2 * MINUTE, |d| {
        let all = d.list("messages");
        let by_agent = |m: &&Value| m["spec"]["session"] == session && m["spec"]["author"]["kind"] == "Agent";
        let found = all
            .iter()
            .filter(by_agent)
            .any(|m| m["spec"]["content"].as_str().is_some_and(|content| content.contains(words)));
        found.then_some(())
    })
}

fn decide(desk: &Desk, request: &Value, decision: &str, more: &[&str]) -> Result<String> {
    let name = request["metadata"]["name"].as_str().context("a Request has a name")?;
    let patch = format!(r#"{{"status":{{"decision":{decision}}}}}"#);
    let mut all = vec!["patch", "request", name, "--subresource=status", "--type=merge", "-p", &patch];
    all.extend_from_slice(more);
    desk.kubectl(&all)
}

fn done(desk: &Desk, session: &str) -> Result<()> {
    desk.kubectl(&["delete", "session", session, "--timeout=60s"]).map(drop)
}

fn a_permission_waits_for_a_person(desk: &Desk) -> Result<()> {
    session(desk, "asks", "/ask Submit the form?\\n/say it went on", "")?;
    let request = asked(desk, "asks", "Open", 2 * MINUTE)?;
    ensure!(request["spec"]["type"] == "Permission", "{request}");
    desk.until("the Session says what it waits for", SOON, |d| {
        d.get("session", "asks").filter(|s| s["status"]["waitingFor"] == "1 request").map(drop)
    })?;
    ensure!(decide(desk, &request, r#"{"option":"perhaps"}"#, &[]).is_err(), "no such option");
    decide(desk, &request, r#"{"option":"allow","by":"somebody else"}"#, &[])?;
    let granted = asked(desk, "asks", "Granted", SOON)?;
    let by = granted["status"]["decision"]["by"].as_str().unwrap_or_default();
    ensure!(!by.is_empty() && by != "somebody else", "it is signed by who decided: {by}");
    said(desk, "asks", "it went on")?;
    ensure!(decide(desk, &granted, r#"{"option":"reject"}"#, &[]).is_err(), "it is decided once");
    done(desk, "asks")?;
    desk.until("the Request goes with its Session", SOON, |d| {
        d.list("requests").iter().all(|r| r["spec"]["session"] != "asks").then_some(())
    })
}

fn what_cannot_decide_does_not_decide(desk: &Desk) -> Result<()> {
    session(desk, "guarded", "/ask Send the money?\\n/say done", "")?;
    let request = asked(desk, "guarded", "Open", 2 * MINUTE)?;
    let allow = r#"{"option":"allow"}"#;
    for account in ["a8s-controller", "a8s-console", "a8s-webhook"] {
        let account = format!("--as=system:serviceaccount:a8s-system:{account}");
        ensure!(decide(desk, &request, allow, &[&account]).is_err(), "{account} must not decide");
    }
    let stranger = "--as=system:serviceaccount:demo:default";
    ensure!(decide(desk, &request, allow, &[stranger]).is_err(), "an account without rights must not decide");
    let forged = tempfile::NamedTempFile::new()?;
    std::fs::write(
        forged.path(),
        format!(
            "{HEAD}Request\nmetadata: {{name: forged}}\nspec: {{session: guarded, type: Permission, title: x, options: [{{id: a, kind: AllowOnce}}]}}\n"
        ),
    )?;
    let file = forged.path().display().to_string();
    let user = "--as=system:serviceaccount:demo:demo";
    ensure!(desk.kubectl(&["create", "-f", &file, user]).is_err(), "people answer Requests and make none");
    let now = desk.get("request", request["metadata"]["name"].as_str().unwrap_or_default());
    ensure!(now.is_some_and(|r| r["status"]["decision"].is_null()), "nothing was decided");
    decide(desk, &request, r#"{"option":"reject"}"#, &[])?;
    asked(desk, "guarded", "Refused", SOON)?;
    done(desk, "guarded")
}

fn a_question_that_nobody_answers_counts_as_refused(desk: &Desk) -> Result<()> {
    session(desk, "ignored", "/ask Anybody there?\\n/say went on", ", policy: {requestTimeout: 4s}")?;
    asked(desk, "ignored", "Expired", 2 * MINUTE)?;
    desk.until("nothing is waited for any more", SOON, |d| {
        d.get("session", "ignored").filter(|s| s["status"]["waitingFor"].is_null()).map(drop)
    })?;
    done(desk, "ignored")
}

fn a_limit_stops_the_agent_until_it_is_raised(desk: &Desk) -> Result<()> {
    session(desk, "bounded", "/say first", ", limits: {turns: 1}")?;
    said(desk, "bounded", "first")?;
    desk.apply(&format!(
        "{HEAD}Message\nmetadata: {{name: bounded-2}}\nspec: {{session: bounded, content: /say second}}\n"
    ))?;
    desk.until("the Session says that the limit is reached", SOON, |d| {
        let found = d.get("session", "bounded")?;
        found["status"].to_string().contains("LimitReached").then_some(())
    })?;
    ensure!(
        desk.list("messages").iter().all(|m| m["spec"]["content"] != "second"),
        "it stands still meanwhile"
    );
    desk.kubectl(&[
        "patch",
        "session",
        "bounded",
        "--type=merge",
        "-p",
        r#"{"spec":{"limits":{"turns":5}}}"#,
    ])?;
    said(desk, "bounded", "second")?;
    done(desk, "bounded")
}

/// A model that answers as the last message says, in the cluster's network; it ends with the test.
pub struct Model {
    process: Child,
    pub url: String,
}

impl Model {
    pub fn start(desk: &Desk, key: &str) -> Result<Self> {
        Self::run(desk, Some(key))
    }

    /// One that takes whoever comes.
    pub fn without_a_key(desk: &Desk) -> Result<Self> {
        Self::run(desk, None)
    }

    fn run(desk: &Desk, key: Option<&str>) -> Result<Self> {
        let program = mock()?;
        let init = lifecycle::running(&desk.cluster().paths).context("the cluster runs")?.init;
        let mut process = Command::new("nsenter")
            .args(["-t", &init.pid.to_string(), "-n", &program, "--listen", "0.0.0.0:18099"])
            .envs(key.map(|key| ("A8S_MODEL_MOCK_KEY", key)))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut first = String::new();
        BufReader::new(process.stdout.take().context("a pipe")?).read_line(&mut first)?;
        let node = desk.kubectl(&[
            "get",
            "nodes",
            "-o",
            r#"jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}"#,
        ])?;
        Ok(Self { process, url: format!("http://{}:18099", node.trim()) })
    }
}

/// The mock's program, built as the tests are; beside them where it is built already.
fn mock() -> Result<String> {
    if std::env::var_os("A8S_PROGRAMS_BUILT").is_some() {
        let test = std::env::current_exe()?;
        let folder = test.ancestors().nth(2).context("a test is in target/debug/deps")?;
        return Ok(folder.join("a8s-model-mock").display().to_string());
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "-p", "a8s-model-mock", "--message-format=json"])
        .current_dir(repo())
        .output()?;
    ensure!(built.status.success(), "the mock cannot be built");
    let lines = String::from_utf8_lossy(&built.stdout);
    lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|m| m["executable"].as_str().map(str::to_owned))
        .context("cargo names the program")
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn a_model_is_used_through_the_runner_and_its_key_is_found_nowhere(desk: &Desk) -> Result<()> {
    const KEY: &str = "canary-5f0c2a7be1";
    let model = Model::start(desk, KEY)?;
    desk.kubectl(&["create", "secret", "generic", "llm", &format!("--from-literal=api-key={KEY}")])?;
    desk.apply(&format!(
        "{HEAD}Connection\nmetadata: {{name: llm}}\nspec: {{model: {{provider: openai-compatible, name: mock, baseUrl: \"{}/v1\", secretRef: {{name: llm, key: api-key}}, price: {{input: \"3\", output: \"15\"}}}}}}\n",
        model.url
    ))?;
    desk.until("the Connection is ready", SOON, |d| {
        d.get("connection", "llm").filter(|c| crate::common::is_true(c, "Ready")).map(drop)
    })?;
    session(desk, "thinks", "/say The model has spoken.", ", agent: {model: {connection: llm}}")?;
    said(desk, "thinks", "The model has spoken.")?;
    desk.until("what was used is counted", MINUTE, |d| {
        let found = d.get("session", "thinks")?;
        found["status"]["usage"]["requests"].as_i64().filter(|n| *n > 0).map(drop)
    })?;
    for kind in [
        "sessions",
        "workspaces",
        "connections",
        "requests",
        "messages",
        "artifacts",
        "events",
        "pods",
        "configmaps",
    ] {
        ensure!(!desk.kubectl(&["get", kind, "-o", "yaml"])?.contains(KEY), "the key is in {kind}");
    }
    for container in ["desktop", "agent", "runner"] {
        let log = desk.kubectl(&["logs", "thinks-desktop", "-c", container])?;
        ensure!(!log.contains(KEY), "the key is in the log of {container}");
    }
    let look = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'; grep -rs canary-5f0c /home/agent /run /tmp /etc 2>/dev/null; true";
    let seen = desk.kubectl(&["exec", "thinks-desktop", "-c", "agent", "--", "sh", "-c", look])?;
    ensure!(!seen.contains(KEY), "the agent can read the key");
    done(desk, "thinks")?;
    desk.kubectl(&["delete", "secret/llm", "connection/llm"]).map(drop)
}
