//! Puts things into a running cluster: its base objects, images, the chart, the sample. Every step may be repeated and
//! changes only what differs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::binaries::{Binaries, snapshot_crds};
use crate::components::well_known::{CONSOLE_NODE_PORT, CONTAINERD_SOCKET};
use crate::identity::Identity;
use crate::images::BuiltImage;
use crate::kubectl::Kubectl;
use crate::network::Network;
use crate::run::{run, run_with_input};
use crate::{Paths, Progress, lifecycle};

/// Namespace of the control plane.
pub const SYSTEM_NAMESPACE: &str = "a8s-system";
/// Namespace of the sample, and the ServiceAccount that may use it.
pub const DEMO: &str = "demo";
const SAMPLE: &str = "config/samples/seattle-report.yaml";

/// Objects that make a bare cluster usable: DNS, storage, snapshots.
pub fn base(paths: &Paths, network: &Network, kubectl: &Kubectl) -> Result<()> {
    let text = include_str!("manifests/base.yaml");
    kubectl
        .apply(&text.replace("{NODE_IP}", &network.node().to_string()))
        .context("applying the base objects")?;
    snapshot_definitions(paths, kubectl)?;
    kubectl
        .apply(include_str!("manifests/snapshot-class.yaml"))
        .context("applying the VolumeSnapshotClass")?;
    kubectl.until(Duration::from_secs(20), &["get", "serviceaccount", "default", "-n", "default"]).map(drop)
}

/// The definitions of VolumeSnapshots, without a driver. Returns when they can be used.
pub fn snapshot_definitions(paths: &Paths, kubectl: &Kubectl) -> Result<()> {
    let folder = snapshot_crds(paths)?;
    let mut names: Vec<_> = fs::read_dir(&folder)?.flatten().map(|e| e.path()).collect();
    names.sort();
    let mut definitions = String::new();
    for file in names.iter().filter(|f| is_wanted_definition(f)) {
        definitions.push_str("\n---\n");
        definitions.push_str(&fs::read_to_string(file)?);
    }
    kubectl.apply(&definitions).context("applying the VolumeSnapshot definitions")?;
    let class = "customresourcedefinition/volumesnapshotclasses.snapshot.storage.k8s.io";
    kubectl.run(&["wait", "--for=condition=Established", "--timeout=30s", class]).map(drop)
}

/// The three definitions of plain snapshots: group snapshots are switched off.
fn is_wanted_definition(file: &Path) -> bool {
    let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.starts_with("snapshot.storage.k8s.io_") && Path::new(name).extension().is_some_and(|e| e == "yaml")
}

/// Imports the images that containerd does not have. A reference carries its content's hash, so its name is enough.
pub fn import(bin: &Binaries, init: &Identity, images: &[BuiltImage], progress: &Progress) -> Result<()> {
    let ctr = || {
        let mut command = lifecycle::inside(init);
        command.arg(bin.path("ctr")).args([
            "--address",
            CONTAINERD_SOCKET,
            "--namespace",
            "k8s.io",
            "images",
        ]);
        command
    };
    let listed = run(ctr().args(["list", "--quiet"])).context("listing containerd's images")?;
    let have: BTreeSet<&str> = listed.lines().collect();
    for image in images.iter().filter(|i| !have.contains(i.reference.as_str())) {
        progress.note(&format!("import {}", image.reference));
        run(ctr().args(["import", "--local"]).arg(&image.archive))
            .with_context(|| format!("importing {}", image.archive.display()))?;
    }
    Ok(())
}

/// Whether the repository has a chart to install.
pub fn has_chart(paths: &Paths) -> bool {
    paths.repo.join("charts/a8s/Chart.yaml").is_file()
}

