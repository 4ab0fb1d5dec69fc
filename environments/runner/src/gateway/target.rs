//! Where a call goes and what goes with it. Pure. A call stays below the base URL that was granted, whatever path the agent asks for, and of
//! the agent's headers nothing that identifies anybody is passed on.

use a8s_wire::GrantKind;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::Url;

/// Why a call goes nowhere. The text is for the agent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The path leaves the base URL.
    #[error("this path is not below the URL that was granted")]
    Outside,
    /// The method was not granted.
    #[error("{0} may not be used with this connection")]
    Method(Method),
    /// What was granted cannot be called like this.
    #[error("this connection is no HTTP API: {0}")]
    Kind(&'static str),
    /// The grant is broken.
    #[error("the connection's URL or key cannot be used; whoever made it must look at it")]
    Broken,
}

/// Where a call goes.
#[derive(Debug)]
pub struct Target {
    /// The whole URL.
    pub url: Url,
    /// The header with the key.
    pub key: Option<(HeaderName, HeaderValue)>,
    /// The key as text, to be masked in answers.
    pub secret: Option<String>,
    /// Whether it is a model, whose use is counted.
    pub model: bool,
    /// Its prices.
    pub price: Option<(i64, i64)>,
}

impl Target {
    /// The target of a call to `path` (without a leading slash) with `query`.
    pub fn of(
        grant: &GrantKind,
        method: &Method,
        path: &str,
        query: Option<&str>,
    ) -> Result<Self, TargetError> {
        match grant {
            GrantKind::Model { provider, base_url, key, price, .. } => {
                let url = join(base_url, path, query)?;
                let header = match (key, provider.as_str()) {
                    (None, _) => None,
                    (Some(key), "anthropic") => Some(("x-api-key".to_owned(), key.clone())),
                    // By its door for chat completions it wants the key where OpenAI does.
                    (Some(key), "gemini") if !path.contains("/openai/") => {
                        Some(("x-goog-api-key".to_owned(), key.clone()))
                    }
                    (Some(key), _) => Some(("authorization".to_owned(), format!("Bearer {key}"))),
                };
                let key_header = header.map(|(name, value)| sealed(&name, &value)).transpose()?;
                Ok(Self { url, key: key_header, secret: key.clone(), model: true, price: *price })
            }
            GrantKind::Http { base_url, header, methods } => {
                let allowed =
                    methods.is_empty() || methods.iter().any(|m| m.eq_ignore_ascii_case(method.as_str()));
                if !allowed {
                    return Err(TargetError::Method(method.clone()));
                }
                let url = join(base_url, path, query)?;
                let key = header.as_ref().map(|header| sealed(&header.name, &header.value)).transpose()?;
                let secret = header.as_ref().map(|header| {
                    header.value.split_once(' ').map_or(header.value.as_str(), |(_, key)| key).to_owned()
                });
                Ok(Self { url, key, secret, model: false, price: None })
            }
            GrantKind::Mcp { .. } => {
                Err(TargetError::Kind("its tools are among yours, named <connection>__<tool>"))
            }
            GrantKind::Secret { .. } => Err(TargetError::Kind("it is a file below /run/a8s/acp/secrets")),
            GrantKind::Documents { .. } => Err(TargetError::Kind("it is a file among the attachments")),
        }
    }
}

