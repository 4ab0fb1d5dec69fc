//! Streams: events of a Session, and the way to the desktop.

use std::time::Duration;

use a8s_wire::Scope;
use axum::{
    Json, Router,
    body::Body,
    extract::{WebSocketUpgrade, ws::Message},
    http::HeaderMap,
    routing::{get, post},
};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};
use tower::ServiceExt;

use crate::fake::{ORIGIN, UID, World, listen};

const LIMIT: Duration = Duration::from_secs(20);
const EVENTS: &str = "/api/namespaces/team/sessions/report/events";

/// Events of the stream until `enough`.
async fn events(
    world: &World,
    cookie: &str,
    enough: impl Fn(&[(String, Value)]) -> bool,
) -> Vec<(String, Value)> {
    let request = axum::extract::Request::get(EVENTS).header("cookie", cookie).body(Body::empty()).unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut chunks = response.into_body().into_data_stream();
    let (mut text, mut seen) = (String::new(), Vec::new());
    let reading = async {
        while !enough(&seen) {
            text.push_str(
                std::str::from_utf8(&chunks.next().await.expect("the stream ended").unwrap()).unwrap(),
            );
            while let Some((event, rest)) = text.split_once("\n\n") {
                let line = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
                };
                seen.push((
                    line("event:").to_owned(),
                    serde_json::from_str(line("data:")).unwrap_or_default(),
                ));
                text = rest.into();
            }
        }
    };
    tokio::time::timeout(LIMIT, reading).await.unwrap_or_else(|_| panic!("not in time: {seen:?}"));
    seen
}

fn kinds(events: &[(String, Value)]) -> Vec<&str> {
    let objects = events.iter().filter(|(name, _)| name == "object");
    let mut kinds: Vec<_> = objects.map(|(_, data)| data["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds
}

#[tokio::test]
async fn the_stream_shows_objects_and_what_the_runner_says_and_resumes() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    let seqs = |events: &[(String, Value)]| -> Vec<i64> {
        events
            .iter()
            .filter(|(name, _)| name == "runner")
            .map(|(_, data)| data["seq"].as_i64().unwrap())
            .collect()
    };
    let all = ["Artifact", "Message", "Request", "Session", "Snapshot", "Workspace"];
    let seen = events(&world, &cookie, |seen| kinds(seen).len() >= all.len() && seqs(seen).len() >= 2).await;
    assert_eq!(kinds(&seen), all);
    assert!(seen.iter().filter(|(name, _)| name == "object").all(|(_, data)| data["type"] == "Applied"));
    // The runner hung up after its first event; what came then was asked for after it.
    assert_eq!(seqs(&seen), [7, 8]);
    let claims = world.claims.borrow().clone();
    assert!(
        claims
            .iter()
            .all(|claims| claims.sub == "jane" && claims.wsu == UID && claims.scp == [Scope::Stream])
    );
}

#[tokio::test]
async fn the_runner_is_silent_for_those_who_may_not_see_the_desktop() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    world.cluster.denied.lock().unwrap().push("jane".into());
    let seen = events(&world, &cookie, |seen| seen.iter().any(|(name, _)| name == "denied")).await;
    assert!(seen.iter().any(|(name, data)| name == "denied" && data["kind"] == "Runner"));
    assert!(world.claims.borrow().is_empty(), "the runner was asked");
}

#[tokio::test]
async fn a_stream_ends_when_the_console_stops() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    let request = axum::extract::Request::get(EVENTS).header("cookie", cookie).body(Body::empty()).unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    world.console.stop.cancel();
    let mut chunks = response.into_body().into_data_stream();
    let ended = async { while chunks.next().await.is_some() {} };
    tokio::time::timeout(LIMIT, ended).await.expect("the stream goes on");
}

#[tokio::test]
async fn a_session_that_does_not_exist_has_no_stream() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    let answer = world.get(&cookie, "/api/namespaces/team/sessions/none/events").await;
    assert_eq!((answer.status, &answer.json()["reason"]), (404, &json!("NotFound")));
}

/// A proxy that says what it was sent.
async fn proxy() -> World {
    async fn ticket(headers: HeaderMap, Json(body): Json<Value>) -> Json<Value> {
        let sent = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        Json(json!({
            "ticket": "t", "mode": body["mode"], "authorization": sent("authorization"), "origin": sent("origin"),
            "forwarded": sent("x-forwarded-host"), "address": sent("x-forwarded-for"), "cookie": sent("cookie"),
        }))
    }
    async fn stream(headers: HeaderMap, socket: WebSocketUpgrade) -> axum::response::Response {
        let cookie = headers.contains_key("cookie") || headers.contains_key("authorization");
        let forwarded = headers["x-forwarded-host"].to_str().unwrap().to_owned();
        socket.protocols(["binary"]).on_upgrade(async move |mut socket| {
            let _ = socket.send(Message::Text(format!("{forwarded} {cookie}").into())).await;
            while let Some(Ok(message)) = socket.recv().await {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    }
    let address =
        listen(Router::new().route("/vnc/ticket", post(ticket)).route("/vnc/stream", get(stream))).await;
    World::with(false, &format!("http://{address}")).await
}

#[tokio::test]
async fn a_ticket_is_asked_for_with_the_persons_token_and_no_cookie() {
    let world = proxy().await;
    let cookie = world.login("jane").await;
    let body = json!({"namespace": "team", "workspace": "desk", "mode": "control"});
    let headers = [
        ("x-forwarded-host", "evil.net"),
        ("x-forwarded-for", "9.9.9.9, 10.0.0.1"),
        ("authorization", "Bearer other"),
    ];
    let answer = world.send(World::request("POST", "/vnc/ticket", &cookie, &headers, &body)).await;
    let expected = json!({
        "ticket": "t", "mode": "control", "authorization": "Bearer token-of-jane", "origin": ORIGIN,
        "forwarded": "a8s.example.com", "address": "9.9.9.9, 10.0.0.1", "cookie": null,
    });
    assert_eq!((answer.status, answer.json()), (200, expected));
}

#[tokio::test]
async fn the_desktop_stream_passes_both_ways_and_only_for_the_own_page() {
    let world = proxy().await;
    let cookie = world.login("jane").await;
    let address = listen(world.router.clone()).await;
    let open = async |origin: &str, cookie: &str| {
        let mut request = format!("ws://{address}/vnc/stream").into_client_request().unwrap();
        for (name, value) in
            [("origin", origin), ("cookie", cookie), ("sec-websocket-protocol", "binary, a8s.ticket.t")]
        {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        tokio_tungstenite::connect_async(request).await
    };
    for (origin, cookie, status) in [("https://evil.net", cookie.as_str(), 403), (ORIGIN, "x=1", 401)] {
        let Err(tungstenite::Error::Http(answer)) = open(origin, cookie).await else { panic!("opened") };
        assert_eq!(answer.status(), status);
    }
    let (mut socket, response) = open(ORIGIN, &cookie).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "binary");
    let first = tokio::time::timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.into_text().unwrap().as_str(), format!("{address} false"));
    let bytes = tungstenite::Message::Binary(vec![1, 2, 3].into());
    socket.send(bytes.clone()).await.unwrap();
    let echo = tokio::time::timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(echo, bytes);
}
