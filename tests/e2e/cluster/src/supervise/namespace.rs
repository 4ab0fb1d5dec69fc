//! Furnishes the cluster's own namespaces: mounts that keep its files in its state folder and its traces off the
//! machine, and its end of the network link. Every change here is invisible outside and ends with PID 1.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::Paths;
use crate::network::{Network, ip};
use crate::run::run;

/// Kernel settings the kubelet insists on. They are the machine's, so the cluster is shown files that say so instead.
const KERNEL_SETTINGS: &[(&str, &str)] = &[
    ("/proc/sys/vm/overcommit_memory", "1\n"),
    ("/proc/sys/vm/panic_on_oom", "0\n"),
    ("/proc/sys/kernel/panic", "10\n"),
    ("/proc/sys/kernel/panic_on_oops", "1\n"),
    ("/proc/sys/kernel/keys/root_maxkeys", "1000000\n"),
    ("/proc/sys/kernel/keys/root_maxbytes", "25000000\n"),
];

/// Standard places of node software, and the folder of the state that is shown there.
const PLACES: &[(&str, &str)] = &[
    ("/var/lib/kubelet", "kubelet"),
    ("/var/lib/containerd", "containerd"),
    ("/var/lib/cni", "cni"),
    ("/var/log/pods", "pod-logs"),
    ("/var/log/containers", "container-logs"),
];

/// Does all of it.
pub fn prepare(paths: &Paths, network: &Network) -> Result<()> {
    mounts(paths).context("preparing the cluster's mounts")?;
    kernel_settings().context("hiding the machine's kernel settings")?;
    fs::write("/proc/sys/kernel/hostname", &paths.name).context("naming the node")?;
    links(network).context("preparing the cluster's network")
}

fn mounts(paths: &Paths) -> Result<()> {
    // Volumes mounted by the kubelet must show up in containers; nothing of it shows up on the machine.
    mount(&["--make-rshared", "/"])?;
    for dir in ["/run", "/var/lib", "/var/log"] {
        mount(&["-t", "tmpfs", "-o", "mode=0755,nosuid", "a8s", dir])?;
    }
    for dir in ["/run/lock", "/run/netns", "/run/a8s"] {
        fs::create_dir_all(dir)?;
    }
    for (place, folder) in PLACES {
        let folder = paths.state.join(folder);
        fs::create_dir_all(&folder)?;
        fs::create_dir_all(place)?;
        mount(&["--bind", &folder.display().to_string(), place])?;
    }
    mount(&["--make-rshared", "/"])?;
    name_servers(paths).context("giving the cluster its own /etc/resolv.conf")
}

/// The machine's name servers cannot be reached from here: waiting for them would delay every "no such image".
fn name_servers(paths: &Paths) -> Result<()> {
    let mut shown = PathBuf::from("/etc/resolv.conf");
    while let Ok(target) = fs::read_link(&shown) {
        shown = shown.parent().unwrap_or(Path::new("/")).join(target);
    }
    if !shown.exists() {
        // It led into /run, which is another one by now; anywhere else a new file would be the machine's.
        if !["/run", "/var/run", "/etc/../run", "/etc/../var/run"].iter().any(|dir| shown.starts_with(dir)) {
            return Ok(());
        }
        if let Some(folder) = shown.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&shown, "")?;
    }
    mount(&["--bind", &paths.resolv_conf().display().to_string(), &shown.display().to_string()])
}

fn kernel_settings() -> Result<()> {
    // The kernel lets a user namespace mount /proc only while an unaltered one is in sight.
    fs::create_dir_all("/run/a8s/proc")?;
    mount(&["-t", "proc", "proc", "/run/a8s/proc"])?;
    let shown = Path::new("/run/a8s/sysctl");
    fs::create_dir_all(shown)?;
    for (setting, value) in KERNEL_SETTINGS {
        if !Path::new(setting).exists() {
            continue;
        }
        let file = shown.join(setting.trim_start_matches("/proc/sys/").replace('/', "."));
        fs::write(&file, value)?;
        mount(&["--bind", &file.display().to_string(), setting])?;
    }
    Ok(())
}

fn links(network: &Network) -> Result<()> {
    ip(&["link", "set", "lo", "up"])?;
    let until = Instant::now() + Duration::from_secs(20);
    while !has_eth0() {
        if Instant::now() > until {
            bail!("the link to the machine did not appear within 20 s");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    ip(&["addr", "add", &format!("{}/24", network.node()), "dev", "eth0"])?;
    ip(&["link", "set", "eth0", "up"])?;
    ip(&["route", "add", "default", "via", &network.host().to_string()])?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("switching routing on inside the cluster")
}

fn has_eth0() -> bool {
    fs::read_to_string("/proc/net/dev").is_ok_and(|t| t.lines().any(|l| l.trim_start().starts_with("eth0:")))
}

fn mount(args: &[&str]) -> Result<()> {
    // -n: the table of mounts is the kernel's, no file on the machine is touched.
    run(Command::new("mount").arg("-n").args(args)).map(drop)
}
