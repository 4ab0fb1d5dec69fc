//! `up CLUSTER=current`: installs into the cluster of the person's current kubectl context, after saying what that
//! cluster lacks. It changes nothing there but the chart's own objects.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::binaries::Binaries;
use crate::kubectl::Kubectl;
use crate::{Paths, Progress, install};

/// Installs the chart; `more` goes to helm as it is.
pub fn up(paths: &Paths, more: &[String]) -> Result<()> {
    let progress = Progress::new(3);
    let bin =
        progress.step("helm and kubectl", || Binaries::build(paths, &["helm", "kubernetes"], &progress))?;
    let kubectl = Kubectl::current(&PathBuf::from(bin.path("kubectl")));
    let context =
        kubectl.run(&["config", "current-context"]).context("there is no current kubectl context")?;
    let lacks = progress.step("look at the cluster", || look(&kubectl))?;
    progress.note(&format!("context {}", context.trim()));
    for line in &lacks {
        progress.note(&format!("lacks: {line}"));
    }
    if !install::has_chart(paths) {
        progress.note("charts/a8s is not there: nothing to install");
        return Ok(());
    }
    progress.step("install the chart", || {
        install::chart(paths, Command::new(bin.path("helm")), &kubectl, &serde_json::json!({}), more)
    })?;
    println!(
        "Reach the console with: kubectl port-forward -n {} service/a8s-console 8080:8080",
        install::SYSTEM_NAMESPACE
    );
    Ok(())
}

fn look(kubectl: &Kubectl) -> Result<Vec<String>> {
    let json = |kind: &str| -> Result<Value> {
        let text = kubectl.run(&["get", kind, "-o", "json"])?;
        serde_json::from_str(&text).with_context(|| format!("reading {kind}"))
    };
    let definition = "customresourcedefinition/volumesnapshots.snapshot.storage.k8s.io";
    let known = kubectl.run(&["get", definition, "--ignore-not-found", "-o", "name"])?;
    let classes = json("storageclasses")?;
    let snapshots = if known.trim().is_empty() { None } else { Some(json("volumesnapshotclasses")?) };
    Ok(lacks(&classes, snapshots.as_ref()))
}

/// What the cluster does not have, from its classes; no snapshot classes means no definitions.
fn lacks(storage: &Value, snapshot: Option<&Value>) -> Vec<String> {
    let items = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    let provisioners: Vec<Value> = items(storage).iter().map(|c| c["provisioner"].clone()).collect();
    if provisioners.is_empty() {
        lines.push("a StorageClass: Workspaces will wait for their volume".to_owned());
    }
    match snapshot {
        None => lines.push(
            "the VolumeSnapshot definitions (snapshot.storage.k8s.io): no Snapshots; install external-snapshotter".to_owned(),
        ),
        Some(list) if !items(list).iter().any(|c| provisioners.contains(&c["driver"])) => lines.push(
            "a CSI driver with snapshots: no VolumeSnapshotClass has the driver of a StorageClass; no Snapshots".to_owned(),
        ),
        Some(_) => {}
    }
    lines.push(
        "the images, unless its nodes can pull them: build with `make images`, push them to your registry and name it with \
         --set image.repository=... (see charts/a8s/values.yaml)"
            .to_owned(),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_snapshot_class_counts_only_for_a_driver_that_provisions_volumes() {
        let storage = json!({"items": [{"provisioner": "a.csi"}]});
        let classes = |driver: &str| json!({"items": [{"driver": driver}]});
        assert_eq!(lacks(&storage, Some(&classes("a.csi"))).len(), 1);
        assert!(lacks(&storage, Some(&classes("b.csi")))[0].starts_with("a CSI driver with snapshots"));
        assert!(lacks(&storage, None)[0].contains("definitions"));
        assert_eq!(lacks(&json!({"items": []}), None).len(), 3);
    }
}
