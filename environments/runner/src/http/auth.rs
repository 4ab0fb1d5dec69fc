//! Access tokens of requests.

use std::path::PathBuf;

use a8s_wire::{Claims, Scope, TokenError, token::TokenVerifier};
use axum::http::{HeaderMap, StatusCode, header::AUTHORIZATION};

use super::Refusal;

/// Checks the bearer token of each request.
pub struct Auth {
    keys: PathBuf,
    workspace_uid: String,
}

impl Auth {
    /// `keys` is a PEM file. It is read for every request: keys are rotated while we run, and the file is tiny.
    pub fn new(keys: PathBuf, workspace_uid: String) -> Self {
        Self { keys, workspace_uid }
    }

    /// Lets a request pass that carries one of `scopes`.
    pub fn check(&self, headers: &HeaderMap, scopes: &[Scope]) -> Result<Claims, Refusal> {
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| {
                Refusal::new(StatusCode::UNAUTHORIZED, "an access token is needed (Authorization: Bearer)")
            })?;
        let pem = std::fs::read_to_string(&self.keys).map_err(|error| {
            tracing::error!(%error, path = %self.keys.display(), "the keys for access tokens cannot be read");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the keys for access tokens cannot be read")
        })?;
        let verified = TokenVerifier::from_pem(&pem, &self.workspace_uid)
            .and_then(|verifier| verifier.verify(token, jiff::Timestamp::now().as_second(), scopes));
        verified.map_err(|error| {
            let status = match error {
                TokenError::Scope => StatusCode::FORBIDDEN,
                TokenError::Key => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::UNAUTHORIZED,
            };
            Refusal::new(status, error.to_string())
        })
    }
}
