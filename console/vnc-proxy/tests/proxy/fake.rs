//! The three sides of the proxy.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use a8s_rfb::{SECURITY_NONE, VERSION};
use a8s_vnc_proxy::{
    access::Access,
    limits::Limits,
    metrics::Metrics,
    options::Timing,
    origin::Origins,
    server::{self, Proxy},
    ticket::Tickets,
    upstream::Upstream,
};
use a8s_wire::{Claims, Scope, paths::server_name, token::TokenVerifier};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use futures::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use kube::client::Body;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub const UID: &str = "11111111-2222-3333-4444-555555555555";
pub const ORIGIN: &str = "https://a8s.example.com";

/// What the API server knows.
#[derive(Default)]
pub struct Cluster {
    /// `user verb` pairs that are allowed.
    pub allowed: HashSet<String>,
    /// UID of the Workspace `team/desk`.
    pub uid: Option<String>,
    pub running: bool,
    pub broken: bool,
    pub requests: Vec<String>,
}

impl Cluster {
    fn answer(&mut self, path: &str, body: &Value) -> (u16, Value) {
        self.requests.push(path.to_owned());
        if self.broken {
            return (
                500,
                json!({"kind": "Status", "code": 500, "message": "etcd is away", "reason": "InternalError"}),
            );
        }
        if path.ends_with("/tokenreviews") {
            let token = body["spec"]["token"].as_str().unwrap_or_default();
            let user = token.strip_prefix("token-of-");
            let status = match user {
                Some(user) => {
                    json!({"authenticated": true, "user": {"username": user, "groups": ["people"]}})
                }
                None => json!({"authenticated": false, "error": "no such token"}),
            };
            (
                201,
                json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {}, "status": status}),
            )
        } else if path.ends_with("/subjectaccessreviews") {
            let spec = &body["spec"];
            let attributes = &spec["resourceAttributes"];
            assert_eq!(attributes["group"], "a8s.dev");
            assert_eq!(
                (&attributes["resource"], &attributes["subresource"]),
                (&json!("workspaces"), &json!("desktop"))
            );
            assert_eq!(spec["groups"], json!(["people"]), "the groups were lost");
            let key = format!("{} {}", spec["user"].as_str().unwrap(), attributes["verb"].as_str().unwrap());
            let status = json!({"allowed": self.allowed.contains(&key)});
            (
                201,
                json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {}, "status": status}),
            )
        } else {
            let found =
                path.ends_with("/namespaces/team/workspaces/desk").then_some(self.uid.as_ref()).flatten();
            let Some(uid) = found else {
                return (
                    404,
                    json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}),
                );
            };
            let mut status = json!({"host": "127.0.0.1"});
            if self.running {
                status["pod"] = json!("desk-desktop");
            }
            let workspace = json!({
                "apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace",
                "metadata": {"name": "desk", "namespace": "team", "uid": uid},
                "spec": {"environment": "desktop"},
                "status": status,
            });
            (200, workspace)
        }
    }
}

fn client(cluster: &Arc<Mutex<Cluster>>) -> kube::Client {
    let cluster = cluster.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let cluster = cluster.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let (status, answer) = cluster.lock().unwrap().answer(&path, &body);
            let answer = Body::from(serde_json::to_vec(&answer).unwrap());
            Ok::<_, Infallible>(http::Response::builder().status(status).body(answer).unwrap())
        }
    });
    kube::Client::new(service, "default")
}

/// A desktop that records.
pub struct Desktop {
    pub claims: Arc<Mutex<Vec<Claims>>>,
    pub received: watch::Receiver<Vec<u8>>,
    /// Answers 423 instead of a stream.
    pub private: Arc<AtomicBool>,
    pub closed: watch::Receiver<bool>,
}

/// What deskd sends first.
pub fn greeting() -> Vec<u8> {
    let mut bytes = VERSION.to_vec();
    bytes.extend([1, SECURITY_NONE, 0, 0, 0, 0]);
    bytes
}

async fn desktop(dir: &tempfile::TempDir, key: &SigningKey) -> (Desktop, u16) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec![server_name(UID)]).unwrap().self_signed(&pair).unwrap();
    std::fs::write(dir.path().join("ca.crt"), certificate.pem()).unwrap();
    let private_key = PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private_key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pem = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    let verifier = TokenVerifier::from_pem(&pem, UID).unwrap();
    let (received_sender, received) = watch::channel(Vec::new());
    let (closed_sender, closed) = watch::channel(false);
    let (claims, private) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let desktop = Desktop { claims: claims.clone(), received, private: private.clone(), closed };
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(tcp).await else { continue };
            let (received, closed) = (received_sender.clone(), closed_sender.clone());
            let (claims, private, verifier) = (claims.clone(), private.clone(), verifier.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(tls.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                assert!(head.starts_with("GET /v1/rfb HTTP/1.1\r\n"), "{head}");
                let token = head.split("Bearer ").nth(1).unwrap().lines().next().unwrap();
                let now = jiff::Timestamp::now().as_second();
                claims.lock().unwrap().push(verifier.verify(token, now, &[Scope::View]).unwrap());
                if private.load(Ordering::SeqCst) {
                    tls.write_all(b"HTTP/1.1 423 Locked\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                    return;
                }
                let answer =
                    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: rfb\r\n\r\n";
                tls.write_all(answer).await.unwrap();
                tls.write_all(&greeting()).await.unwrap();
                let mut chunk = [0; 4096];
                while let Ok(length @ 1..) = tls.read(&mut chunk).await {
                    received.send_modify(|bytes| bytes.extend_from_slice(&chunk[..length]));
                }
                closed.send_replace(true);
            });
        }
    });
    (desktop, port)
}

