//! A workspace pod without a pod: shim, agent and runner as processes in a temporary directory, deskd as a fake in this process.

// Not every test uses every helper.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

pub mod desk;
pub mod events;
pub mod tools;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use a8s_wire::{Claims, Prompt, PromptAccepted, RunnerState, Scope, token};
use ed25519_dalek::{SigningKey, pkcs8::EncodePublicKey, pkcs8::spki::der::pem::LineEnding};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::json;

pub use self::{desk::FakeDesk, events::Events};

pub const UID: &str = "11111111-2222-3333-4444-555555555555";

/// Set where the tests of the whole workspace are built at once, and with them every program.
const BUILT_ALREADY: &str = "A8S_PROGRAMS_BUILT";

/// Another program of the pod. A test of one package does not build another's programs, so this does, which may take a minute: alone a
/// package is built with other features than among the others.
fn program(package: &str) -> PathBuf {
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap();
    if std::env::var_os(BUILT_ALREADY).is_none() && !built.iter().any(|name| name == package) {
        let done = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--offline", "-p", package])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(done.success(), "{package} does not build");
        built.push(package.to_owned());
    }
    Path::new(env!("CARGO_BIN_EXE_a8s-runner")).with_file_name(package)
}

/// A process that does not outlive the test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// SIGTERM, and wait: for the shim, which ends its harness.
    fn terminate(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

pub struct Pod {
    pub folder: tempfile::TempDir,
    desk: Option<FakeDesk>,
    deskd: Option<Process>,
    pub runner: Option<Process>,
    shim: Process,
    address: SocketAddr,
    key: SigningKey,
    epoch: i64,
    extra: Vec<String>,
    env: Vec<(String, String)>,
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.runner = None;
        self.shim.terminate();
        if let Some(deskd) = &mut self.deskd {
            deskd.terminate();
        }
    }
}

impl Pod {
    /// A pod with the built-in agent.
    pub fn start() -> Self {
        let agent = program("a8s-agent").display().to_string();
        Self::with_harness(&[&agent], &[])
    }

    /// A pod with the stub harness.
    pub fn with_stub() -> Self {
        let stub = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stub_harness.py").display().to_string();
        Self::with_harness(&["python3", &stub], &["--cancel-grace", "0.3"])
    }

    /// A pod with the stub harness, which has all the time that it needs to obey an interrupt.
    pub fn with_patience() -> Self {
        Self::with_harness_and(&["--cancel-grace", "60"])
    }

    /// A pod with the stub harness that can do this, too.
    pub fn with_stub_that(can: &str) -> Self {
        let stub = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stub_harness.py").display().to_string();
        Self::with_harness(&["python3", &stub, can], &["--cancel-grace", "0.3"])
    }

    /// A pod with the stub harness and more arguments for the runner.
    pub fn with_harness_and(extra: &[&str]) -> Self {
        let stub = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stub_harness.py").display().to_string();
        Self::with_harness(&["python3", &stub], extra)
    }

    /// A pod with the built-in agent and a real desktop: deskd, Xvnc, openbox, xterm and Chromium.
    pub fn with_real_desktop() -> Self {
        let agent = program("a8s-agent").display().to_string();
        let pod = Self::prepare(&[&agent], &[]);
        let folder = pod.folder.path().to_owned();
        let at = |name: &str| folder.join(name);
        let browser = ["chromium", "--no-sandbox", "--no-first-run", "--disable-gpu", "--user-data-dir"];
        let profile = at("profile").display().to_string();
        let browser: Vec<&str> = browser.into_iter().chain([profile.as_str()]).collect();
        let config = json!({
            "services": [{"name": "openbox", "command": ["openbox"], "restart": true, "after": "display"}],
            "applications": {"terminal": ["xterm"], "browser": browser}
        });
        std::fs::write(at("desktop.json"), config.to_string()).unwrap();
        pod.deskd("xvnc")
    }

    /// A pod with the stub harness and deskd's own display without X.
    pub fn with_fake_display() -> Self {
        let stub = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stub_harness.py").display().to_string();
        Self::prepare(&["python3", &stub], &["--cancel-grace", "0.3"]).deskd("fake")
    }

