//! What the page is told when a call fails: `{error, reason}` with the API server's own words and status code. It never shows a token and
//! nothing of the console's inside.

use axum::{
    Json,
    extract::rejection::JsonRejection,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// A refused call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// One word for programs, in the style of Kubernetes: `Forbidden`, `NotFound`.
    pub reason: String,
    /// For people.
    pub error: String,
}

impl Refusal {
    /// With all three parts.
    pub fn new(status: StatusCode, reason: &str, error: impl Into<String>) -> Self {
        Self { status, reason: reason.to_owned(), error: error.into() }
    }

    /// The request makes no sense.
    pub fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", error)
    }

    /// Nobody is logged in.
    pub fn login() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "log in first")
    }

    /// The person or page may not do this.
    pub fn forbidden(reason: &str, error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, reason, error)
    }

    /// Another process does not answer.
    pub fn unavailable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "Unavailable", error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.error, "reason": self.reason}))).into_response()
    }
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::BAD_GATEWAY);
                let reason = if status.reason.is_empty() { "Unknown" } else { &status.reason };
                let text =
                    if status.message.is_empty() { "the Kubernetes API refused" } else { &status.message };
                Self::new(code, reason, text)
            }
            other => {
                tracing::warn!(error = %other, "the Kubernetes API did not answer");
                Self::unavailable("the Kubernetes API did not answer; try again")
            }
        }
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "BadRequest", rejection.body_text())
    }
}
