//! Talks to a cluster through kubectl, the client every user has: what works here works for them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::run::{run, run_with_input};

/// kubectl with one kubeconfig; without one it uses the person's own.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: Option<PathBuf>,
}

impl Kubectl {
    /// For a cluster of ours.
    pub fn new(program: &Path, kubeconfig: &Path) -> Self {
        Self { program: program.to_path_buf(), kubeconfig: Some(kubeconfig.to_path_buf()) }
    }

    /// For the current context of the person.
    pub fn current(program: &Path) -> Self {
        Self { program: program.to_path_buf(), kubeconfig: None }
    }

    /// A prepared command.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(file) = &self.kubeconfig {
            command.env("KUBECONFIG", file);
        }
        command
    }

    /// Runs it and returns what it printed.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        run(self.command().args(args))
    }

    /// Applies manifests with server-side apply.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        let mut command = self.command();
        command.args([
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=a8s-cluster",
            "-f",
            "-",
        ]);
        run_with_input(&mut command, Some(manifests))
    }

    /// Tries until it succeeds; the last error after `limit`.
    pub fn until(&self, limit: Duration, args: &[&str]) -> Result<String> {
        let until = Instant::now() + limit;
        loop {
            match self.run(args) {
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(200)),
                result => return result,
            }
        }
    }

    /// Waits until the node says it is Ready.
    pub fn wait_node(&self, node: &str, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        let path = r#"-o=jsonpath={.status.conditions[?(@.type=="Ready")]['status','message']}"#;
        loop {
            let said = self.run(&["get", "node", node, path]);
            match said {
                Ok(text) if text.starts_with("True") => return Ok(()),
                Ok(text) if Instant::now() > until => bail!("node {node} is not Ready: {text}"),
                Err(error) if Instant::now() > until => {
                    return Err(error).context("the node did not register");
                }
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}