    fn deskd(mut self, backend: &str) -> Self {
        let folder = self.folder.path().to_owned();
        let at = |name: &str| folder.join(name);
        let deskd = Command::new(program("a8s-deskd"))
            .args([
                "--backend",
                backend,
                "--listen",
                "127.0.0.1:0",
                "--display",
                ":87",
                "--workspace-uid",
                UID,
            ])
            .args([
                "--tls".into(),
                at("tls"),
                "--socket".into(),
                at("deskd.sock"),
                "--home".into(),
                at("home"),
            ])
            .args([
                "--skel".into(),
                at("skel"),
                "--run-dir".into(),
                at("run"),
                "--config".into(),
                at("desktop.json"),
            ])
            .spawn()
            .unwrap();
        self.deskd = Some(Process(deskd));
        self.started()
    }

    /// A pod with the built-in agent, whose containers have these variables.
    pub fn with_env(env: &[(&str, &str)]) -> Self {
        let agent = program("a8s-agent").display().to_string();
        Self::with_fake_desk(Self::prepare_in(&[&agent], &[], env))
    }

    /// A pod whose desktop container is not there.
    pub fn without_desktop() -> Self {
        let stub = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stub_harness.py").display().to_string();
        Self::prepare(&["python3", &stub], &[]).started()
    }

    pub fn with_harness(harness: &[&str], extra: &[&str]) -> Self {
        Self::with_fake_desk(Self::prepare(harness, extra))
    }

    fn with_fake_desk(mut pod: Self) -> Self {
        pod.desk = Some(FakeDesk::listen(&pod.folder.path().join("deskd.sock"), &pod.home()));
        pod.started()
    }

    fn started(mut self) -> Self {
        self.start_runner();
        self
    }

    /// The desktop that has no display.
    pub fn desk(&self) -> &FakeDesk {
        self.desk.as_ref().unwrap()
    }

    fn prepare(harness: &[&str], extra: &[&str]) -> Self {
        Self::prepare_in(harness, extra, &[])
    }

