//! Turns, queue, interrupts, crashes: shim, agent and runner as processes.

#![allow(clippy::unwrap_used)]

mod common;

use a8s_wire::{EventBody, RunnerPhase};
use common::Pod;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_is_answered_and_recorded_in_order() {
    let pod = Pod::start();
    let accepted = pod.prompt("m1", "/plan one|two\n/say hello\n/say world", &[]).await;
    assert_eq!(accepted.turn, 1);
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn");
    assert_eq!(events.messages(), ["hello", "world"]);
    let kinds: Vec<&str> = events.recorded().iter().map(|event| event.body.type_name()).collect();
    assert_eq!(kinds, ["turnStarted", "plan", "message", "message", "turnEnded"]);
    let state = pod.state().await;
    assert_eq!(
        (state.state, state.consumed, state.plan.len()),
        (RunnerPhase::Idle, vec!["m1".to_owned()], 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_their_turn_and_are_taken_once_however_often_they_are_sent() {
    let pod = Pod::start();
    let mut events = pod.events("").await;
    let first = pod.prompt("m1", "/say waiting\n/wait-for-cancel", &[]).await;
    events.until("first message", |event| matches!(event.body, EventBody::Delta { .. })).await;
    let second = pod.prompt("m2", "/say two", &[]).await;
    let again = pod.prompt("m1", "/say waiting\n/wait-for-cancel", &[]).await;
    assert_eq!((again.turn, again.position), (first.turn, 0));
    assert_eq!(pod.prompt("m2", "/say two", &[]).await, second);
    assert_eq!((second.turn, second.position), (2, 1));
    assert_eq!(pod.state().await.queue, ["m2"]);

    assert!(!pod.interrupt(second.turn).await, "only the running turn can be interrupted");
    assert!(pod.interrupt(first.turn).await);
    assert_eq!(events.turn_end("m1").await, "cancelled");
    assert_eq!(events.turn_end("m2").await, "end_turn");
    assert!(!pod.interrupt(first.turn).await, "a turn that is over is left alone");
    assert_eq!(events.messages(), ["waiting", "two"]);
    assert_eq!(pod.state().await.consumed, ["m1", "m2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_command_is_stopped_by_an_interrupt() {
    let pod = Pod::start();
    let marker = pod.home().join("pid");
    let accepted = pod.prompt("m1", "/shell echo $$ > pid; exec sleep 1000", &[]).await;
    let mut events = pod.events("").await;
    events.until("step", |event| matches!(event.body, EventBody::Step { .. })).await;
    let pid = loop {
        if let Ok(Ok(pid)) = std::fs::read_to_string(&marker).map(|text| text.trim().parse::<i32>()) {
            break pid;
        }
        tokio::task::yield_now().await;
    };
    assert!(pod.interrupt(accepted.turn).await);
    assert_eq!(events.turn_end("m1").await, "cancelled");
    // The agent reaps it; until then it is a zombie, which has no command line.
    let gone = || std::fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |line| line.is_empty());
    while !gone() {
        tokio::task::yield_now().await;
    }
    let mut open = events.seen.iter().filter_map(|event| match &event.body {
        EventBody::Step { status, .. } => Some(status.as_str()),
        _ => None,
    });
    assert_eq!(open.next_back(), Some("failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_harness_is_replaced_and_the_next_message_is_answered() {
    let pod = Pod::with_stub();
    let accepted = pod.prompt("m1", "be deaf", &[]).await;
    let mut events = pod.events("").await;
    events.until("step", |event| matches!(event.body, EventBody::Step { .. })).await;
    pod.prompt("m2", "still there?", &[]).await;
    assert!(pod.interrupt(accepted.turn).await);
    assert_eq!(events.turn_end("m1").await, "interrupted");
    assert_eq!(events.turn_end("m2").await, "end_turn");
    let answer = events.messages().pop().unwrap();
    assert!(answer.starts_with("echo: ") && answer.ends_with("still there?"), "{answer}");
    assert!(answer.contains("jane: be deaf"), "a harness without memory is told what was said: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_harness_ends_its_turn_only() {
    let pod = Pod::with_stub();
    pod.prompt("m1", "crash please", &[]).await;
    pod.prompt("m2", "unknown things may come", &[]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "error");
    assert_eq!(events.turn_end("m2").await, "end_turn");
    assert!(
        events
            .seen
            .iter()
            .any(|event| matches!(&event.body, EventBody::Notice { text } if text.contains("restarted")))
    );
    assert_eq!(events.messages()[0], "half a mess", "what was said before the crash is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn permission_is_given_once_and_never_for_always() {
    let pod = Pod::with_stub();
    pod.configure(json!({"permissions": "Allow"})).await;
    pod.prompt("m1", "ask", &[]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn");
    assert_eq!(events.messages(), [r#"outcome: {"optionId": "once", "outcome": "selected"}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_runner_loses_nothing_and_repeats_nothing() {
    let mut pod = Pod::start();
    pod.prompt("m0", "/say zero", &[]).await;
    let mut events = pod.events("").await;
    events.turn_end("m0").await;
    pod.prompt("m1", "/say one\n/shell echo run >> runs\n/wait-for-cancel", &[]).await;
    events
        .until(
            "output of m1",
            |event| matches!(&event.body, EventBody::Delta { text } if text.contains("```")),
        )
        .await;
    pod.prompt("m2", "/say two", &[]).await;
    let before = events.recorded();

    pod.kill_runner();
    pod.start_runner();
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "error");
    assert_eq!(events.turn_end("m2").await, "end_turn");
    for id in ["m0", "m1", "m2"] {
        pod.prompt(id, "/say again", &[]).await;
    }
    let state = pod.state().await;
    assert_eq!((state.consumed, state.queue.len()), (vec!["m0".into(), "m1".into(), "m2".into()], 0));
    let after = events.recorded();
    assert_eq!(after[..before.len()], before[..], "what was streamed is what is recorded");
    let ids: Vec<i64> = after.iter().map(|event| event.id.seq).collect();
    assert_eq!(ids, (1..=i64::try_from(ids.len()).unwrap()).collect::<Vec<_>>());
    assert_eq!(std::fs::read_to_string(pod.home().join("runs")).unwrap(), "run\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_conversation_goes_on_in_a_new_epoch() {
    let mut pod = Pod::start();
    pod.prompt("m1", "/say one", &[]).await;
    pod.events("").await.turn_end("m1").await;
    let seq = pod.state().await.seq;
    pod.kill_runner();
    pod.set_epoch(1);
    pod.start_runner();
    pod.prompt("m2", "/say two", &[]).await;
    let mut events = pod.events(&format!("0.{seq}")).await;
    events.turn_end("m2").await;
    let first = &events.recorded()[0];
    assert_eq!((first.id.epoch, first.id.seq), (1, seq + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_resumes_exactly_after_the_last_event_seen() {
    let pod = Pod::start();
    pod.prompt("m1", "/say a\n/say b\n/say c", &[]).await;
    let mut all = pod.events("").await;
    all.turn_end("m1").await;
    let all = all.recorded();
    for cut in 0..all.len() - 1 {
        let mut rest = pod.events(&all[cut].id.to_string()).await;
        rest.turn_end("m1").await;
        assert_eq!(rest.seen, all[cut + 1..], "after {}", all[cut].id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_somebody_has_read_are_recorded_although_the_runner_is_killed() {
    let mut pod = Pod::with_stub();
    pod.prompt("m1", "half It rai|ns in |Köln", &[]).await;
    let mut events = pod.events("").await;
    let ends = |event: &a8s_wire::Event| matches!(&event.body, EventBody::Delta { text } if text == "Köln");
    events.until("last piece", ends).await;
    assert!(events.messages().is_empty(), "it may go on");
    pod.kill_runner();
    for _ in 0..2 {
        pod.start_runner();
        let mut events = pod.events("").await;
        assert_eq!(events.turn_end("m1").await, "error");
        assert_eq!(events.messages(), ["It rains in Köln"]);
        pod.kill_runner();
    }
    pod.start_runner();
    pod.prompt("m2", "pieces a|b", &[]).await;
    let mut events = pod.events("").await;
    events.turn_end("m2").await;
    assert_eq!(events.messages().len(), 2, "and once: {:?}", events.messages());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_is_a_message_as_soon_as_the_agent_says_so_or_falls_silent() {
    let pod = Pod::start();
    pod.prompt("m1", "/say now\n/wait-for-cancel", &[]).await;
    let mut events = pod.events("").await;
    events.until("message", |event| matches!(event.body, EventBody::Message { .. })).await;
    assert_eq!(events.messages(), ["now"]);

    let pod = Pod::with_stub();
    pod.prompt("m1", "half I |look.", &[]).await;
    let mut events = pod.events("").await;
    events.until("message", |event| matches!(event.body, EventBody::Message { .. })).await;
    assert_eq!(events.messages(), ["I look."]);
    assert!(pod.interrupt(1).await);
    assert_eq!(events.turn_end("m1").await, "interrupted");
    assert_eq!(events.messages(), ["I look."], "it is not said twice");
}
