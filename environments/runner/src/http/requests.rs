//! Answers to what the agent asked, and how the agent is run.

use a8s_wire::{Answer, Answered, Scope, Settings};
use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
};

use super::{App, Refusal};
use crate::handle::ReplyError;

/// Longest text of the settings.
const MAX_TEXT: usize = 64 * 1024;

impl From<ReplyError> for Refusal {
    fn from(error: ReplyError) -> Self {
        match error {
            // It will never fit, however often it is sent.
            ReplyError::Unfit(error) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
            ReplyError::Storage(error) => error.into(),
        }
    }
}

/// `POST /v1/requests/{id}`.
pub async fn answer(
    State(app): App,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Result<Json<Answer>, JsonRejection>,
) -> Result<Json<Answered>, Refusal> {
    app.auth.check(&headers, &[Scope::Admin])?;
    let Json(answer) = body?;
    Ok(Json(Answered { applied: app.engine.reply(id, answer).await?? }))
}

/// `PUT /v1/settings`.
pub async fn settings(
    State(app): App,
    headers: HeaderMap,
    body: Result<Json<Settings>, JsonRejection>,
) -> Result<Json<Settings>, Refusal> {
    app.auth.check(&headers, &[Scope::Admin])?;
    let Json(settings) = body?;
    let texts = [&settings.instructions, &settings.requirement];
    if texts.into_iter().flatten().any(|text| text.len() > MAX_TEXT) {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "instructions and requirement have at most 64 KiB",
        ));
    }
    if settings.command.first().is_some_and(String::is_empty) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the harness's command needs a program"));
    }
    app.engine.configure(settings.clone()).await??;
    Ok(Json(settings))
}
