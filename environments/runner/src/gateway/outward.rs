//! The client of everything outside the pod that is called with a key. It uses the proxies that the environment names, as other programs
//! do, but never for the pod's own loopback interface: no proxy can reach that.

use std::time::Duration;

use reqwest::{Client, NoProxy, Proxy};

/// A server that does not take a connection in this time is away.
const CONNECT: Duration = Duration::from_secs(15);
/// Models think for a long time before the next word.
const SILENCE: Duration = Duration::from_mins(15);
/// What no proxy reaches.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The client of everything that the gateway, and who else adds keys, calls.
pub fn client() -> reqwest::Result<Client> {
    let builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .user_agent(concat!("a8s-runner/", env!("CARGO_PKG_VERSION")))
        // Those of the environment are added below, with an exception.
        .no_proxy();
    proxies(|name| std::env::var(name).ok()).into_iter().fold(builder, reqwest::ClientBuilder::proxy).build()
}

/// The proxies of this environment.
fn proxies(variable: impl Fn(&str) -> Option<String>) -> Vec<Proxy> {
    let first = |names: &[&str]| names.iter().find_map(|name| variable(name).filter(|text| !text.is_empty()));
    let around = first(&["NO_PROXY", "no_proxy"]);
    let around = around.map_or_else(|| LOOPBACK.to_owned(), |names| format!("{names},{LOOPBACK}"));
    let around = NoProxy::from_string(&around);
    let http = first(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]).map(Proxy::http);
    let https = first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]).map(Proxy::https);
    let usable = [http, https].into_iter().flatten().filter_map(|proxy| {
        // Its URL may hold a password, so it is not repeated.
        proxy
            .inspect_err(|_| tracing::error!("a proxy of the environment is no usable URL and is left out"))
            .ok()
    });
    usable.map(|proxy| proxy.no_proxy(around.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(variables: &[(&str, &str)]) -> usize {
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
        proxies(value).len()
    }

    #[test]
    fn what_the_environment_names_is_used_if_it_is_a_url() {
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[("HTTPS_PROXY", "http://proxy.example:3128"), ("HTTP_PROXY", "")]), 1);
        assert_eq!(count(&[("ALL_PROXY", "http://proxy.example:3128"), ("NO_PROXY", ".example")]), 2);
        assert_eq!(count(&[("https_proxy", "http://[broken")]), 0);
    }
}
