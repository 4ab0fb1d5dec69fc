//! The proxy in front of the desktop, with an API server that allows everything.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use a8s_vnc_proxy::{
    access::{Access, Mode, Person, Target},
    limits::Limits,
    metrics::Metrics,
    options::Timing,
    origin::Origins,
    rates::Rates,
    serve,
    server::{self, Proxy},
    ticket::{Grant, Tickets},
    upstream::Upstream,
};
use ed25519_dalek::pkcs8::{EncodePrivateKey, spki::der::pem::LineEnding};
use kube::client::Body;
use serde_json::json;
use tokio_tungstenite::{MaybeTlsStream, tungstenite::client::IntoClientRequest};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    browser::Socket,
    host::{Host, UID},
};

const ORIGIN: &str = "https://a8s.example.com";

/// The proxy.
pub struct Gate {
    proxy: Arc<Proxy>,
    address: SocketAddr,
}

impl Gate {
    /// One that leads to this desktop.
    pub async fn before(host: &Host) -> Self {
        let key = host.path("signing.key");
        std::fs::write(&key, host.key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()).unwrap();
        let upstream = Upstream::load(&host.path("tls/tls.crt"), &key, host.address.port()).unwrap();
        let proxy = Arc::new(Proxy {
            access: Access::new(api()),
            tickets: Tickets::default(),
            origins: Origins { allowed: vec![ORIGIN.into()], same_host: false },
            upstream,
            limits: Limits::new(8, 16),
            view_quality: None,
            rates: Rates::new(10_000),
            metrics: Metrics::default(),
            timing: Timing::default(),
            stop: CancellationToken::new(),
            streams: TaskTracker::new(),
            ready: AtomicBool::new(true),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve::serve(listener, server::router(proxy.clone()), proxy.clone()));
        Self { proxy, address }
    }

    /// A stream on which the desktop has said nothing yet.
    pub async fn open(&self, user: &str, mode: Mode) -> Socket {
        let target = Target {
            namespace: "team".into(),
            name: "desk".into(),
            uid: UID.into(),
            host: "127.0.0.1".into(),
        };
        let person = Person { name: user.into(), ..Person::default() };
        let grant = Grant { person, target, mode, origin: ORIGIN.into() };
        let ticket = self.proxy.tickets.issue(grant, Instant::now()).unwrap();
        let mut request = format!("ws://{}/vnc/stream", self.address).into_client_request().unwrap();
        let protocols = format!("binary, a8s.ticket.{ticket}");
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        request.headers_mut().insert("origin", ORIGIN.parse().unwrap());
        let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        if let MaybeTlsStream::Plain(tcp) = socket.get_ref() {
            // As browsers do.
            tcp.set_nodelay(true).unwrap();
        }
        socket
    }
}

/// Answers what the proxy asks while a stream is open.
fn api() -> kube::Client {
    let service = tower::service_fn(|request: http::Request<Body>| async move {
        let answer = if request.uri().path().ends_with("/subjectaccessreviews") {
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {}, "status": {"allowed": true}})
        } else {
            json!({
                "apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace",
                "metadata": {"name": "desk", "namespace": "team", "uid": UID},
                "spec": {"environment": "desktop"}, "status": {"host": "127.0.0.1", "pod": "desk-desktop"},
            })
        };
        let body = Body::from(serde_json::to_vec(&answer).unwrap());
        Ok::<_, Infallible>(http::Response::new(body))
    });
    kube::Client::new(service, "default")
}
