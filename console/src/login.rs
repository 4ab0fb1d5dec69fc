//! Logging in and out, and who it is that asks.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, Client, api::PostParams};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    errors::Refusal,
    objects::Body,
    seal::{COOKIE, Login, MAX_TOKEN, expiry},
    server::Console,
};

/// The person who asks: the cookie's owner, with a client that is them.
pub struct User {
    /// Kubernetes user name.
    pub name: String,
    /// Their token.
    pub token: String,
    /// End of the login, Unix seconds.
    pub expires: i64,
    /// A client with their rights.
    pub client: Client,
}

impl FromRequestParts<Arc<Console>> for User {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Refusal> {
        let now = jiff::Timestamp::now().as_second();
        let mut opened = cookies(&parts.headers).filter_map(|value| console.sealer.open(value, now));
        let login = opened.next().ok_or_else(Refusal::login)?;
        let client = console.clients.of(&login.token)?;
        Ok(Self { name: login.user, token: login.token, expires: login.expires, client })
    }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Body of a login.
#[derive(Deserialize)]
pub struct Credentials {
    token: String,
}

/// `POST /api/login`.
pub async fn login(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    Body(credentials): Body<Credentials>,
) -> Result<Response, Refusal> {
    let token = credentials.token.trim();
    let valid = |c: char| c.is_ascii_graphic();
    if token.is_empty() || !token.chars().all(valid) {
        return Err(Refusal::bad("this is no token; make one with `kubectl create token`"));
    }
    if token.len() > MAX_TOKEN {
        return Err(Refusal::bad(format!(
            "the token has more than {MAX_TOKEN} characters, which no cookie can hold"
        )));
    }
    let user = whoami(console.clients.of(token)?).await?;
    let now = jiff::Timestamp::now().as_second();
    let expires = expiry(token, now);
    if expires <= now {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", "the token has expired"));
    }
    let sealed = console.sealer.seal(&Login { token: token.to_owned(), user: user.clone(), expires });
    let sealed = sealed.ok_or_else(|| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "the login cannot be sealed")
    })?;
    let cookie = cookie(&sealed, expires - now, &headers);
    Ok(([(header::SET_COOKIE, cookie)], Json(describe(&console, &user))).into_response())
}

/// The user name behind a client, in the API server's words.
async fn whoami(client: Client) -> Result<String, Refusal> {
    let api: Api<SelfSubjectReview> = Api::all(client);
    let review =
        api.create(&PostParams::default(), &SelfSubjectReview::default()).await.map_err(|error| {
            let refusal = Refusal::from(error);
            if refusal.status != StatusCode::UNAUTHORIZED {
                return refusal;
            }
            let text = "the cluster does not know this token; make a new one with `kubectl create token`";
            Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", text)
        })?;
    let name = review.status.and_then(|status| status.user_info?.username).unwrap_or_default();
    if name.is_empty() || name == "system:anonymous" {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", "the token names nobody"));
    }
    Ok(name)
}

/// `POST /api/logout`.
pub async fn logout(headers: HeaderMap) -> Response {
    ([(header::SET_COOKIE, cookie("", 0, &headers))], Json(json!({}))).into_response()
}

/// `GET /api/session`.
pub async fn session(State(console): State<Arc<Console>>, user: User) -> Json<Value> {
    Json(describe(&console, &user.name))
}

fn describe(console: &Console, user: &str) -> Value {
    let own = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split(':').next());
    json!({"user": user, "readOnly": console.read_only, "namespace": own.unwrap_or("default")})
}

fn cookie(value: &str, age: i64, headers: &HeaderMap) -> String {
    let origin = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok());
    let origin = origin.and_then(|text| text.parse::<Uri>().ok()).unwrap_or_default();
    // Browsers take secure cookies from localhost without TLS, but not all do from other addresses of this machine.
    let secure = origin.scheme_str() == Some("https") || origin.host() == Some("localhost");
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
}
