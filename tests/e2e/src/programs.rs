//! Programs of this workspace, for tests that run them as processes.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
};

use anyhow::{Context, Result, ensure};

/// Root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// The folder with these programs, built as the tests are; by `make test` already.
pub fn built(packages: &[&str]) -> Result<PathBuf> {
    if std::env::var_os("A8S_PROGRAMS_BUILT").is_none() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked"]).current_dir(repository());
        for package in packages {
            build.args(["-p", package]);
        }
        ensure!(build.status()?.success(), "{} cannot be compiled", packages.join(", "));
    }
    let test = std::env::current_exe()?;
    test.ancestors().nth(2).map(Path::to_path_buf).context("a test is in target/debug/deps")
}

/// One of them.
pub fn program(package: &str) -> Result<PathBuf> {
    Ok(built(&[package])?.join(package))
}

/// A process that does not outlive the value.
pub struct Running(Child);

impl Running {
    /// Holds a process that somebody else started.
    pub fn of(child: Child) -> Self {
        Self(child)
    }

    /// Whether it has not ended.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let sent = Command::new("kill").args([signal, &self.0.id().to_string()]).status()?;
        ensure!(sent.success(), "process {} cannot be sent {signal}", self.0.id());
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL: nothing is tidied up.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
