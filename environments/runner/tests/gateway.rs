//! What was granted: models and APIs through the gateway, MCP servers, secrets, documents; limits; and that no key is told.

#![allow(clippy::unwrap_used)]

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use a8s_wire::{EventBody, RunnerPhase, Usage};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::any,
};
use common::{Pod, tools::Tools};
use futures::StreamExt;
use serde_json::{Value, json};

const KEY: &str = "canary-key-4711";

/// A server outside: a model, an API and an MCP server in one, which shows what it was sent.
#[derive(Clone)]
struct Outside {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    tools: Arc<Mutex<Vec<&'static str>>>,
}

impl Outside {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outside = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            tools: Arc::new(Mutex::new(vec!["find", "delete"])),
        };
        let router = Router::new().fallback(any(answer)).with_state(outside.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        outside
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().join("\n")
    }

    /// A model that was granted under the name `llm`.
    fn model(&self, key: &str) -> Value {
        json!({"name": "llm", "kind": "model", "provider": "anthropic", "model": "m-1", "baseUrl": self.url("/base"),
               "key": key, "price": [3_000_000, 15_000_000]})
    }
}

async fn answer(State(outside): State<Outside>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let headers: Vec<String> = parts
        .headers
        .iter()
        .filter(|(name, _)| {
            !["host", "user-agent", "accept", "accept-encoding", "content-length"].contains(&name.as_str())
        })
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    let line =
        format!("{} {} [{}] {}", parts.method, parts.uri, headers.join(", "), String::from_utf8_lossy(&body));
    outside.seen.lock().unwrap().push(line.clone());
    match parts.uri.path() {
        "/base/v1/messages" => {
            let pieces = [
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":100}}}\n\n",
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"usa",
                "ge\":{\"output_tokens\":20}}\n\n",
            ];
            let stream = futures::stream::iter(pieces).map(Ok::<_, std::io::Error>);
            ([("content-type", "text/event-stream")], Body::from_stream(stream)).into_response()
        }
        "/base/away" => {
            ([("location", "http://127.0.0.1:1/")], axum::http::StatusCode::FOUND).into_response()
        }
        "/mcp" => mcp(&outside, &serde_json::from_slice(&body).unwrap_or_default()),
        "/docs/rain.csv" => "date,rain\n".into_response(),
        _ => line.into_response(),
    }
}

fn mcp(outside: &Outside, message: &Value) -> Response {
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "crm", "version": "1"}
        }),
        Some("tools/list") => {
            let tools = outside.tools.lock().unwrap();
            let tool = |name: &&str| json!({"name": name, "inputSchema": {"type": "object"}});
            json!({"tools": tools.iter().map(tool).collect::<Vec<_>>()})
        }
        Some("tools/call") => {
            json!({"content": [{"type": "text", "text": format!("called {}", message["params"])}]})
        }
        _ if message["id"].is_null() => return axum::http::StatusCode::ACCEPTED.into_response(),
        _ => return axum::http::StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    axum::Json(json!({"jsonrpc": "2.0", "id": message["id"], "result": result})).into_response()
}

