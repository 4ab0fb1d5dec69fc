//! What harnesses of others do that no protocol says, each as somebody met it: the conversation goes on all the same.

#![allow(clippy::unwrap_used)]

mod common;

use a8s_wire::EventBody;
use common::{Events, Pod};
use serde_json::json;

/// What a harness that can do this says to a message.
async fn said(can: &str, content: &str) -> (Pod, Events) {
    let pod = Pod::with_stub_that(can);
    pod.prompt("m1", content, &[]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn", "{:?}", events.seen);
    (pod, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_let_its_mode_be_set_works_all_the_same() {
    let (_pod, events) = said("strict-modes", "hello").await;
    assert_eq!(events.messages(), ["echo: hello"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_takes_no_servers_of_tools_is_talked_to_and_people_are_told() {
    let (_pod, events) = said("no-mcp", "hello").await;
    assert_eq!(events.messages(), ["echo: hello"]);
    let told = |event: &a8s_wire::Event| matches!(&event.body, EventBody::Notice { text } if text.contains("takes no MCP servers"));
    assert!(events.seen.iter().any(told), "{:?}", events.seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_wants_to_know_who_is_there_is_told_to_take_its_key() {
    let (_pod, events) = said("key", "heard").await;
    assert_eq!(events.messages(), ["some-api-key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_model_is_chosen_by_an_option_gets_the_one_that_was_granted() {
    let pod = Pod::with_stub_that("model");
    pod.grant(&json!([{"name": "llm", "kind": "model", "provider": "anthropic", "model": "m-1",
                       "baseUrl": "http://model.invalid"}]));
    pod.configure(json!({"model": "llm"})).await;
    pod.prompt("m1", "heard", &[]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn");
    assert_eq!(events.messages(), ["model=m-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_lost_the_session_that_it_should_take_up_is_told_the_conversation() {
    let pod = Pod::with_stub_that("forgets");
    for (id, content) in [("m1", "hello"), ("m2", "crash"), ("m3", "go on")] {
        pod.prompt(id, content, &[]).await;
    }
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m3").await, "end_turn");
    let last = events.messages().pop().unwrap();
    assert!(last.contains("jane: hello") && last.ends_with("go on"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_reads_files_through_us_hears_that_it_has_to_do_it_itself() {
    let (_pod, events) = said("nothing", "fs").await;
    assert_eq!(events.messages(), ["fs: -32601"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_puts_megabytes_into_one_line_is_read_to_its_end() {
    let pod = Pod::with_stub();
    pod.prompt("m1", "long 1500000", &[]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn");
    let whole = events.seen.iter().find_map(|event| match &event.body {
        EventBody::Message { more, .. } => more.as_ref().map(|more| more.size),
        _ => None,
    });
    assert_eq!(whole, Some(1_500_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn however_often_it_is_interrupted_one_cancel_is_sent_and_the_next_message_gets_through() {
    let pod = Pod::with_patience();
    pod.prompt("m1", "deaf-once", &[]).await;
    let mut events = pod.events("").await;
    events.until("step", |event| matches!(event.body, EventBody::Step { .. })).await;
    for _ in 0..5 {
        assert!(pod.interrupt(1).await);
    }
    std::fs::write(pod.home().join("go"), "").unwrap();
    assert_eq!(events.turn_end("m1").await, "cancelled");
    pod.prompt("m2", "heard", &[]).await;
    assert_eq!(events.turn_end("m2").await, "end_turn");
    assert_eq!(events.messages().pop().as_deref(), Some("cancel"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_desktop_its_tools_say_so_and_ours_work() {
    let pod = Pod::without_desktop();
    let tools = common::tools::Tools::connect(&pod).await;
    let (text, _) = tools.call("computer", json!({"action": "screenshot"})).await;
    assert!(text.starts_with("display_unavailable"), "{text}");
    let plan = json!({"entries": [{"title": "wait for the desktop", "status": "pending"}]});
    assert_eq!(tools.call("set_plan", plan).await.0, "ok");
}
