//! Starting and ending one process.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Paths;
use crate::components::Component;

/// A log beyond this size makes way for a new one at the next start of its process.
const LOG_LIMIT: u64 = 64 << 20;

/// Starts a component with its output in its log file and returns its process id. The caller reaps.
pub fn start(paths: &Paths, component: &Component) -> Result<i32> {
    let log = paths.logs().join(format!("{}.log", component.name));
    rotate(&log);
    let log = OpenOptions::new().create(true).append(true).open(&log).context("opening its log")?;
    let (program, arguments) = component.command.split_first().context("it has no command")?;
    let mut command = Command::new(program);
    command.args(arguments).envs(component.env.iter().map(|(k, v)| (k, v)));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir("/");
    let child = command.spawn().with_context(|| format!("running {program}"))?;
    i32::try_from(child.id()).context("its process id is out of range")
}

/// Asks a process to end. One that is gone already is what was wanted.
pub fn terminate(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
}

fn rotate(log: &Path) {
    if fs::metadata(log).is_ok_and(|m| m.len() > LOG_LIMIT) {
        let _ = fs::rename(log, log.with_extension("log.1"));
    }
}
