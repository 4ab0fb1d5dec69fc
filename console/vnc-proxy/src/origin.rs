//! Which pages may open a stream. A browser sends cookies and credentials along with a WebSocket from any page; the Origin header is
//! what tells ours from a stranger's.

use http::{HeaderMap, Uri, header};

/// The rule.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Exact origins.
    pub allowed: Vec<String>,
    /// Also the origin whose host the browser asked for.
    pub same_host: bool,
}

impl Origins {
    /// The origin of the request if it may use the proxy. A request without one comes from no browser page and is refused.
    pub fn check<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (origin, more) = (origins.next()?.to_str().ok()?, origins.next());
        if more.is_some() {
            return None;
        }
        let listed = self.allowed.iter().any(|allowed| allowed.trim_end_matches('/') == origin);
        (listed || (self.same_host && same_host(origin, headers))).then_some(origin)
    }
}

fn same_host(origin: &str, headers: &HeaderMap) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return false;
    }
    // The console replaces Host on the way here and says what it was.
    let host = headers.get("x-forwarded-host").or_else(|| headers.get(header::HOST));
    let host = host.and_then(|value| value.to_str().ok()).unwrap_or_default();
    uri.authority().is_some_and(|authority| authority.as_str().eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_an_exact_origin_is_accepted() {
        let origins = Origins { allowed: vec!["https://a8s.example.com/".into()], same_host: false };
        assert!(origins.check(&headers(&[("origin", "https://a8s.example.com")])).is_some());
        for bad in [
            "https://a8s.example.com.evil.net",
            "http://a8s.example.com",
            "https://a8s.example.com:444",
            "https://evil.net/https://a8s.example.com",
            "null",
            "",
        ] {
            assert_eq!(
                origins.check(&headers(&[("origin", bad), ("host", "a8s.example.com")])),
                None,
                "{bad}"
            );
        }
        assert_eq!(origins.check(&HeaderMap::new()), None);
    }

    #[test]
    fn the_same_host_is_the_one_that_the_console_was_asked_for() {
        let origins = Origins { allowed: Vec::new(), same_host: true };
        let asked = |origin, forwarded| {
            let pairs = [("origin", origin), ("host", "vnc-proxy:8090"), ("x-forwarded-host", forwarded)];
            origins.check(&headers(&pairs)).is_some()
        };
        assert!(asked("http://localhost:8080", "localhost:8080"));
        assert!(!asked("http://localhost:8080", "localhost"));
        assert!(!asked("https://evil.net", "a8s.example.com"));
        assert!(!asked("ftp://a8s.example.com", "a8s.example.com"));
    }
}
