//! The community's conformance suite for CSI drivers, csi-sanity, against the running driver.
//!
//! The program is built from the pinned Go module beside the embedded cluster and kept in the cache.

#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

mod support;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};
use support::{Rig, may_mount};

fn cache() -> PathBuf {
    let set = |key| env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("A8S_CACHE").or_else(|| Some(set("HOME")?.join(".cache/a8s"))).unwrap_or_else(env::temp_dir)
}

/// The suite's program, built if this pin was not built before.
fn csi_sanity() -> PathBuf {
    let pin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../go/csi-sanity");
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum"] {
        hash.update(fs::read(pin.join(file)).unwrap());
    }
    let folder = cache().join("bin").join(format!("csi-sanity-{}", &hex::encode(hash.finalize())[..12]));
    let program = folder.join("csi-sanity");
    if !program.exists() {
        fs::create_dir_all(&folder).unwrap();
        // Built aside, so that an interrupted build is not taken for a finished one.
        let unfinished = folder.join(format!("csi-sanity.{}", std::process::id()));
        let status = Command::new("go")
            .args(["build", "-trimpath", "-o"])
            .arg(&unfinished)
            .arg("github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity")
            .env("CGO_ENABLED", "0")
            .current_dir(pin)
            .status()
            .expect("go is needed to build csi-sanity");
        assert!(status.success(), "csi-sanity could not be built");
        fs::rename(unfinished, &program).unwrap();
    }
    program
}

#[test]
fn the_driver_passes_the_conformance_suite() {
    if !may_mount() {
        return;
    }
    let program = csi_sanity();
    let rig = Rig::new();
    let output = Command::new(program)
        .arg(format!("-csi.endpoint={}", rig.socket().display()))
        .arg(format!("-csi.mountdir={}", rig.kubelet().join("mount").display()))
        .arg(format!("-csi.stagingdir={}", rig.kubelet().join("staging").display()))
        .args(["-ginkgo.no-color"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // A suite that skipped nearly everything would succeed too.
    let passed =
        said.split(" Passed").next().and_then(|text| text.split_whitespace().last()?.parse::<u32>().ok());
    assert!(passed.is_some_and(|passed| passed >= 50), "{said}");
    for folder in ["volumes", "snapshots"] {
        assert_eq!(rig.pool(folder), [""; 0], "left in {folder}");
    }
}
