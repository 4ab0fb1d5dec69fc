//! Reaping of children. PID 1 inherits every orphan of its container, so exits are collected in one place, for the harness and for
//! strangers alike; nothing else in the process may wait for a child.

use std::{collections::HashMap, io, sync::Arc};

use nix::{
    errno::Errno,
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

type Exits = Arc<watch::Sender<HashMap<i32, String>>>;

/// Collects exits until it is dropped.
pub struct Reaper {
    exits: Exits,
    task: tokio::task::JoinHandle<()>,
}

impl Reaper {
    /// Starts to listen for exits; must come before the first child is started.
    pub fn start() -> io::Result<Self> {
        let children = signal(SignalKind::child())?;
        let exits = Arc::new(watch::Sender::new(HashMap::new()));
        let task = tokio::spawn(collect(children, exits.clone()));
        Ok(Self { exits, task })
    }

    /// Forgets earlier exits, so that a pid that the kernel hands out again is not taken for the old one. Call it before a start.
    pub fn forget(&self) {
        self.exits.send_modify(HashMap::clear);
    }

    /// Waits until `pid` has exited and says how, for a log line.
    pub async fn exited(&self, pid: Pid) -> String {
        let mut exits = self.exits.subscribe();
        let found = exits.wait_for(|exits| exits.contains_key(&pid.as_raw())).await;
        found.ok().and_then(|exits| exits.get(&pid.as_raw()).cloned()).unwrap_or_default()
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn collect(mut children: Signal, report: Exits) {
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => note(&report, pid, format!("exit code {code}")),
                Ok(WaitStatus::Signaled(pid, by, _)) => note(&report, pid, format!("signal {}", by.as_str())),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(_) | Err(_) => {}
            }
        }
        if children.recv().await.is_none() {
            return;
        }
    }
}

fn note(report: &Exits, pid: Pid, how: String) {
    report.send_modify(|exits| {
        exits.insert(pid.as_raw(), how);
    });
}
