//! A deskd process in a temporary directory, and what a test looks at behind its back.

use std::{
    io::{BufRead, BufReader},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use a8s_wire::{Claims, Scope, token};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePublicKey, spki::der::pem::LineEnding},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rmcp::{
    RoleClient, ServiceExt,
    model::{CallToolRequestParams, ClientRequest, Request},
    service::{PeerRequestOptions, RequestHandle, RunningService},
};
use serde_json::{Value, json};
use x11rb::{
    protocol::{randr::ConnectionExt as _, xproto::ConnectionExt},
    rust_connection::{DefaultStream, RustConnection},
};

pub const UID: &str = "11111111-2222-3333-4444-555555555555";
const LIMIT: Duration = Duration::from_secs(30);

pub struct Host {
    pub dir: tempfile::TempDir,
    pub address: std::net::SocketAddr,
    pub display: u32,
    arguments: Vec<&'static str>,
    pub certificate: rustls::pki_types::CertificateDer<'static>,
    pub key: SigningKey,
    process: Child,
}

impl Host {
    /// With a real X server.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With a real X server and more arguments.
    pub async fn with(arguments: &[&'static str]) -> Self {
        Self::begin([&["--backend", "xvnc"], arguments].concat()).await
    }

    /// With the fake display.
    pub async fn fake() -> Self {
        Self::begin(vec!["--backend", "fake"]).await
    }

    async fn begin(arguments: Vec<&'static str>) -> Self {
        // Tests share a process; the first one installs the provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::from_bytes(&[7; 32]);
        let certificate = prepare(&dir, &key);
        let display = free_display();
        let (process, address) = spawn(&dir, display, &arguments);
        let host = Self { dir, address, display, arguments, certificate, key, process };
        host.ready().await;
        host
    }

    /// Waits until the health check is green.
    pub async fn ready(&self) {
        eventually("deskd is healthy", async || self.get("/healthz", None).await.0 == 200).await;
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn token(&self, user: &str, scopes: &[Scope]) -> String {
        let now = jiff::Timestamp::now().as_second();
        let claims = Claims {
            iss: "test".into(),
            sub: user.into(),
            wsu: UID.into(),
            scp: scopes.to_vec(),
            exp: now + 60,
            jti: "1".into(),
        };
        token::sign(&self.key, &claims)
    }

    /// Kills deskd without warning and starts it again, as the kubelet does.
    pub async fn restart(&mut self) {
        self.replaced(|_| {}).await;
    }

    /// The same, with something that happens to the volume between the two.
    pub async fn replaced(&mut self, between: impl FnOnce(&Self)) {
        let children = children_of(self.process.id());
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        for child in children {
            // In a pod the kernel does this when PID 1 dies.
            let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
        }
        between(self);
        (self.process, self.address) = spawn(&self.dir, self.display, &self.arguments);
        self.ready().await;
    }

    pub async fn state(&self) -> a8s_wire::DeskState {
        let (status, body) = self.get("/v1/state", Some(&self.token("jane", &[Scope::View]))).await;
        assert_eq!(status, 200);
        serde_json::from_slice(&body).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn stop(&mut self) -> std::process::ExitStatus {
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.process.wait().unwrap()
    }

    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.process.wait().unwrap()
    }

    /// An X client of the test's own, and the root window.
    pub fn x(&self) -> (RustConnection, u32) {
        let cookie = std::fs::read(self.path("run/a8s/xauthority")).unwrap();
        let stream = UnixStream::connect(format!("/tmp/.X11-unix/X{}", self.display)).unwrap();
        let (stream, _) = DefaultStream::from_unix_stream(stream).unwrap();
        let cookie = cookie[cookie.len() - 16..].to_vec();
        let name = b"MIT-MAGIC-COOKIE-1".to_vec();
        let x = RustConnection::connect_to_stream_with_auth_info(stream, 0, name, cookie).unwrap();
        let root = x11rb::connection::Connection::setup(&x).roots[0].root;
        (x, root)
    }

    /// Position of the pointer and mask of pressed buttons and modifiers, as X sees them.
    pub fn pointer(&self) -> ((i16, i16), u16) {
        let (x, root) = self.x();
        let reply = x.query_pointer(root).unwrap().reply().unwrap();
        ((reply.root_x, reply.root_y), reply.mask.into())
    }

    /// Number of keys that X believes to be pressed.
    pub fn pressed_keys(&self) -> u32 {
        let (x, _) = self.x();
        x.query_keymap().unwrap().reply().unwrap().keys.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Changes the size of the screen as a program of the desktop does.
    pub fn resize(&self, width: u16, height: u16) {
        let (x, root) = self.x();
        // An answer in the form of the first version is what is given to those who say nothing.
        x.randr_query_version(1, 5).unwrap().reply().unwrap();
        let info = x.randr_get_screen_info(root).unwrap().reply().unwrap();
        let size = info.sizes.iter().position(|size| (size.width, size.height) == (width, height)).unwrap();
        let size = u16::try_from(size).unwrap();
        let change = x.randr_set_screen_config(
            root,
            x11rb::CURRENT_TIME,
            info.config_timestamp,
            size,
            info.rotation,
            info.rate,
        );
        change.unwrap().reply().unwrap();
    }

    /// Whether the X server has this extension.
    pub fn extension(&self, name: &str) -> bool {
        let (x, _) = self.x();
        x.query_extension(name.as_bytes()).unwrap().reply().unwrap().present
    }

    pub async fn agent(&self) -> Agent {
        let stream = tokio::net::UnixStream::connect(self.path("deskd.sock")).await.unwrap();
        Agent(().serve(tokio::io::split(stream)).await.unwrap())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            self.stop();
        }
    }
}

pub struct Agent(RunningService<RoleClient, ()>);

pub struct Answer {
    pub error: bool,
    pub json: Value,
    pub jpeg: Option<String>,
    pub pictures: usize,
    pub text: String,
}

impl Agent {
    pub async fn call(&self, tool: &'static str, arguments: Value) -> Answer {
        let result = self.0.call_tool(parameters(tool, &arguments)).await.unwrap();
        let value = serde_json::to_value(&result).unwrap();
        let content = value["content"].as_array().unwrap();
        let of = |kind: &str, field: &str| {
            let block = content.iter().find(|block| block["type"] == kind)?;
            Some(block[field].as_str().unwrap().to_owned())
        };
        let pictures = content.iter().filter(|block| block["type"] == "image").count();
        let text = of("text", "text").unwrap_or_default();
        let json = if value["structuredContent"].is_null() {
            serde_json::from_str(&text).unwrap_or(Value::Null)
        } else {
            value["structuredContent"].clone()
        };
        Answer { error: value["isError"] == true, json, jpeg: of("image", "data"), pictures, text }
    }

    /// Begins a call that can be withdrawn.
    pub async fn begin(&self, tool: &'static str, arguments: Value) -> RequestHandle<RoleClient> {
        let request = ClientRequest::CallToolRequest(Request::new(parameters(tool, &arguments)));
        let options = PeerRequestOptions::no_options();
        self.0.peer().send_cancellable_request(request, options).await.unwrap()
    }

    /// Names of all tools.
    pub async fn tools(&self) -> Vec<String> {
        let tools = self.0.list_all_tools().await.unwrap();
        tools.into_iter().map(|tool| tool.name.into_owned()).collect()
    }

    /// Calls and expects success.
    pub async fn must(&self, tool: &'static str, arguments: Value) -> Answer {
        let answer = self.call(tool, arguments).await;
        assert!(!answer.error, "{tool} failed: {}", answer.text);
        answer
    }

    /// A terminal that writes what is typed into `file`.
    pub async fn terminal(&self, file: &std::path::Path) {
        let script = format!("cat > {}", file.display());
        let args = json!(["-title", "typing", "-u8", "-e", "sh", "-c", script]);
        self.must("launch", json!({"program": "terminal", "args": args})).await;
        let window = self.must("wait_for_window", json!({"title_contains": "Typing"})).await.json;
        let centre = [window["x"].as_i64().unwrap() + 50, window["y"].as_i64().unwrap() + 50];
        self.must("computer", json!({"action": "left_click", "coordinate": centre})).await;
    }
}

fn parameters(tool: &'static str, arguments: &Value) -> CallToolRequestParams {
    CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone())
}

fn prepare(dir: &tempfile::TempDir, key: &SigningKey) -> rustls::pki_types::CertificateDer<'static> {
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    for name in ["tls", "home", "run", "skel"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    write("skel/welcome.txt", "hello");
    let pair = rcgen::KeyPair::generate().unwrap();
    let names = vec![a8s_wire::paths::server_name(UID)];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&pair).unwrap();
    write("tls/tls.crt", &certificate.pem());
    write("tls/tls.key", &pair.serialize_pem());
    write("tls/tokens.pub", &key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap());
    let profile = format!("--user-data-dir={}", dir.path().join("home/.config/chromium").display());
    let browser =
        ["chromium", "--no-sandbox", "--no-first-run", "--disable-gpu", "--password-store=basic", &profile];
    let config = json!({
        "services": [{"name": "openbox", "command": ["openbox"], "restart": true, "after": "display"},
                     {"name": "marker", "command": ["touch", dir.path().join("wm-started")], "after": "wm"}],
        "applications": {"terminal": ["xterm"], "browser": browser},
    });
    write("desktop.json", &config.to_string());
    certificate.der().clone()
}

