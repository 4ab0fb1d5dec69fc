//! People who watch.

use a8s_rfb::encode;
use a8s_wire::Scope;

use crate::host::{Host, eventually};

#[tokio::test]
async fn a_view_token_sees_the_desktop_and_cannot_touch_it() {
    let host = Host::start().await;
    let mut viewer = host.viewer("jane", &[Scope::View]).await;
    viewer.barrier().await;
    assert!(viewer.picture.pixels.iter().any(|byte| *byte != 0), "the picture is black");
    let before = host.pointer();
    viewer.send(&encode::pointer(1, 123, 45)).await;
    viewer.send(&encode::key(0xffe1, true)).await;
    viewer.barrier().await;
    assert_eq!(host.pointer(), before);
    assert_eq!(host.pressed_keys(), 0);
}

#[tokio::test]
async fn a_message_that_no_client_sends_ends_the_connection() {
    let host = Host::start().await;
    let mut viewer = host.viewer("jane", &[Scope::View, Scope::Control]).await;
    viewer.send(&[7; 16]).await;
    viewer.closed().await;
}

#[tokio::test]
async fn a_viewer_who_asks_for_an_exclusive_session_disconnects_nobody() {
    let host = Host::start().await;
    let mut first = host.viewer("jane", &[Scope::View]).await;
    first.barrier().await;
    let mut second = host.viewer("joe", &[Scope::View]).await;
    second.barrier().await;
    first.barrier().await;
    let state = host.get("/v1/state", Some(&host.token("jane", &[Scope::View]))).await.1;
    let state: a8s_wire::DeskState = serde_json::from_slice(&state).unwrap();
    assert_eq!(state.viewers, 2);
    drop((first, second));
    eventually("the viewers are gone", async || {
        let state = host.get("/v1/state", Some(&host.token("jane", &[Scope::View]))).await.1;
        serde_json::from_slice::<a8s_wire::DeskState>(&state).unwrap().viewers == 0
    })
    .await;
}
