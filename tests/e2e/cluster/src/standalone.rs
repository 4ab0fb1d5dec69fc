//! Only the API: etcd and kube-apiserver on free local ports, for tests that need a real API server and no pods. It
//! needs neither namespaces nor root, and ends with the value that holds it, or with the process if that is sooner: also that of a static
//! in a test, which is never dropped.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::binaries::Binaries;
use crate::certs::{Authority, Subject};
use crate::components::{ApiServer, Component, Login, changes_and_lists, etcd, kubeconfig};
use crate::identity::Identity;
use crate::keeper::Keeper;
use crate::kubectl::Kubectl;
use crate::supervise::is_ready;
use crate::{Paths, Progress};

/// A running API server with its store in a temporary folder.
pub struct ControlPlane {
    server: i32,
    kubectl: Kubectl,
    url: String,
    kubeconfig: PathBuf,
    keeper: Keeper,
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
        let mut keeper = Keeper::new("a8s-api-")?;
        let folder = keeper.folder().to_owned();
        let authority = Authority::open(&folder.join("pki"))?;
        let [client, peer, port] = free_ports()?;
        let url = format!("https://127.0.0.1:{port}");
        let file = folder.join("admin.kubeconfig");
        let subject = Subject::client("admin", Some("system:masters"));
        kubeconfig(
            &authority,
            &Login { server: &url, file: "admin", subject, context: "standalone" },
            &file,
        )?;
        let (client, peer) = (format!("127.0.0.1:{client}"), format!("127.0.0.1:{peer}"));
        let store = etcd(&bin, &folder.join("etcd"), &client, &peer);
        let audit = || changes_and_lists(folder.join("audit.json"), audit_log(&folder));
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
        start(&mut keeper, &store)?;
        let server = start(&mut keeper, &server)?;
        let kubectl = Kubectl::new(bin.path("kubectl"), &file);
        Ok(Self { server, kubectl, url, kubeconfig: file, keeper })
    }

    /// An administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A line of JSON for each write and each list that was answered, without what holders of leases do all the time.
    pub fn audit_log(&self) -> PathBuf {
        audit_log(self.keeper.folder())
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
        kill(Pid::from_raw(self.server), signal).context("signalling kube-apiserver")
    }
}

fn audit_log(folder: &Path) -> PathBuf {
    folder.join("audit.jsonl")
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

/// Returns when it is ready.
fn start(keeper: &mut Keeper, component: &Component) -> Result<i32> {
    let log = keeper.folder().join(format!("{}.log", component.name));
    let pid = keeper.start(&component.command, &log)?;
    // It is a matter of seconds, except on a machine that does ten other things.
    let until = Instant::now() + Duration::from_mins(3);
    while !is_ready(&component.ready) {
        if Identity::of(pid).is_none() || Instant::now() > until {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let last: Vec<_> = said.lines().rev().take(5).collect();
            bail!("{} is not ready; its last words, latest first:\n{}", component.name, last.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(pid)
}
