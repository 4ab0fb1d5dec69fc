//! Shares: who else may see the desktop of a Session, and what a guest sees of it. A guest has rights to the Share, its Workspace and the
//! desktop, so nothing here asks for a Session that a guest comes to.

use std::sync::Arc;

use axum::{Json, extract::Path, http::StatusCode};
use kube::api::{DeleteParams, DynamicObject, ListParams};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    errors::Refusal,
    login::User,
    objects::{Body, Kind, named},
    sessions::{Created, NewControl, created, hold, seen},
};

type OfSession = Path<(String, String)>;
type OneShare = Path<(String, String)>;

/// `GET /api/namespaces/{ns}/sessions/{s}/shares`.
pub async fn list(user: User, Path((namespace, session)): OfSession) -> Result<Json<Value>, Refusal> {
    named(&[&namespace, &session])?;
    let params = ListParams::default().fields(&format!("spec.session={session}"));
    let items = Kind::Share.list(&user.client, &namespace, &params, |_| true).await?;
    Ok(Json(json!({"items": items})))
}

/// Whom to invite.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewShare {
    role: String,
    subjects: Vec<Value>,
    expires: Option<String>,
}

/// `POST /api/namespaces/{ns}/sessions/{s}/shares`.
pub async fn create(user: User, Path((namespace, session)): OfSession, Body(new): Body<NewShare>) -> Created {
    named(&[&namespace, &session])?;
    let mut spec = json!({"session": session, "role": new.role, "subjects": new.subjects});
    if let Some(expires) = new.expires {
        spec["expires"] = expires.into();
    }
    // Five characters are added; a Share has a name of at most 63.
    let base: String = session.chars().take(50).collect();
    let metadata = json!({"generateName": format!("{base}-")});
    created(Kind::Share, &user.client, &namespace, json!({"metadata": metadata, "spec": spec})).await
}

/// `DELETE /api/namespaces/{ns}/shares/{share}`.
pub async fn revoke(user: User, Path((namespace, name)): OneShare) -> Result<Json<Value>, Refusal> {
    named(&[&namespace, &name])?;
    Kind::Share.api(&user.client, &namespace).delete(&name, &DeleteParams::default()).await?;
    Ok(Json(json!({})))
}

/// `GET /api/namespaces/{ns}/shares/{share}`: what a guest sees beside the picture.
pub async fn show(user: User, Path((namespace, name)): OneShare) -> Result<Json<Value>, Refusal> {
    named(&[&namespace, &name])?;
    let share = Kind::Share.api(&user.client, &namespace).get(&name).await?;
    let workspace = match desk(&share) {
        Some(desk) => {
            let found = Kind::Workspace.api(&user.client, &namespace).get_opt(desk).await;
            // The rights come and go a moment after the Share says so.
            seen(found.map_err(Refusal::from))?.map(|found| Kind::Workspace.show(found))
        }
        None => None,
    };
    Ok(Json(json!({"share": Kind::Share.show(share), "workspace": workspace})))
}

fn desk(share: &DynamicObject) -> Option<&str> {
    share.data["status"]["workspace"].as_str()
}

/// `POST /api/namespaces/{ns}/shares/{share}/control`.
pub async fn control(
    user: User,
    Path((namespace, name)): OneShare,
    Body(new): Body<NewControl>,
) -> Result<Json<DynamicObject>, Refusal> {
    named(&[&namespace, &name])?;
    let share = Kind::Share.api(&user.client, &namespace).get(&name).await?;
    let Some(desk) = desk(&share) else {
        let text = format!("the Share {name} lets nobody see a desktop now");
        return Err(Refusal::new(StatusCode::CONFLICT, "NotShared", text));
    };
    hold(&user, &namespace, desk, &new).await
}

/// The routes below `/api/namespaces`.
pub fn routes() -> axum::Router<Arc<crate::Console>> {
    use axum::routing::{get, post};
    axum::Router::new()
        .route("/{ns}/sessions/{s}/shares", get(list).post(create))
        .route("/{ns}/shares/{share}", get(show).delete(revoke))
        .route("/{ns}/shares/{share}/control", post(control))
}
