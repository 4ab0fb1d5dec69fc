//! Remembers a process across runs of this tool without ever mistaking another one for it: a process id counts only
//! together with the boot and the moment it started in.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::certs::write_private;
use crate::host::boot_id;

/// A process as remembered in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    started: u64,
    /// Boot it belongs to.
    boot: String,
}

impl Identity {
    /// The process that has `pid` now.
    pub fn of(pid: i32) -> Option<Self> {
        let started = start_time(&stat(pid)?)?;
        Some(Self { pid, started, boot: boot_id() })
    }

    /// Reads a remembered process; `None` if nothing is remembered or if it has ended.
    pub fn living(file: &Path) -> Option<Self> {
        let known: Self = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
        known.is_alive().then_some(known)
    }

    /// Remembers it.
    pub fn save(&self, file: &Path) -> Result<()> {
        write_private(file, &serde_json::to_string(self)?)
    }

    /// Whether this very process still runs.
    pub fn is_alive(&self) -> bool {
        self.matches(stat(self.pid).as_deref(), &boot_id())
    }

    fn matches(&self, stat: Option<&str>, boot: &str) -> bool {
        self.boot == boot && stat.and_then(start_time) == Some(self.started)
    }

    /// Sends a signal if it still runs.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // It may end between the look and the signal: then there is nothing to do.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Waits until it has ended, at most `limit`.
    pub fn wait_gone(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// Asks it to end, and ends it after `grace`.
    pub fn end(&self, grace: Duration) -> bool {
        self.signal(Signal::SIGTERM);
        if self.wait_gone(grace) {
            return true;
        }
        self.signal(Signal::SIGKILL);
        self.wait_gone(Duration::from_secs(10))
    }
}

/// Children of a process.
pub fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|p| p.parse().ok()).collect()
}

fn stat(pid: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// Start time from `/proc/PID/stat`; `None` for a process that has ended and is only not yet taken by its parent.
fn start_time(stat: &str) -> Option<u64> {
    // The name in parentheses may hold anything, also spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1 1";

    fn known() -> Identity {
        Identity { pid: 7, started: 4711, boot: "b".to_owned() }
    }

    #[test]
    fn a_remembered_process_is_the_same_only_with_its_start_time_and_boot() {
        assert!(known().matches(Some(STAT), "b"));
        assert!(!known().matches(Some(&STAT.replace("4711", "4712")), "b"));
        assert!(!known().matches(Some(STAT), "another boot"));
        assert!(!known().matches(None, "b"));
    }

    #[test]
    fn a_zombie_is_not_alive() {
        assert!(!known().matches(Some(&STAT.replace(") S ", ") Z ")), "b"));
    }

    #[test]
    fn this_process_is_found_alive_and_a_damaged_file_is_no_process() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid.json");
        let me = Identity::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        me.save(&file).unwrap();
        assert_eq!(Identity::living(&file), Some(me));
        fs::write(&file, "{").unwrap();
        assert_eq!(Identity::living(&file), None);
    }
}
