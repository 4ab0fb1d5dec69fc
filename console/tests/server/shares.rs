//! Who shares a desktop, and what a guest's page gets.

use serde_json::{Value, json};

use crate::fake::World;

const OF_SESSION: &str = "/api/namespaces/team/sessions/report/shares";
const SHARE: &str = "/api/namespaces/team/shares/show";
const BASE: &str = "/apis/a8s.dev/v1alpha1/namespaces/team";

fn share(name: &str, session: &str, workspace: Option<&str>) -> Value {
    json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Share",
        "metadata": {"name": name, "namespace": "team", "managedFields": [{"manager": "x"}]},
        "spec": {"session": session, "role": "Control", "subjects": [{"kind": "User", "name": "omar"}]},
        "status": {"workspace": workspace},
    })
}

#[tokio::test]
async fn a_share_is_made_listed_and_revoked_in_the_persons_name() {
    let world = World::new().await;
    world.cluster.put(&format!("{BASE}/shares/foreign"), share("foreign", "other", Some("desk")));
    let cookie = world.login("jane").await;
    let listed = world.get(&cookie, OF_SESSION).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "only those of the Session");
    assert_eq!(listed["items"][0]["metadata"]["name"], "show");
    let subjects = json!([{"kind": "Group", "name": "reviewers"}]);
    let new = json!({"role": "Watch", "subjects": subjects, "expires": "2026-12-01T00:00:00Z"});
    assert_eq!(world.post(&cookie, OF_SESSION, &new).await.status, 201);
    let endless = json!({"role": "Watch", "subjects": subjects});
    assert_eq!(world.post(&cookie, OF_SESSION, &endless).await.status, 201);
    let revoked = world.send(World::request("DELETE", SHARE, &cookie, &[], &json!({}))).await;
    assert_eq!(revoked.status, 200);
    let writes = world.cluster.writes();
    assert!(writes.iter().all(|asked| asked.token == "token-of-jane"));
    let spec = json!({"session": "report", "role": "Watch", "subjects": subjects, "expires": "2026-12-01T00:00:00Z"});
    assert_eq!(writes[0].body["spec"], spec);
    assert_eq!(writes[0].body["metadata"], json!({"generateName": "report-"}));
    assert_eq!(writes[1].body["spec"]["expires"], Value::Null, "the webhook says when");
    assert_eq!(
        (writes[2].method.as_str(), writes[2].path.as_str()),
        ("DELETE", &*format!("{BASE}/shares/show"))
    );
    let forged = json!({"role": "Watch", "subjects": subjects, "session": "other"});
    assert_eq!(world.post(&cookie, OF_SESSION, &forged).await.status, 422);
}

#[tokio::test]
async fn a_guest_sees_and_holds_the_desktop_without_a_right_to_the_session() {
    let world = World::new().await;
    world.cluster.put(&format!("{BASE}/shares/over"), share("over", "report", None));
    let cookie = world.login("omar").await;
    let shown = world.get(&cookie, SHARE).await.json();
    assert_eq!(shown["share"]["metadata"]["name"], "show");
    assert_eq!(shown["workspace"]["metadata"]["name"], "desk");
    assert!(!shown.to_string().contains("managedFields"));
    let take = json!({"holder": "User", "private": false});
    assert_eq!(world.post(&cookie, &format!("{SHARE}/control"), &take).await.status, 200);
    let writes = world.cluster.writes();
    assert_eq!(writes[0].path, format!("{BASE}/workspaces/desk"));
    assert_eq!(
        writes[0].body,
        json!({"spec": {"control": {"holder": "User", "user": "omar", "private": false}}})
    );
    let over = "/api/namespaces/team/shares/over";
    assert_eq!(world.get(&cookie, over).await.json()["workspace"], Value::Null);
    let refused = world.post(&cookie, &format!("{over}/control"), &take).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (409, &json!("NotShared")));
    let asked = world.cluster.asked.lock().unwrap();
    assert!(asked.iter().all(|asked| !asked.path.contains("/sessions")), "a guest has no right to Sessions");
}
