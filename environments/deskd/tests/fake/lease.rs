//! The control lease, as the agent and people meet it.

use std::time::Instant;

use a8s_rfb::encode;
use a8s_wire::{Holder, Scope, SetControl};
use serde_json::{Value, json};

use crate::host::{Agent, Host, eventually};

const BOTH: [Scope; 2] = [Scope::View, Scope::Control];
/// Far longer than any test waits: what ends earlier was cut.
const LONG: u32 = 90;

fn to(user: &str, epoch: i64) -> SetControl {
    SetControl { holder: Holder::User, user: Some(user.into()), private: false, epoch }
}

fn to_agent(epoch: i64) -> SetControl {
    SetControl { holder: Holder::Agent, user: None, private: false, epoch }
}

async fn events(host: &Host) -> Agent {
    let agent = host.agent().await;
    agent.must("launch", json!({"program": "events"})).await;
    agent
}

fn hold(key: &str) -> Value {
    json!({"action": "hold_key", "text": key, "duration": LONG, "screenshot_after": false})
}

#[tokio::test]
async fn taking_control_cuts_a_long_text_before_its_next_input() {
    let host = Host::fake().await;
    let agent = events(&host).await;
    let typing = tokio::spawn(async move {
        agent.call("computer", json!({"action": "type", "text": "x".repeat(100_000)})).await
    });
    eventually("the agent types", async || host.events().len() > 100).await;
    assert_eq!(host.set_control(&to("jane", 1)).await.0, 200);
    let mut jane = host.viewer("jane", &BOTH).await;
    // What the agent had sent is processed before her stream is answered.
    jane.barrier().await;
    let after = host.events().len();
    let answer = typing.await.unwrap();
    // The second, if it came to its next input while the lease was changing.
    let said = ["control_held_by_user: jane", "control_pending"];
    assert!(answer.error && said.iter().any(|said| answer.text.starts_with(said)), "{}", answer.text);
    jane.send(&encode::pointer(0, 5, 200)).await;
    jane.barrier().await;
    let events = host.events();
    assert_eq!(events[after..], ["move 5 200"], "the agent went on");
    assert!(after < 200_000, "the text was finished; the test proves nothing");
    assert_eq!(host.held(), [""; 0]);
}

#[tokio::test]
async fn every_wait_ends_when_control_is_taken() {
    let host = Host::fake().await;
    let agent = events(&host).await;
    agent.must("launch", json!({"program": "animation", "args": ["600000"]})).await;
    let mut epoch = 0;
    for (tool, arguments) in [
        ("computer", hold("a")),
        ("computer", json!({"action": "wait", "duration": LONG})),
        (
            "computer_batch",
            json!({"actions": [{"action": "wait", "duration": LONG}, {"action": "screenshot"}]}),
        ),
        ("wait_settled", json!({"timeout_seconds": LONG})),
        ("wait_for_window", json!({"title_contains": "never", "timeout_seconds": LONG})),
    ] {
        let began = Instant::now();
        let call = agent.begin(tool, arguments).await;
        // The call has arrived when this one, sent after it over the same connection, is answered.
        agent.must("desktop_info", json!({})).await;
        epoch += 1;
        host.set_control(&to("jane", epoch)).await;
        let answer = serde_json::to_value(call.await_response().await.unwrap()).unwrap();
        assert_eq!(answer["structuredContent"]["error"], "control_held_by_user", "{tool}");
        assert!(began.elapsed().as_secs() < u64::from(LONG) / 2, "{tool} was not cut");
        epoch += 1;
        host.set_control(&to_agent(epoch)).await;
        agent.must("computer", json!({"action": "screenshot"})).await;
    }
    assert_eq!(host.held(), [""; 0]);
}

#[tokio::test]
async fn a_call_that_is_withdrawn_sends_nothing_more_and_lets_go() {
    let host = Host::fake().await;
    let agent = events(&host).await;
    agent.must("computer", json!({"action": "left_mouse_down", "coordinate": [300, 300]})).await;
    let call = agent.begin("computer", hold("a")).await;
    eventually("the key is down", async || host.held() == ["button 1", "key a"]).await;
    call.cancel(None).await.unwrap();
    eventually("everything is up", async || host.held().is_empty()).await;

    let call = agent.begin("computer", json!({"action": "type", "text": "x".repeat(100_000)})).await;
    let before = host.events().len();
    eventually("the agent types", async || host.events().len() > before).await;
    call.cancel(None).await.unwrap();
    // The next call waits until the one before it is over.
    agent.must("computer", json!({"action": "key", "text": "z"})).await;
    let events = host.events();
    assert_eq!(events[events.len() - 2..], ["key z down", "key z up"]);
    assert!(events.len() < 200_000, "the text was finished");
}

#[tokio::test]
async fn an_agent_that_is_gone_sends_nothing_more_and_lets_go() {
    let host = Host::fake().await;
    let agent = events(&host).await;
    let call = agent.begin("computer", hold("a")).await;
    eventually("the key is down", async || host.held() == ["key a"]).await;
    drop((call, agent));
    eventually("the key is up", async || host.held().is_empty()).await;
}

