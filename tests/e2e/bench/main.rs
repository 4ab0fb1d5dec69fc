//! What a8s costs over bare Kubernetes, measured in one run on one cluster and printed as a table: a Workspace against a bare pod of the same
//! image and a volume, a Snapshot against a bare VolumeSnapshot of the same volume, and `make up` with everything built. Pairs are measured
//! one after the other, so that both sides see the same machine. It says whether the targets are met and fails on none.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use a8s_cluster::{Cluster, Options};
use anyhow::{Context, Result};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, DynamicObject, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    discovery::ApiResource,
    runtime::{conditions::is_deleted, wait::await_condition},
};
use serde_json::{Value, json};

const ROUNDS: usize = 7;
const LIMIT: Duration = Duration::from_mins(2);
const NAMESPACE: &str = "demo";

fn main() -> Result<()> {
    // Only fails if a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let name = std::env::var("A8S_CLUSTER_NAME").unwrap_or_else(|_| "bench".to_owned());
    let tool = std::env::var_os("A8S_CLUSTER_BIN").map(PathBuf::from);
    let options = Options { product: true, sample: false, tool, verbose: true };
    // The first start builds what is missing; the second, from nothing but built things, is the one that is measured.
    Cluster::up(&name, &options)?.down()?;
    let begun = Instant::now();
    let cluster = Cluster::up(&name, &options)?;
    let up = begun.elapsed();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(run(&cluster, up));
    cluster.down()?;
    result
}

async fn run(cluster: &Cluster, up: Duration) -> Result<()> {
    let file = Kubeconfig::read_from(cluster.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let bench = Bench { client: Client::try_from(config)? };
    let desktop = bench.cluster_wide("a8s.dev/v1alpha1", "Environment").get("desktop").await?;
    let image = desktop.data["spec"]["image"].as_str().context("an Environment has an image")?.to_owned();
    let (mut pods, mut desktops) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        pods.push(bench.bare_pod(round, &image).await?);
        desktops.push(bench.workspace(round).await?);
    }
    bench.create(&workspace("source")).await?;
    bench.until("a8s.dev/v1alpha1", "Workspace", "source", |o| condition(o, "Ready")).await?;
    let (mut bare, mut snapshots) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        bare.push(bench.volume_snapshot(round).await?);
        snapshots.push(bench.snapshot(round).await?);
    }
    let up = i64::try_from(up.as_millis())?;
    println!("\n| measure | median | least | most | target | |\n|---|--:|--:|--:|--:|---|");
    let pod = row("bare pod of the desktop's image with a volume, to Ready", &pods, None);
    row("Workspace, to DesktopReady", &desktops, Some(pod + 1000));
    let plain = row("bare VolumeSnapshot, to readyToUse", &bare, None);
    row("Snapshot of the same volume, to Ready", &snapshots, Some(plain + 100));
    row("`make up` with everything built", &[up], Some(60_000));
    println!(
        "\nMilliseconds; {ROUNDS} rounds of each pair, one after the other. In the order they were measured:\n"
    );
    for (what, all) in
        [("pod", &pods), ("Workspace", &desktops), ("VolumeSnapshot", &bare), ("Snapshot", &snapshots)]
    {
        println!("    {what}: {all:?}");
    }
    Ok(())
}

struct Bench {
    client: Client,
}

impl Bench {
    /// A volume, bound before its pod is made: a scheduler that finds it unbound would wait longer than that takes.
    async fn bare_pod(&self, round: usize, image: &str) -> Result<i64> {
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
        self.create(&claim).await?;
        self.until("v1", "PersistentVolumeClaim", &name, |o| o["status"]["phase"] == "Bound").await?;
        self.create(&pod).await?;
        self.until("v1", "Pod", &name, |o| condition(o, "Ready")).await?;
        let took = millis(begun);
        self.delete("v1", "Pod", &name).await?;
        self.delete("v1", "PersistentVolumeClaim", &name).await?;
        Ok(took)
    }

