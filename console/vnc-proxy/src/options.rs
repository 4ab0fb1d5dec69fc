//! Command line, and the time limits that tests shorten.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;

/// Command line of the proxy.
#[derive(Clone, Debug, Parser)]
#[command(name = "a8s-vnc-proxy", version, about = "WebSocket to the desktops of a8s")]
pub struct Options {
    /// Address of the HTTP server for the console.
    #[arg(long, default_value = "0.0.0.0:8090")]
    pub listen: SocketAddr,
    /// Address of /metrics and /healthz.
    #[arg(long, default_value = "0.0.0.0:8091")]
    pub metrics_listen: SocketAddr,
    /// An origin of the console, such as https://a8s.example.com; may be given several times.
    #[arg(long = "allowed-origin")]
    pub allowed_origins: Vec<String>,
    /// Also accept the origin whose host is the one that the browser asked for. Only for a proxy that nobody but the console can
    /// reach, since the console says in X-Forwarded-Host what that was, and in X-Forwarded-For which address asked.
    #[arg(long)]
    pub same_host: bool,
    /// PKCS#8 PEM of the key that signs access tokens.
    #[arg(long, default_value = "/etc/a8s/signing/signing.key")]
    pub signing_key: PathBuf,
    /// PEM of the CA that signs the certificates of desktops.
    #[arg(long, default_value = "/etc/a8s/ca/ca.crt")]
    pub ca: PathBuf,
    /// Port of deskd.
    #[arg(long, default_value_t = a8s_wire::paths::DESKD_PORT)]
    pub deskd_port: u16,
    /// Most streams of one desktop.
    #[arg(long, default_value_t = 8)]
    pub max_per_desktop: usize,
    /// Most streams of one person.
    #[arg(long, default_value_t = 16)]
    pub max_per_user: usize,
    /// Best quality of the picture for those who may only watch, 0 to 9. 9 is whatever they ask for.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u8).range(0..=9))]
    pub view_quality: u8,
    /// Most streams that one address opens in a second, averaged over four; for proxies on the way that say no address, there is no limit.
    #[arg(long, default_value_t = 10)]
    pub upgrades_per_second: u32,
}

/// Time limits of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How often the browser is pinged. Proxies on the way close what is silent for 60 s, and only the server's pings count.
    pub ping: Duration,
    /// How long the browser may be silent.
    pub silence: Duration,
    /// How long one write may take.
    pub stall: Duration,
    /// How often access is checked again.
    pub recheck: Duration,
    /// How long access may go unchecked while the API server does not answer.
    pub unchecked: Duration,
    /// How long a client may take for the head of a request, and for RFB's handshake once its stream is open.
    pub handshake: Duration,
    /// Connecting to deskd, TLS and upgrade included.
    pub connect: Duration,
    /// Streams are closed at random times within this when the proxy stops.
    pub drain: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(20),
            silence: Duration::from_mins(1),
            stall: Duration::from_secs(30),
            recheck: Duration::from_secs(30),
            unchecked: Duration::from_mins(2),
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            drain: Duration::from_secs(5),
        }
    }
}
