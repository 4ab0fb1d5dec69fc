//! Harnesses of others, as people install them, against a model that does what it is told: the real program, the real protocol, the gateway
//! in between. They are installed once, in pinned versions, into the folder of caches. One runs with all other tests, the rest take longer:
//! `make test-harnesses`.
//!
//! Needs npm and, the first time, the network.

#![allow(clippy::unwrap_used)]

mod common;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use a8s_model_mock::Mock;
use a8s_wire::{EventBody, PermissionPolicy};
use common::{Events, Pod};
use serde_json::json;

const KEY: &str = "canary-key-0815";

/// The package in this version, installed.
fn installed(package: &str, version: &str) -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap();
    let cache = std::env::var_os("A8S_CACHE").map_or_else(|| home.join(".cache/a8s"), PathBuf::from);
    let folder = cache.join("harnesses").join(format!("{}-{version}", package.replace(['@', '/'], "-")));
    let done = folder.join(".installed");
    if !done.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let status = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
            .arg(&folder)
            .arg(format!("{package}@{version}"))
            .status()
            .unwrap();
        assert!(status.success(), "{package} cannot be installed");
        std::fs::write(done, "").unwrap();
    }
    folder.join("node_modules/.bin")
}

/// A pod that runs this harness with the mock as its model.
async fn pod(
    command: &[&str],
    program: &Path,
    mock: &Mock,
    provider: &str,
    permissions: PermissionPolicy,
) -> Pod {
    let pod = Pod::with_harness_and(&[]);
    // Its own tools ask only if its configuration says so; it lies in the home, as a person would put it there.
    let folder = pod.home().join(".config/opencode");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("opencode.json"), json!({"permission": {"bash": "ask"}}).to_string()).unwrap();
    let behind = !matches!(provider, "anthropic" | "gemini");
    let base = if behind { format!("{}/v1", mock.url()) } else { mock.url() };
    pod.grant(
        &json!([{"name": "llm", "kind": "model", "provider": provider, "model": "mock-1", "baseUrl": base,
                      "key": KEY, "price": [1_000_000, 1_000_000]}]),
    );
    let command: Vec<String> = std::iter::once(program.display().to_string())
        .chain(command.iter().map(|&argument| argument.to_owned()))
        .collect();
    pod.configure(json!({
        "harness": "other", "command": command, "model": "llm", "permissions": permissions,
        "instructions": "Be brief.", "requirement": "Do what the lines say."
    }))
    .await;
    pod
}

async fn mock() -> Mock {
    Mock::start(SocketAddr::from(([127, 0, 0, 1], 0)), Some(KEY.to_owned())).await.unwrap()
}

/// The agent said it.
fn said(events: &Events, mock: &Mock, text: &str) {
    if !events.messages().iter().any(|message| message.contains(text)) {
        for seen in mock.requests() {
            eprintln!("{} {:?}\n{}", seen.path, seen.headers, seen.body);
        }
        panic!("{text:?} was not said: {:#?}", events.seen);
    }
}

/// Names of the tools in the last request that had some.
fn offered(mock: &Mock) -> Vec<String> {
    let tools = mock.requests().into_iter().rev().map(|seen| seen.body["tools"].clone());
    let named = |tool: &serde_json::Value| {
        let inner =
            tool["functionDeclarations"].as_array().or(tool["tools"].as_array()).cloned().unwrap_or_default();
        let name = tool["name"].as_str().or(tool["function"]["name"].as_str()).map(str::to_owned);
        name.into_iter()
            .chain(inner.iter().filter_map(|t| t["name"].as_str().map(str::to_owned)))
            .collect::<Vec<_>>()
    };
    let mut lists =
        tools.filter_map(|tools| tools.as_array().map(|all| all.iter().flat_map(named).collect::<Vec<_>>()));
    lists.find(|names| !names.is_empty()).unwrap_or_default()
}

/// A conversation that any harness must be able to have: words, a tool of ours, an interrupt, the next message. Each message begins with a
/// word: what begins with a slash is a command to many a harness.
async fn converses(pod: &Pod, mock: &Mock, tool: &str) {
    let mut events = pod.events("").await;
    pod.prompt("m1", "Please:\n/say hello from the model", &[]).await;
    assert_eq!(events.turn_end("m1").await, "end_turn");
    said(&events, mock, "hello from the model");

    let plan = json!({"entries": [{"title": "one", "status": "pending"}]});
    pod.prompt("m2", &format!("Please:\n/tool {tool} {plan}\n/say planned"), &[]).await;
    assert_eq!(allowed(pod, &mut events, "m2").await, "end_turn");
    said(&events, mock, "planned");
    let plan: Vec<String> = pod.state().await.plan.iter().map(|entry| entry.title.clone()).collect();
    assert_eq!(plan, ["one"], "the model was offered {:?}", offered(mock));

    stops(pod, mock, &mut events).await;

    let usage = pod.state().await.usage;
    println!("{usage:?}");
    assert!(usage.requests >= 3 && usage.input_tokens > 0 && usage.output_tokens > 0, "{usage:?}");
    assert!(!pod.transcript().contains(KEY));
    let sent: Vec<String> = mock.requests().iter().map(|seen| seen.path.clone()).collect();
    assert!(!sent.is_empty());
}

