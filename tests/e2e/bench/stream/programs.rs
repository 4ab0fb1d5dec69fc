//! The programs of a bench, each a process of its own that ends with its value.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;

/// The version of the peer that is measured.
const WEBSOCKIFY: &str = "websockify==0.13.0";
const LIMIT: Duration = Duration::from_secs(20);

/// One that runs and listens. Dropping it ends it.
pub struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // With its children, which websockify has one of for each stream. Asked to end, it does not always.
        let all = super::tree::tree(self.id()).into_iter().map(|pid| pid.to_string());
        let _ = Command::new("kill").arg("-9").args(all).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

impl Program {
    /// Starts one and waits until it listens. Its log is in `dir`.
    pub async fn start(name: &str, dir: &Path, port: u16, mut command: Command) -> Result<Self> {
        let path = dir.join(format!("{name}.log"));
        let log = std::fs::File::create(&path)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let program = Self(command.spawn().with_context(|| format!("starting {name}"))?);
        let until = Instant::now() + LIMIT;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let log = || std::fs::read_to_string(&path).unwrap_or_default();
            ensure!(Instant::now() < until, "{name} does not listen: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(program)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

/// A port that nobody listens on.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A program of the workspace, built the way the bench was.
pub fn beside(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    ensure!(program.exists(), "{} is missing: make bench-stream builds it", program.display());
    Ok(program)
}

/// The proxy, for pages of `origin`. In `dir` are the CA of the desktops, which listen on the port `deskd`, a signing key and a kubeconfig.
pub fn proxy(dir: &Path, port: u16, deskd: u16, origin: &str) -> Result<Command> {
    let mut command = Command::new(beside("a8s-vnc-proxy")?);
    command.env("KUBECONFIG", dir.join("kubeconfig")).env("A8S_LOG", "warn");
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--metrics-listen", "127.0.0.1:0"]);
    command.args(["--allowed-origin", origin, "--deskd-port", &deskd.to_string()]);
    command.args(["--max-per-desktop", "1000", "--max-per-user", "1000", "--upgrades-per-second", "10000"]);
    command.arg("--ca").arg(dir.join("ca.crt")).arg("--signing-key").arg(dir.join("signing.key"));
    Ok(command)
}

/// websockify, which is installed into `cache` if it is not there. `to` is what it leads to, as it wants that said.
pub fn websockify(cache: &Path, port: u16, to: &str) -> Result<Command> {
    let venv = cache.join("bench-websockify");
    let program = venv.join("bin/websockify");
    if !program.exists() {
        let run = |program: &Path, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).status();
            let done = done.with_context(|| format!("starting {}", program.display()))?;
            ensure!(done.success(), "{} failed", program.display());
            Ok(())
        };
        run(Path::new("python3"), &["-m", "venv", &venv.display().to_string()])?;
        run(&venv.join("bin/pip"), &["install", "--quiet", "numpy", WEBSOCKIFY])?;
    }
    let mut command = Command::new(program);
    command.args([&format!("127.0.0.1:{port}"), to]);
    Ok(command)
}

/// Writes how to reach the bench's API server.
pub fn kubeconfig(dir: &Path, api: u16) -> Result<()> {
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": format!("http://127.0.0.1:{api}")}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    });
    Ok(std::fs::write(dir.join("kubeconfig"), text.to_string())?)
}

/// A ticket of the proxy's for control of a desktop.
pub async fn ticket(http: &reqwest::Client, port: u16, workspace: &str, origin: &str) -> Result<String> {
    let body = json!({"namespace": "bench", "workspace": workspace, "mode": "control"});
    let request = http.post(format!("http://127.0.0.1:{port}/vnc/ticket"));
    let answer = request.header("origin", origin).bearer_auth("bench").json(&body).send().await?;
    let answer: serde_json::Value = answer.error_for_status()?.json().await?;
    Ok(answer["ticket"].as_str().context("an answer has a ticket")?.to_owned())
}
