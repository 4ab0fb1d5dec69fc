//! Who may call what, attachments in, artifacts out.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::PermissionsExt;

use a8s_wire::{EventBody, Scope};
use common::{Pod, UID};
use reqwest::StatusCode;
use serde_json::json;
use sha2::{Digest, Sha256};

#[tokio::test(flavor = "multi_thread")]
async fn a_published_file_comes_out_as_it_was_and_under_its_hash() {
    let pod = Pod::start();
    pod.prompt(
        "m1",
        "/write notes/a.txt some content\n/shell chmod 600 notes/a.txt\n/publish notes/a.txt A note",
        &[],
    )
    .await;
    let mut events = pod.events("").await;
    events.turn_end("m1").await;
    pod.prompt(
        "m2",
        "/write notes/a.txt other content\n/shell chmod 600 notes/a.txt\n/publish ~/notes/a.txt A note",
        &[],
    )
    .await;
    events.turn_end("m2").await;
    let mode = std::fs::metadata(pod.home().join("notes/a.txt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o040, 0o040, "the runner is only in the group of the agent's files");
    let artifacts = pod.state().await.artifacts;
    let versions: Vec<(&str, i64, i64)> =
        artifacts.iter().map(|info| (info.name.as_str(), info.version, info.turn)).collect();
    assert_eq!(versions, [("a", 1, 1), ("a", 2, 2)]);
    for (info, content) in artifacts.iter().zip(["some content\n", "other content\n"]) {
        let blob = pod.get(&format!("/v1/blobs/{}", info.sha256)).await.bytes().await.unwrap();
        assert_eq!(blob, content);
        assert_eq!(
            (info.size, info.media_type.as_str()),
            (i64::try_from(content.len()).unwrap(), "text/plain")
        );
        assert_eq!(hex::encode(Sha256::digest(content)), info.sha256);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runners_own_files_cannot_be_published() {
    let pod = Pod::start();
    let key = pod.folder.path().join("tls/tls.key");
    let script = format!("/shell ln -s {} link\n/publish link The key", key.display());
    pod.prompt("m1", &script, &[]).await;
    let mut events = pod.events("").await;
    events.turn_end("m1").await;
    assert!(
        events.messages().pop().unwrap().contains("outside the home directory"),
        "{:?}",
        events.messages()
    );
    assert!(pod.state().await.artifacts.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_arrive_whole_and_cannot_leave_their_directory() {
    let pod = Pod::start();
    for _ in 0..2 {
        let stored: serde_json::Value = pod.attach("a%20b.csv", "abc").await.json().await.unwrap();
        assert_eq!(stored["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    assert_eq!(std::fs::read(pod.home().join("Attachments/a b.csv")).unwrap(), b"abc");
    for name in ["..%2Fx", "%2e%2e%2fstate%2fx", ".hidden", "a%00b", &"x".repeat(256)] {
        let status = pod.attach(name, "x").await.status();
        assert!(status.is_client_error(), "{name}: {status}");
    }
    assert_eq!(std::fs::read_dir(pod.home().join("Attachments")).unwrap().count(), 1);
    let prompt =
        json!({"messageId": "m1", "content": "x", "author": "jane", "attachments": ["../../etc/passwd"]});
    assert_eq!(pod.post("/v1/prompt", prompt).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_needs_a_token_for_this_workspace_with_the_right_scope() {
    let pod = Pod::start();
    let client = pod.client();
    let calls = [
        (client.get(pod.url("/v1/state")), Scope::Files),
        (client.get(pod.url("/v1/events")), Scope::Control),
        (client.get(pod.url("/v1/blobs/x")), Scope::Stream),
        (
            client
                .post(pod.url("/v1/prompt"))
                .json(&json!({"messageId": "a", "content": "a", "author": "a"})),
            Scope::Stream,
        ),
        (client.post(pod.url("/v1/interrupt")).json(&json!({"turn": 1})), Scope::View),
        (client.post(pod.url("/v1/quiesce")), Scope::Stream),
        (client.put(pod.url("/v1/attachments/a")).body("x"), Scope::Stream),
    ];
    for (call, wrong) in calls {
        let status = async |call: reqwest::RequestBuilder| call.send().await.unwrap().status();
        let again = || call.try_clone().unwrap();
        assert_eq!(status(again()).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(again().bearer_auth("a8s1.x.y")).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(again().bearer_auth(pod.token(&[wrong], UID))).await, StatusCode::FORBIDDEN);
        assert_eq!(
            status(again().bearer_auth(pod.token(&[Scope::Admin], "other"))).await,
            StatusCode::UNAUTHORIZED
        );
    }
    assert!(pod.state().await.consumed.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_and_malformed_bodies_are_refused() {
    let pod = Pod::start();
    let large = json!({"messageId": "m", "content": "x".repeat(300_000), "author": "jane"});
    assert_eq!(pod.post("/v1/prompt", large).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let wrong = pod.post("/v1/prompt", json!({"content": 1})).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().await.unwrap().contains("content"));
    assert_eq!(pod.get("/v1/events?after=x").await.status(), StatusCode::BAD_REQUEST);
    let quiesced: serde_json::Value = pod.post("/v1/quiesce", json!({})).await.json().await.unwrap();
    assert_eq!(quiesced["seq"], 0);
    let mut events = pod.events("").await;
    pod.prompt("m1", "/say ok", &[]).await;
    events.until("message", |event| matches!(event.body, EventBody::Message { .. })).await;
    assert_eq!(pod.client().get(pod.url("/healthz")).send().await.unwrap().status(), StatusCode::OK);
}
