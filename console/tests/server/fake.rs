//! The console and its surroundings.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use a8s_console::{Console, clients::Clients, guard::Origins, relay::Runners, router, seal::Sealer};
use a8s_wire::{Claims, Scope, paths::server_name, token::TokenVerifier};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use object_store::{ObjectStoreExt, local::LocalFileSystem};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub const UID: &str = "11111111-2222-3333-4444-555555555555";
pub const ORIGIN: &str = "https://a8s.example.com";
pub const SHA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// One request that the API server got.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: String,
    pub token: String,
    pub body: Value,
}

/// A fake API server: any token `token-of-X` is the user X; objects by path.
#[derive(Clone, Default)]
pub struct Cluster {
    pub objects: Arc<Mutex<HashMap<String, Value>>>,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    /// Users who may not use subresources.
    pub denied: Arc<Mutex<Vec<String>>>,
}

const BASE: &str = "/apis/a8s.dev/v1alpha1/namespaces/team/";

fn status(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}),
    )
}

impl Cluster {
    pub fn put(&self, path: &str, object: Value) {
        self.objects.lock().unwrap().insert(path.to_owned(), object);
    }

    pub fn writes(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|asked| asked.method != "GET" && !asked.path.contains("reviews"))
            .cloned()
            .collect()
    }

    fn answer(&self, asked: &Asked) -> (u16, Value) {
        let Some(user) = asked.token.strip_prefix("token-of-") else {
            return status(401, "Unauthorized", "Unauthorized");
        };
        if asked.path.ends_with("/selfsubjectreviews") {
            return (
                201,
                json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}, "status": {"userInfo": {"username": user}}}),
            );
        }
        if asked.path.ends_with("/selfsubjectaccessreviews") {
            let allowed = !self.denied.lock().unwrap().iter().any(|denied| denied == user);
            return (
                201,
                json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {}, "spec": {}, "status": {"allowed": allowed}}),
            );
        }
        if user == "stranger" {
            return status(
                403,
                "Forbidden",
                "sessions.a8s.dev is forbidden: User \"stranger\" cannot do this",
            );
        }
        match asked.method.as_str() {
            "POST" => {
                let mut object = asked.body.clone();
                object["metadata"]["uid"] = "new".into();
                object["metadata"]["managedFields"] = json!([{"manager": "x"}]);
                (201, object)
            }
            "GET" => self.read(asked),
            _ => match self.objects.lock().unwrap().get(&asked.path) {
                Some(object) => (200, object.clone()),
                None => status(404, "NotFound", "not found"),
            },
        }
    }

    fn read(&self, asked: &Asked) -> (u16, Value) {
        let objects = self.objects.lock().unwrap();
        if let Some(object) = objects.get(&asked.path) {
            return (200, object.clone());
        }
        let kind = asked.path.rsplit('/').next().unwrap();
        let kinds = [
            "sessions",
            "workspaces",
            "messages",
            "requests",
            "connections",
            "artifacts",
            "shares",
            "snapshots",
            "environments",
        ];
        if !kinds.contains(&kind) {
            return status(404, "NotFound", &format!("{} not found", asked.path));
        }
        let prefix = format!("{}/", asked.path);
        let session =
            asked.query.split('&').find_map(|part| part.strip_prefix("fieldSelector=spec.session%3D"));
        let listed = |path: &str, object: &Value| {
            path.strip_prefix(&prefix).is_some_and(|name| !name.contains('/'))
                && session.is_none_or(|session| object["spec"]["session"] == session)
        };
        let items: Vec<_> =
            objects.iter().filter(|(path, object)| listed(path, object)).map(|(_, object)| object).collect();
        (
            200,
            json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}),
        )
    }
}

async fn api(State(cluster): State<Cluster>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 22).await.unwrap();
    let bearer = parts
        .headers
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default();
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        token: bearer.trim_start_matches("Bearer ").to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    cluster.asked.lock().unwrap().push(asked.clone());
    if asked.query.contains("watch=true") {
        // A watch in which nothing happens.
        return Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>())
            .into_response();
    }
    let (code, answer) = cluster.answer(&asked);
    (http::StatusCode::from_u16(code).unwrap(), axum::Json(answer)).into_response()
}

pub async fn listen(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// A runner that sends one event to whoever has a good token; returns its CA, port and the claims it saw.
async fn runner(key: &SigningKey) -> (String, u16, watch::Receiver<Vec<Claims>>) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec![server_name(UID)]).unwrap().self_signed(&pair).unwrap();
    let private = PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pem = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    let verifier = TokenVerifier::from_pem(&pem, UID).unwrap();
    let (seen, claims) = watch::channel(Vec::new());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(tcp).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tls.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let token = head.lines().find_map(|line| line.split("Bearer ").nth(1)).unwrap();
            let now = jiff::Timestamp::now().as_second();
            seen.send_modify(|all| all.push(verifier.verify(token, now, &[Scope::Stream]).unwrap()));
            // The second connection asks for what comes after the first one's event.
            let seq = if head.contains("after=0.7") { 8 } else { 7 };
            let event = json!({"epoch": 0, "seq": seq, "ts": "2026-01-01T00:00:00Z", "turn": 1, "type": "message", "data": {"text": "hello"}});
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\nid: 0.{seq}\nevent: message\ndata: {event}\n\n"
            );
            tls.write_all(answer.as_bytes()).await.unwrap();
            let _ = tls.shutdown().await;
        }
    });
    (certificate.pem(), port, claims)
}

pub struct World {
    pub cluster: Cluster,
    pub router: Router,
    pub console: Arc<Console>,
    pub claims: watch::Receiver<Vec<Claims>>,
    _dir: tempfile::TempDir,
}

