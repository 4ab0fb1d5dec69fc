//! The talk before the work: no desktop until a person decides, and then one that does what was agreed on.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{
    Case, MINUTE,
    common::{Desk, is_true},
};

const HEAD: &str = "apiVersion: a8s.dev/v1alpha1\nkind: ";
/// What is answered without a desktop is answered at once.
const SOON: Duration = Duration::from_secs(20);

pub const CASES: &[Case] = &[
    ("a session without a goal asks and begins when a person decides", asks_and_begins),
    ("with handoff auto what is wanted begins by itself", begins_by_itself),
    ("a model that is not there is named and the script goes on", goes_on_without_its_model),
];

fn say(desk: &Desk, session: &str, name: &str, content: &str) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Message\nmetadata: {{name: {name}}}\nspec: {{session: {session}, content: \"{content}\"}}\n"
    ))
}

fn requests(desk: &Desk, session: &str, state: &str) -> Vec<Value> {
    let all = desk.list("requests").into_iter();
    all.filter(|r| r["spec"]["session"] == session && r["status"]["state"] == state).collect()
}

fn open(desk: &Desk, session: &str, wanted: &str) -> Result<Value> {
    desk.until(&format!("{session} asks whether {wanted:?} may begin"), SOON, |d| {
        let mut all = requests(d, session, "Open");
        let found = all.pop().filter(|_| all.is_empty())?;
        (found["spec"]["handoff"]["requirement"] == wanted).then_some(found)
    })
}

fn chat(desk: &Desk, session: &str) -> Vec<String> {
    let all = desk.list("messages");
    let theirs =
        all.iter().filter(|m| m["spec"]["session"] == session && m["spec"]["author"]["name"] == "chat");
    theirs.filter_map(|m| m["spec"]["content"].as_str().map(str::to_owned)).collect()
}

fn answered(desk: &Desk, session: &str, words: &str) -> Result<()> {
    desk.until(&format!("the agent of {session} answers"), 3 * MINUTE, |d| {
        let all = d.list("messages");
        let said = all.iter().any(|m| {
            m["spec"]["session"] == session
                && m["spec"]["author"]["name"] != "chat"
                && m["spec"]["content"] == words
        });
        said.then_some(())
    })
}

fn asks_and_begins(desk: &Desk) -> Result<()> {
    desk.apply(&format!("{HEAD}Session\nmetadata: {{name: talk}}\nspec: {{environment: desktop}}\n"))?;
    desk.until("the Session waits for a word", SOON, |d| {
        d.get("session", "talk").filter(|s| s["status"]["state"] == "Chatting").map(drop)
    })?;
    say(desk, "talk", "talk-1", "/say one")?;
    open(desk, "talk", "/say one")?;
    say(desk, "talk", "talk-2", "yes")?;
    desk.until("a yes is told where it is decided", SOON, |d| {
        chat(d, "talk").iter().any(|text| text.contains("kubectl patch request")).then_some(())
    })?;
    say(desk, "talk", "talk-3", "/say two")?;
    let request = open(desk, "talk", "/say one\n\n/say two")?;
    ensure!(requests(desk, "talk", "Cancelled").len() == 1, "the one before does not count any more");
    let session = desk.get("session", "talk").unwrap_or_default();
    ensure!(session["status"]["waitingFor"] == "1 request", "{}", session["status"]);
    ensure!(desk.get("workspace", "talk").is_none(), "there is no desktop before it is decided");
    let name = request["metadata"]["name"].as_str().unwrap_or_default();
    let decision = r#"{"status":{"decision":{"option":"allow"}}}"#;
    desk.kubectl(&["patch", "request", name, "--subresource=status", "--type=merge", "-p", decision])?;
    answered(desk, "talk", "two")?;
    let session = desk.get("session", "talk").unwrap_or_default();
    let requirement = &session["status"]["requirement"];
    ensure!(requirement["text"] == "/say one\n\n/say two" && requirement["request"] == name, "{requirement}");
    ensure!(
        requirement["by"].as_str().is_some_and(|by| !by.is_empty()),
        "who decided is on record: {requirement}"
    );
    ensure!(requests(desk, "talk", "Granted").len() == 1, "the Request says so");
    let mut places: Vec<i64> = desk
        .list("messages")
        .iter()
        .filter(|m| m["spec"]["session"] == "talk")
        .filter_map(|m| m["status"]["seq"].as_i64())
        .collect();
    let said = places.len();
    places.sort_unstable();
    places.dedup();
    ensure!(places.len() == said && places.first() == Some(&1), "each Message has its own place: {places:?}");
    desk.kubectl(&["delete", "session", "talk", "--timeout=90s"]).map(drop)
}

fn begins_by_itself(desk: &Desk) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Session\nmetadata: {{name: auto}}\nspec: {{environment: desktop, policy: {{handoff: Auto}}}}\n"
    ))?;
    say(desk, "auto", "auto-1", "/say hello")?;
    answered(desk, "auto", "hello")?;
    ensure!(!desk.list("requests").iter().any(|r| r["spec"]["session"] == "auto"), "nobody was asked");
    desk.kubectl(&["delete", "session", "auto", "--timeout=90s"]).map(drop)
}

fn goes_on_without_its_model(desk: &Desk) -> Result<()> {
    desk.apply(&format!(
        "{HEAD}Connection\nmetadata: {{name: nowhere}}\nspec: {{model: {{provider: anthropic, name: m, secretRef: {{name: none, key: k}}}}}}\n---\n\
         {HEAD}Session\nmetadata: {{name: keyless}}\nspec: {{environment: desktop, agent: {{model: {{connection: nowhere}}}}}}\n"
    ))?;
    desk.until("the Connection says what is missing", MINUTE, |d| {
        d.get("connection", "nowhere")
            .filter(|c| !c["status"]["conditions"].is_null() && !is_true(c, "Ready"))
            .map(drop)
    })?;
    say(desk, "keyless", "keyless-1", "/say hello")?;
    open(desk, "keyless", "/say hello")?;
    ensure!(
        chat(desk, "keyless")
            .iter()
            .any(|text| text.starts_with("The model cannot be asked: Connection nowhere")),
        "it says why: {:?}",
        chat(desk, "keyless")
    );
    desk.kubectl(&["delete", "session/keyless", "connection/nowhere", "--timeout=90s"]).map(drop)
}
