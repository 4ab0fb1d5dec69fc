//! What is measured: the proxy, and what it is compared with, each as a process of its own in front of the same desktops.

use std::{path::PathBuf, process::Command};

use a8s_wire::paths::server_name;
use anyhow::{Context, Result};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, spki::der::pem::LineEnding},
};

use super::{
    api,
    desktop::{self, Desktops},
    programs::{self, Program},
    viewer::{ORIGIN, Viewer, Way},
};

/// Desktops, each a Workspace of its own.
pub const DESKTOPS: usize = 50;

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
    program: Option<Program>,
    port: u16,
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
        programs::kubeconfig(dir.path(), api)?;
        Ok(Self { dir, desktops, uid, cache, http: reqwest::Client::new() })
    }

    /// Starts one and waits until it listens.
    pub async fn start(&self, what: What) -> Result<Subject<'_>> {
        let (dir, plain) = (self.dir.path(), self.desktops.plain);
        let port = if what == What::Direct { plain } else { programs::free_port()? };
        let command = match what {
            What::Direct => None,
            What::Ours => Some(programs::proxy(dir, port, self.desktops.deskd, ORIGIN)?),
            What::Websockify => Some(programs::websockify(&self.cache, port, &format!("127.0.0.1:{plain}"))?),
            What::Relay => Some(relay(port, plain, &[])?),
            What::RelayTls => {
                let ca = dir.join("ca.crt");
                let tls = ["--ca", &ca.display().to_string(), "--name", &server_name(&self.uid)];
                Some(relay(port, self.desktops.tls, &tls)?)
            }
        };
        let program = match command {
            None => None,
            Some(command) => Some(Program::start(&format!("{what:?}"), dir, port, command).await?),
        };
        Ok(Subject { what, stage: self, program, port })
    }
}

impl Subject<'_> {
    /// A stream to a desktop. The time for its ticket is not part of it.
    pub async fn open(&self, place: usize) -> Result<Viewer> {
        let way = match self.what {
            What::Ours => {
                let workspace = format!("d{}", place % DESKTOPS);
                let ticket = programs::ticket(&self.stage.http, self.port, &workspace, ORIGIN).await?;
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
        self.program.as_ref().map_or(0.0, |program| super::tree::cpu(program.id()))
    }

    /// Memory in KiB.
    pub fn memory(&self) -> f64 {
        self.program.as_ref().map_or(0.0, |program| super::tree::memory(program.id()))
    }
}

fn relay(from: u16, to: u16, more: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["stream", "--relay", &from.to_string(), "--to", &to.to_string()]).args(more);
    Ok(command)
}
