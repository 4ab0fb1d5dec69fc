//! Brings a cluster up and down: the order of all steps. Tests use it as a library, people through `a8s-cluster`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::binaries::Binaries;
use crate::components::{self, Inputs};
use crate::host::HostFacts;
use crate::kubectl::Kubectl;
use crate::network::Network;
use crate::{Paths, Progress, down, forward, images, install, lifecycle, preflight, products};

/// How much of a cluster is wanted.
#[derive(Clone, Debug)]
pub struct Options {
    /// Install the chart and what it needs; without it the cluster is a plain Kubernetes with storage.
    pub product: bool,
    /// Apply the sample.
    pub sample: bool,
    /// The `a8s-cluster` binary that runs inside; found by itself when not given.
    pub tool: Option<PathBuf>,
    /// Print the steps.
    pub verbose: bool,
    /// Add what measurements need: kwok, for nodes that are objects only, and an audit log of the API server.
    pub measured: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { product: true, sample: false, tool: None, verbose: true, measured: false }
    }
}

/// A running cluster.
pub struct Cluster {
    /// Its folders.
    pub paths: Paths,
    network: Network,
    bin: Binaries,
}

impl Cluster {
    /// Builds, starts and fills the cluster `name`. On a running cluster it updates what changed.
    pub fn up(name: &str, options: &Options) -> Result<Self> {
        Self::up_at(Paths::from_env(name)?, options)
    }

    /// Like [`Cluster::up`], with explicit folders.
    pub fn up_at(paths: Paths, options: &Options) -> Result<Self> {
        let steps = if options.product { 9 } else { 6 };
        let progress = if options.verbose { Progress::new(steps) } else { Progress::silent() };
        let tool = tool(options)?;
        progress.step("check this machine", || preflight::check(&paths, &progress))?;
        let bin = progress.step("Kubernetes binaries", || Binaries::build(&paths, &[], &progress))?;
        let kwok = if options.measured { Some(Binaries::build(&paths, &["kwok"], &progress)?) } else { None };
        let packages = if options.product { products::PACKAGES } else { &["a8s-csi-btrfs"] };
        progress.step("a8s binaries", || products::build(&paths, packages, &progress))?;
        let images = progress.step("images", || {
            if options.product {
                images::build_all(&paths, &progress)
            } else {
                images::build_pause(&paths, &progress).map(|image| vec![image])
            }
        })?;
        paths.create().context("creating the state folder")?;
        let lock = File::create(paths.state.join("up.lock"))?;
        lock.lock().context("waiting for another `up` of this cluster")?;
        let network = Network::claim(&paths)?;
        let cluster = Self { paths, network, bin };
        progress.step("start the cluster", || cluster.start(&tool, &images, kwok.as_ref()))?;
        let init = lifecycle::running(&cluster.paths).context("the cluster ended while it was set up")?.init;
        progress.step("base objects and images", || {
            install::base(&cluster.paths, &cluster.network, &cluster.kubectl())?;
            install::import(&cluster.bin, &init, &images, &progress)
        })?;
        if options.product {
            cluster.install(options, &images, &progress)?;
        }
        Ok(cluster)
    }

    fn install(&self, options: &Options, images: &[images::BuiltImage], progress: &Progress) -> Result<()> {
        if !install::has_chart(&self.paths) {
            progress.note("charts/a8s is not there: nothing to install");
            return Ok(());
        }
        let values = install::chart_values(images, &self.network);
        progress.step("install the chart", || {
            install::chart(&self.paths, self.helm(), &self.kubectl(), &values, &[])
        })?;
        progress.step("console port", || forward::ensure(&self.paths, &self.network, &tool(options)?))?;
        progress
            .step("demo namespace", || install::demo(&self.paths, &self.kubectl(), options.sample, progress))
    }

    fn start(&self, tool: &Path, images: &[images::BuiltImage], kwok: Option<&Binaries>) -> Result<()> {
        let pause = images.iter().find(|i| i.name == "pause").context("the pause image was not built")?;
        let driver = products::csi_driver(&self.paths)?;
        let inputs = Inputs {
            paths: &self.paths,
            bin: &self.bin,
            net: &self.network,
            host: &HostFacts::read(),
            pause_image: &pause.reference,
            csi_driver: driver.as_deref(),
            kwok: kwok.map(|built| built.path("kwok")),
        };
        let list = components::render(&inputs)?;
        lifecycle::ensure(&self.paths, &self.network, tool, &list)?;
        lifecycle::wait_ready(&self.paths, &list, Duration::from_secs(90))?;
        self.kubectl().wait_node(&self.paths.name, Duration::from_mins(1))
    }

    /// A cluster that is running now.
    pub fn attach(paths: Paths) -> Result<Self> {
        let known = Network::known(&paths)?;
        let (Some(network), Some(_)) = (known, lifecycle::running(&paths)) else {
            bail!("cluster {} does not run: start it with `make up`", paths.name);
        };
        let bin = Binaries::locate(&paths, &[])?;
        Ok(Self { paths, network, bin })
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.paths.kubeconfig()
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.bin.path("kubectl"), &self.kubeconfig())
    }

    /// helm as the administrator.
    pub fn helm(&self) -> Command {
        let mut command = Command::new(self.bin.path("helm"));
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// What a person opens in a browser.
    pub fn console_url(&self) -> String {
        self.network.console_url()
    }

    /// Folder of kubectl, for a person's PATH.
    pub fn kubectl_folder(&self) -> PathBuf {
        self.bin.folder_of("kubectl")
    }

    /// The built programs.
    pub fn binaries(&self) -> &Binaries {
        &self.bin
    }

    /// Imports images into the running cluster.
    pub fn import(&self, images: &[images::BuiltImage], progress: &Progress) -> Result<()> {
        let init = lifecycle::running(&self.paths).context("the cluster does not run")?.init;
        install::import(&self.bin, &init, images, progress)
    }

    /// A token to log in to the console with, as the demo user.
    pub fn token(&self) -> Result<String> {
        let demo = install::DEMO;
        let token = self.kubectl().run(&["create", "token", demo, "-n", demo, "--duration=24h"])?;
        Ok(token.trim().to_owned())
    }

    /// Removes the cluster and everything of it.
    pub fn down(self) -> Result<()> {
        down::down(&self.paths, false)
    }
}

/// The binary that becomes PID 1 of a cluster: given, named by `A8S_CLUSTER_BIN`, this very program, or beside the test
/// that asks.
fn tool(options: &Options) -> Result<PathBuf> {
    if let Some(tool) = &options.tool {
        return Ok(tool.clone());
    }
    if let Some(tool) = std::env::var_os("A8S_CLUSTER_BIN") {
        return Ok(tool.into());
    }
    let this = std::env::current_exe().context("finding this program")?;
    if this.file_name().is_some_and(|n| n == "a8s-cluster") {
        return Ok(this);
    }
    let beside = this.ancestors().skip(1).take(2).map(|d| d.join("a8s-cluster")).find(|p| p.is_file());
    beside.context("a8s-cluster is not built beside this program: cargo build -p a8s-cluster")
}
