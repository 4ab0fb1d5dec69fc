//! Harnesses that misbehave when they are interrupted, and harnesses that come and go: whatever they do, their turn ends, the runner is idle
//! in time and the next message is answered.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use a8s_wire::{EventBody, RunnerPhase};
use common::{Events, Pod};
use serde_json::json;

/// Interrupts `content` once its tool runs, then sends a message; how the first turn ended and what was said to the second.
async fn interrupted(content: &str) -> (String, String, Events) {
    // Only one that never obeys is to be given up soon; on a busy machine the others would be, too.
    let pod = if content == "deaf" { Pod::with_stub() } else { Pod::with_patience() };
    pod.prompt("m1", content, &[]).await;
    let mut events = pod.events("").await;
    events.until("step", |event| matches!(event.body, EventBody::Step { .. })).await;
    let began = Instant::now();
    assert!(pod.interrupt(1).await);
    assert!(pod.interrupt(1).await || pod.state().await.state != RunnerPhase::Running, "twice is once");
    let reason = events.turn_end("m1").await;
    pod.prompt("m2", "still there?", &[]).await;
    assert_eq!(events.turn_end("m2").await, "end_turn");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let open = events
        .seen
        .iter()
        .filter(|e| matches!(&e.body, EventBody::Step { status, .. } if status == "failed"));
    assert_eq!(open.count(), 1, "what was open is closed");
    let ends = events.seen.iter().filter(|e| matches!(&e.body, EventBody::TurnEnded { .. })).count();
    assert_eq!(ends, 2, "each turn ends once");
    assert_eq!(pod.state().await.state, RunnerPhase::Idle);
    let said = events.messages().pop().unwrap();
    (reason, said, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harness_that_says_end_turn_after_a_cancel_was_cancelled() {
    let (reason, said, _) = interrupted("late").await;
    assert_eq!(reason, "cancelled");
    assert!(said.contains("The user interrupted") && said.ends_with("still there?"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_stop_reason_for_the_same_turn_ends_no_other_one() {
    let (reason, said, _) = interrupted("twice").await;
    assert_eq!(reason, "cancelled");
    assert!(said.ends_with("still there?"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_after_a_cancel_is_a_cancel_and_one_cancel_is_sent() {
    let (reason, _, events) = interrupted("once").await;
    assert_eq!(reason, "cancelled");
    assert!(!events.seen.iter().any(|e| matches!(&e.body, EventBody::TurnEnded { detail: Some(_), .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_harness_is_replaced_in_time() {
    let (reason, said, _) = interrupted("deaf").await;
    assert_eq!(reason, "interrupted");
    assert!(said.contains("You were restarted") && said.contains("jane: deaf"), "{said}");
}

/// What the harness is told with its first message after it was killed.
async fn told_after_a_crash(can: &str) -> String {
    let pod = Pod::with_stub_that(can);
    pod.configure(json!({"requirement": "a report of the rain"})).await;
    for (id, content) in [("m1", "hello"), ("m2", "crash"), ("m3", "go on")] {
        pod.prompt(id, content, &[]).await;
    }
    let mut events = pod.events("").await;
    events.turn_end("m3").await;
    assert!(
        !events.messages().iter().any(|said| said.contains("old message")),
        "what is loaded is not told again"
    );
    events.messages().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harness_that_keeps_its_sessions_is_told_nothing_after_a_crash() {
    assert_eq!(told_after_a_crash("resume").await, "echo: go on");
    assert_eq!(told_after_a_crash("load").await, "echo: go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harness_without_memory_is_told_the_conversation_and_what_is_to_be_reached() {
    let said = told_after_a_crash("nothing").await;
    let parts = ["[What is to be reached]\na report of the rain", "jane: hello", "jane: crash", "go on"];
    let places: Vec<usize> =
        parts.iter().map(|part| said.find(part).unwrap_or_else(|| panic!("{part}: {said}"))).collect();
    assert!(places.is_sorted(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_compaction_the_requirement_is_told_again_once() {
    let pod = Pod::with_stub();
    pod.configure(json!({"requirement": "a report of the rain"})).await;
    for (id, content) in [("m1", "compact"), ("m2", "go on"), ("m3", "and on")] {
        pod.prompt(id, content, &[]).await;
    }
    let mut events = pod.events("").await;
    events.turn_end("m3").await;
    let said = events.messages();
    assert_eq!(
        said,
        ["echo: [A reminder: what is to be reached]\na report of the rain\ngo on", "echo: and on"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_harness_takes_over_when_the_turn_is_over() {
    let pod = Pod::with_stub();
    pod.prompt("m1", "late", &[]).await;
    let mut events = pod.events("").await;
    events.until("step", |event| matches!(event.body, EventBody::Step { .. })).await;
    let stub = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stub_harness.py");
    let settings = json!({"harness": "other", "command": ["env", "NAME=other", "python3", stub], "instructions": "be kind"});
    pod.configure(settings).await;
    assert_eq!(pod.state().await.state, RunnerPhase::Running, "the turn goes on");
    pod.prompt("m2", "env NAME", &[]).await;
    assert!(pod.interrupt(1).await);
    assert_eq!(events.turn_end("m1").await, "cancelled");
    assert_eq!(events.turn_end("m2").await, "end_turn");
    assert_eq!(events.messages(), ["other"]);
    assert!(
        !events.seen.iter().any(|event| matches!(event.body, EventBody::Notice { .. })),
        "that is no failure"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harness_that_is_not_there_is_said_so_and_settings_survive_a_restart() {
    let mut pod = Pod::with_stub();
    pod.configure(json!({"harness": "ghost", "command": ["no-such-harness"]})).await;
    pod.kill_runner();
    pod.start_runner();
    let state = loop {
        let state = pod.state().await;
        if state.state == RunnerPhase::Failed {
            break state;
        }
        tokio::task::yield_now().await;
    };
    let reason = state.reason.unwrap();
    assert!(reason.contains("no-such-harness") && reason.contains("image"), "{reason}");
    assert_eq!(state.settings.unwrap().harness, "ghost");
    pod.configure(json!({})).await;
    pod.prompt("m1", "hello", &[]).await;
    assert_eq!(pod.events("").await.turn_end("m1").await, "end_turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_message_is_kept_as_a_blob_and_shown_by_its_beginning() {
    let pod = Pod::with_stub();
    pod.prompt("m1", "long 40000", &[]).await;
    let mut events = pod.events("").await;
    events.turn_end("m1").await;
    let Some((text, more)) = events.seen.iter().find_map(|event| match &event.body {
        EventBody::Message { text, more } => Some((text.clone(), more.clone().unwrap())),
        _ => None,
    }) else {
        panic!("no message")
    };
    assert_eq!((text.len(), more.size), (4096, 40_000));
    let blob = pod.get(&format!("/v1/blobs/{}", more.sha256)).await.text().await.unwrap();
    assert_eq!(blob, "x".repeat(40_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn thoughts_are_streamed_only_and_notices_and_own_usage_are_told() {
    let pod = Pod::with_stub();
    let mut events = pod.events("").await;
    pod.prompt("m1", "think", &[]).await;
    pod.prompt("m2", "spend 1000 0.5", &[]).await;
    pod.prompt("m3", "spend 1500 0.75", &[]).await;
    events
        .until("thought", |event| matches!(&event.body, EventBody::Thinking { text } if text == "hmm"))
        .await;
    events.turn_end("m3").await;
    assert!(
        events
            .seen
            .iter()
            .any(|event| matches!(&event.body, EventBody::Notice { text } if text == "Careful"))
    );
    assert!(!pod.transcript().contains("hmm"));
    let usage = pod.state().await.usage;
    assert_eq!((usage.input_tokens, usage.cost_micros), (1500, 750_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_misses_nothing_that_was_recorded() {
    let pod = Pod::with_stub();
    let mut slow = pod.events("").await;
    // More than the ring of live events holds.
    let pieces = vec!["piece "; 3000].join("|");
    for id in ["m1", "m2"] {
        pod.prompt(id, &format!("pieces {pieces}"), &[]).await;
    }
    let mut quick = pod.events("").await;
    quick.turn_end("m2").await;
    slow.turn_end("m2").await;
    assert_eq!(slow.recorded(), quick.recorded());
}
