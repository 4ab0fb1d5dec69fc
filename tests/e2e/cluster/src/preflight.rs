//! Looks for what the cluster needs before anything is changed: one clear line for each missing thing. Debian packages
//! it can install itself, everything else it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::run;
use crate::{Paths, Progress, network};

/// Programs that packages bring; on other distributions they are looked for by name.
const PROGRAMS: &[&str] = &[
    "cc",
    "ip",
    "losetup",
    "mkfs.btrfs",
    "mmdebstrap",
    "modprobe",
    "mount",
    "nft",
    "nsenter",
    "prlimit",
    "setsid",
    "unshare",
    "zstd",
];
/// Kernel abilities: a file system or module, and what it is for.
const FILE_SYSTEMS: &[(&str, &str)] = &[("overlay", "container images"), ("btrfs", "volumes and snapshots")];
const GO: (u32, u32) = (1, 26);

/// Checks the machine and installs missing Debian packages.
pub fn check(paths: &Paths, progress: &Progress) -> Result<()> {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        bail!("not root: the cluster makes namespaces, mounts and a network link; run it with sudo -E");
    }
    network::check_state_folder(paths)?;
    match packages(paths) {
        Ok(absent) if absent.is_empty() => {}
        Ok(absent) => install(&absent, progress)?,
        Err(_) => missing.extend(PROGRAMS.iter().filter(|p| !in_path(p)).map(|p| format!("program {p}"))),
    }
    for (name, purpose) in FILE_SYSTEMS {
        if !file_system(name) {
            missing.push(format!("kernel file system {name} ({purpose}): modprobe {name} did not bring it"));
        }
    }
    if !Path::new("/dev/loop-control").exists() && !modprobe("loop") {
        missing.push("loop devices (/dev/loop-control)".to_owned());
    }
    if in_path("nft") && run(Command::new("nft").args(["list", "tables"])).is_err() {
        missing.push("nftables in the kernel (`nft list tables` fails)".to_owned());
    }
    missing.extend(toolchains(paths));
    if missing.is_empty() {
        return Ok(());
    }
    bail!("this machine lacks:\n  - {}", missing.join("\n  - "))
}

/// Names of the packages from their file.
fn wanted(text: &str) -> Vec<String> {
    let name = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    text.lines().map(name).filter(|n| !n.is_empty()).collect()
}

/// Those of `wanted` that `dpkg-query` does not call installed.
fn absent(wanted: &[String], installed: &str) -> Vec<String> {
    let have: BTreeSet<&str> = installed.lines().filter_map(|l| l.strip_suffix(" installed")).collect();
    wanted.iter().filter(|w| !have.contains(w.as_str())).cloned().collect()
}

/// Missing packages; an error where there is no dpkg.
fn packages(paths: &Paths) -> Result<Vec<String>> {
    let file = paths.repo.join("tests/e2e/cluster/packages.txt");
    let wanted = wanted(&fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?);
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(&wanted)
        .output()
        .context("this is not Debian")?;
    // It fails when it does not know one of them: what it says of the others still counts.
    Ok(absent(&wanted, &String::from_utf8_lossy(&output.stdout)))
}

fn install(packages: &[String], progress: &Progress) -> Result<()> {
    progress.note(&format!("apt-get install {}", packages.join(" ")));
    let apt = |arguments: &[&str]| -> Result<()> {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-y"]).args(arguments);
        run(&mut command).map(drop)
    };
    let mut arguments = vec!["install", "--no-install-recommends"];
    arguments.extend(packages.iter().map(String::as_str));
    if apt(&arguments).is_err() {
        // The lists may be old or absent: fetch them and say what still fails.
        apt(&["update"])?;
        apt(&arguments).context("installing Debian packages")?;
    }
    Ok(())
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn modprobe(module: &str) -> bool {
    Command::new("modprobe").args(["-q", module]).status().is_ok_and(|s| s.success())
}

fn file_system(name: &str) -> bool {
    let known = || {
        let table = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        table.lines().any(|l| l.split_whitespace().last() == Some(name))
    };
    known() || (modprobe(name) && known())
}

fn toolchains(paths: &Paths) -> Vec<String> {
    let mut missing = Vec::new();
    match run(Command::new("go").args(["env", "GOVERSION"])) {
        Ok(text) if go_version(&text).is_some_and(|v| v >= GO) => {}
        Ok(text) => missing.push(format!("Go {}.{} or newer (found {})", GO.0, GO.1, text.trim())),
        Err(_) => missing.push(format!("Go {}.{} or newer in PATH", GO.0, GO.1)),
    }
    if !in_path("cargo") {
        missing.push("Rust (cargo in PATH)".to_owned());
    }
    if crate::products::console_sources(paths).exists() && !in_path("npm") {
        missing.push("Node.js with npm in PATH".to_owned());
    }
    missing
}

fn go_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().strip_prefix("go")?.split('.');
    let number = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    Some((number(parts.next()?)?, number(parts.next()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_that_are_not_fully_installed_are_installed() {
        let wanted = wanted("# why\nbuildah\n\niproute2 # links\nnftables\n");
        assert_eq!(wanted, ["buildah", "iproute2", "nftables"]);
        assert_eq!(absent(&wanted, "buildah installed\niproute2 config-files\n"), ["iproute2", "nftables"]);
    }

    #[test]
    fn the_package_list_beside_the_tool_is_readable_and_has_no_doubles() {
        let list = wanted(include_str!("../packages.txt"));
        assert!(list.contains(&"btrfs-progs".to_owned()));
        assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), list.len());
    }

    #[test]
    fn go_versions_are_compared_as_numbers() {
        assert_eq!(go_version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(go_version("go1.27rc1"), Some((1, 27)));
        assert!(go_version("go1.9").unwrap() < GO);
        assert_eq!(go_version("devel"), None);
    }
}
