//! Who is let in, and from which page.

use serde_json::{Value, json};

use crate::fake::{ORIGIN, World};

/// Every call, with a body that would do.
fn calls() -> Vec<(&'static str, &'static str, Value)> {
    let base = "/api/namespaces/team/sessions";
    let at = |path: &str| -> &'static str { format!("{base}/report{path}").leak() };
    vec![
        ("GET", "/api/session", Value::Null),
        ("GET", base, Value::Null),
        ("GET", "/api/namespaces/team/environments", Value::Null),
        ("GET", at(""), Value::Null),
        ("GET", at("/events"), Value::Null),
        ("GET", "/api/namespaces/team/artifacts/report-v1/content", Value::Null),
        ("GET", "/vnc/stream", Value::Null),
        ("POST", base, json!({"goal": "write"})),
        ("POST", at("/messages"), json!({"content": "hello"})),
        ("POST", at("/control"), json!({"holder": "User"})),
        ("POST", at("/snapshots"), json!({})),
        ("GET", at("/shares"), Value::Null),
        ("POST", at("/shares"), json!({"role": "Watch", "subjects": [{"kind": "User", "name": "omar"}]})),
        ("GET", "/api/namespaces/team/shares/show", Value::Null),
        ("POST", "/api/namespaces/team/shares/show/control", json!({"holder": "User"})),
        ("DELETE", "/api/namespaces/team/shares/show", json!({})),
        ("POST", at("/state"), json!({"state": "Suspended"})),
        ("POST", at("/wake"), json!({})),
        ("DELETE", at(""), json!({})),
        ("POST", "/vnc/ticket", json!({"namespace": "team", "workspace": "desk", "mode": "control"})),
    ]
}

#[tokio::test]
async fn nothing_is_shown_or_done_without_a_login() {
    let world = World::new().await;
    for cookie in ["", "a8s-session=", "a8s-session=AAAA", "other=1"] {
        for (method, path, body) in calls() {
            let answer = world.send(World::request(method, path, cookie, &[], &body)).await;
            assert_eq!(answer.status, 401, "{method} {path} {cookie}");
            assert_eq!(answer.json()["reason"], "Unauthorized", "{method} {path}");
        }
    }
    assert!(world.cluster.asked.lock().unwrap().is_empty(), "the API server was asked for a stranger");
}

#[tokio::test]
async fn a_cookie_of_another_process_is_worth_nothing() {
    let (world, other) = (World::new().await, World::new().await);
    let cookie = other.login("jane").await;
    assert_eq!(other.get(&cookie, "/api/session").await.status, 200);
    assert_eq!(world.get(&cookie, "/api/session").await.status, 401);
}

#[tokio::test]
async fn foreign_pages_can_change_nothing() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    let changing = calls().into_iter().filter(|(method, ..)| *method != "GET");
    let changing: Vec<_> = changing
        .chain([
            ("POST", "/api/login", json!({"token": "token-of-jane"})),
            ("POST", "/api/logout", json!({})),
        ])
        .collect();
    for (method, path, body) in &changing {
        for (change, status) in [
            ([("origin", "https://evil.net")], 403),
            ([("origin", "null")], 403),
            ([("origin", "")], 403),
            ([("sec-fetch-site", "cross-site")], 403),
            ([("sec-fetch-site", "same-site")], 403),
            ([("sec-fetch-site", "none")], 403),
            ([("x-a8s", "")], 403),
            ([("content-type", "text/plain")], 415),
            ([("content-type", "")], 415),
        ] {
            let answer = world.send(World::request(method, path, &cookie, &change, body)).await;
            assert_eq!(answer.status, status, "{method} {path} {change:?}");
            assert_ne!(answer.json()["error"], Value::Null, "{method} {path} {change:?}");
        }
        // A spoofed header of a proxy makes no origin ours.
        let spoofed =
            [("origin", "https://evil.net"), ("x-forwarded-host", "evil.net"), ("host", "evil.net")];
        assert_eq!(world.send(World::request(method, path, &cookie, &spoofed, body)).await.status, 403);
    }
    assert!(world.cluster.writes().is_empty());
}

