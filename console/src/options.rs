//! Command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

/// Command line of the console.
#[derive(Clone, Debug, Parser)]
#[command(name = "a8s-console", version, about = "Web console of a8s")]
pub struct Options {
    /// Address of the page and its API.
    #[arg(long, env = "A8S_CONSOLE_ADDR", default_value = "0.0.0.0:8080")]
    pub addr: SocketAddr,
    /// Where the VNC proxy answers.
    #[arg(long, env = "A8S_VNC_PROXY_URL", default_value = "http://a8s-vnc-proxy:8090")]
    pub vnc_proxy_url: http::Uri,
    /// Artifact store: `file:///path`.
    #[arg(long, env = "A8S_STORE_URL", default_value = "file:///var/lib/a8s/artifacts")]
    pub store_url: String,
    /// PKCS#8 PEM of the key that signs access tokens.
    #[arg(long, default_value = "/etc/a8s/signing/signing.key")]
    pub signing_key: PathBuf,
    /// PEM of the CA that signs the certificates of desktops.
    #[arg(long, default_value = "/etc/a8s/ca/ca.crt")]
    pub ca: PathBuf,
    /// Take every action away: people can only look.
    #[arg(long, env = "A8S_READ_ONLY")]
    pub read_only: bool,
    /// Origin under which people open the page, such as https://a8s.example.com; may be given several times. `localhost` with any
    /// port always works, for port-forwards.
    #[arg(long = "public-url")]
    pub public_urls: Vec<String>,
    /// Logs.
    #[command(flatten)]
    pub telemetry: a8s_process::Telemetry,
    /// Health and metrics.
    #[command(flatten)]
    pub health: a8s_process::HealthArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_is_what_the_chart_says_it_with() {
        let given = |more: &[&str]| Options::parse_from([&["a8s-console"], more].concat()).read_only;
        assert!(given(&["--read-only"]), "tests of the chart look for this flag");
        assert!(!given(&[]));
    }
}