    /// `DesktopReady` is later than the first picture: window manager and panel are there too, and deskd has said so.
    async fn workspace(&self, round: usize) -> Result<i64> {
        let name = format!("bench-{round}");
        let begun = Instant::now();
        self.create(&workspace(&name)).await?;
        self.until("a8s.dev/v1alpha1", "Workspace", &name, |o| condition(o, "DesktopReady")).await?;
        let took = millis(begun);
        self.delete("a8s.dev/v1alpha1", "Workspace", &name).await?;
        Ok(took)
    }

    async fn volume_snapshot(&self, round: usize) -> Result<i64> {
        let (version, kind, name) =
            ("snapshot.storage.k8s.io/v1", "VolumeSnapshot", format!("plain-{round}"));
        let begun = Instant::now();
        self.create(&json!({"apiVersion": version, "kind": kind, "metadata": {"name": name},
            "spec": {"volumeSnapshotClassName": "a8s-local", "source": {"persistentVolumeClaimName": "source-home"}}}))
            .await?;
        self.until(version, kind, &name, |o| o["status"]["readyToUse"] == true).await?;
        Ok(millis(begun))
    }

    async fn snapshot(&self, round: usize) -> Result<i64> {
        let (version, kind, name) = ("a8s.dev/v1alpha1", "Snapshot", format!("ours-{round}"));
        let begun = Instant::now();
        self.create(&json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": {"workspace": "source"}}))
            .await?;
        self.until(version, kind, &name, |o| condition(o, "Ready")).await?;
        Ok(millis(begun))
    }

    fn cluster_wide(&self, version: &str, kind: &str) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &resource(version, kind))
    }

    fn api(&self, version: &str, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), NAMESPACE, &resource(version, kind))
    }

    async fn create(&self, object: &Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let types = object.types.clone().context("an object has a kind")?;
        self.api(&types.api_version, &types.kind).create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Both sides of a comparison are watched in the same way.
    async fn until(
        &self,
        version: &str,
        kind: &str,
        name: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let there = |object: Option<&DynamicObject>| object.is_some_and(|o| holds(&o.data));
        let waiting = await_condition(self.api(version, kind), name, there);
        tokio::time::timeout(LIMIT, waiting)
            .await
            .with_context(|| format!("{kind} {name} did not get there within {LIMIT:?}"))??;
        Ok(())
    }

    /// Deleted and gone, so that its end does not slow the next round.
    async fn delete(&self, version: &str, kind: &str, name: &str) -> Result<()> {
        let api = self.api(version, kind);
        let object = api.get(name).await?;
        api.delete(name, &DeleteParams::default()).await?;
        let uid = object.metadata.uid.unwrap_or_default();
        let gone = await_condition(api, name, is_deleted(&uid));
        tokio::time::timeout(LIMIT, gone)
            .await
            .with_context(|| format!("{kind} {name} was not gone within {LIMIT:?}"))??;
        Ok(())
    }
}

fn workspace(name: &str) -> Value {
    json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": name},
        "spec": {"environment": "desktop", "storage": {"size": "1Gi"}}})
}

fn resource(version: &str, kind: &str) -> ApiResource {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, version, kind))
}

fn condition(object: &Value, kind: &str) -> bool {
    let all = object["status"]["conditions"].as_array();
    all.is_some_and(|all| all.iter().any(|c| c["type"] == kind && c["status"] == "True"))
}

fn millis(begun: Instant) -> i64 {
    i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// Prints a line of the table and returns its median.
fn row(name: &str, all: &[i64], target: Option<i64>) -> i64 {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    let (least, most) = (sorted.first().unwrap_or(&0), sorted.last().unwrap_or(&0));
    let (wanted, met) = target.map_or((String::new(), ""), |target| {
        (format!("≤ {target}"), if median <= target { "met" } else { "missed" })
    });
    println!("| {name} | {median} | {least} | {most} | {wanted} | {met} |");
    median
}
