//! The control lease over all channels.

use a8s_rfb::encode;
use a8s_wire::{Holder, Scope, SetControl};
use serde_json::json;

use crate::host::{Host, eventually};

const BUTTON_1: u16 = 1 << 8;
const BOTH: [Scope; 2] = [Scope::View, Scope::Control];

fn to(user: &str, epoch: i64) -> SetControl {
    SetControl { holder: Holder::User, user: Some(user.into()), private: false, epoch }
}

fn to_agent(epoch: i64) -> SetControl {
    SetControl { holder: Holder::Agent, user: None, private: false, epoch }
}

#[tokio::test]
async fn a_control_token_works_only_while_its_user_holds_the_lease() {
    let host = Host::start().await;
    let mut jane = host.viewer("jane", &BOTH).await;
    jane.send(&encode::pointer(0, 100, 100)).await;
    jane.barrier().await;
    assert_ne!(host.pointer().0, (100, 100), "moved without the lease");

    assert_eq!(host.set_control(&to("jane", 1)).await.0, 200);
    jane.send(&encode::pointer(0, 200, 150)).await;
    jane.barrier().await;
    assert_eq!(host.pointer().0, (200, 150));

    let mut joe = host.viewer("joe", &BOTH).await;
    joe.send(&encode::pointer(0, 300, 300)).await;
    joe.barrier().await;
    assert_eq!(host.pointer().0, (200, 150), "another user moved the pointer");
}

#[tokio::test]
async fn losing_the_lease_lets_go_of_the_pressed_button_and_key() {
    let host = Host::start().await;
    host.set_control(&to("jane", 1)).await;
    let mut jane = host.viewer("jane", &BOTH).await;
    jane.send(&encode::pointer(1, 200, 150)).await;
    jane.send(&encode::key(0xffe3, true)).await;
    jane.barrier().await;
    assert_eq!(host.pointer().1 & BUTTON_1, BUTTON_1, "the button is not pressed; the test proves nothing");
    assert_eq!(host.pressed_keys(), 1);

    assert_eq!(host.set_control(&to_agent(2)).await.0, 200);
    eventually("everything is released", async || {
        host.pointer().1 & BUTTON_1 == 0 && host.pressed_keys() == 0
    })
    .await;
    let agent = host.agent().await;
    let movement = json!({"action": "mouse_move", "coordinate": [50, 60]});
    let blind = agent.call("computer", movement.clone()).await;
    assert_eq!(blind.json["error"], "control_handed_back", "the agent acts on what it saw before");
    assert!(blind.jpeg.is_some(), "it is not shown the screen");
    agent.must("computer", movement).await;
    assert_eq!(host.pointer().0, (50, 60), "the agent's pointer is ignored");
    jane.send(&encode::pointer(0, 400, 400)).await;
    jane.barrier().await;
    assert_eq!(host.pointer().0, (50, 60), "the loser still moves the pointer");
    host.set_control(&to("jane", 3)).await;
    jane.send(&encode::pointer(0, 300, 200)).await;
    jane.barrier().await;
    host.set_control(&to_agent(4)).await;
    let position = agent.must("computer", json!({"action": "cursor_position"})).await.json;
    assert_eq!(
        (&position["x"], &position["y"]),
        (&json!(300), &json!(200)),
        "the agent does not know where the person left the pointer"
    );
}

#[tokio::test]
async fn a_viewer_that_vanishes_leaves_no_button_pressed() {
    let host = Host::start().await;
    host.set_control(&to("jane", 1)).await;
    let mut jane = host.viewer("jane", &BOTH).await;
    jane.send(&encode::pointer(1, 200, 150)).await;
    jane.send(&encode::key(0x61, true)).await;
    jane.barrier().await;
    assert_eq!(host.pointer().1 & BUTTON_1, BUTTON_1, "the button is not pressed; the test proves nothing");
    drop(jane);
    eventually("everything is released", async || {
        host.pointer().1 & BUTTON_1 == 0 && host.pressed_keys() == 0
    })
    .await;
}

#[tokio::test]
async fn an_old_epoch_is_refused() {
    let host = Host::start().await;
    assert_eq!(host.set_control(&to("jane", 5)).await.0, 200);
    assert_eq!(host.set_control(&to_agent(4)).await.0, 409);
    let (status, state) = host.set_control(&to("jane", 5)).await;
    assert_eq!((status, &state["user"]), (200, &json!("jane")));
    assert_eq!(host.set_control(&to("joe", 5)).await.0, 409);
    assert_eq!(host.set_control(&to_agent(6)).await.0, 200);
}

#[tokio::test]
async fn the_agent_is_told_who_has_control_and_does_nothing() {
    let host = Host::start().await;
    let agent = host.agent().await;
    host.set_control(&to("jane", 1)).await;
    let before = host.pointer();
    for (tool, arguments) in [
        ("computer", json!({"action": "left_click", "coordinate": [77, 77]})),
        ("computer", json!({"action": "screenshot"})),
        ("launch", json!({"program": "terminal"})),
        ("wait_for_window", json!({"title_contains": "x"})),
    ] {
        let answer = agent.call(tool, arguments).await;
        assert!(
            answer.error && answer.text.starts_with("control_held_by_user: jane"),
            "{tool}: {}",
            answer.text
        );
        assert_eq!(answer.json["user"], "jane");
        assert!(answer.jpeg.is_none());
    }
    assert_eq!(host.pointer(), before);
    let info = agent.must("desktop_info", json!({})).await;
    assert_eq!(info.json["control"]["holder"], "User");
}

#[tokio::test]
async fn a_private_desktop_is_seen_by_its_holder_only() {
    let mut host = Host::start().await;
    let agent = host.agent().await;
    let mut joe = host.viewer("joe", &[Scope::View]).await;
    let mut jane = host.viewer("jane", &BOTH).await;
    joe.barrier().await;
    host.set_control(&SetControl { private: true, ..to("jane", 1) }).await;
    joe.closed().await;
    jane.barrier().await;
    let (joe_sees, jane_sees) = (host.token("joe", &[Scope::View]), host.token("jane", &[Scope::View]));
    assert_eq!(host.get("/v1/screenshot", Some(&joe_sees)).await.0, 423);
    assert_eq!(host.upgrade(&joe_sees).await.status(), 423);
    assert_eq!(host.get("/v1/screenshot", Some(&jane_sees)).await.0, 200);
    assert!(agent.call("computer", json!({"action": "screenshot"})).await.error);
    assert_eq!(agent.must("desktop_info", json!({})).await.json["windows"], json!([]));

    // A crash of deskd must not give the desktop back to the agent.
    host.restart().await;
    let agent = host.agent().await;
    assert!(agent.call("computer", json!({"action": "screenshot"})).await.error);
    assert_eq!(host.get("/v1/screenshot", Some(&joe_sees)).await.0, 423);
}

#[tokio::test]
async fn taking_control_stops_the_agent_in_the_middle_of_holding_a_key() {
    let host = Host::start().await;
    let agent = host.agent().await;
    let holding = tokio::spawn(async move {
        agent.call("computer", json!({"action": "hold_key", "text": "shift", "duration": 3.0})).await
    });
    eventually("the key is down", async || host.pressed_keys() == 1).await;
    host.set_control(&to("jane", 1)).await;
    eventually("the key is up", async || host.pressed_keys() == 0).await;
    let answer = holding.await.unwrap();
    assert!(answer.error && answer.text.starts_with("control_held_by_user"), "{}", answer.text);
}
