//! Removes a cluster from the machine, whatever state it is in: running, half started, crashed, or left by a reboot.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::network::Network;
use crate::run::run;
use crate::{Paths, cgroup, forward, lifecycle};

/// Time the cluster gets to end by itself, and the kernel to end what is killed.
const GRACE: Duration = Duration::from_secs(8);

/// Ends everything of the cluster. Its data stays with `keep_data`; else nothing stays.
pub fn down(paths: &Paths, keep_data: bool) -> Result<()> {
    forward::stop(paths);
    end_processes(paths, keep_data)?;
    if let Some(network) = Network::known(paths)? {
        network.disconnect()?;
    }
    until_done("loop devices", || free_loops(paths))?;
    until_done("control groups", || Ok(cgroup::remove(&paths.name)?))?;
    if keep_data {
        return Ok(());
    }
    if paths.state.exists() {
        fs::remove_dir_all(&paths.state).with_context(|| format!("removing {}", paths.state.display()))?;
    }
    Network::release(paths)
}

fn end_processes(paths: &Paths, keep_data: bool) -> Result<()> {
    let running = lifecycle::running(paths);
    if let Some(running) = &running {
        // Data that is thrown away needs no orderly end.
        if keep_data {
            running.init.signal(Signal::SIGTERM);
            running.init.wait_gone(GRACE);
        }
        running.init.signal(Signal::SIGKILL);
    }
    // With its holder the kernel kills a PID 1 that was not found, and PID 1 takes everything with it.
    if let Some(holder) = lifecycle::holder(paths) {
        holder.signal(Signal::SIGKILL);
        if !holder.wait_gone(GRACE) {
            bail!("process {} of cluster {} does not end", holder.pid, paths.name);
        }
    }
    if let Some(running) = running
        && !running.init.wait_gone(GRACE)
    {
        bail!("process {} of cluster {} does not end", running.init.pid, paths.name);
    }
    Ok(())
}

/// The kernel takes namespaces apart after their last process ended, not with it: what depends on it is tried again.
fn until_done(what: &str, attempt: impl Fn() -> Result<()>) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > until => return Err(error.context(format!("removing {what}"))),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn free_loops(paths: &Paths) -> Result<()> {
    let table =
        run(Command::new("losetup").args(["--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"]))?;
    let left = loops_of(&table, &paths.state.display().to_string());
    for device in &left {
        run(Command::new("losetup").args(["--detach", device]))?;
    }
    if left.is_empty() { Ok(()) } else { bail!("still attached: {}", left.join(", ")) }
}

fn loops_of(table: &str, folder: &str) -> Vec<String> {
    let inside = |file: &str| file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let device = |line: &str| {
        let (name, file) = line.split_once(' ')?;
        inside(file.trim()).then(|| name.to_owned())
    };
    table.lines().filter_map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loop_devices_on_files_of_this_cluster_are_freed() {
        let table = "/dev/loop0 /s/a8s/csi/volumes.img\n/dev/loop1 /s/a8s-2/csi/volumes.img\n/dev/loop2 /s/a8s/x (deleted)\n";
        assert_eq!(loops_of(table, "/s/a8s"), ["/dev/loop0", "/dev/loop2"]);
    }
}
