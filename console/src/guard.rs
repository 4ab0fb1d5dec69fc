//! What every request passes before a handler sees it: is it from our own page, does it change something although the console is
//! read-only. And what every response carries: the headers that keep a page from being framed, sniffed or scripted.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{errors::Refusal, server::Console};

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; \
    connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page's own origins.
#[derive(Clone, Debug, Default)]
pub struct Origins(pub Vec<String>);

impl Origins {
    /// Whether the request's Origin is ours: listed, or this machine's under the very host that the browser asked for. A name that
    /// somebody else's DNS points at us is neither.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = origins.next().and_then(|value| value.to_str().ok());
        let (Some(origin), None) = (origin, origins.next()) else { return false };
        self.0.iter().any(|own| own.trim_end_matches('/') == origin) || local(origin, headers)
    }
}

fn local(origin: &str, headers: &HeaderMap) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let own = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let plain =
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.path().trim_end_matches('/').is_empty();
    own && plain && uri.authority().is_some_and(|authority| authority.as_str().eq_ignore_ascii_case(host))
}

/// The middleware.
pub async fn check(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let cacheable = !path.starts_with("/api") && !path.starts_with("/vnc");
    let mut response = match admit(&console, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        // A handler that needs a stricter policy has set its own.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, CSP);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "no-referrer");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()");
    if !cacheable {
        set(header::CACHE_CONTROL, "no-store");
    }
    response
}

fn admit(console: &Console, request: &Request) -> Result<(), Refusal> {
    let (path, headers) = (request.uri().path(), request.headers());
    if !path.starts_with("/api/") && !path.starts_with("/vnc/") {
        return Ok(());
    }
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let read = matches!(*request.method(), Method::GET | Method::HEAD);
    // `none` is a person who opens a download by its address.
    let own = site.is_none_or(|site| site == b"same-origin" || (read && site == b"none"));
    if !own {
        return Err(Refusal::forbidden("CrossSite", "the request comes from another site"));
    }
    if read {
        return Ok(());
    }
    if !console.origins.allow(headers) {
        let text = "the request does not come from this console's page; give its address with --public-url if it does";
        return Err(Refusal::forbidden("Origin", text));
    }
    if headers.get("x-a8s").is_none_or(|value| value != "1") {
        return Err(Refusal::forbidden("Header", "the header X-A8s: 1 is missing"));
    }
    let bodied = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
        || headers.contains_key(header::TRANSFER_ENCODING);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") && (bodied || !kind.is_empty()) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Refusal::new(status, "UnsupportedMediaType", "the body must be application/json"));
    }
    // Coming and going changes nothing in the cluster, and of tickets the proxy's handler lets those for viewing through.
    let harmless = matches!(path, "/api/login" | "/api/logout" | "/vnc/ticket");
    if console.read_only && !harmless {
        return Err(Refusal::forbidden("ReadOnly", "this console is read-only; use kubectl"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: &str, host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(header::HOST, host.parse().unwrap());
        headers
    }

    #[test]
    fn the_origin_is_a_listed_one_or_this_machine_as_asked_for() {
        let origins = Origins(vec!["https://a8s.example.com/".into()]);
        assert!(origins.allow(&headers("https://a8s.example.com", "whatever")));
        assert!(origins.allow(&headers("http://localhost:30080", "localhost:30080")));
        assert!(origins.allow(&headers("http://127.0.0.1:8080", "127.0.0.1:8080")));
        for (origin, host) in [
            ("https://a8s.example.com.evil.net", "a8s.example.com"),
            ("http://a8s.example.com", "a8s.example.com"),
            ("http://evil.net", "evil.net"),
            ("http://localhost:1", "localhost:2"),
            ("http://localhost.evil.net:1", "localhost.evil.net:1"),
            ("null", "localhost"),
            ("file://localhost", "localhost"),
        ] {
            assert!(!origins.allow(&headers(origin, host)), "{origin} {host}");
        }
        assert!(!origins.allow(&HeaderMap::new()));
    }

    #[test]
    fn two_origins_are_no_origin() {
        let mut twice = headers("https://a", "a");
        twice.append(header::ORIGIN, "https://a".parse().unwrap());
        assert!(!Origins(vec!["https://a".into()]).allow(&twice));
    }
}
