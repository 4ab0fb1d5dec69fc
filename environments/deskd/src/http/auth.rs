//! Tokens on requests, and refusals that say why without giving anything away.

use a8s_wire::{Claims, Scope, TokenError};
use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::desk::Desk;

/// An answer other than success.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    text: String,
}

impl Refused {
    /// `text` is shown to the caller.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, format!("{}\n", self.text)).into_response()
    }
}

/// The claims of a valid token that carries one of `scopes`.
pub fn check(desk: &Desk, headers: &HeaderMap, scopes: &[Scope]) -> Result<Claims, Refused> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = header.and_then(|value| value.strip_prefix("Bearer ")) else {
        return Err(Refused::new(
            StatusCode::UNAUTHORIZED,
            "an access token is needed: Authorization: Bearer …",
        ));
    };
    let Some(tokens) = &desk.tokens else {
        return Err(Refused::new(StatusCode::UNAUTHORIZED, "this desktop knows no key to check tokens with"));
    };
    let now = jiff::Timestamp::now().as_second();
    tokens.verify(token, now, scopes).map_err(|error| {
        let status =
            if error == TokenError::Scope { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
        Refused::new(status, error.to_string())
    })
}

/// Refuses while another person holds the desktop in private.
pub fn may_see(desk: &Desk, claims: &Claims) -> Result<(), Refused> {
    if desk.lease.may_see(&claims.sub) {
        return Ok(());
    }
    Err(Refused::new(StatusCode::LOCKED, "another person holds this desktop in private"))
}
