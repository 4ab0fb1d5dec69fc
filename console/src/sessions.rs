//! Sessions, and what people do with them. Each handler is one call to the API server in the person's name.

use std::{collections::BTreeMap, sync::Arc};

use a8s_crds::{labels, names};
use axum::{Json, extract::Path, http::StatusCode};
use kube::{
    Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    errors::Refusal,
    login::User,
    objects::{Body, Kind, MANAGER, named},
};

type InNamespace = Path<String>;
type InSession = Path<(String, String)>;
/// What was made.
pub type Created = Result<(StatusCode, Json<DynamicObject>), Refusal>;

/// `GET /api/namespaces/{ns}/sessions`.
pub async fn list(user: User, Path(namespace): InNamespace) -> Result<Json<Value>, Refusal> {
    named(&[&namespace])?;
    let items = Kind::Session.list(&user.client, &namespace, &ListParams::default(), |_| true).await?;
    Ok(Json(json!({"items": items})))
}

/// `GET /api/namespaces/{ns}/environments`. Environments belong to no namespace; the path has one for symmetry.
pub async fn environments(user: User, Path(namespace): InNamespace) -> Result<Json<Value>, Refusal> {
    let items = Kind::Environment.list(&user.client, &namespace, &ListParams::default(), |_| true).await?;
    Ok(Json(json!({"items": items})))
}

/// `GET /api/namespaces/{ns}/connections`: what a person chooses by. Where the keys are is nothing to choose by, so it stays here.
pub async fn connections(user: User, Path(namespace): InNamespace) -> Result<Json<Value>, Refusal> {
    named(&[&namespace])?;
    let all = Kind::Connection.list(&user.client, &namespace, &ListParams::default(), |_| true).await?;
    let items: Vec<_> = all.iter().map(connection).collect();
    Ok(Json(json!({"items": items})))
}

fn connection(found: &DynamicObject) -> Value {
    let (spec, status) = (&found.data["spec"], &found.data["status"]);
    let ready = status["conditions"].as_array().into_iter().flatten().find(|one| one["type"] == "Ready");
    json!({
        "name": found.metadata.name,
        "title": spec["title"],
        "kind": status["kind"],
        "target": status["target"],
        "provider": spec["model"]["provider"],
        "grant": spec["grant"],
        "ready": ready.is_some_and(|one| one["status"] == "True"),
        "message": ready.map(|one| &one["message"]),
    })
}

/// A new Session.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    name: Option<String>,
    goal: Option<String>,
    environment: Option<String>,
    source: Option<Value>,
    agent: Option<Value>,
    #[serde(default)]
    attachments: Vec<Value>,
}

/// `POST /api/namespaces/{ns}/sessions`.
pub async fn create(user: User, Path(namespace): InNamespace, Body(new): Body<NewSession>) -> Created {
    named(&[&namespace])?;
    let mut spec = Map::new();
    if let Some(goal) = &new.goal {
        spec.insert("goal".into(), goal.as_str().into());
    }
    if let Some(environment) = new.environment.filter(|name| !name.is_empty()) {
        spec.insert("environment".into(), environment.into());
    }
    if let Some(source) = new.source.filter(|source| !source.is_null()) {
        spec.insert("source".into(), source);
    }
    if let Some(agent) = new.agent.filter(|agent| !agent.is_null()) {
        spec.insert("agent".into(), agent);
    }
    if !new.attachments.is_empty() {
        spec.insert("attachments".into(), new.attachments.into());
    }
    let metadata = metadata(new.name, &name_of_goal(new.goal.as_deref().unwrap_or("session")));
    created(Kind::Session, &user.client, &namespace, json!({"metadata": metadata, "spec": spec})).await
}

/// A few words of the goal are easier to find than a random name alone; the API server adds five characters.
fn name_of_goal(goal: &str) -> String {
    let slug = names::slug(goal);
    // Names begin with a letter, goals need not.
    let slug = if slug.starts_with(|c: char| c.is_ascii_digit()) { format!("s-{slug}") } else { slug };
    let base: String = slug.chars().take(32).collect();
    base.trim_end_matches('-').to_owned()
}

fn metadata(name: Option<String>, base: &str) -> Value {
    match name.filter(|name| !name.is_empty()) {
        Some(name) => json!({"name": name}),
        None => json!({"generateName": format!("{base}-")}),
    }
}

/// Creates an object in the person's name.
pub async fn created(kind: Kind, client: &Client, namespace: &str, object: Value) -> Created {
    Ok((StatusCode::CREATED, Json(kind.create(client, namespace, object).await?)))
}