fn sealed(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), TargetError> {
    let name: HeaderName = name.parse().map_err(|_| TargetError::Broken)?;
    let mut value: HeaderValue = value.parse().map_err(|_| TargetError::Broken)?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// `path` behind `base`. Whatever a server could take for a way up is refused, encoded or not.
fn join(base: &str, path: &str, query: Option<&str>) -> Result<Url, TargetError> {
    let base = base.trim_end_matches('/');
    let root = Url::parse(base).map_err(|_| TargetError::Broken)?;
    let decoded = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
    let climbs = decoded.split(['/', '\\']).any(|part| part == ".." || part == ".");
    if climbs || decoded.contains(['\\', '#', '?']) || path.chars().any(char::is_control) {
        return Err(TargetError::Outside);
    }
    let path = path.trim_start_matches('/');
    let mut url = Url::parse(&format!("{base}/{path}")).map_err(|_| TargetError::Outside)?;
    url.set_query(query);
    let below = url.path().starts_with(&format!("{}/", root.path().trim_end_matches('/')));
    let same = (url.scheme(), url.host_str(), url.port_or_known_default(), url.username())
        == (root.scheme(), root.host_str(), root.port_or_known_default(), root.username());
    if below && same { Ok(url) } else { Err(TargetError::Outside) }
}

/// Headers that belong to one connection only, or that say who calls.
const DROPPED: [HeaderName; 19] = [
    header::HOST,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::FORWARDED,
    header::ORIGIN,
    header::REFERER,
    header::EXPECT,
    // What is compressed says nothing of its usage.
    header::ACCEPT_ENCODING,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// The headers that are passed on, in either direction.
pub fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<String> =
        named.flat_map(|v| v.split(',')).map(|n| n.trim().to_ascii_lowercase()).collect();
    headers
        .iter()
        .filter(|(name, _)| {
            !DROPPED.contains(name)
                && !name.as_str().starts_with("x-forwarded-")
                && !named.iter().any(|dropped| dropped == name.as_str())
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use a8s_wire::Header;

    use super::*;

    fn http(methods: &[&str]) -> GrantKind {
        GrantKind::Http {
            base_url: "https://api.example/v1".into(),
            header: Some(Header { name: "X-Key".into(), value: "canary".into() }),
            methods: methods.iter().map(|&m| m.to_owned()).collect(),
        }
    }

    fn url(path: &str, query: Option<&str>) -> Result<String, TargetError> {
        Target::of(&http(&[]), &Method::GET, path, query).map(|target| target.url.to_string())
    }

    #[test]
    fn a_call_goes_below_the_base_url_and_nowhere_else() {
        assert_eq!(url("users/7", Some("a=b%2Fc")), Ok("https://api.example/v1/users/7?a=b%2Fc".into()));
        assert_eq!(url("", None), Ok("https://api.example/v1/".into()));
        assert_eq!(url("//evil.example/x", None), Ok("https://api.example/v1/evil.example/x".into()));
        for path in
            ["../admin", "a/../../admin", "%2e%2E/admin", "a/%2e%2e%2f%2e%2e", "..\\admin", "a/./b", "a#b"]
        {
            assert_eq!(url(path, None), Err(TargetError::Outside), "{path}");
        }
        assert!(url("@evil.example/", None).unwrap().starts_with("https://api.example/v1/@"));
    }

    #[test]
    fn only_the_granted_methods_are_used() {
        let of = |method: &Method| Target::of(&http(&["get"]), method, "x", None).map(|_| ());
        assert_eq!(of(&Method::GET), Ok(()));
        assert_eq!(of(&Method::DELETE), Err(TargetError::Method(Method::DELETE)));
    }

    #[test]
    fn each_provider_gets_its_key_where_it_looks_for_it_and_the_key_is_not_shown() {
        for (provider, path, name, value) in [
            ("anthropic", "v1/messages", "x-api-key", "canary"),
            ("openai", "responses", "authorization", "Bearer canary"),
            ("gemini", "v1beta/models/m:streamGenerateContent", "x-goog-api-key", "canary"),
            ("gemini", "v1beta/openai/chat/completions", "authorization", "Bearer canary"),
        ] {
            let grant = GrantKind::Model {
                provider: provider.into(),
                model: "m".into(),
                base_url: "https://api.example".into(),
                key: Some("canary".into()),
                price: None,
            };
            let target = Target::of(&grant, &Method::POST, path, None).unwrap();
            let (header, sent) = target.key.unwrap();
            assert_eq!((header.as_str(), sent.to_str().unwrap()), (name, value));
            assert!(!format!("{sent:?}").contains("canary"));
        }
    }

    #[test]
    fn what_identifies_somebody_is_not_passed_on() {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "x-api-key", "cookie", "x-forwarded-for", "host", "connection", "x-hop"]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x-hop"));
        }
        headers.insert("anthropic-beta", HeaderValue::from_static("computer-use"));
        let passed = passed_on(&headers);
        assert_eq!(passed.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["anthropic-beta"]);
    }
}
