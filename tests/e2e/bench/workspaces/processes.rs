//! What the processes of a cluster cost, read from the machine's `/proc`, and how far its audit log has come.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Reads of one cluster.
pub struct Meter {
    /// PID 1 of the cluster as the machine numbers it.
    init: i32,
    /// The API server's audit log.
    pub audit: PathBuf,
}

/// A moment.
pub struct Mark {
    /// Length of the audit log.
    pub audit: u64,
    /// CPU seconds by program.
    cpu: BTreeMap<String, f64>,
}

impl Mark {
    /// CPU seconds of a program between two moments.
    pub fn cpu(&self, earlier: &Self, program: &str) -> f64 {
        let at = |mark: &Self| mark.cpu.get(program).copied().unwrap_or_default();
        at(self) - at(earlier)
    }
}

/// Resident memory in MiB: now, and the most there ever was.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Now.
    pub now: f64,
    /// Most.
    pub most: f64,
}

/// The kernel counts in hundredths of a second wherever Linux runs.
const TICKS: f64 = 100.0;

impl Meter {
    /// Of the cluster with this first process.
    pub fn new(init: i32, audit: PathBuf) -> Self {
        Self { init, audit }
    }

    /// Now.
    pub fn mark(&self) -> Mark {
        let mut cpu = BTreeMap::new();
        for process in self.processes() {
            *cpu.entry(process.program).or_default() += process.ticks / TICKS;
        }
        Mark { audit: self.audit_length(), cpu }
    }

    /// Length of the audit log.
    pub fn audit_length(&self) -> u64 {
        fs::metadata(&self.audit).map(|m| m.len()).unwrap_or_default()
    }

    /// Memory of a program.
    pub fn memory(&self, program: &str) -> Result<Memory> {
        let all = self.processes();
        let found = all.iter().find(|p| p.program == program).with_context(|| format!("{program} runs"))?;
        let text = fs::read_to_string(format!("/proc/{}/status", found.pid))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib / 1024.0)
        };
        let read = || Some(Memory { now: field("VmRSS:")?, most: field("VmHWM:")? });
        read().context("the kernel tells a process' memory")
    }

    /// Everything below the cluster's first process, pods included.
    fn processes(&self) -> Vec<Process> {
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let all: Vec<_> = numbers
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter_map(Process::read)
            .collect();
        let parents: BTreeMap<i32, i32> = all.iter().map(|p| (p.pid, p.parent)).collect();
        let inside = |pid: i32| {
            let mut at = pid;
            // As deep as processes are ever nested; a loop cannot be.
            for _ in 0..64 {
                match parents.get(&at) {
                    Some(parent) if *parent == self.init => return true,
                    Some(parent) if *parent > 1 => at = *parent,
                    _ => return false,
                }
            }
            false
        };
        all.into_iter().filter(|p| inside(p.pid)).collect()
    }
}

struct Process {
    pid: i32,
    parent: i32,
    program: String,
    ticks: f64,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let program = command.split('\0').next()?.rsplit('/').next()?.to_owned();
        let (parent, ticks) = parse(&stat)?;
        Some(Self { pid, parent, program, ticks })
    }
}

/// Parent and CPU time, children's apart, from `/proc/PID/stat`.
fn parse(stat: &str) -> Option<(i32, f64)> {
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((fields.get(1)?.parse().ok()?, number(11)? + number(12)?))
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "sums of small whole numbers")]
mod tests {
    use super::*;

    #[test]
    fn parent_and_time_are_read_whatever_the_program_is_called() {
        let stat = "7 (a b) c) S 3 7 7 0 -1 4194560 1 0 0 0 120 30 9 9 20 0 1 0 4711 1 1 1";
        assert_eq!(parse(stat), Some((3, 150.0)));
    }

    #[test]
    fn this_process_is_found_below_its_parent() {
        let me = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        let meter = Meter::new(me.parent, PathBuf::from("none"));
        assert!(meter.processes().iter().any(|p| p.pid == me.pid));
        assert!(meter.memory(&me.program).unwrap().now > 0.0);
    }
}