/// `GET /api/namespaces/{ns}/sessions/{s}`.
pub async fn show(user: User, Path((namespace, name)): InSession) -> Result<Json<Value>, Refusal> {
    named(&[&namespace, &name])?;
    let client = &user.client;
    let session = Kind::Session.api(client, &namespace).get(&name).await?;
    let desk = workspace_name(&session);
    let workspaces = Kind::Workspace.api(client, &namespace);
    let said = ListParams::default().fields(&format!("spec.session={name}"));
    let all = ListParams::default();
    let (workspace, messages, requests, artifacts, snapshots) = tokio::join!(
        async { Ok::<_, Refusal>(workspaces.get_opt(&desk).await?.map(|found| Kind::Workspace.show(found))) },
        Kind::Message.list(client, &namespace, &said, |_| true),
        Kind::Request.list(client, &namespace, &said, |_| true),
        Kind::Artifact.list(client, &namespace, &all, |found| is_artifact_of(found, &name)),
        Kind::Snapshot.list(client, &namespace, &all, |found| is_snapshot_of(found, &name, &desk)),
    );
    Ok(Json(json!({
        "session": Kind::Session.show(session),
        "workspace": seen(workspace)?,
        "messages": seen(messages)?,
        "requests": seen(requests)?,
        "artifacts": seen(artifacts)?,
        "snapshots": seen(snapshots)?,
    })))
}

/// Whoever may see a Session but not, say, Snapshots sees the page without them.
pub fn seen<T: Default>(result: Result<T, Refusal>) -> Result<T, Refusal> {
    match result {
        Err(refusal) if refusal.status == StatusCode::FORBIDDEN => Ok(T::default()),
        other => other,
    }
}

/// The Workspace of a Session: as the controller says, or as it will be named.
pub fn workspace_name(session: &DynamicObject) -> String {
    let named = session.data["status"]["workspace"]["name"].as_str();
    named.or(session.metadata.name.as_deref()).unwrap_or_default().to_owned()
}

/// Artifacts keep their Session's name in spec; the label is an index for people.
pub fn is_artifact_of(artifact: &DynamicObject, session: &str) -> bool {
    let label = artifact.metadata.labels.as_ref().and_then(|all| all.get(labels::SESSION));
    artifact.data["spec"]["session"].as_str().or(label.map(String::as_str)) == Some(session)
}

/// Snapshots name a Workspace; those of an earlier Workspace of the Session name the Session in their checkpoint.
pub fn is_snapshot_of(snapshot: &DynamicObject, session: &str, workspace: &str) -> bool {
    snapshot.data["spec"]["workspace"] == workspace
        || snapshot.data["status"]["checkpoint"]["session"] == session
}

/// `DELETE /api/namespaces/{ns}/sessions/{s}`.
pub async fn delete(user: User, Path((namespace, name)): InSession) -> Result<Json<Value>, Refusal> {
    named(&[&namespace, &name])?;
    Kind::Session.api(&user.client, &namespace).delete(&name, &DeleteParams::default()).await?;
    Ok(Json(json!({})))
}

/// Something to say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    content: Option<String>,
    delivery: Option<String>,
    turn: Option<i64>,
}

/// `POST /api/namespaces/{ns}/sessions/{s}/messages`.
pub async fn say(user: User, Path((namespace, name)): InSession, Body(new): Body<NewMessage>) -> Created {
    named(&[&namespace, &name])?;
    let mut spec = json!({"session": name, "delivery": new.delivery.as_deref().unwrap_or("Queue")});
    if let Some(content) = new.content.filter(|content| !content.is_empty()) {
        spec["content"] = content.into();
    }
    if let Some(turn) = new.turn {
        spec["turn"] = turn.into();
    }
    let metadata = json!({"generateName": format!("{name}-"), "labels": {labels::SESSION: name}});
    created(Kind::Message, &user.client, &namespace, json!({"metadata": metadata, "spec": spec})).await
}

/// Who gets mouse and keyboard.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewControl {
    holder: String,
    #[serde(default)]
    private: bool,
}

/// `POST /api/namespaces/{ns}/sessions/{s}/control`.
pub async fn control(
    user: User,
    Path((namespace, name)): InSession,
    Body(new): Body<NewControl>,
) -> Result<Json<DynamicObject>, Refusal> {
    named(&[&namespace, &name])?;
    let session = Kind::Session.api(&user.client, &namespace).get(&name).await?;
    hold(&user, &namespace, &workspace_name(&session), &new).await
}

/// Gives mouse and keyboard of a desktop to the person, or to the agent.
pub async fn hold(
    user: &User,
    namespace: &str,
    desk: &str,
    new: &NewControl,
) -> Result<Json<DynamicObject>, Refusal> {
    let person = (new.holder == "User").then_some(&user.name);
    let control = json!({"holder": new.holder, "user": person, "private": new.private});
    patch(Kind::Workspace, &user.client, namespace, desk, json!({"spec": {"control": control}})).await
}

async fn patch(
    kind: Kind,
    client: &Client,
    namespace: &str,
    name: &str,
    change: Value,
) -> Result<Json<DynamicObject>, Refusal> {
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let changed = kind.api(client, namespace).patch(name, &params, &Patch::Merge(change)).await?;
    Ok(Json(kind.show(changed)))
}

/// A decision.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDecision {
    option: String,
    #[serde(default)]
    values: BTreeMap<String, String>,
    note: Option<String>,
}