/// How this turn ends if a person allows whatever is asked in it. Some harnesses ask before each tool, some before their own only.
async fn allowed(pod: &Pod, events: &mut Events, message: &str) -> String {
    loop {
        let event = events
            .until("question or end", |event| {
                matches!(event.body, EventBody::Question(_) | EventBody::TurnEnded { .. })
            })
            .await;
        match event.body {
            EventBody::Question(question) => {
                let once = question.options.iter().find(|option| option.kind == "AllowOnce");
                let option = once.map_or("allow", |option| &option.id);
                assert!(pod.reply(&question.id, json!({"option": option, "by": "jane"})).await);
            }
            EventBody::TurnEnded { message_id, stop_reason, .. } if message_id == message => {
                return stop_reason;
            }
            _ => {}
        }
    }
}

/// A turn that hangs is stopped, and the next message gets through.
async fn stops(pod: &Pod, mock: &Mock, events: &mut Events) {
    pod.prompt("m3", "Please:\n/say before\n/hang", &[]).await;
    while !mock.requests().iter().any(|seen| seen.body.to_string().contains("/hang")) {
        tokio::task::yield_now().await;
    }
    let turn = pod.state().await.turn;
    assert!(pod.interrupt(turn).await);
    let reason = events.turn_end("m3").await;
    println!("an interrupt ended the turn as {reason}");
    pod.prompt("m4", "Please:\n/say still there", &[]).await;
    assert_eq!(events.turn_end("m4").await, "end_turn");
    said(events, mock, "still there");
}

/// Whether the harness asks before it runs a command, and obeys.
async fn asks(pod: &Pod, call: &str) {
    let made = pod.home().join("made");
    let state = pod.state().await;
    let mut events = pod.events(&format!("{}.{}", state.epoch, state.seq)).await;
    for (message, kind) in [("p1", "AllowOnce"), ("p2", "RejectOnce")] {
        pod.prompt(message, &format!("Please:\n/tool {call}\n/say went on"), &[]).await;
        let question = events.question().await;
        assert_eq!((question.kind.as_str(), question.title.as_str()), ("Permission", "touch made"));
        let option = question.options.iter().find(|option| option.kind == kind).unwrap();
        assert!(pod.reply(&question.id, json!({"option": option.id, "by": "jane"})).await);
        if kind == "RejectOnce" {
            // This model would only try the same again, and again be asked for it.
            pod.interrupt(question.turn).await;
        }
        let reason = events.turn_end(message).await;
        println!("{kind} ended the turn as {reason}");
        assert_eq!(made.exists(), kind == "AllowOnce");
        let _ = std::fs::remove_file(&made);
    }
}

const OPENCODE: (&str, &str) = ("opencode-ai", "1.18.33");
const CLAUDE: (&str, &str) = ("@agentclientprotocol/claude-agent-acp", "0.101.0");
const CODEX: (&str, &str) = ("@agentclientprotocol/codex-acp", "2.6.0");
const GEMINI: (&str, &str) = ("@google/gemini-cli", "0.61.0");

async fn opencode(provider: &str) -> (Pod, Mock) {
    let program = installed(OPENCODE.0, OPENCODE.1).join("opencode");
    let mock = mock().await;
    let pod = pod(&["acp"], &program, &mock, provider, PermissionPolicy::Ask).await;
    converses(&pod, &mock, "a8s_set_plan").await;
    (pod, mock)
}

#[tokio::test(flavor = "multi_thread")]
async fn opencode_works_with_our_tools_asks_and_obeys() {
    let (pod, _mock) = opencode("openai-compatible").await;
    asks(&pod, r#"bash {"command": "touch made", "description": "makes a file"}"#).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn opencode_works_with_every_provider() {
    for provider in ["anthropic", "openai", "gemini"] {
        opencode(provider).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs Claude's agent with npm"]
async fn claude_works_with_our_tools_asks_and_obeys() {
    let program = installed(CLAUDE.0, CLAUDE.1).join("claude-agent-acp");
    let mock = mock().await;
    // As root it wants to be told that it is alone.
    let arguments = ["IS_SANDBOX=1", &program.display().to_string()];
    let pod = pod(&arguments, Path::new("/usr/bin/env"), &mock, "anthropic", PermissionPolicy::Ask).await;
    converses(&pod, &mock, "mcp__a8s__set_plan").await;
    asks(&pod, r#"Bash {"command": "touch made", "description": "makes a file"}"#).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs Codex with npm"]
async fn codex_works_with_our_tools() {
    let program = installed(CODEX.0, CODEX.1).join("codex-acp");
    let mock = mock().await;
    let pod = pod(&[], &program, &mock, "openai", PermissionPolicy::Allow).await;
    converses(&pod, &mock, "mcp__a8s__set_plan").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs Gemini's agent with npm"]
async fn gemini_works_with_our_tools_and_asks() {
    let program = installed(GEMINI.0, GEMINI.1).join("gemini");
    let mock = mock().await;
    let pod = pod(&["--acp"], &program, &mock, "gemini", PermissionPolicy::Ask).await;
    converses(&pod, &mock, "mcp_a8s_set_plan").await;
    pod.events("").await.question().await;
}
