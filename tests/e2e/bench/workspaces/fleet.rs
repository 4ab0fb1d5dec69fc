//! Twenty nodes that are objects only, an Environment whose desktops run there, and a pool of them. kwok says of each pod that it runs; what
//! a desktop says about itself is missing, so Ready rests on the containers' readiness. Volumes were made before and are only bound: what
//! a CSI driver costs is measured on the real node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use a8s_cluster::{
    Cluster,
    components::{FLEET_CIDR, FLEET_NODE},
    lifecycle,
};
use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use super::{
    processes::Meter,
    sessions::{ENVIRONMENT, Sessions},
};
use crate::objects::{OURS, Objects};

const NODES: usize = 20;
/// Name of the pool and of the StorageClass.
const NAME: &str = "bench";
/// Nobody wrote anything for so long.
const QUIET: Duration = Duration::from_secs(3);
/// An Environment knows how many Workspaces it has after so long.
const COUNTED: Duration = Duration::from_mins(1);
const PARALLEL: usize = 16;

/// The nodes and the pool.
pub struct Fleet<'a> {
    objects: &'a Objects,
    /// Reads what the cluster costs.
    pub meter: &'a Meter,
    /// Sessions of the namespace.
    pub sessions: Arc<Sessions>,
}

impl<'a> Fleet<'a> {
    /// Makes all of it; the pool is empty at first.
    pub async fn make(objects: &'a Objects, cluster: &Cluster, meter: &'a Meter) -> Result<Self> {
        refuse_connections(cluster)?;
        for number in 0..NODES {
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {
                "name": format!("fleet-{number:02}"), "labels": {FLEET_NODE: "fake"}}});
            objects.ensure(&node).await?;
        }
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": NAME},
            "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "Immediate"});
        objects.ensure(&class).await?;
        let desktop = objects.cluster_wide(OURS, "Environment").get("desktop").await?;
        let environment = json!({"apiVersion": OURS, "kind": "Environment", "metadata": {"name": ENVIRONMENT}, "spec": {
            "title": "For measurements", "image": desktop.data["spec"]["image"],
            "pod": {"nodeSelector": {FLEET_NODE: "fake"}},
            "storage": {"size": "1Gi", "storageClassName": NAME}}});
        objects.ensure(&environment).await?;
        let pool = json!({"apiVersion": OURS, "kind": "WarmPool", "metadata": {"name": NAME},
            "spec": {"environment": ENVIRONMENT, "replicas": 0}});
        if objects.api(OURS, "WarmPool").get_opt(NAME).await?.is_none() {
            objects.create(&pool).await?;
        }
        Ok(Self { objects, meter, sessions: Sessions::watch(&objects.client) })
    }

    /// Volumes for so many new desktops; those that were used are thrown away. There are never many more than that: whoever binds a claim
    /// looks at all of them.
    pub async fn stock(&self, many: usize) -> Result<()> {
        let volumes = self.objects.cluster_wide("v1", "PersistentVolume");
        let mut free = 0;
        let mut used = Vec::new();
        for volume in volumes.list(&ListParams::default()).await? {
            let name = volume.metadata.name.unwrap_or_default();
            match volume.data["status"]["phase"].as_str() {
                Some("Available" | "Pending") | None if name.starts_with(NAME) => free += 1,
                Some("Released" | "Failed") if name.starts_with(NAME) => used.push(name),
                _ => {}
            }
        }
        let delete = |name: String| {
            let volumes = volumes.clone();
            async move { volumes.delete(&name, &DeleteParams::default()).await.map(drop) }
        };
        stream::iter(used).map(delete).buffer_unordered(PARALLEL).try_collect::<()>().await?;
        let run = jiff::Timestamp::now().as_millisecond();
        let make = |number: usize| async move {
            let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": format!("{NAME}-{run}-{number}")},
                "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": NAME,
                    "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/nowhere"}}});
            self.objects.ensure(&volume).await
        };
        stream::iter(free..many).map(make).buffer_unordered(PARALLEL).try_collect::<()>().await
    }

    /// Changes the size of the pool.
    pub async fn scale(&self, replicas: usize) -> Result<()> {
        self.objects.patch(OURS, "WarmPool", NAME, json!({"spec": {"replicas": replicas}})).await
    }

    /// Waits until the pool is full; says how many are ready, and how many were wanted, if that takes longer.
    pub async fn full(&self, limit: Duration) -> Result<(usize, usize)> {
        let begun = Instant::now();
        loop {
            let pool = self.objects.api(OURS, "WarmPool").get(NAME).await?;
            let number =
                |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
            let wanted = number(&pool.data["spec"]["replicas"]);
            let status = &pool.data["status"];
            let (all, ready) = (number(&status["replicas"]), number(&status["readyReplicas"]));
            if (all == wanted && ready == wanted) || begun.elapsed() > limit {
                return Ok((ready, wanted));
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Waits until the pool is full, what was used is gone, and nobody writes any more.
    pub async fn settled(&self, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let (ready, wanted) = self.full(limit).await?;
            ensure!(ready == wanted, "the pool has {ready} of {wanted} desktops ready after {limit:?}");
            self.quiet(limit).await?;
            // Whoever waits for a process to end writes nothing, and is not done.
            let used = self.objects.api(OURS, "Workspace").list_metadata(&ListParams::default()).await?.items;
            let taken = self.sessions.count();
            if used.len() <= wanted + taken || begun.elapsed() > limit {
                return Ok(());
            }
        }
    }

    /// Waits until the Environment says that so many are ready, which it counts now and then.
    pub async fn counted(&self, many: usize) -> Result<()> {
        let environments = self.objects.cluster_wide(OURS, "Environment");
        let begun = Instant::now();
        loop {
            let environment = environments.get(ENVIRONMENT).await?;
            if environment.data["status"]["readyWorkspaces"] == many {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < COUNTED,
                "the Environment does not say that {many} Workspaces are ready"
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    async fn quiet(&self, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        let (mut length, mut since) = (self.meter.audit_length(), Instant::now());
        while since.elapsed() < QUIET {
            if begun.elapsed() > limit {
                eprintln!("there is still somebody who writes after {limit:?}");
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = self.meter.audit_length();
            if now != length {
                (length, since) = (now, Instant::now());
            }
        }
        Ok(())
    }
}

/// Addresses of pods that do not exist answer at once that nobody listens, as a node would for one that has just ended; without this each
/// question to a desktop would wait for its time-out.
fn refuse_connections(cluster: &Cluster) -> Result<()> {
    let init = lifecycle::running(&cluster.paths).context("the cluster runs")?.init;
    let done = lifecycle::inside(&init)
        .args(["ip", "route", "replace", "local", FLEET_CIDR, "dev", "lo"])
        .status()
        .context("starting nsenter")?;
    ensure!(done.success(), "the addresses of the pods that do not exist could not be routed");
    Ok(())
}
