//! What runs in a cluster, as data: every process with its arguments, what it waits for and how one sees that it is
//! ready. Rendering writes configuration files into the state folder and returns the list; it starts nothing.

mod control_plane;
mod files;
mod fleet;
mod node;
mod storage;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::Paths;
use crate::binaries::Binaries;
use crate::certs::Authority;
use crate::host::HostFacts;
use crate::network::Network;

pub use control_plane::{ApiServer, Audit, etcd};
pub use files::{Login, kubeconfig, stamp};
pub use fleet::{FLEET_CIDR, FLEET_NODE, changes_and_lists};

/// Where the apiserver, the kubelet and everything else in the cluster's namespaces find each other.
pub mod well_known {
    /// The kubelet's root, a folder of the state mounted at its standard place.
    pub const KUBELET: &str = "/var/lib/kubelet";
    /// Images and containers, likewise.
    pub const CONTAINERD: &str = "/var/lib/containerd";
    /// Socket of containerd.
    pub const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
    /// Socket of the local CSI driver.
    pub const CSI_SOCKET: &str = "/run/a8s/csi.sock";
    /// Client address of etcd.
    pub const ETCD: &str = "127.0.0.1:2379";
    /// Services.
    pub const SERVICE_CIDR: &str = "10.96.0.0/16";
    /// The API server's own service.
    pub const SERVICE_API: [u8; 4] = [10, 96, 0, 1];
    /// The cluster's DNS service.
    pub const SERVICE_DNS: &str = "10.96.0.10";
    /// Pods.
    pub const POD_CIDR: &str = "10.244.0.0/24";
    /// Port of the API server.
    pub const API_PORT: u16 = 6443;
    /// Port of the console's Service on the node.
    pub const CONSOLE_NODE_PORT: u16 = 30080;
}

/// One process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Its name, also of its log file.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment variables besides `PATH`.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Components that must be ready before this one is started.
    #[serde(default)]
    pub after: Vec<String>,
    /// This one is restarted whenever that one ends: it cannot outlive the connection.
    #[serde(default)]
    pub follows: Option<String>,
    /// How one sees that it is ready.
    pub ready: Ready,
    /// Hash of its configuration files: a change restarts it.
    #[serde(default)]
    pub stamp: String,
}

/// Evidence of readiness, asked of the running process itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ready {
    /// It runs; it has no endpoint worth asking.
    Running,
    /// A plain HTTP endpoint answers 200.
    Http {
        /// `address:port`.
        address: String,
        /// Path of the request.
        path: String,
    },
    /// A Unix socket accepts connections.
    Unix(PathBuf),
    /// A command succeeds.
    Command(Vec<String>),
}

impl Component {
    /// Hash of everything that decides the process: two of the same form need no restart.
    pub fn form(&self) -> String {
        stamp(&serde_json::to_vec(self).unwrap_or_default())
    }

    fn new(name: &str, command: Vec<String>, after: &[&str], ready: Ready) -> Self {
        let after = after.iter().map(|&a| a.to_owned()).collect();
        let name = name.to_owned();
        Self { name, command, env: Vec::new(), after, follows: None, ready, stamp: String::new() }
    }
}

/// All that rendering needs to know.
pub struct Inputs<'a> {
    /// Folders.
    pub paths: &'a Paths,
    /// Built programs.
    pub bin: &'a Binaries,
    /// Addresses.
    pub net: &'a Network,
    /// What this machine allows.
    pub host: &'a HostFacts,
    /// Reference of the image that holds a pod's namespaces.
    pub pause_image: &'a str,
    /// The CSI driver, when it is built.
    pub csi_driver: Option<&'a Path>,
    /// kwok, when things are to be measured: nodes that are objects only, and an audit log.
    pub kwok: Option<&'a Path>,
}

impl Inputs<'_> {
    fn config_file(&self, name: &str) -> PathBuf {
        self.paths.config().join(name)
    }
}

/// Writes certificates, configuration files and kubeconfigs and returns the components in starting order.
pub fn render(inputs: &Inputs<'_>) -> Result<Vec<Component>> {
    inputs.paths.create().context("creating the state folder")?;
    let authority = Authority::open(&inputs.paths.pki())?;
    let mut all = control_plane::render(inputs, &authority)?;
    all.extend(node::render(inputs, &authority)?);
    all.extend(storage::render(inputs, &authority)?);
    all.extend(fleet::render(inputs, &authority)?);
    Ok(all)
}

/// The file that the supervisor reads.
pub fn list_file(paths: &Paths) -> PathBuf {
    paths.state.join("components.json")
}

fn flags<const N: usize>(program: String, flags: [String; N]) -> Vec<String> {
    let mut command = vec![program];
    command.extend(flags);
    command
}