/// Waits until something is true of the runner.
async fn until(
    pod: &Pod,
    what: &str,
    fits: impl Fn(&a8s_wire::RunnerState) -> bool,
) -> a8s_wire::RunnerState {
    let waiting = async {
        loop {
            let state = pod.state().await;
            if fits(&state) {
                return state;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), waiting)
        .await
        .unwrap_or_else(|_| panic!("{what} never became true"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_called_with_its_key_and_what_it_used_is_counted() {
    let outside = Outside::start().await;
    let pod = Pod::with_stub();
    pod.grant(&json!([outside.model(KEY)]));
    pod.configure(json!({"model": "llm"})).await;
    pod.prompt("m1", "call POST /connections/llm/v1/messages?beta=1 {}", &[]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn");
    let said = events.messages().pop().unwrap();
    assert!(said.starts_with("200 event: message_start") && said.contains("\"output_tokens\":20"), "{said}");
    let seen = outside.seen();
    assert!(seen.starts_with("POST /base/v1/messages?beta=1"), "{seen}");
    assert!(seen.contains(&format!("x-api-key: {KEY}")), "{seen}");
    assert!(!seen.contains("cookie") && !seen.contains("authorization"), "{seen}");

    let used = |usage: Usage| (usage.requests, usage.input_tokens, usage.output_tokens, usage.cost_micros);
    let usage = events.seen.iter().find_map(|event| match &event.body {
        EventBody::Usage(usage) => Some(*usage),
        _ => None,
    });
    assert_eq!(used(usage.unwrap()), (1, 100, 20, 600));
    assert_eq!(used(pod.state().await.usage), (1, 100, 20, 600));

    // Another key, at once and without a restart; it is used from the next call on.
    let fresh = "canary-fresh-0815";
    pod.grant(&json!([outside.model(fresh)]));
    for turn in 2.. {
        let id = format!("m{turn}");
        pod.prompt(&id, "call POST /connections/llm/v1/messages {} x-api-key", &[]).await;
        events.turn_end(&id).await;
        if outside.seen().contains(fresh) {
            break;
        }
        assert!(turn < 500, "the new key is never used");
    }
    assert!(!events.seen.iter().any(|event| matches!(&event.body, EventBody::Notice { .. })), "no restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_is_called_below_its_url_with_granted_methods_and_shows_no_key() {
    let outside = Outside::start().await;
    let pod = Pod::with_stub();
    let header = json!({"name": "Authorization", "value": format!("Bearer {KEY}")});
    pod.grant(&json!([
        {"name": "api", "kind": "http", "baseUrl": outside.url("/base"), "header": header, "methods": ["GET", "POST"]}
    ]));
    // The list is read within a second; until then nothing is granted.
    let mut events = pod.events("").await;
    let mut said = String::new();
    for turn in 1.. {
        let id = format!("m{turn}");
        pod.prompt(&id, "call GET /connections/api/users/7?a=b%2Fc", &[]).await;
        events.turn_end(&id).await;
        said = events.messages().pop().unwrap();
        if !said.starts_with("404") {
            break;
        }
        assert!(said.contains("request_access") && turn < 500, "{said}");
    }
    assert!(said.starts_with("200 GET /base/users/7?a=b%2Fc"), "{said}");
    assert!(said.contains("authorization: Bearer ***************") && !said.contains("mine=1"), "{said}");
    for (call, expected) in [
        ("DELETE /connections/api/users/7", "403"),
        ("GET /connections/api/../secret", "403"),
        ("GET /connections/api/%2e%2e/secret", "403"),
        ("GET /connections/other/x", "404"),
        ("GET /connections/api/away", "302"),
        ("POST /connections/api/users hello", "200 POST /base/users"),
    ] {
        pod.prompt(call, &format!("call {call}"), &[]).await;
        events.turn_end(call).await;
        let said = events.messages().pop().unwrap();
        assert!(said.starts_with(expected), "{call}: {said}");
    }
    assert!(!outside.seen().contains("secret"));

    pod.prompt("url", "env A8S_GATEWAY_URL", &[]).await;
    events.turn_end("url").await;
    let url = events.messages().pop().unwrap();
    for wrong in [None, Some("wrong")] {
        let mut request = reqwest::Client::new().get(format!("{url}/connections/api/users"));
        if let Some(token) = wrong {
            request = request.bearer_auth(token);
        }
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_waits_for_the_model_and_the_harness_gets_the_way_to_it() {
    let outside = Outside::start().await;
    let pod = Pod::with_stub();
    pod.configure(json!({"model": "llm", "instructions": "be kind"})).await;
    pod.prompt("m1", "env A8S_MODEL_PROVIDER A8S_MODEL A8S_INSTRUCTIONS ANTHROPIC_API_KEY", &[]).await;
    let state = until(&pod, "the wait for the model", |state| state.state == RunnerPhase::Starting).await;
    assert_eq!(state.queue, ["m1"]);
    pod.grant(&json!([outside.model(KEY)]));
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn");
    assert_eq!(events.messages(), ["anthropic m-1 be kind [redacted:gateway]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_used_for_what_is_outside_and_for_nothing_in_the_pod() {
    // Whoever uses a proxy sends it the whole URL; to the model's routes that is the path behind it.
    let proxy = a8s_model_mock::Mock::start(SocketAddr::from(([127, 0, 0, 1], 0)), Some(KEY.to_owned()))
        .await
        .unwrap();
    let url = proxy.url();
    let pod = Pod::with_env(&[("HTTP_PROXY", &url), ("http_proxy", &url), ("NO_PROXY", "")]);
    pod.grant(&json!([{"name": "llm", "kind": "model", "provider": "openai-compatible", "model": "m-1",
                       "baseUrl": "http://model.invalid/v1", "key": KEY}]));
    pod.configure(json!({"model": "llm"})).await;
    pod.prompt("m1", "/say by way of the proxy", &[]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn", "{:?}", events.seen);
    assert_eq!(events.messages(), ["by way of the proxy"]);
    let asked: Vec<String> = proxy.requests().iter().map(|seen| seen.path.clone()).collect();
    assert_eq!(asked, ["/v1/chat/completions"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_gets_into_stream_transcript_or_state() {
    let pod = Pod::with_stub();
    pod.grant(&json!([{"name": "vault", "kind": "secret", "value": KEY}]));
    let secret = pod.folder.path().join("secrets/vault");
    let found = async {
        while !secret.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found).await.unwrap();
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), KEY);

    // Pieces are not repeated for who comes late.
    let mut events = pod.events("").await;
    pod.prompt(
        "m1",
        &format!("pieces the key is canary-|key|-4711, |base64 |Y2FuYXJ5LWtleS|00NzEx| and {KEY}"),
        &[],
    )
    .await;
    events.turn_end("m1").await;
    let text = "the key is [redacted:vault], base64 [redacted:vault] and [redacted:vault]";
    assert_eq!(events.messages(), [text]);
    let pieces: String = events
        .seen
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::Delta { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(pieces, text);
    let state = serde_json::to_string(&pod.state().await).unwrap();
    for place in [&pod.transcript(), &state] {
        assert!(!place.contains(KEY) && !place.contains("Y2FuYXJ5LWtleS00NzEx"), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_limit_the_turn_is_stopped_and_messages_wait_until_it_is_raised() {
    let outside = Outside::start().await;
    let pod = Pod::with_stub();
    pod.grant(&json!([outside.model(KEY)]));
    pod.configure(json!({"model": "llm", "maxTokens": 110})).await;
    pod.prompt("m1", "call-deaf POST /connections/llm/v1/messages {}", &[]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "interrupted");
    let told =
        events.seen.iter().any(|e| matches!(&e.body, EventBody::LimitReached { limit } if limit == "tokens"));
    assert!(told);
    pod.prompt("m2", "hello", &[]).await;
    let state = until(&pod, "a new start", |state| state.state == RunnerPhase::Idle).await;
    assert_eq!((state.limit.as_deref(), state.queue), (Some("tokens"), vec!["m2".to_owned()]));
    pod.configure(json!({"model": "llm", "maxTokens": 1000})).await;
    assert_eq!(events.turn_end("m2").await, "end_turn");
    let said = events.messages().pop().unwrap();
    assert!(!said.contains("The user interrupted"), "{said}");
    assert_eq!(pod.state().await.limit, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_and_active_time_are_limited_and_waiting_for_a_person_costs_no_time() {
    let pod = Pod::with_stub();
    pod.configure(json!({"maxActiveSeconds": 1, "maxTurns": 2})).await;
    pod.prompt("m1", "ask", &[]).await;
    let mut events = pod.events("").await;
    let question = events.question().await;
    let before = pod.state().await.usage.active_seconds;
    let asked = std::time::Instant::now();
    while asked.elapsed() < Duration::from_millis(1500) {
        assert_eq!(pod.state().await.usage.active_seconds, before);
    }
    assert!(pod.reply(&question.id, json!({"option": "once", "by": "jane"})).await);
    assert_eq!(events.turn_end("m1").await, "end_turn");
    pod.prompt("m2", "late", &[]).await;
    assert_eq!(events.turn_end("m2").await, "cancelled");
    pod.prompt("m3", "hello", &[]).await;
    assert_eq!(pod.state().await.limit.as_deref(), Some("activeDuration"));
    pod.configure(json!({"maxTurns": 2})).await;
    let state = pod.state().await;
    assert_eq!((state.limit.as_deref(), state.queue), (Some("turns"), vec!["m3".to_owned()]));
    pod.configure(json!({"maxTurns": 3})).await;
    assert_eq!(events.turn_end("m3").await, "end_turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_of_a_granted_server_appear_under_its_name_and_are_called_with_its_key() {
    let outside = Outside::start().await;
    let pod = Pod::with_stub();
    let mut tools = Tools::connect(&pod).await;
    assert!(!tools.names().await.iter().any(|name| name.contains("crm")));
    let header = json!({"name": "X-Key", "value": KEY});
    pod.grant(&json!([{"name": "crm", "kind": "mcp", "url": outside.url("/mcp"), "header": header, "tools": ["find"]}]));
    tools.changed().await;
    let names = tools.names().await;
    assert!(
        names.contains(&"crm__find".to_owned()) && !names.contains(&"crm__delete".to_owned()),
        "{names:?}"
    );
    let (text, _) = tools.call("crm__find", json!({"name": "joe"})).await;
    assert!(text.contains("\"find\"") && text.contains("joe"), "{text}");
    assert!(outside.seen().contains(&format!("x-key: {KEY}")));
    let (list, _) = tools.call("list_tools", json!({})).await;
    assert!(list.contains("crm__find"), "{list}");
    let (text, _) = tools.call("call_tool", json!({"name": "crm__find", "arguments": {"name": "ann"}})).await;
    assert!(text.contains("ann"), "{text}");
    let (text, _) = tools.call("call_tool", json!({"name": "crm__delete"})).await;
    assert!(text.contains("there is no tool"), "{text}");
    pod.grant(&json!([]));
    tools.changed().await;
    assert!(!tools.names().await.iter().any(|name| name.contains("crm")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_sees_and_calls_only_the_tools_that_it_was_granted() {
    let outside = Outside::start().await;
    let pod = Pod::with_stub();
    let mut tools = Tools::connect(&pod).await;
    pod.grant(&json!([{"name": "crm", "kind": "mcp", "url": outside.url("/mcp"), "tools": []}]));
    tools.changed().await;
    let has = |names: &[String], name: &str| names.iter().any(|known| known == name);
    let names = tools.names().await;
    assert!(has(&names, "crm__find") && has(&names, "crm__delete") && has(&names, "computer"), "{names:?}");

    pod.configure(json!({"tools": ["shell", "crm__find"]})).await;
    tools.changed().await;
    let names = tools.names().await;
    assert!(has(&names, "crm__find") && has(&names, "ask_user") && has(&names, "finish"), "{names:?}");
    assert!(!has(&names, "crm__delete") && !has(&names, "computer"), "{names:?}");
    for (tool, arguments) in [
        ("crm__delete", json!({"name": "joe"})),
        ("call_tool", json!({"name": "crm__delete", "arguments": {}})),
        ("computer", json!({"action": "screenshot"})),
    ] {
        let (text, _) = tools.call(tool, arguments).await;
        assert!(text.contains("tool_not_granted") || text.contains("there is no tool"), "{tool}: {text}");
    }
    assert!(pod.desk().calls().is_empty() && !outside.seen().contains("joe"));
    let (list, _) = tools.call("list_tools", json!({})).await;
    assert!(list.contains("crm__find") && !list.contains("crm__delete"), "{list}");

    pod.configure(json!({"tools": ["computer", "crm__*"]})).await;
    tools.changed().await;
    let names = tools.names().await;
    assert!(has(&names, "crm__delete") && has(&names, "launch"), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_document_becomes_an_attachment() {
    let outside = Outside::start().await;
    let pod = Pod::with_stub();
    let header = json!({"name": "X-Key", "value": KEY});
    pod.grant(&json!([{"name": "docs", "kind": "documents", "url": outside.url("/docs/rain.csv"), "header": header}]));
    let mut events = pod.events("").await;
    events
        .until(
            "notice",
            |event| matches!(&event.body, EventBody::Notice { text } if text.contains("rain.csv")),
        )
        .await;
    assert_eq!(std::fs::read_to_string(pod.home().join("Attachments/rain.csv")).unwrap(), "date,rain\n");
    assert!(outside.seen().contains(KEY));
}
