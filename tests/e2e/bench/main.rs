//! What a8s costs over bare Kubernetes, measured in one run on one cluster and printed as a table: a Workspace against a bare pod of the same
//! image and a volume, a Snapshot against a bare VolumeSnapshot of the same volume, and `make up` with everything built. No threshold is checked here.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use a8s_cluster::{Cluster, Options};
use anyhow::{Result, bail};
use serde_json::{Value, json};

const ROUNDS: usize = 7;
const LIMIT: Duration = Duration::from_mins(1);

fn main() -> Result<()> {
    let tool = std::env::var_os("A8S_CLUSTER_BIN").map(PathBuf::from);
    let options = Options { product: true, sample: false, tool, verbose: true };
    // The first start builds what is missing; the second, from nothing but built things, is the one that is measured.
    Cluster::up("bench", &options)?.down()?;
    let begun = Instant::now();
    let bench = Bench { cluster: Cluster::up("bench", &options)? };
    let up = begun.elapsed();
    let result = bench.run(up);
    bench.cluster.down()?;
    result
}

struct Bench {
    cluster: Cluster,
}

impl Bench {
    fn run(&self, up: Duration) -> Result<()> {
        let image = self.kubectl(&["get", "environment", "desktop", "-o", "jsonpath={.spec.image}"])?;
        let (mut bare, mut workspaces) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            bare.push(self.bare_pod(round, &image)?);
            workspaces.push(self.workspace(round)?);
        }
        self.apply(&json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "source"}, "spec": {"environment": "desktop"}}))?;
        self.until(|b| b.condition("workspace", "source", "Ready"))?;
        let (mut volume, mut snapshots) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            volume.push(self.volume_snapshot(round)?);
            snapshots.push(self.snapshot(round)?);
        }
        println!("\n| measure | p50 ms | min | max |\n|---|---|---|---|");
        row("bare pod of the desktop image with a volume: create to containers ready", &mut bare);
        row("Workspace: create to first desktop frame (DesktopReady)", &mut workspaces);
        row("bare VolumeSnapshot: create to readyToUse", &mut volume);
        row("Snapshot: create to Ready", &mut snapshots);
        println!("| make up, everything built | {} | | |", up.as_millis());
        println!(
            "\nWorkspace over bare pod: {:+} ms; Snapshot over VolumeSnapshot: {:+} ms ({ROUNDS} rounds each, interleaved)",
            median(&mut workspaces) - median(&mut bare),
            median(&mut snapshots) - median(&mut volume)
        );
        Ok(())
    }

    fn bare_pod(&self, round: usize, image: &str) -> Result<i64> {
        let name = format!("bare-{round}");
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        let restricted = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "c", "image": image, "command": ["sleep", "infinity"], "securityContext": restricted,
                "volumeMounts": [{"name": "home", "mountPath": "/home/agent"}]}],
            "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": name}}], "terminationGracePeriodSeconds": 0}});
        let begun = Instant::now();
        self.apply(&claim)?;
        self.apply(&pod)?;
        self.until(|b| b.condition("pod", &name, "Ready"))?;
        let took = millis(begun);
        self.kubectl(&["delete", "pod,pvc", &name, "--wait=true"])?;
        Ok(took)
    }

    fn workspace(&self, round: usize) -> Result<i64> {
        let name = format!("bench-{round}");
        let begun = Instant::now();
        self.apply(
            &json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": name},
            "spec": {"environment": "desktop", "storage": {"size": "1Gi"}}}),
        )?;
        self.until(|b| b.condition("workspace", &name, "DesktopReady"))?;
        let took = millis(begun);
        self.kubectl(&["delete", "workspace", &name, "--wait=true"])?;
        Ok(took)
    }

    fn volume_snapshot(&self, round: usize) -> Result<i64> {
        let name = format!("plain-{round}");
        let begun = Instant::now();
        self.apply(&json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": name},
            "spec": {"volumeSnapshotClassName": "a8s-local", "source": {"persistentVolumeClaimName": "source-home"}}}))?;
        self.until(|b| b.json("volumesnapshot", &name).is_some_and(|v| v["status"]["readyToUse"] == true))?;
        Ok(millis(begun))
    }

    fn snapshot(&self, round: usize) -> Result<i64> {
        let name = format!("ours-{round}");
        let begun = Instant::now();
        self.apply(&json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Snapshot", "metadata": {"name": name}, "spec": {"workspace": "source"}}))?;
        self.until(|b| b.condition("snapshot", &name, "Ready"))?;
        Ok(millis(begun))
    }

    fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["-n", "demo"];
        all.extend_from_slice(args);
        self.cluster.kubectl().run(&all)
    }

    fn apply(&self, object: &Value) -> Result<()> {
        let mut object = object.clone();
        object["metadata"]["namespace"] = json!("demo");
        self.cluster.kubectl().apply(&object.to_string()).map(drop)
    }

    fn json(&self, kind: &str, name: &str) -> Option<Value> {
        serde_json::from_str(&self.kubectl(&["get", kind, name, "-o", "json"]).ok()?).ok()
    }

    fn condition(&self, kind: &str, name: &str, condition: &str) -> bool {
        let object = self.json(kind, name).unwrap_or_default();
        let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.iter().any(|c| c["type"] == condition && c["status"] == "True")
    }

    /// Both sides of a comparison are watched in the same way, so that its own cost (about 60 ms a look) is in both.
    fn until(&self, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            if holds(self) {
                return Ok(());
            }
        }
        bail!("a measured step did not end within {LIMIT:?}")
    }
}

fn millis(begun: Instant) -> i64 {
    i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX)
}

fn median(all: &mut [i64]) -> i64 {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn row(name: &str, all: &mut [i64]) {
    let p50 = median(all);
    println!("| {name} | {p50} | {} | {} |", all.first().unwrap_or(&0), all.last().unwrap_or(&0));
}