/// A display number that no other test uses, in this process or another.
fn free_display() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let display = 100 + std::process::id() % 500 * 100 + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        if !std::path::Path::new(&format!("/tmp/.X11-unix/X{display}")).exists() {
            return display;
        }
    }
}

fn spawn(dir: &tempfile::TempDir, display: u32, arguments: &[&str]) -> (Child, std::net::SocketAddr) {
    let at = |name: &str| dir.path().join(name);
    let mut process = Command::new(env!("CARGO_BIN_EXE_a8s-deskd"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--display",
            &format!(":{display}"),
            "--geometry",
            "1000x700",
            "--workspace-uid",
            UID,
        ])
        .args(arguments)
        .arg("--tls")
        .arg(at("tls"))
        .arg("--socket")
        .arg(at("deskd.sock"))
        .arg("--home")
        .arg(at("home"))
        .arg("--skel")
        .arg(at("skel"))
        .arg("--run-dir")
        .arg(at("run"))
        .arg("--machine-id")
        .arg(at("machine-id"))
        .arg("--config")
        .arg(at("desktop.json"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(process.stderr.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = parsed["fields"]["address"].as_str() {
                let _ = sender.send(address.parse().unwrap());
            }
            // Shown by the test harness if the test fails.
            println!("{line}");
        }
    });
    let address = receiver.recv_timeout(LIMIT).expect("deskd says where it serves");
    (process, address)
}

/// Direct and indirect children.
pub fn children_of(pid: u32) -> Vec<i32> {
    let mut found = Vec::new();
    let mut todo = vec![pid.cast_signed()];
    while let Some(parent) = todo.pop() {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
            let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            if fields.is_some_and(|fields| fields.get(1) == Some(&parent.to_string().as_str())) {
                found.push(child);
                todo.push(child);
            }
        }
    }
    found
}

/// Waits for a condition.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !condition().await {
        assert!(Instant::now() < until, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