#[tokio::test]
async fn after_a_takeover_the_agent_must_look_before_it_acts() {
    let host = Host::fake().await;
    let agent = events(&host).await;
    let click = json!({"action": "left_click", "coordinate": [200, 200]});
    let before = host.events();
    let mut epoch = 0;
    let mut hand_back = async || {
        host.set_control(&to("jane", epoch + 1)).await;
        host.set_control(&to_agent(epoch + 2)).await;
        epoch += 2;
    };
    for (tool, arguments) in [
        ("computer_batch", json!({"actions": [{"action": "screenshot"}, {"action": "key", "text": "a"}]})),
        ("launch", json!({"program": "editor"})),
        ("clipboard", json!({"action": "set", "text": "x"})),
        ("computer", click.clone()),
    ] {
        hand_back().await;
        let blind = agent.call(tool, arguments).await;
        assert!(blind.error, "{tool} acted on what was there before");
        assert!(
            blind.text.starts_with("control_handed_back: control was handed back by jane"),
            "{}",
            blind.text
        );
        assert_eq!((blind.json["user"].as_str(), blind.pictures), (Some("jane"), 1), "{tool}");
        assert_eq!(host.events(), before, "{tool}");
    }
    agent.must("computer", click).await;
    assert_ne!(host.events(), before, "it has looked, and still may not");
    hand_back().await;
    let look = agent.must("computer", json!({"action": "screenshot"})).await;
    assert_eq!((look.json["note"].as_str(), look.pictures), (Some("control was handed back by jane"), 1));
    let again = agent.must("wait_settled", json!({})).await;
    assert!(again.json.get("note").is_none() && again.pictures == 0, "it is told once");
}

#[tokio::test]
async fn in_private_nobody_but_the_holder_sees_anything() {
    let host = Host::fake().await;
    let agent = host.agent().await;
    agent.must("launch", json!({"program": "editor", "args": ["password.txt"]})).await;
    agent.must("clipboard", json!({"action": "set", "text": "old"})).await;
    let mut joe = host.viewer("joe", &[Scope::View]).await;
    host.set_control(&SetControl { private: true, ..to("jane", 1) }).await;
    joe.closed().await;
    for (tool, arguments) in [
        ("computer", json!({"action": "screenshot"})),
        ("computer", json!({"action": "zoom", "region": [0, 0, 9, 9]})),
        ("computer", json!({"action": "cursor_position"})),
        ("computer_batch", json!({"actions": [{"action": "screenshot"}]})),
        ("clipboard", json!({"action": "get"})),
        ("clipboard", json!({"action": "set", "text": "x"})),
        ("wait_for_window", json!({"title_contains": "password"})),
        ("wait_settled", json!({})),
        ("launch", json!({"program": "editor"})),
    ] {
        let answer = agent.call(tool, arguments).await;
        assert_eq!(answer.json["error"], "control_held_by_user", "{tool}");
        assert!(answer.pictures == 0 && !answer.text.contains("password"), "{tool}: {}", answer.text);
    }
    let info = agent.must("desktop_info", json!({})).await;
    assert!(!info.text.contains("password"), "{}", info.text);
    assert_eq!(info.json["control"]["holder"], "User");
    for user in ["joe", "system"] {
        let token = host.token(user, &[Scope::View]);
        assert_eq!(host.get("/v1/screenshot", Some(&token)).await.0, 423, "{user} gets a picture");
        assert_eq!(host.get("/v1/screenshot?width=64", Some(&token)).await.0, 423, "{user} gets a thumbnail");
        assert_eq!(host.upgrade(&token).await.status(), 423);
    }

    // She types a password and copies it.
    let mut jane = host.viewer("jane", &BOTH).await;
    for symbol in [0x70, 0x77] {
        jane.send(&encode::key(symbol, true)).await;
        jane.send(&encode::key(symbol, false)).await;
    }
    for symbol in [0x61, 0x63] {
        jane.send(&encode::key(0xffe3, true)).await;
        jane.send(&encode::key(symbol, true)).await;
        jane.send(&encode::key(symbol, false)).await;
        jane.send(&encode::key(0xffe3, false)).await;
    }
    jane.barrier().await;
    host.set_control(&to_agent(2)).await;
    let clipboard = agent.must("clipboard", json!({"action": "get"})).await;
    assert_eq!(clipboard.json["text"], "", "what she copied in private can be read");
}

#[tokio::test]
async fn a_person_whose_connection_drops_still_has_control() {
    let mut host = Host::fake().await;
    let agent = events(&host).await;
    host.set_control(&to("jane", 1)).await;
    let mut jane = host.viewer("jane", &BOTH).await;
    jane.send(&encode::pointer(1, 300, 300)).await;
    jane.barrier().await;
    assert_eq!(host.held(), ["button 1"]);
    drop(jane);
    eventually("her button is up", async || host.held().is_empty()).await;
    let state = host.state().await;
    assert_eq!((state.control.user.as_deref(), state.viewers), (Some("jane"), 0));
    let answer = agent.call("computer", json!({"action": "key", "text": "a"})).await;
    assert_eq!(answer.json["error"], "control_held_by_user");

    host.restart().await;
    assert_eq!(host.state().await.control.user.as_deref(), Some("jane"), "a crash gave the desktop away");
    let answer = host.agent().await.call("computer", json!({"action": "key", "text": "a"})).await;
    assert_eq!(answer.json["error"], "control_held_by_user");
}

#[tokio::test]
async fn only_the_newest_epoch_counts() {
    let host = Host::fake().await;
    assert_eq!(host.set_control(&to("jane", 5)).await.0, 200);
    assert_eq!(host.set_control(&to_agent(4)).await.0, 409);
    assert_eq!(host.set_control(&to("joe", 5)).await.0, 409);
    assert_eq!(host.set_control(&to("jane", 5)).await.0, 200);
    let mut joe = host.viewer("joe", &BOTH).await;
    let agent = host.agent().await;
    joe.send(&encode::pointer(0, 1, 2)).await;
    joe.barrier().await;
    assert_eq!(host.set_control(&to_agent(6)).await.0, 200);
    let position = agent.must("computer", json!({"action": "cursor_position"})).await.json;
    assert_ne!((&position["x"], &position["y"]), (&json!(1), &json!(2)), "joe moved the pointer");
}
