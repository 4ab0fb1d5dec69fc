//! Dependencies of the workspace's packages point one way (ARCHITECTURE.md, "Folders").

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Programs: nothing may depend on them.
const PROGRAMS: [&str; 11] = [
    "a8s-agent",
    "a8s-console",
    "a8s-controller",
    "a8s-csi-btrfs",
    "a8s-deskd",
    "a8s-runner",
    "a8s-shim",
    "a8s-sim",
    "a8s-vnc-proxy",
    "a8s-webhook",
    "a8s-e2e",
];
/// What a package may have of ours; one that is not listed may have any but programs.
const ALLOWED: &[(&str, &[&str])] = &[
    ("a8s-crds", &[]),
    ("a8s-wire", &[]),
    ("a8s-rfb", &[]),
    ("a8s-process", &[]),
    ("a8s-plan", &["a8s-crds", "a8s-wire"]),
    ("a8s-snapshots", &["a8s-crds"]),
    ("a8s-sim", &["a8s-crds", "a8s-plan", "a8s-wire"]),
    ("a8s-webhook", &["a8s-crds", "a8s-process"]),
    ("a8s-console", &["a8s-crds", "a8s-process", "a8s-wire"]),
    ("a8s-vnc-proxy", &["a8s-crds", "a8s-process", "a8s-rfb", "a8s-wire"]),
    ("a8s-runner", &["a8s-process", "a8s-wire"]),
    ("a8s-deskd", &["a8s-process", "a8s-rfb", "a8s-wire"]),
    ("a8s-agent", &["a8s-llm", "a8s-wire"]),
    ("a8s-llm", &[]),
    ("a8s-model-mock", &[]),
    ("a8s-shim", &["a8s-wire"]),
    ("a8s-gen", &["a8s-crds"]),
];
/// Packages without a way to the outside: no runtime, no network, no clock of their own.
const PURE: [&str; 3] = ["a8s-crds", "a8s-plan", "a8s-rfb"];
const OUTSIDE: [&str; 8] =
    ["tokio", "hyper", "reqwest", "axum", "rustls", "kube-client", "kube-runtime", "rand"];

fn packages() -> Vec<Package> {
    let manifest = a8s_gen::repository().join("Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata").packages
}

/// Dependencies of what is shipped; tests may use more.
fn shipped(package: &Package) -> BTreeSet<String> {
    let normal = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
    normal.map(|d| d.name.clone()).collect()
}

#[test]
fn nothing_depends_on_a_program() {
    for package in packages() {
        let programs: Vec<_> =
            shipped(&package).into_iter().filter(|d| PROGRAMS.contains(&d.as_str())).collect();
        // Cases and benchmarks may drive what they test.
        let tests = package.manifest_path.as_str().contains("/tests/");
        assert!(tests || programs.is_empty(), "{} depends on {programs:?}", package.name);
    }
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for package in packages() {
        let Some(allowed) = allowed.get(package.name.as_str()) else { continue };
        seen.insert(package.name.to_string());
        let ours = shipped(&package).into_iter().filter(|d| d.starts_with("a8s-"));
        let wrong: Vec<_> = ours.filter(|d| !allowed.contains(&d.as_str())).collect();
        assert!(wrong.is_empty(), "{} may not depend on {wrong:?}", package.name);
    }
    assert_eq!(seen.len(), allowed.len(), "a package was renamed: {seen:?}");
}

#[test]
fn decisions_have_no_way_to_the_outside() {
    for package in packages().iter().filter(|p| PURE.contains(&p.name.as_str())) {
        let wrong: Vec<_> = shipped(package).into_iter().filter(|d| OUTSIDE.contains(&d.as_str())).collect();
        assert!(wrong.is_empty(), "{} has {wrong:?}", package.name);
        for kube in
            package.dependencies.iter().filter(|d| d.name == "kube" && d.kind == DependencyKind::Normal)
        {
            let outside = kube.features.iter().any(|f| ["client", "runtime", "config"].contains(&f.as_str()));
            assert!(!outside && !kube.uses_default_features, "{} has a Kubernetes client", package.name);
        }
    }
}
