//! Attachments in, artifacts out.

use a8s_wire::Scope;
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio_util::io::ReaderStream;

use super::{App, Refusal};
use crate::attachments;

/// `GET /v1/blobs/{sha256}`.
pub async fn blob(
    State(app): App,
    headers: HeaderMap,
    Path(sha256): Path<String>,
) -> Result<Response, Refusal> {
    app.auth.check(&headers, &[Scope::Files, Scope::Admin])?;
    let missing = || Refusal::new(StatusCode::NOT_FOUND, "there is no such content");
    let path = app.blobs.path(&sha256).ok_or_else(missing)?;
    let file = tokio::fs::File::open(path).await.map_err(|_| missing())?;
    let length = file.metadata().await.map_err(|_| missing())?.len();
    // Content comes from the agent: a browser must never take it for a page of ours.
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::ETAG, format!("\"{sha256}\"")),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}

/// `PUT /v1/attachments/{name}`.
pub async fn put_attachment(
    State(app): App,
    headers: HeaderMap,
    Path(name): Path<String>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Refusal> {
    app.auth.check(&headers, &[Scope::Admin])?;
    if !attachments::valid_name(&name) {
        let text = "an attachment's name has 1 to 255 bytes, no slash and no leading dot";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
    }
    let body = body.map_err(|error| Refusal::new(error.status(), error.body_text()))?;
    let home = app.config.home.clone();
    let written = tokio::task::spawn_blocking(move || {
        attachments::store(&home, &name, &body).map(|()| (attachments::sha256(&body), body.len()))
    });
    match written.await {
        Ok(Ok((sha256, size))) => Ok(Json(json!({"sha256": sha256, "size": size})).into_response()),
        Ok(Err(error)) => {
            let text = format!("the attachment could not be written: {error}");
            Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, text))
        }
        Err(error) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}
