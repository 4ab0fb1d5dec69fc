//! Starts a cluster's first process, tells it of changes, and finds it again. Everything that happens here happens on
//! the machine's side; what happens inside is the supervisor's.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::certs::write_private;
use crate::components::{self, Component};
use crate::identity::{Identity, children};
use crate::network::Network;
use crate::{Paths, cgroup, supervise};

/// A running cluster's processes on the machine.
pub struct Running {
    /// `unshare`: the kernel kills `init` when it ends.
    pub holder: Identity,
    /// PID 1 of the cluster, as the machine numbers it.
    pub init: Identity,
}

fn holder_file(paths: &Paths) -> PathBuf {
    paths.state.join("holder.json")
}

/// The cluster's processes, if it runs.
pub fn running(paths: &Paths) -> Option<Running> {
    let holder = Identity::living(&holder_file(paths))?;
    let init = children(holder.pid).into_iter().find_map(Identity::of)?;
    Some(Running { holder, init })
}

/// The half-started or running holder, with or without a PID 1.
pub fn holder(paths: &Paths) -> Option<Identity> {
    Identity::living(&holder_file(paths))
}

/// Makes the cluster run `list`: starts it, or hands a running one what changed.
pub fn ensure(paths: &Paths, network: &Network, tool: &Path, list: &[Component]) -> Result<()> {
    let file = components::list_file(paths);
    let text = serde_json::to_string_pretty(list)?;
    let same = fs::read_to_string(&file).is_ok_and(|old| old == text);
    if !same {
        write_private(&file, &text)?;
    }
    let until = Instant::now() + Duration::from_secs(10);
    while let Some(running) = running(paths) {
        if is_supervised(paths) {
            if !network.is_connected() {
                // An `up` was interrupted between starting it and giving it its link.
                network.connect(running.init.pid)?;
            }
            if !same {
                running.init.signal(Signal::SIGHUP);
            }
            return Ok(());
        }
        // It is just starting, or just ending.
        if Instant::now() > until {
            bail!("cluster {} neither starts nor ends: run `make down`", paths.name);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    start(paths, network, tool)
}

fn start(paths: &Paths, network: &Network, tool: &Path) -> Result<()> {
    cgroup::create(&paths.name).context("making the cluster's control groups")?;
    // What a supervisor said before a crash is not true of the next one.
    let _ = fs::remove_file(supervise::status_file(paths));
    let log = OpenOptions::new().create(true).append(true).open(paths.logs().join("supervise.log"))?;
    let mut command = Command::new("setsid");
    if let Some(hard) = open_files_limit(&fs::read_to_string("/proc/self/limits")?) {
        // containerd and the API server hold many files; a shell's soft limit is made for shells.
        command.args(["prlimit", &format!("--nofile={hard}:{hard}")]);
    }
    command
        .args([
            "unshare",
            "--pid",
            "--mount",
            "--net",
            "--ipc",
            "--uts",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["--propagation", "slave", "--"])
        .arg(tool)
        .args(["supervise", "--name", &paths.name])
        .env("A8S_REPO", &paths.repo)
        .env("A8S_STATE", &paths.clusters)
        .env("A8S_CACHE", &paths.cache)
        .env("CARGO_TARGET_DIR", &paths.target)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let child = command.spawn().context("starting setsid and unshare: is util-linux installed?")?;
    let pid = i32::try_from(child.id())?;
    let holder =
        Identity::of(pid).context("the cluster's first process ended at once: see logs/supervise.log")?;
    holder.save(&holder_file(paths))?;
    let init = wait_init(paths, child)?;
    network.connect(init.pid)
}

/// PID 1 is there when it is no longer `unshare` itself: only then are its namespaces complete.
fn wait_init(paths: &Paths, mut child: std::process::Child) -> Result<Identity> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(running) = running(paths)
            && fs::read_to_string(format!("/proc/{}/cmdline", running.init.pid))
                .is_ok_and(|c| c.split('\0').nth(1) == Some("supervise"))
        {
            return Ok(running.init);
        }
        let ended = child.try_wait()?.is_some();
        if ended || Instant::now() > until {
            let log = paths.logs().join("supervise.log");
            let said = fs::read_to_string(&log).unwrap_or_default();
            let last = said.lines().last().unwrap_or("it said nothing");
            bail!("the cluster's first process did not start: {last} (see {})", log.display());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a supervisor holds the cluster's lock.
pub fn is_supervised(paths: &Paths) -> bool {
    let Ok(file) = OpenOptions::new().write(true).open(supervise::lock_file(paths)) else { return false };
    matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock))
}

/// What the supervisor last said.
pub fn status(paths: &Paths) -> Vec<supervise::Status> {
    let text = fs::read_to_string(supervise::status_file(paths)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Waits until every process is ready; the error names those that are not and where their logs are.
pub fn wait_ready(paths: &Paths, list: &[Component], limit: Duration) -> Result<()> {
    let until = Instant::now() + limit;
    loop {
        let all = status(paths);
        let late = late(list, &all);
        if late.is_empty() {
            return Ok(());
        }
        let alive = holder(paths).is_some();
        if Instant::now() > until || !alive {
            let what = if alive { "not ready" } else { "its first process ended; not ready" };
            bail!("cluster {}: {what}: {} (logs in {})", paths.name, late.join(", "), paths.logs().display());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The hard limit of open files from `/proc/self/limits`.
fn open_files_limit(limits: &str) -> Option<u64> {
    limits.lines().find_map(|l| l.strip_prefix("Max open files"))?.split_whitespace().nth(1)?.parse().ok()
}

/// Components of which no ready process of exactly this form was reported.
fn late<'a>(list: &'a [Component], all: &[supervise::Status]) -> Vec<&'a str> {
    let ready = |c: &Component| {
        let is = |s: &supervise::Status| s.form == c.form() && s.state == supervise::ProcessState::Ready;
        all.iter().any(|s| s.name == c.name && is(s))
    };
    list.iter().filter(|c| !ready(c)).map(|c| c.name.as_str()).collect()
}

/// A command to be run inside the cluster's namespaces.
pub fn inside(init: &Identity) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &init.pid.to_string(), "--pid", "--mount", "--net", "--ipc", "--uts", "--"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::Ready;
    use crate::supervise::{ProcessState, Status};

    #[test]
    fn the_hard_limit_is_read_and_not_the_soft_one() {
        let text = "Limit    Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(open_files_limit(text), Some(4096));
        assert_eq!(open_files_limit(""), None);
    }

    #[test]
    fn a_process_of_an_older_form_does_not_count_as_ready() {
        let component = |stamp: &str| Component {
            name: "a".to_owned(),
            command: Vec::new(),
            env: Vec::new(),
            after: Vec::new(),
            follows: None,
            ready: Ready::Running,
            stamp: stamp.to_owned(),
        };
        let status = |state| Status {
            name: "a".to_owned(),
            state,
            pid: Some(1),
            restarts: 0,
            form: component("old").form(),
        };
        let (old, new) = ([component("old")], [component("new")]);
        assert!(late(&old, &[status(ProcessState::Ready)]).is_empty());
        assert_eq!(late(&old, &[status(ProcessState::Starting)]), ["a"]);
        assert_eq!(late(&new, &[status(ProcessState::Ready)]), ["a"]);
    }
}
