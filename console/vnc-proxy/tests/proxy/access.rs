//! Who gets a ticket, and who gets in with one.

use serde_json::json;
use tokio_tungstenite::tungstenite;

use crate::fake::{ORIGIN, World};

#[tokio::test]
async fn a_ticket_needs_a_valid_token_a_known_page_and_a_well_formed_request() {
    let world = World::new().await;
    let body = json!({"namespace": "team", "workspace": "desk", "mode": "view"});
    assert_eq!(world.ask(&[("origin", ORIGIN)], &body).await.0, 401);
    assert_eq!(world.ask(&[("origin", ORIGIN), ("authorization", "Bearer x")], &body).await.0, 401);
    let token = ("authorization", "Bearer token-of-jane");
    assert_eq!(world.ask(&[token], &body).await.1["error"], "origin");
    assert_eq!(world.ask(&[token, ("origin", "https://evil.example")], &body).await.0, 403);
    for bad in [
        json!({"namespace": "team", "workspace": "desk", "mode": "admin"}),
        json!({"namespace": "../kube-system", "workspace": "desk", "mode": "view"}),
        json!({"namespace": "team", "workspace": "", "mode": "view"}),
        json!("nonsense"),
    ] {
        assert_eq!(world.ask(&[token, ("origin", ORIGIN)], &bad).await.0, 400, "{bad}");
    }
    assert_eq!(world.ask(&[token, ("origin", ORIGIN)], &body).await.0, 200);
}

#[tokio::test]
async fn seeing_and_controlling_are_two_permissions() {
    let world = World::new().await;
    assert_eq!(world.ticket_for("viewer", "view").await.0, 200);
    let (status, body) = world.ticket_for("viewer", "control").await;
    assert_eq!((status, &body["error"]), (403, &json!("forbidden")));
    assert_eq!(body["message"], "viewer may not update workspaces/desktop team/desk");
}

#[tokio::test]
async fn a_stranger_does_not_learn_which_workspaces_exist() {
    let world = World::new().await;
    assert_eq!(world.ticket_for("stranger", "view").await.0, 403);
    assert!(!world.cluster.lock().unwrap().requests.iter().any(|path| path.contains("/workspaces/")));
    world.cluster.lock().unwrap().uid = None;
    assert_eq!(world.ticket_for("stranger", "view").await.0, 403);
    assert_eq!(world.ticket_for("jane", "view").await.0, 404);
}

#[tokio::test]
async fn a_suspended_desktop_and_a_broken_api_server_are_named() {
    let world = World::new().await;
    world.cluster.lock().unwrap().running = false;
    assert_eq!(world.ticket_for("jane", "view").await.1["error"], "not_running");
    world.cluster.lock().unwrap().broken = true;
    let (status, body) = world.ticket_for("jane", "view").await;
    assert_eq!((status, &body["error"]), (503, &json!("unavailable")));
    assert!(!body.to_string().contains("etcd"), "the API server's own words were passed on: {body}");
}

#[tokio::test]
async fn a_ticket_opens_one_stream() {
    let world = World::new().await;
    let ticket = world.ticket("jane", "view").await;
    let _first = world.connect(&ticket, ORIGIN).await.unwrap();
    assert_eq!(world.connect(&ticket, ORIGIN).await.unwrap().closed().await, 4401);
    assert_eq!(world.connect("forged", ORIGIN).await.unwrap().closed().await, 4401);
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_before_the_upgrade() {
    let world = World::new().await;
    let ticket = world.ticket("jane", "view").await;
    let refused = world.connect(&ticket, "https://evil.example").await;
    assert!(matches!(refused, Err(tungstenite::Error::Http(response)) if response.status() == 403));
    assert!(world.desktop.claims.lock().unwrap().is_empty(), "the desktop was contacted");
}

#[tokio::test]
async fn a_ticket_does_not_fit_a_workspace_that_was_made_anew() {
    let world = World::new().await;
    world.cluster.lock().unwrap().uid = Some("99999999-2222-3333-4444-555555555555".into());
    let ticket = world.ticket("jane", "view").await;
    // The pod that answers still has the certificate of the old Workspace.
    assert_eq!(world.connect(&ticket, ORIGIN).await.unwrap().closed().await, 1011);
    assert!(world.desktop.claims.lock().unwrap().is_empty(), "the token reached the wrong desktop");
}
