//! The HTTPS surface.

use a8s_wire::{DeskState, Scope};

use crate::host::Host;

#[tokio::test]
async fn every_call_but_the_health_check_needs_a_token_of_the_right_scope() {
    let host = Host::start().await;
    assert_eq!(host.get("/healthz", None).await.0, 200);
    for path in ["/v1/state", "/v1/screenshot", "/v1/rfb"] {
        assert_eq!(host.get(path, None).await.0, 401, "{path} without a token");
        assert_eq!(host.get(path, Some("a8s1.e30.AAAA")).await.0, 401, "{path} with a forged token");
        let stream = host.token("jane", &[Scope::Stream]);
        assert_eq!(host.get(path, Some(&stream)).await.0, 403, "{path} with another scope");
    }
    let view = host.token("jane", &[Scope::View, Scope::Control]);
    let body = serde_json::json!({"holder": "User", "user": "jane", "epoch": 1});
    assert_eq!(host.post("/v1/control", &view, &body).await.0, 403, "a person set the lease");
    let admin = host.token("system", &[Scope::Admin]);
    assert_eq!(host.post("/v1/control", &admin, &"nonsense").await.0, 400);
    assert_eq!(host.get("/v1/rfb", Some(&view)).await.0, 426, "RFB without an upgrade");
}

#[tokio::test]
async fn the_state_says_what_the_desktop_is() {
    let host = Host::start().await;
    let (status, body) = host.get("/v1/state", Some(&host.token("jane", &[Scope::View]))).await;
    assert_eq!(status, 200);
    let state: DeskState = serde_json::from_slice(&body).unwrap();
    assert_eq!((state.ready, state.width, state.height, state.viewers), (true, 1000, 700, 0));
    let (status, jpeg) = host.get("/v1/screenshot", Some(&host.token("jane", &[Scope::View]))).await;
    assert_eq!(status, 200);
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.len() < 150 * 1024, "{} bytes", jpeg.len());
    assert_eq!(std::fs::read_to_string(host.path("home/welcome.txt")).unwrap(), "hello");
}