/// Values of the chart for an embedded cluster.
pub fn chart_values(images: &[BuiltImage], network: &Network) -> Value {
    let reference = |name: &str| images.iter().find(|i| i.name == name).map(|i| i.reference.clone());
    let split = |name: &str| {
        let reference = reference(name).unwrap_or_default();
        let (repository, tag) = reference.rsplit_once(':').unwrap_or((&reference, ""));
        json!({"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"})
    };
    let ours = ["pause", "control-plane", "runner"];
    let environments: Map<String, Value> = images
        .iter()
        .filter(|image| !ours.contains(&image.name.as_str()))
        .map(|image| (image.name.clone(), json!({"enabled": true, "image": image.reference})))
        .collect();
    json!({
        "image": split("control-plane"),
        "runner": {"image": split("runner")},
        "environments": environments,
        "console": {
            "url": network.console_url(),
            "service": {"type": "NodePort", "nodePort": CONSOLE_NODE_PORT},
        },
    })
}

/// Installs or upgrades the chart and waits for its rollouts.
pub fn chart(paths: &Paths, helm: Command, kubectl: &Kubectl, values: &Value, more: &[String]) -> Result<()> {
    let mut helm = helm;
    helm.args(["upgrade", "--install", "a8s"]).arg(paths.repo.join("charts/a8s"));
    helm.args(["--namespace", SYSTEM_NAMESPACE, "--create-namespace", "--values", "-"]).args(more);
    run_with_input(&mut helm, Some(&values.to_string())).context("installing the chart")?;
    let deployments = kubectl.run(&["get", "deployments", "-n", SYSTEM_NAMESPACE, "-o", "name"])?;
    for name in deployments.lines() {
        kubectl.run(&["rollout", "status", name, "-n", SYSTEM_NAMESPACE, "--timeout=120s"]).with_context(
            || format!("{name} is not available: see `kubectl describe {name} -n {SYSTEM_NAMESPACE}`"),
        )?;
    }
    Ok(())
}

/// The demo namespace with its user, and the sample if it is wanted and there.
pub fn demo(paths: &Paths, kubectl: &Kubectl, sample: bool, progress: &Progress) -> Result<()> {
    kubectl.apply(include_str!("manifests/demo.yaml")).context("making the demo namespace")?;
    let file = paths.repo.join(SAMPLE);
    if sample && file.is_file() {
        let file = file.display().to_string();
        let apply = ["apply", "-n", DEMO, "-f", &file];
        kubectl.until(Duration::from_secs(20), &apply).context("applying the sample")?;
    } else if sample {
        progress.note(&format!("{SAMPLE} is not there: no sample applied"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> BuiltImage {
        BuiltImage {
            name: name.to_owned(),
            reference: format!("localhost/a8s/{name}:0123456789ab"),
            digest: String::new(),
            archive: "x".into(),
        }
    }

    #[test]
    fn the_chart_gets_exactly_the_built_images_and_the_clusters_own_address() {
        let network = Network { index: 3, console_port: 8099 };
        let images = ["pause", "control-plane", "runner", "desktop", "office"].map(image);
        let values = chart_values(&images, &network);
        assert_eq!(values["image"]["tag"], "0123456789ab");
        assert_eq!(values["environments"]["desktop"]["image"], "localhost/a8s/desktop:0123456789ab");
        let names: Vec<_> = values["environments"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["desktop", "office"]);
        assert_eq!(values["console"]["url"], "http://localhost:8099");
    }

    #[test]
    fn the_namespace_of_the_control_plane_enforces_the_strictest_pod_security() {
        let base = include_str!("manifests/base.yaml");
        let namespace = base.split("\n---\n").find(|d| d.contains("kind: Namespace\n")).unwrap();
        assert!(namespace.contains(&format!("name: {SYSTEM_NAMESPACE}\n")), "{namespace}");
        assert!(namespace.contains("{pod-security.kubernetes.io/enforce: restricted}"), "{namespace}");
    }

    #[test]
    fn definitions_of_group_snapshots_are_left_out() {
        let wanted = |name: &str| is_wanted_definition(Path::new(name));
        assert!(wanted("/x/snapshot.storage.k8s.io_volumesnapshots.yaml"));
        assert!(!wanted("/x/groupsnapshot.storage.k8s.io_volumegroupsnapshots.yaml"));
        assert!(!wanted("/x/kustomization.yaml"));
    }
}
