//! What deskd vouches for, and desktops that start from the volume of one that was cut off.

use std::os::unix::fs::symlink;

use a8s_rfb::encode;
use a8s_wire::{Holder, Scope, SetControl};
use serde_json::json;

use crate::host::{Host, UID, eventually};

const BOTH: [Scope; 2] = [Scope::View, Scope::Control];

#[tokio::test]
async fn only_a_person_who_holds_control_makes_input() {
    let host = Host::start().await;
    let mut jane = host.viewer("jane", &BOTH).await;
    jane.send(&encode::pointer(0, 100, 100)).await;
    jane.barrier().await;
    let agent = host.agent().await;
    agent.must("computer", json!({"action": "mouse_move", "coordinate": [50, 60]})).await;
    assert_eq!(host.state().await.last_input, None, "a viewer and the agent are no people at work");

    let lease = SetControl { holder: Holder::User, user: Some("jane".into()), private: false, epoch: 1 };
    host.set_control(&lease).await;
    let before = jiff::Timestamp::now();
    jane.send(&encode::pointer(0, 200, 100)).await;
    jane.barrier().await;
    let at: jiff::Timestamp = host.state().await.last_input.unwrap().parse().unwrap();
    assert!(at.as_millisecond() >= before.as_millisecond(), "{at} is before {before}");
}

#[tokio::test]
async fn the_first_frame_is_there_when_something_is_drawn() {
    let host = Host::start().await;
    let agent = host.agent().await;
    agent.must("computer", json!({"action": "mouse_move", "coordinate": [500, 300]})).await;
    assert_eq!(host.state().await.first_frame, None, "a black screen with a pointer");
    agent.must("launch", json!({"program": "terminal"})).await;
    eventually("the first frame", async || host.state().await.first_frame.is_some()).await;
    let frame = host.state().await.first_frame.unwrap();
    assert!(frame.after_millis > 0 && frame.at.parse::<jiff::Timestamp>().is_ok(), "{frame:?}");
    agent.must("launch", json!({"program": "terminal"})).await;
    assert_eq!(host.state().await.first_frame, Some(frame), "there is one first frame");
}

#[tokio::test]
async fn each_workspace_is_a_machine_of_its_own() {
    let host = Host::start().await;
    let id = std::fs::read_to_string(host.path("machine-id")).unwrap();
    assert_eq!(id, a8s_wire::paths::machine_id(UID));
}

#[tokio::test]
async fn the_volume_is_brought_to_the_disk_for_the_control_plane_only() {
    let host = Host::start().await;
    assert_eq!(host.post("/v1/flush", &host.token("system", &[Scope::Admin]), &json!({})).await.0, 204);
    assert_eq!(host.post("/v1/flush", &host.token("jane", &BOTH), &json!({})).await.0, 403);
}

#[tokio::test]
async fn a_browser_that_was_cut_off_on_another_host_opens_without_a_question() {
    let mut host = Host::start().await;
    let profile = host.path("home/.config/chromium");
    let page = host.path("page.html");
    std::fs::write(&page, "<title>Where it was</title>Hello").unwrap();
    let arguments = json!({"program": "browser", "args": [format!("file://{}", page.display())]});
    let agent = host.agent().await;
    agent.must("launch", arguments.clone()).await;
    agent.must("wait_for_window", json!({"title_contains": "Where it was"})).await;
    let preferences = profile.join("Default/Preferences");
    eventually("the browser has written its preferences", async || preferences.exists()).await;
    drop(agent);

    host.replaced(|host| {
        // As the volume would look in another Workspace's pod, which nothing has run in yet.
        std::fs::remove_file(host.path("run/a8s-began")).unwrap();
        let lock = profile.join("SingletonLock");
        let _ = std::fs::remove_file(&lock);
        symlink("the-host-before-4711", &lock).unwrap();
        let text = std::fs::read_to_string(&preferences).unwrap();
        let mut text: serde_json::Value = serde_json::from_str(&text).unwrap();
        text["profile"]["exit_type"] = "Crashed".into();
        std::fs::write(&preferences, text.to_string()).unwrap();
    })
    .await;
    assert!(
        profile.join("SingletonLock").symlink_metadata().is_err(),
        "the lock of another host is still there"
    );
    assert!(std::fs::read_to_string(&preferences).unwrap().contains("\"exit_type\":\"Normal\""));
    let note = std::fs::read_to_string(host.path("repaired")).unwrap();
    assert!(
        note.contains(".config/chromium/SingletonLock\n") && note.contains("Default/Preferences\n"),
        "{note}"
    );

    let agent = host.agent().await;
    agent.must("launch", arguments).await;
    agent.must("wait_for_window", json!({"title_contains": "Where it was"})).await;
    let windows = agent.must("desktop_info", json!({})).await.json;
    let windows = windows["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 1, "a question is on the screen: {windows:?}");
}
