//! The fake display inside a test's own process.

use std::{sync::Arc, time::Instant};

use a8s_deskd::{desk::Desk, options::Options, run};
use a8s_wire::{Holder, SetControl};
use clap::Parser;
use rmcp::{RoleClient, ServiceExt, model::CallToolRequestParams, service::RunningService};
use serde_json::{Value, json};

use crate::host::eventually;

/// A desktop, and the agent's connection to it.
async fn desktop(dir: &tempfile::TempDir) -> (Arc<Desk>, RunningService<RoleClient, ()>) {
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::create_dir(dir.path().join("home")).unwrap();
    let arguments = ["deskd", "--backend", "fake", "--workspace-uid", "u"].map(str::to_owned);
    let paths = [("--socket", "sock"), ("--home", "home"), ("--run-dir", "run")];
    let paths = paths.iter().flat_map(|(flag, name)| [(*flag).to_owned(), at(name)]);
    let desk = run::embed(Options::parse_from(arguments.into_iter().chain(paths))).await.unwrap();
    let stream = tokio::net::UnixStream::connect(dir.path().join("sock")).await.unwrap();
    (desk, ().serve(tokio::io::split(stream)).await.unwrap())
}

fn call(tool: &'static str, arguments: &Value) -> CallToolRequestParams {
    CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone())
}

fn to(user: &str, epoch: i64) -> SetControl {
    SetControl { holder: Holder::User, user: Some(user.into()), private: false, epoch }
}

#[tokio::test]
async fn a_test_of_another_crate_can_have_a_desktop_in_its_own_process() {
    let dir = tempfile::tempdir().unwrap();
    let (desk, agent) = desktop(&dir).await;
    agent.call_tool(call("launch", &json!({"program": "editor"}))).await.unwrap();
    agent.call_tool(call("computer", &json!({"action": "type", "text": "hello"}))).await.unwrap();
    assert_eq!(desk.fake.as_ref().unwrap().text(), "hello");
    desk.set_control(to("jane", 1)).await.unwrap();
    let refused = agent.call_tool(call("computer", &json!({"action": "type", "text": "no"}))).await.unwrap();
    assert_eq!(refused.is_error, Some(true));
    assert_eq!(desk.fake.as_ref().unwrap().text(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_is_taken_within_a_tenth_of_a_second_while_the_agent_types() {
    let dir = tempfile::tempdir().unwrap();
    let (desk, agent) = desktop(&dir).await;
    let fake = desk.fake.clone().unwrap();
    agent.call_tool(call("launch", &json!({"program": "editor"}))).await.unwrap();
    let agent = Arc::new(agent);
    let mut times = Vec::new();
    for round in 0..20 {
        let before = fake.text().len();
        let typing = agent.clone();
        let typing = tokio::spawn(async move {
            let text = json!({"action": "type", "text": "x".repeat(50_000), "screenshot_after": false});
            typing.call_tool(call("computer", &text)).await.unwrap()
        });
        eventually("the agent types", async || fake.text().len() > before).await;
        let began = Instant::now();
        desk.set_control(to("jane", round * 2 + 1)).await.unwrap();
        times.push(began.elapsed().as_millis());
        let then = fake.text().len();
        assert_eq!(
            typing.await.unwrap().is_error,
            Some(true),
            "the text was finished; the test proves nothing"
        );
        assert_eq!(fake.text().len(), then, "something came after control was taken");
        let agent_again =
            SetControl { holder: Holder::Agent, user: None, private: false, epoch: round * 2 + 2 };
        desk.set_control(agent_again).await.unwrap();
        agent.call_tool(call("computer", &json!({"action": "screenshot"}))).await.unwrap();
    }
    times.sort_unstable();
    // The median leaves out what a busy machine does.
    assert!(times[times.len() / 2] < 100, "{times:?} ms");
    println!("control was taken after {times:?} ms");
}
