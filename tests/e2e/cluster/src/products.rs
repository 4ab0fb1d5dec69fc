//! Builds what this repository itself contributes: the web page and the release binaries.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::components::stamp;
use crate::{Paths, Progress};

/// Packages whose binaries go into images or run beside the kubelet.
pub const PACKAGES: &[&str] = &[
    "a8s-controller",
    "a8s-webhook",
    "a8s-console",
    "a8s-vnc-proxy",
    "a8s-runner",
    "a8s-deskd",
    "a8s-agent",
    "a8s-shim",
    "a8s-csi-btrfs",
];

/// The page's package file; without it there is no page to build.
pub fn console_sources(paths: &Paths) -> PathBuf {
    paths.repo.join("console/web/package.json")
}

/// Builds the page, then every binary with one call of cargo.
pub fn build(paths: &Paths, packages: &[&str], progress: &Progress) -> Result<()> {
    if packages.contains(&"a8s-console") && console_sources(paths).exists() {
        page(paths, progress)?;
    }
    let mut command = Command::new("cargo");
    command.current_dir(&paths.repo).env("CARGO_TARGET_DIR", &paths.target);
    // What cargo tells the test that it runs is not for the cargo that the test runs: build scripts look at it (ring's does), would run again
    // each time that the two take turns, and nearly everything depends on them.
    let told = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|p| name.starts_with(p));
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(|name| told(name)) {
        command.env_remove(name);
    }
    command.args(["build", "--release", "--locked", "--bins"]);
    command.args(packages.iter().flat_map(|p| ["-p", p]));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("starting cargo")?;
    let mut said = Vec::new();
    for line in child.stderr.take().into_iter().flat_map(|pipe| BufReader::new(pipe).lines()) {
        let line = line.context("reading what cargo says")?;
        progress.doing(line.trim());
        said.push(line);
    }
    if !child.wait().context("waiting for cargo")?.success() {
        bail!("cargo build --release failed:\n{}", said.join("\n"));
    }
    Ok(())
}

/// Builds the page when its sources changed since the last time.
fn page(paths: &Paths, progress: &Progress) -> Result<()> {
    let web = paths.repo.join("console/web");
    let mut files = Vec::new();
    collect(&web, &mut files)?;
    files.sort();
    let mut all = Vec::new();
    for file in &files {
        all.extend_from_slice(file.as_os_str().as_encoded_bytes());
        all.extend(fs::read(file)?);
    }
    let (hash, mark) = (stamp(&all), paths.cache.join("console-web.stamp"));
    let built = web.join("dist/index.html").is_file();
    if built && fs::read_to_string(&mark).is_ok_and(|old| old == hash) {
        return Ok(());
    }
    for arguments in [&["ci", "--no-audit", "--no-fund"][..], &["run", "build"]] {
        progress.note(&format!("npm {}", arguments.join(" ")));
        let output = Command::new("npm").current_dir(&web).args(arguments).stdin(Stdio::null()).output();
        let output = output.context("starting npm")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("npm {} failed:\n{}{said}", arguments.join(" "), String::from_utf8_lossy(&output.stdout));
        }
    }
    fs::create_dir_all(&paths.cache)?;
    fs::write(mark, hash)?;
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let generated = path.ends_with("node_modules") || path.ends_with("dist");
        if path.is_dir() && !generated {
            collect(&path, files)?;
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// The CSI driver's binary, copied to a name that carries its content: a new build is a new command and restarts it,
/// and building does not fail because the old one runs. `None` while it is not built.
pub fn csi_driver(paths: &Paths) -> Result<Option<PathBuf>> {
    let built = paths.release().join("a8s-csi-btrfs");
    let Ok(bytes) = fs::read(&built) else { return Ok(None) };
    let folder = paths.state.join("bin");
    let copy = folder.join(format!("a8s-csi-btrfs-{}", stamp(&bytes)));
    if !copy.is_file() {
        fs::create_dir_all(&folder)?;
        let partial = folder.join("partial");
        fs::copy(&built, &partial)?;
        fs::rename(&partial, &copy)?;
    }
    Ok(Some(copy))
}