    fn prepare_in(harness: &[&str], extra: &[&str], env: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["home", "state", "tls", "skel", "run"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let key = SigningKey::from_bytes(&[7; 32]);
        let made = rcgen::generate_simple_self_signed([a8s_wire::paths::server_name(UID)]).unwrap();
        std::fs::write(at("tls/tls.crt"), made.cert.pem()).unwrap();
        std::fs::write(at("tls/tls.key"), made.signing_key.serialize_pem()).unwrap();
        let public = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
        std::fs::write(at("tls/tokens.pub"), public).unwrap();
        let env: Vec<_> = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let shim = Command::new(program("a8s-shim"))
            .envs(env.iter().cloned())
            .args(["serve", "--grace", "0.5", "--socket"])
            .arg(at("agent.sock"))
            .arg("--directory")
            .arg(at("home"))
            .arg("--")
            .args(harness)
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let extra = extra.iter().map(|&argument| argument.to_owned()).collect();
        let shim = Process(shim);
        Self { folder, desk: None, deskd: None, runner: None, shim, address, key, epoch: 0, extra, env }
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Starts the runner and waits until it listens.
    pub fn start_runner(&mut self) {
        let at = |name: &str| self.folder.path().join(name);
        let mut child = Command::new(env!("CARGO_BIN_EXE_a8s-runner"))
            .envs(self.env.iter().cloned())
            .args(["--listen", "127.0.0.1:0", "--workspace-uid", UID])
            .arg("--epoch")
            .arg(self.epoch.to_string())
            .arg("--tls")
            .arg(at("tls"))
            .arg("--state")
            .arg(at("state"))
            .arg("--home")
            .arg(at("home"))
            .arg("--agent-socket")
            .arg(at("agent.sock"))
            .arg("--mcp-socket")
            .arg(at("mcp.sock"))
            .arg("--deskd-socket")
            .arg(at("deskd.sock"))
            .arg("--grants")
            .arg(at("grants.json"))
            .arg("--secrets")
            .arg(at("secrets"))
            .args(["--gateway", "127.0.0.1:0"])
            .arg("--mcp-command")
            .arg(program("a8s-shim"))
            .args(&self.extra)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        self.runner = Some(Process(child));
        let mut line = String::new();
        while log.read_line(&mut line).unwrap() > 0 {
            if let Ok(entry) = serde_json::from_str::<serde_json::Value>(&line)
                && entry["fields"]["message"] == "listening"
            {
                self.address = entry["fields"]["address"].as_str().unwrap().parse().unwrap();
                break;
            }
            line.clear();
        }
        assert_ne!(self.address.port(), 0, "the runner did not start: {line}");
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                eprintln!("runner: {line}");
            }
        });
    }

    /// kill -9 of the runner.
    pub fn kill_runner(&mut self) {
        self.runner = None;
    }

    /// More arguments for the next start.
    pub fn add(&mut self, arguments: &[&str]) {
        self.extra.extend(arguments.iter().map(|&argument| argument.to_owned()));
    }

    /// The epoch of the next start.
    pub fn set_epoch(&mut self, epoch: i64) {
        self.epoch = epoch;
    }

    pub fn token(&self, scopes: &[Scope], uid: &str) -> String {
        let claims = Claims {
            iss: "controller".into(),
            sub: "jane".into(),
            wsu: uid.into(),
            scp: scopes.to_vec(),
            exp: jiff::Timestamp::now().as_second() + 60,
            jti: "test".into(),
        };
        token::sign(&self.key, &claims)
    }

    pub fn client(&self) -> Client {
        let certificate = std::fs::read(self.folder.path().join("tls/tls.crt")).unwrap();
        Client::builder()
            .tls_built_in_root_certs(false)
            .add_root_certificate(reqwest::Certificate::from_pem(&certificate).unwrap())
            .resolve(&a8s_wire::paths::server_name(UID), self.address)
            .build()
            .unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}:{}{path}", a8s_wire::paths::server_name(UID), self.address.port())
    }

    pub fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(self.token(&[Scope::Admin, Scope::Stream, Scope::Files], UID))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.authorized(self.client().get(self.url(path))).send().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: serde_json::Value) -> Response {
        self.authorized(self.client().post(self.url(path))).json(&body).send().await.unwrap()
    }

    pub async fn state(&self) -> RunnerState {
        self.get("/v1/state").await.json().await.unwrap()
    }

    pub async fn prompt(&self, id: &str, content: &str, attachments: &[&str]) -> PromptAccepted {
        let prompt = Prompt {
            message_id: id.into(),
            content: content.into(),
            author: "jane".into(),
            attachments: attachments.iter().map(|&name| name.to_owned()).collect(),
        };
        let response = self.post("/v1/prompt", serde_json::to_value(prompt).unwrap()).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        response.json().await.unwrap()
    }

    pub async fn interrupt(&self, turn: i64) -> bool {
        let answer: serde_json::Value =
            self.post("/v1/interrupt", json!({"turn": turn})).await.json().await.unwrap();
        answer["applied"].as_bool().unwrap()
    }

    pub async fn attach(&self, name: &str, content: impl Into<reqwest::Body>) -> Response {
        let path = format!("/v1/attachments/{name}");
        self.authorized(self.client().put(self.url(&path))).body(content).send().await.unwrap()
    }

    pub async fn put(&self, path: &str, body: serde_json::Value) -> Response {
        self.authorized(self.client().put(self.url(path))).json(&body).send().await.unwrap()
    }

    /// Says how the agent is run.
    pub async fn configure(&self, settings: serde_json::Value) {
        let response = self.put("/v1/settings", settings).await;
        assert_eq!(response.status(), StatusCode::OK, "{}", response.text().await.unwrap());
    }

    /// Answers a question; whether that had an effect.
    pub async fn reply(&self, id: &str, answer: serde_json::Value) -> bool {
        let response = self.post(&format!("/v1/requests/{id}"), answer).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json::<a8s_wire::Answered>().await.unwrap().applied
    }

    /// What the Workspace is granted from now on.
    pub fn grant(&self, connections: &serde_json::Value) {
        let path = self.folder.path().join("grants.json");
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, json!({"connections": connections}).to_string()).unwrap();
        std::fs::rename(fresh, path).unwrap();
    }

    /// Everything that the runner keeps on the volume.
    pub fn transcript(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("state/transcript.jsonl")).unwrap()
    }

    pub async fn bind(&self, session: serde_json::Value) -> Response {
        self.authorized(self.client().put(self.url("/v1/session"))).json(&session).send().await.unwrap()
    }

    /// The event stream after `after` (all of it if empty).
    pub async fn events(&self, after: &str) -> Events {
        let request =
            self.authorized(self.client().get(self.url("/v1/events"))).header("Last-Event-ID", after);
        Events::new(request.send().await.unwrap())
    }
}

/// Shared state of a test's fakes.
pub type Shared<T> = Arc<Mutex<T>>;