/// The proxy and its surroundings.
pub struct World {
    pub cluster: Arc<Mutex<Cluster>>,
    pub desktop: Desktop,
    pub proxy: Arc<Proxy>,
    pub address: std::net::SocketAddr,
    _dir: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With other time limits.
    pub async fn with(change: impl FnOnce(&mut Timing)) -> Self {
        // Tests share a process; the first one installs the provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::from_bytes(&[9; 32]);
        std::fs::write(dir.path().join("signing.key"), key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes())
            .unwrap();
        let (desktop, port) = desktop(&dir, &key).await;
        let allowed = ["jane get", "jane update", "viewer get"].map(str::to_owned).into();
        let cluster = Cluster { allowed, uid: Some(UID.into()), running: true, ..Cluster::default() };
        let cluster = Arc::new(Mutex::new(cluster));
        let mut timing = Timing::default();
        change(&mut timing);
        let proxy = Arc::new(Proxy {
            access: Access::new(client(&cluster)),
            tickets: Tickets::default(),
            origins: Origins { allowed: vec![ORIGIN.into()], same_host: false },
            upstream: Upstream::load(&dir.path().join("ca.crt"), &dir.path().join("signing.key"), port)
                .unwrap(),
            limits: Limits::new(2, 16),
            metrics: Metrics::default(),
            timing,
            stop: CancellationToken::new(),
            streams: TaskTracker::new(),
            ready: AtomicBool::new(true),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = server::router(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { cluster, desktop, proxy, address, _dir: dir }
    }

    /// Asks for a ticket; status and JSON body.
    pub async fn ask(&self, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let stream = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut request = http::Request::post("/vnc/ticket").header("host", "proxy");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(http_body_util::Full::new(bytes::Bytes::from(body.to_string()))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub async fn ticket_for(&self, user: &str, mode: &str) -> (u16, Value) {
        let token = format!("Bearer token-of-{user}");
        let body = json!({"namespace": "team", "workspace": "desk", "mode": mode});
        self.ask(&[("authorization", &token), ("origin", ORIGIN)], &body).await
    }

    pub async fn ticket(&self, user: &str, mode: &str) -> String {
        let (status, body) = self.ticket_for(user, mode).await;
        assert_eq!((status, &body["expiresIn"]), (200, &json!(30)), "{body}");
        body["ticket"].as_str().unwrap().to_owned()
    }

    /// Opens a stream with a ticket.
    pub async fn connect(&self, ticket: &str, origin: &str) -> Result<Browser, tungstenite::Error> {
        let mut request = format!("ws://{}/vnc/stream", self.address).into_client_request().unwrap();
        let protocols = format!("binary, a8s.ticket.{ticket}");
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        request.headers_mut().insert("origin", origin.parse().unwrap());
        let (socket, response) = tokio_tungstenite::connect_async(request).await?;
        assert_eq!(response.headers()["sec-websocket-protocol"], "binary", "the ticket was echoed");
        Ok(Browser { socket, bytes: Vec::new(), pings: 0 })
    }

    /// An open stream after the RFB handshake.
    pub async fn open(&self, user: &str, mode: &str) -> Browser {
        let mut browser = self.connect(&self.ticket(user, mode).await, ORIGIN).await.unwrap();
        browser.until(|browser| browser.bytes == greeting()).await;
        let mut hello = VERSION.to_vec();
        // The last byte asks for an exclusive session.
        hello.extend([SECURITY_NONE, 0]);
        browser.send(&hello).await;
        browser
    }

    pub async fn desktop_received(&mut self, expected: &[u8]) {
        let mut all = [VERSION.as_slice(), &[SECURITY_NONE, 1]].concat();
        all.extend(expected);
        let arrived = self.desktop.received.wait_for(|bytes| bytes.len() >= all.len());
        let arrived =
            tokio::time::timeout(LIMIT, arrived).await.expect("the desktop received nothing").unwrap();
        assert_eq!(*arrived, all);
    }
}

const LIMIT: Duration = Duration::from_secs(10);

pub struct Browser {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub bytes: Vec<u8>,
    pub pings: usize,
}

impl Browser {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.message(Message::Binary(bytes.to_vec().into())).await;
    }

    pub async fn message(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Reads until something is true.
    pub async fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        let until = Instant::now() + LIMIT;
        while !condition(self) {
            assert!(Instant::now() < until, "not in time");
            match self.socket.next().await.expect("the stream ended").unwrap() {
                Message::Binary(bytes) => self.bytes.extend_from_slice(&bytes),
                Message::Ping(_) => self.pings += 1,
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Reads until the proxy closes, and returns the close code.
    pub async fn closed(&mut self) -> u16 {
        let reading = async {
            loop {
                if let Message::Close(frame) =
                    self.socket.next().await.expect("ended without a code").unwrap()
                {
                    return frame.unwrap().code.into();
                }
            }
        };
        tokio::time::timeout(LIMIT, reading).await.expect("the proxy did not close")
    }

    pub async fn close(&mut self) {
        self.socket.close(None).await.unwrap();
    }
}
