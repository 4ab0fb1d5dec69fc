//! What is measured: the proxy, and what it is compared with, each as a process of its own in front of the same desktops.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use a8s_wire::paths::server_name;
use anyhow::{Context, Result, ensure};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, spki::der::pem::LineEnding},
};
use serde_json::json;

use super::{
    api,
    desktop::{self, Desktops},
    viewer::{ORIGIN, Viewer, Way},
};

/// Desktops, each a Workspace of its own.
pub const DESKTOPS: usize = 50;
/// The version of the peer that is measured.
const WEBSOCKIFY: &str = "websockify==0.13.0";
const LIMIT: Duration = Duration::from_secs(20);

/// The surroundings of all subjects.
pub struct Stage {
    dir: tempfile::TempDir,
    desktops: Desktops,

    uid: String,
    /// A place that outlives the bench.
    cache: PathBuf,
    http: reqwest::Client,
}

/// What is in front of the desktops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Nothing: the client's own connection.
    Direct,
    /// The proxy.
    Ours,
    /// websockify.
    Websockify,
    /// The plain relay.
    Relay,
    /// The plain relay, with TLS to the desktop as the proxy has it.
    RelayTls,
}

/// One that runs. Dropping it ends it.
pub struct Subject<'a> {
    /// Which.
    pub what: What,
    stage: &'a Stage,
    child: Option<Child>,
    port: u16,
}

impl Drop for Subject<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // With its children, which websockify has one of for each stream. Asked to end, it does not always.
            let all = super::tree::tree(child.id()).into_iter().map(|pid| pid.to_string());
            let _ = Command::new("kill").arg("-9").args(all).stderr(Stdio::null()).status();
            let _ = child.wait();
        }
    }
}

impl Stage {
    /// Desktops, and an API server that knows their Workspaces.
    pub async fn set(cache: PathBuf) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let uids: Vec<String> = (0..DESKTOPS).map(|n| format!("11111111-2222-3333-4444-{n:012}")).collect();
        let desktops = desktop::start(dir.path(), &uids).await?;
        let uid = uids[0].clone();
        let key = SigningKey::from_bytes(&rand::random()).to_pkcs8_pem(LineEnding::LF)?;
        std::fs::write(dir.path().join("signing.key"), key.as_bytes())?;
        let api = api::start(uids).await?;
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": format!("http://127.0.0.1:{api}")}}],
            "users": [{"name": "bench", "user": {}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        });
        std::fs::write(dir.path().join("kubeconfig"), kubeconfig.to_string())?;
        Ok(Self { dir, desktops, uid, cache, http: reqwest::Client::new() })
    }

    /// Starts one and waits until it listens.
    pub async fn start(&self, what: What) -> Result<Subject<'_>> {
        let port = match what {
            What::Direct => self.desktops.plain,
            _ => std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
        };
        let command = match what {
            What::Direct => None,
            What::Ours => Some(self.proxy(port)?),
            What::Websockify => Some(self.websockify(port)?),
            What::Relay => Some(relay(port, self.desktops.plain, &[])?),
            What::RelayTls => {
                let ca = self.dir.path().join("ca.crt");
                let tls = ["--ca", &ca.display().to_string(), "--name", &server_name(&self.uid)];
                Some(relay(port, self.desktops.tls, &tls)?)
            }
        };
        let start = |mut command: Command| {
            let log = std::fs::File::create(self.dir.path().join("log"))?;
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            command.spawn().with_context(|| format!("starting {what:?}"))
        };
        let child = command.map(start).transpose()?;
        let subject = Subject { what, stage: self, child, port };
        let until = Instant::now() + LIMIT;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            ensure!(Instant::now() < until, "{what:?} does not listen: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(subject)
    }

    fn proxy(&self, port: u16) -> Result<Command> {
        let mut command = Command::new(beside("a8s-vnc-proxy")?);
        let file = |name: &str| self.dir.path().join(name);
        command.env("KUBECONFIG", file("kubeconfig")).env("A8S_LOG", "warn");
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--metrics-listen", "127.0.0.1:0"]);
        command.args(["--allowed-origin", ORIGIN, "--deskd-port", &self.desktops.deskd.to_string()]);
        command.args([
            "--max-per-desktop",
            "1000",
            "--max-per-user",
            "1000",
            "--upgrades-per-second",
            "10000",
        ]);
        command.arg("--ca").arg(file("ca.crt")).arg("--signing-key").arg(file("signing.key"));
        Ok(command)
    }

    fn websockify(&self, port: u16) -> Result<Command> {
        let venv = self.cache.join("bench-websockify");
        let program = venv.join("bin/websockify");
        if !program.exists() {
            let run = |program: &Path, arguments: &[&str]| {
                let done = Command::new(program).args(arguments).status();
                ensure!(
                    done.with_context(|| format!("starting {}", program.display()))?.success(),
                    "{} failed",
                    program.display()
                );
                Ok(())
            };
            run(Path::new("python3"), &["-m", "venv", &venv.display().to_string()])?;
            run(&venv.join("bin/pip"), &["install", "--quiet", "numpy", WEBSOCKIFY])?;
        }
        let mut command = Command::new(program);
        command.args([format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", self.desktops.plain)]);
        Ok(command)
    }

    /// A ticket for a desktop.
    async fn ticket(&self, port: u16, place: usize) -> Result<String> {
        let body =
            json!({"namespace": "bench", "workspace": format!("d{}", place % DESKTOPS), "mode": "control"});
        let request = self.http.post(format!("http://127.0.0.1:{port}/vnc/ticket"));
        let answer = request.header("origin", ORIGIN).bearer_auth("bench").json(&body).send().await?;
        let answer: serde_json::Value = answer.error_for_status()?.json().await?;
        Ok(answer["ticket"].as_str().context("an answer has a ticket")?.to_owned())
    }
}

impl Subject<'_> {
    /// A stream to a desktop. The time for its ticket is not part of it.
    pub async fn open(&self, place: usize) -> Result<Viewer> {
        let way = match self.what {
            What::Ours => {
                let ticket = self.stage.ticket(self.port, place).await?;
                Way::Socket { path: "/vnc/stream", protocols: format!("binary, a8s.ticket.{ticket}") }
            }
            What::Websockify => Way::Socket { path: "/websockify", protocols: "binary".into() },
            What::Direct | What::Relay | What::RelayTls => Way::Bare,
        };
        Viewer::open(self.port, &way).await
    }

    /// Many streams, one after the other.
    pub async fn open_many(&self, many: usize) -> Result<Vec<Viewer>> {
        let mut all = Vec::with_capacity(many);
        for place in 0..many {
            all.push(self.open(place).await.with_context(|| format!("stream {place} of {:?}", self.what))?);
        }
        Ok(all)
    }

    /// CPU seconds so far.
    pub fn cpu(&self) -> f64 {
        self.child.as_ref().map_or(0.0, |child| super::tree::cpu(child.id()))
    }

    /// Memory in KiB.
    pub fn memory(&self) -> f64 {
        self.child.as_ref().map_or(0.0, |child| super::tree::memory(child.id()))
    }
}

fn beside(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    ensure!(program.exists(), "{} is missing: make bench-stream builds it", program.display());
    Ok(program)
}

fn relay(from: u16, to: u16, more: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["stream", "--relay", &from.to_string(), "--to", &to.to_string()]).args(more);
    Ok(command)
}