/// An answer with its body read.
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(false, "http://127.0.0.1:1").await
    }

    pub async fn with(read_only: bool, vnc_proxy: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cluster = Cluster::default();
        let address = listen(Router::new().fallback(api).with_state(cluster.clone())).await;
        let key = SigningKey::from_bytes(&[9; 32]);
        let (ca, port, claims) = runner(&key).await;
        let dir = tempfile::tempdir().unwrap();
        let store = LocalFileSystem::new_with_prefix(dir.path()).unwrap();
        let stored = object_store::path::Path::from(format!("team/art-uid/{SHA}"));
        store.put(&stored, "%PDF-1.7".into()).await.unwrap();
        let mut config = kube::Config::new(format!("http://{address}").parse().unwrap());
        // The console's own credentials, which must never be used.
        config.auth_info.token = Some("token-of-console".to_owned().into());
        let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
        let console = Arc::new(Console {
            clients: Clients::new(config),
            sealer: Sealer::random().unwrap(),
            origins: Origins(vec![ORIGIN.into()]),
            store: Arc::new(store),
            runners: Runners::new(&pem, ca.as_bytes()).unwrap().on_port(port),
            vnc_proxy: vnc_proxy.parse().unwrap(),
            read_only,
            stop: CancellationToken::new(),
        });
        let world = Self { cluster, router: router(console.clone()), console, claims, _dir: dir };
        world.fill();
        world
    }

    fn fill(&self) {
        let object = |kind: &str, name: &str, uid: &str, spec: Value, status: Value| {
            json!({"apiVersion": "a8s.dev/v1alpha1", "kind": kind, "spec": spec, "status": status, "metadata":
                {"name": name, "namespace": "team", "uid": uid, "resourceVersion": "1", "managedFields": [{"manager": "x"}]}})
        };
        let put = |path: &str, object: Value| self.cluster.put(&format!("{BASE}{path}"), object);
        let status = json!({"workspace": {"name": "desk", "uid": UID}});
        put("sessions/report", object("Session", "report", "s-uid", json!({"goal": "write"}), status));
        let status = json!({"host": "127.0.0.1", "pod": "desk-desktop"});
        put("workspaces/desk", object("Workspace", "desk", UID, json!({"environment": "desktop"}), status));
        put(
            "messages/report-0-1",
            object("Message", "report-0-1", "m-uid", json!({"session": "report"}), json!({})),
        );
        let asked = json!({"session": "report", "type": "Permission", "title": "May I?", "options": [{"id": "y", "kind": "AllowOnce"}]});
        put("requests/ask", object("Request", "ask", "r-uid", asked, json!({"state": "Open"})));
        put(
            "requests/ask/status",
            object("Request", "ask", "r-uid", json!({"session": "report"}), json!({})),
        );
        let other = json!({"session": "other", "type": "Takeover", "title": "Log in"});
        put("requests/foreign", object("Request", "foreign", "r2-uid", other, json!({})));
        let shared =
            json!({"session": "report", "role": "Control", "subjects": [{"kind": "User", "name": "omar"}]});
        put("shares/show", object("Share", "show", "sh-uid", shared, json!({"workspace": "desk"})));
        let secret = json!({"name": "provider", "key": "canary-key-name"});
        let model = json!({"title": "Big model", "model": {"provider": "anthropic", "name": "m", "secretRef": secret}});
        let ready = json!([{"type": "Ready", "status": "True", "reason": "Ready", "message": ""}]);
        let known = json!({"kind": "Model", "target": "m", "conditions": ready});
        put("connections/llm", object("Connection", "llm", "c-uid", model, known));
        let spec = |session: &str| json!({"session": session, "fileName": "Bericht.pdf", "mediaType": "text/html", "sha256": SHA});
        let stored = json!({"key": format!("team/art-uid/{SHA}")});
        put(
            "artifacts/report-v1",
            object("Artifact", "report-v1", "art-uid", spec("report"), stored.clone()),
        );
        put("artifacts/foreign-v1", object("Artifact", "foreign-v1", "other-uid", spec("other"), stored));
        put("artifacts/new-v1", object("Artifact", "new-v1", "new-uid", spec("other"), json!({})));
        put("snapshots/one", object("Snapshot", "one", "p-uid", json!({"workspace": "desk"}), json!({})));
        put("snapshots/two", object("Snapshot", "two", "q-uid", json!({"workspace": "other"}), json!({})));
    }

    pub async fn send(&self, request: Request) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 22).await.unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    /// A request as the page sends it, changed by `headers`; an empty value leaves a header out.
    pub fn request(
        method: &str,
        path: &str,
        cookie: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Request {
        let mut all = HashMap::from([
            ("host", "a8s.example.com"),
            ("origin", ORIGIN),
            ("sec-fetch-site", "same-origin"),
            ("x-a8s", "1"),
            ("content-type", "application/json"),
            ("cookie", cookie),
        ]);
        all.extend(headers.iter().copied());
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in all.into_iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(name, value);
        }
        let body = body.to_string();
        request.header("content-length", body.len()).body(Body::from(body)).unwrap()
    }

    pub async fn post(&self, cookie: &str, path: &str, body: &Value) -> Answer {
        self.send(Self::request("POST", path, cookie, &[], body)).await
    }

    pub async fn get(&self, cookie: &str, path: &str) -> Answer {
        let request = Request::get(path).header("host", "a8s.example.com").header("cookie", cookie);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// The cookie of a user.
    pub async fn login(&self, user: &str) -> String {
        let answer = self.post("", "/api/login", &json!({"token": format!("token-of-{user}")})).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    }
}
