//! The three sides of the proxy.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::{Duration, Instant},
};

use a8s_rfb::{SECURITY_NONE, VERSION};
use a8s_vnc_proxy::{
    access::Access,
    limits::Limits,
    metrics::{Metrics, Role},
    options::Timing,
    origin::Origins,
    rates::Rates,
    serve,
    server::{self, Proxy},
    ticket::Tickets,
    upstream::Upstream,
};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, spki::der::pem::LineEnding},
};
use futures::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::desktop::{Desktop, desktop, greeting};

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
        Self::limited(change, Rates::new(1000)).await
    }

    /// With another limit of upgrades.
    pub async fn limited(change: impl FnOnce(&mut Timing), rates: Rates) -> Self {
        Self::of(change, rates, Limits::new(2, 16)).await
    }

    /// With room for many, and other time limits.
    pub async fn roomy(change: impl FnOnce(&mut Timing)) -> Self {
        Self::of(change, Rates::new(1000), Limits::new(100, 100)).await
    }

    async fn of(change: impl FnOnce(&mut Timing), rates: Rates, limits: Limits) -> Self {
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
            limits,
            view_quality: Some(4),
            rates,
            metrics: Metrics::default(),
            timing,
            stop: CancellationToken::new(),
            streams: TaskTracker::new(),
            ready: AtomicBool::new(true),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = server::router(proxy.clone());
        tokio::spawn(serve::serve(listener, router, proxy.clone()));
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

    /// Open streams of both roles.
    pub fn viewers(&self) -> i64 {
        let of = |role| self.proxy.metrics.viewers.get_or_create(&Role { role }).get();
        of("view") + of("control")
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
        Self::browser(request).await
    }

    /// A browser that asks as it is told.
    pub async fn browser(request: http::Request<()>) -> Result<Browser, tungstenite::Error> {
        let (socket, response) = tokio_tungstenite::connect_async(request).await?;
        assert_eq!(response.headers()["sec-websocket-protocol"], "binary", "the ticket was echoed");
        Ok(Browser { socket, bytes: Vec::new(), pings: 0 })
    }

    /// An open stream after the RFB handshake.
    pub async fn open(&self, user: &str, mode: &str) -> Browser {
        let mut browser = self.connect(&self.ticket(user, mode).await, ORIGIN).await.unwrap();
        browser.hello().await;
        browser
    }

    /// The value of a metric; `line` is its name with its labels.
    pub fn metric(&self, line: &str) -> f64 {
        let text = self.proxy.metrics.encode();
        let found = text.lines().find_map(|l| l.strip_prefix(&format!("a8s_vnc_proxy_{line} ")));
        found.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has a value.
    pub async fn until_metric(&self, line: &str, value: f64) {
        let until = Instant::now() + LIMIT;
        while (self.metric(line) - value).abs() > 0.1 {
            assert!(Instant::now() < until, "{line} is {} and not {value}", self.metric(line));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the desktop has received so many bytes, and exactly so many.
    pub async fn until_received(&self, many: usize) {
        let mut received = self.desktop.received.clone();
        let arrived = received.wait_for(|bytes| bytes.len() >= many);
        let arrived = tokio::time::timeout(LIMIT, arrived).await.expect("something is missing").unwrap();
        assert_eq!(arrived.len(), many);
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

pub const LIMIT: Duration = Duration::from_secs(10);

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

    /// The browser's side of the RFB handshake.
    pub async fn hello(&mut self) {
        self.until(|browser| browser.bytes == greeting()).await;
        let mut hello = VERSION.to_vec();
        // The last byte asks for an exclusive session.
        hello.extend([SECURITY_NONE, 0]);
        self.send(&hello).await;
    }

    /// Reads so many bytes, which are not kept.
    pub async fn until_seen(&mut self, many: usize, seen: &mut usize) {
        let reading = async {
            while *seen < many {
                if let Message::Binary(bytes) = self.socket.next().await.unwrap().unwrap() {
                    *seen += bytes.len();
                }
            }
        };
        tokio::time::timeout(LIMIT * 3, reading).await.expect("too slow");
    }

    /// Reads to the end; whether it came without a goodbye.
    pub async fn cut(&mut self) -> bool {
        let reading = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Close(_))) => return false,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return true,
                }
            }
        };
        tokio::time::timeout(LIMIT, reading).await.expect("the stream is open")
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
