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
async fn a_browser_gets_fences_and_continuous_updates_of_compressed_pictures() {
    let host = Host::start().await;
    let mut viewer = host.viewer("jane", &[Scope::View]).await;
    // What noVNC announces, with extensions among them that must be struck out: xvp (-309) would bring messages that nobody expects.
    let browser = [
        1, 7, -260, 16, 21, 5, 2, 0, -26, -254, -223, -224, -258, -261, -308, -309, -312, -313, -307, -239,
        -316,
    ];
    viewer.send(&encode::set_encodings(&browser)).await;
    // The server fences to measure the connection, and says with 150 that it knows continuous updates.
    let mut seen = Vec::new();
    loop {
        let kind = viewer.raw(1).await[0];
        seen.push(kind);
        match kind {
            248 => {
                let head = viewer.raw(8).await;
                let payload = viewer.raw(usize::from(head[7])).await;
                viewer.send(&encode::fence(0, &payload)).await;
            }
            150 => viewer.send(&[150, 1, 0, 0, 0, 0, 0x03, 0xe8, 0x02, 0xbc]).await,
            0 => break,
            other => panic!("message type {other} after {seen:?}"),
        }
    }
    assert!(seen.contains(&248) && seen.contains(&150), "a picture came after only {seen:?}");
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
    assert_eq!((state.viewers, state.audience), (2, vec!["jane".to_owned(), "joe".to_owned()]));
    drop((first, second));
    eventually("the viewers are gone", async || {
        let state = host.get("/v1/state", Some(&host.token("jane", &[Scope::View]))).await.1;
        serde_json::from_slice::<a8s_wire::DeskState>(&state).unwrap().viewers == 0
    })
    .await;
}