#[tokio::test]
async fn foreign_pages_can_read_nothing() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    for (method, path, _) in calls().into_iter().filter(|(method, ..)| *method == "GET") {
        let request =
            World::request(method, path, &cookie, &[("sec-fetch-site", "cross-site")], &Value::Null);
        assert_eq!(world.send(request).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn read_only_takes_every_action_away_and_says_so() {
    let world = World::with(true, "http://127.0.0.1:1").await;
    let cookie = world.login("jane").await;
    assert_eq!(world.get(&cookie, "/api/session").await.json()["readOnly"], true);
    for (method, path, body) in calls().into_iter().filter(|(method, ..)| *method != "GET") {
        let answer = world.send(World::request(method, path, &cookie, &[], &body)).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (403, &json!("ReadOnly")), "{method} {path}");
    }
    assert!(world.cluster.writes().is_empty());
    // Looking still works: the ticket goes on to the proxy, which is not there.
    let view = json!({"namespace": "team", "workspace": "desk", "mode": "view"});
    assert_eq!(world.post(&cookie, "/vnc/ticket", &view).await.status, 502);
}

#[tokio::test]
async fn the_cookie_is_for_the_browser_alone() {
    let world = World::new().await;
    let answer = world.post("", "/api/login", &json!({"token": "token-of-jane"})).await;
    let cookie = answer.header("set-cookie").to_owned();
    for part in ["a8s-session=", "HttpOnly", "SameSite=Strict", "Path=/", "Secure", "Max-Age=28800"] {
        assert!(cookie.contains(part), "{part} is missing in {cookie}");
    }
    assert!(!cookie.contains("token-of-jane"));
    assert_eq!(answer.header("cache-control"), "no-store");
    let answer = world.post("", "/api/logout", &json!({})).await;
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
}

#[tokio::test]
async fn localhost_works_under_any_port_without_being_listed() {
    let world = World::new().await;
    let local = [("origin", "http://localhost:30080"), ("host", "localhost:30080")];
    let body = json!({"token": "token-of-jane"});
    assert_eq!(world.send(World::request("POST", "/api/login", "", &local, &body)).await.status, 200);
    let other = [("origin", "http://localhost:1"), ("host", "localhost:30080")];
    assert_eq!(world.send(World::request("POST", "/api/login", "", &other, &body)).await.status, 403);
}

#[tokio::test]
async fn a_wrong_token_is_refused_in_words() {
    let world = World::new().await;
    for token in ["wrong", "", "with space", "new\nline"] {
        let answer = world.post("", "/api/login", &json!({"token": token})).await;
        assert!(matches!(answer.status, 400 | 401), "{token:?}");
        assert_eq!(answer.header("set-cookie"), "", "{token:?}");
    }
    let answer = world.post("", "/api/login", &json!({"token": "x".repeat(5000)})).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn a_service_account_is_at_home_in_its_namespace() {
    let world = World::new().await;
    let cookie = world.login("system:serviceaccount:team:jane").await;
    let session = world.get(&cookie, "/api/session").await.json();
    let expected = json!({"user": "system:serviceaccount:team:jane", "readOnly": false, "namespace": "team"});
    assert_eq!(session, expected);
    let cookie = world.login("jane").await;
    assert_eq!(world.get(&cookie, "/api/session").await.json()["namespace"], "default");
}

#[tokio::test]
async fn every_call_to_the_cluster_carries_the_persons_token() {
    let world = World::new().await;
    let cookie = world.login("jane").await;
    for (method, path, body) in calls() {
        if !path.contains("/vnc/") && !path.ends_with("/events") {
            let answer = world.send(World::request(method, path, &cookie, &[], &body)).await;
            assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.json());
        }
    }
    let asked = world.cluster.asked.lock().unwrap();
    assert!(asked.len() > 10);
    assert!(asked.iter().all(|asked| asked.token == "token-of-jane"), "{asked:?}");
}

#[tokio::test]
async fn the_api_servers_refusal_reaches_the_person() {
    let world = World::new().await;
    let cookie = world.login("stranger").await;
    let answer = world.post(&cookie, "/api/namespaces/team/sessions", &json!({"goal": "x"})).await;
    assert_eq!((answer.status, &answer.json()["reason"]), (403, &json!("Forbidden")));
    assert!(answer.json()["error"].as_str().unwrap().contains("cannot do this"));
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_a_page() {
    let world = World::new().await;
    for path in ["/", "/some/page", "/missing.js", "/api/session", "/api/nothing", "/vnc/nothing"] {
        let answer = world.get("", path).await;
        assert!(
            answer.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"),
            "{path}"
        );
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
    }
    assert_eq!(world.get("", "/").await.status, 200);
    assert_eq!(world.get("", "/api/nothing").await.status, 404);
    let answer = world.send(World::request("PUT", "/api/login", "", &[("origin", ORIGIN)], &json!({}))).await;
    assert_eq!(answer.status, 405);
}