/// `POST /api/namespaces/{ns}/sessions/{s}/requests/{r}`. Who decided is stamped by the API server's admission, not said here.
pub async fn decide(
    user: User,
    Path((namespace, name, request)): Path<(String, String, String)>,
    Body(new): Body<NewDecision>,
) -> Result<Json<DynamicObject>, Refusal> {
    named(&[&namespace, &name, &request])?;
    let requests = Kind::Request.api(&user.client, &namespace);
    if requests.get(&request).await?.data["spec"]["session"] != name {
        let text = format!("{request} is no Request of the Session {name}");
        return Err(Refusal::new(StatusCode::NOT_FOUND, "NotFound", text));
    }
    let mut decision = json!({"option": new.option});
    if !new.values.is_empty() {
        decision["values"] = json!(new.values);
    }
    if let Some(note) = new.note.filter(|note| !note.is_empty()) {
        decision["note"] = note.into();
    }
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let change = Patch::Merge(json!({"status": {"decision": decision}}));
    let decided = requests.patch_status(&request, &params, &change).await?;
    Ok(Json(Kind::Request.show(decided)))
}

/// How far a Session may go; what is left out stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewLimits {
    turns: Option<i64>,
    tokens: Option<i64>,
    active_duration: Option<String>,
}

/// `POST /api/namespaces/{ns}/sessions/{s}/limits`.
pub async fn limits(
    user: User,
    Path((namespace, name)): InSession,
    Body(new): Body<NewLimits>,
) -> Result<Json<DynamicObject>, Refusal> {
    named(&[&namespace, &name])?;
    let mut limits = Map::new();
    for (field, limit) in [
        ("turns", new.turns.map(Value::from)),
        ("tokens", new.tokens.map(Value::from)),
        ("activeDuration", new.active_duration.map(Value::from)),
    ] {
        limits.extend(limit.map(|limit| (field.to_owned(), limit)));
    }
    patch(Kind::Session, &user.client, &namespace, &name, json!({"spec": {"limits": limits}})).await
}

/// A new Snapshot.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSnapshot {
    name: Option<String>,
}

/// `POST /api/namespaces/{ns}/sessions/{s}/snapshots`.
pub async fn save(user: User, Path((namespace, name)): InSession, Body(new): Body<NewSnapshot>) -> Created {
    named(&[&namespace, &name])?;
    let session = Kind::Session.api(&user.client, &namespace).get(&name).await?;
    let mut metadata = metadata(new.name, &name);
    metadata["labels"] = json!({labels::SESSION: name});
    let spec = json!({"workspace": workspace_name(&session)});
    created(Kind::Snapshot, &user.client, &namespace, json!({"metadata": metadata, "spec": spec})).await
}

/// What the Session should be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewState {
    state: String,
}

/// `POST /api/namespaces/{ns}/sessions/{s}/state`.
pub async fn state(
    user: User,
    Path((namespace, name)): InSession,
    Body(new): Body<NewState>,
) -> Result<Json<DynamicObject>, Refusal> {
    named(&[&namespace, &name])?;
    patch(Kind::Session, &user.client, &namespace, &name, json!({"spec": {"state": new.state}})).await
}

/// Nothing to say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// `POST /api/namespaces/{ns}/sessions/{s}/wake`: for a desktop that fell asleep because nobody used it.
pub async fn wake(
    user: User,
    Path((namespace, name)): InSession,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Json<DynamicObject>, Refusal> {
    named(&[&namespace, &name])?;
    let session = Kind::Session.api(&user.client, &namespace).get(&name).await?;
    let desk = workspace_name(&session);
    // Any new value wakes.
    let moment =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
    let change = json!({"metadata": {"annotations": {labels::WAKE: format!("console-{moment}")}}});
    patch(Kind::Workspace, &user.client, &namespace, &desk, change).await
}

/// The routes below `/api/namespaces`.
pub fn routes() -> axum::Router<Arc<crate::Console>> {
    use axum::routing::{get, post};
    axum::Router::new()
        .route("/{ns}/environments", get(environments))
        .route("/{ns}/connections", get(connections))
        .route("/{ns}/sessions", get(list).post(create))
        .route("/{ns}/sessions/{s}", get(show).delete(delete))
        .route("/{ns}/sessions/{s}/events", get(crate::events::stream))
        .route("/{ns}/sessions/{s}/messages", post(say))
        .route("/{ns}/sessions/{s}/control", post(control))
        .route("/{ns}/sessions/{s}/requests/{r}", post(decide))
        .route("/{ns}/sessions/{s}/limits", post(limits))
        .route("/{ns}/sessions/{s}/snapshots", post(save))
        .route("/{ns}/sessions/{s}/state", post(state))
        .route("/{ns}/sessions/{s}/wake", post(wake))
        .route("/{ns}/artifacts/{a}/content", get(crate::artifacts::download))
        .merge(crate::shares::routes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_goal_begins_with_the_name_begins_with_a_letter() {
        assert_eq!(name_of_goal("Summarize Seattle weather"), "summarize-seattle-weather");
        assert_eq!(name_of_goal("2 charts, please"), "s-2-charts-please");
        assert_eq!(name_of_goal("日本"), "x");
        let long = name_of_goal(&"word ".repeat(20));
        assert!(long.len() <= 32 && !long.ends_with('-'), "{long}");
    }
}
