//! What an interrupt does to the agent's hands: with deskd's display without X, where a toy program writes down each input.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use a8s_wire::EventBody;
use common::{Pod, tools::Tools};
use serde_json::json;

fn received(pod: &Pod) -> String {
    std::fs::read_to_string(pod.home().join("events.txt")).unwrap_or_default()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < until, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_lets_go_of_the_desktop_at_once_even_if_the_harness_is_deaf() {
    let pod = Pod::with_fake_display();
    pod.prompt("m1", "deaf", &[]).await;
    let mut events = pod.events("").await;
    events.until("step", |event| matches!(event.body, EventBody::Step { .. })).await;
    let tools = Tools::connect(&pod).await;
    tools.call("launch", json!({"program": "events"})).await;
    let hold = tools.call("computer", json!({"action": "hold_key", "text": "a", "duration": 90}));
    let stop = async {
        eventually("the key is down", || received(&pod).contains("key a down")).await;
        let began = Instant::now();
        assert!(pod.interrupt(1).await);
        eventually("the key is up", || received(&pod).contains("key a up")).await;
        println!("the last input came {:?} after the interrupt", began.elapsed());
    };
    let ((text, _), ()) = tokio::join!(hold, stop);
    assert!(text.starts_with("cancelled"), "{text}");
    let before = received(&pod);
    // It does not hear, and goes on.
    let (text, _) = tools.call("computer", json!({"action": "key", "text": "b"})).await;
    assert!(text.starts_with("cancelled"), "{text}");
    assert_eq!(events.turn_end("m1").await, "interrupted");
    assert_eq!(received(&pod), before);

    pod.prompt("m2", "still there?", &[]).await;
    assert_eq!(events.turn_end("m2").await, "end_turn");
    tools.call("computer", json!({"action": "key", "text": "c"})).await;
    assert!(received(&pod).ends_with("key c down\nkey c up\n"), "{}", received(&pod));
}
