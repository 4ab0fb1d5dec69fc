//! PID 1 of a cluster: prepares its namespaces, then starts, watches and restarts its processes. Because everything
//! lives in namespaces that end with this process, killing it removes the cluster from the machine.

mod namespace;
mod process;
mod ready;
mod table;

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::certs::write_private;
use crate::components::{Component, list_file};
use crate::network::Network;
use crate::{Paths, cgroup};

pub use ready::is_ready;
use table::{Action, Table};
pub use table::{ProcessState, Status};

/// Time between two looks at the processes.
const TICK: Duration = Duration::from_millis(100);
/// Time that processes have to end by themselves.
const GRACE: Duration = Duration::from_secs(4);

/// Held as long as the cluster runs: the proof that it does.
pub fn lock_file(paths: &Paths) -> PathBuf {
    paths.state.join("supervise.lock")
}

/// What the supervisor last said of its processes.
pub fn status_file(paths: &Paths) -> PathBuf {
    paths.state.join("status.json")
}

/// Runs until told to end. Must be PID 1 of its own namespaces.
pub fn run(paths: &Paths) -> Result<()> {
    if std::process::id() != 1 {
        bail!("`supervise` is started by `up` as the first process of its own namespaces, not by hand");
    }
    let signals = signals()?;
    let lock = File::create(lock_file(paths))?;
    lock.try_lock().context("another supervisor runs this cluster")?;
    let network = Network::known(paths)?.context("the cluster has no network: run `up`")?;
    namespace::prepare(paths, &network)?;
    let mut supervisor = Supervisor { paths, table: Table::new(load(paths)?), told: Vec::new() };
    loop {
        match signals.recv_timeout(TICK) {
            Ok(Signal::SIGHUP) => match load(paths) {
                Ok(list) => {
                    let ended = supervisor.table.replace(list);
                    ended.into_iter().for_each(process::terminate);
                }
                Err(error) => eprintln!("reload: {error:#}"),
            },
            Ok(Signal::SIGCHLD) | Err(RecvTimeoutError::Timeout) => {}
            Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
        }
        supervisor.reap();
        supervisor.act();
        supervisor.tell();
    }
    supervisor.stop();
    Ok(())
}

fn load(paths: &Paths) -> Result<Vec<Component>> {
    let file = list_file(paths);
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("parsing {}", file.display()))
}

/// Signals as messages: blocked in every thread, taken one by one by a thread of their own. Children start with an
/// empty mask, the standard library sees to that.
fn signals() -> Result<mpsc::Receiver<Signal>> {
    let set: SigSet =
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect();
    set.thread_block().context("blocking signals")?;
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok(signal) = set.wait() {
            if send.send(signal).is_err() {
                break;
            }
        }
    });
    Ok(receive)
}

struct Supervisor<'a> {
    paths: &'a Paths,
    table: Table,
    told: Vec<Status>,
}

impl Supervisor<'_> {
    /// Takes the exit status of every ended child, ours and the orphans that PID 1 inherits. Nothing else waits.
    fn reap(&mut self) {
        loop {
            let (pid, how) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, format!("exit code {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, signal.as_str().to_owned()),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            if let Some(ended) = self.table.exited(pid.as_raw(), Instant::now()) {
                eprintln!("{} ended: {how}", ended.name);
                ended.followers.into_iter().for_each(process::terminate);
            }
        }
    }

    fn act(&mut self) {
        for action in self.table.actions(Instant::now()) {
            match action {
                Action::Start(component) => match process::start(self.paths, &component) {
                    Ok(pid) => self.table.started(&component.name, pid, Instant::now()),
                    Err(error) => {
                        eprintln!("starting {}: {error:#}", component.name);
                        self.table.failed(&component.name, Instant::now());
                    }
                },
                Action::Probe(component) => {
                    if is_ready(&component.ready) {
                        self.table.ready(&component.name);
                    }
                }
            }
        }
    }

    fn tell(&mut self) {
        let now = self.table.status();
        if now != self.told {
            let text = serde_json::to_string_pretty(&now).unwrap_or_default();
            if let Err(error) = write_private(&status_file(self.paths), &text) {
                eprintln!("{error:#}");
            }
            self.told = now;
        }
    }

    /// Ends the processes in an order in which nobody misses who is gone: managers, containers, the store. What is
    /// left after that, the kernel ends with this process; it also unmounts the volumes cleanly.
    fn stop(&mut self) {
        let (store, others): (Vec<_>, Vec<_>) = self
            .table
            .running()
            .into_iter()
            .partition(|(name, _)| matches!(name.as_str(), "etcd" | "kube-apiserver"));
        // The driver cannot unmount what pods have mounted, and containerd ends the containers' output.
        let (last, first): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|(name, _)| matches!(name.as_str(), "csi-driver" | "containerd"));
        for (_, pid) in &first {
            process::terminate(*pid);
        }
        self.wait_for(&first, GRACE);
        cgroup::processes(&self.paths.name).into_iter().for_each(process::terminate);
        let until = Instant::now() + GRACE / 2;
        while !cgroup::processes(&self.paths.name).is_empty() && Instant::now() < until {
            self.reap();
            std::thread::sleep(Duration::from_millis(20));
        }
        last.iter().chain(&store).for_each(|(_, pid)| process::terminate(*pid));
        self.wait_for(&store, GRACE / 2);
        let _ = fs::remove_file(status_file(self.paths));
    }

    fn wait_for(&mut self, processes: &[(String, i32)], limit: Duration) {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            self.reap();
            let running = self.table.running();
            if !processes.iter().any(|p| running.contains(p)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
