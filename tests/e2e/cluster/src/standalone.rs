//! Only the API: etcd and kube-apiserver on free local ports, for tests that need a real API server and no pods. It
//! needs neither namespaces nor root, and ends with the value that holds it.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::binaries::Binaries;
use crate::certs::{Authority, Subject};
use crate::components::{ApiServer, Component, Login, changes_and_lists, etcd, kubeconfig};
use crate::kubectl::Kubectl;
use crate::supervise::is_ready;
use crate::{Paths, Progress};

/// A running API server with its store in a temporary folder.
pub struct ControlPlane {
    // In this order they end: the server before its store, the files last.
    server: Process,
    _store: Process,
    kubectl: Kubectl,
    url: String,
    kubeconfig: PathBuf,
    folder: tempfile::TempDir,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Its data is thrown away with it: no need to let it finish.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl ControlPlane {
    /// Builds what is missing and starts both. Returns when the server is ready.
    pub fn start() -> Result<Self> {
        Self::start_with(false)
    }

    /// The same, and who writes or lists what is noted in [`Self::audit_log`].
    pub fn start_audited() -> Result<Self> {
        Self::start_with(true)
    }

    fn start_with(audited: bool) -> Result<Self> {
        let paths = Paths::from_env("standalone")?;
        let bin = Binaries::build(&paths, &["kubernetes", "etcd"], &Progress::silent())?;
        let folder = tempfile::Builder::new().prefix("a8s-api-").tempdir()?;
        let authority = Authority::open(&folder.path().join("pki"))?;
        let [client, peer, port] = free_ports()?;
        let url = format!("https://127.0.0.1:{port}");
        let file = folder.path().join("admin.kubeconfig");
        let subject = Subject::client("admin", Some("system:masters"));
        kubeconfig(
            &authority,
            &Login { server: &url, file: "admin", subject, context: "standalone" },
            &file,
        )?;
        let (client, peer) = (format!("127.0.0.1:{client}"), format!("127.0.0.1:{peer}"));
        let store = etcd(&bin, &folder.path().join("etcd"), &client, &peer);
        let audit = || changes_and_lists(folder.path().join("audit.json"), audit_log(&folder));
        let server = ApiServer {
            bin: &bin,
            authority: &authority,
            address: Ipv4Addr::LOCALHOST,
            port,
            etcd: &client,
            kubeconfig: &file,
            audit: audited.then(audit).transpose()?,
        };
        let mut server = server.component()?;
        // Nobody makes the default ServiceAccounts here.
        server.command.push("--disable-admission-plugins=ServiceAccount".to_owned());
        let log = |name: &str| File::create(folder.path().join(format!("{name}.log")));
        let store_process = start(&store, log("etcd")?)?;
        wait(&store, &store_process, &folder)?;
        let server_process = start(&server, log("kube-apiserver")?)?;
        wait(&server, &server_process, &folder)?;
        let kubectl = Kubectl::new(bin.path("kubectl"), &file);
        Ok(Self { server: server_process, _store: store_process, kubectl, url, kubeconfig: file, folder })
    }

    /// An administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// A line of JSON for each write and each list that was answered, without what holders of leases do all the time.
    pub fn audit_log(&self) -> PathBuf {
        audit_log(&self.folder)
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// URL of the server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server in its tracks, or lets it go on: an outage without an end of connections.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        kill(Pid::from_raw(i32::try_from(self.server.0.id())?), signal).context("signalling kube-apiserver")
    }
}

fn audit_log(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("audit.jsonl")
}

fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // All are held until the last is known, else one could be given twice.
    let held: Vec<_> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn start(component: &Component, log: File) -> Result<Process> {
    let (program, arguments) = component.command.split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().map(Process).with_context(|| format!("starting {program}"))
}

fn wait(component: &Component, process: &Process, folder: &tempfile::TempDir) -> Result<()> {
    let pid = i32::try_from(process.0.id())?;
    // It is a matter of seconds, except on a machine that does ten other things.
    let until = Instant::now() + Duration::from_mins(3);
    while !is_ready(&component.ready) {
        let alive = crate::identity::Identity::of(pid).is_some();
        if !alive || Instant::now() > until {
            let log = folder.path().join(format!("{}.log", component.name));
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let last: Vec<_> = said.lines().rev().take(5).collect();
            bail!("{} is not ready; its last words, latest first:\n{}", component.name, last.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
