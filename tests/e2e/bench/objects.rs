//! Objects of a cluster as a bench needs them: made, waited for by a watch, changed, deleted and gone. All sides of a comparison go this
//! way, so that they are seen equally soon.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
    discovery::ApiResource,
    runtime::{conditions::is_deleted, wait::await_condition},
};
use serde_json::{Value, json};

use a8s_cluster::Cluster;

/// Longest that anything may take.
pub const LIMIT: Duration = Duration::from_mins(3);
/// Namespace that is worked in.
pub const NAMESPACE: &str = "bench";
/// Version of our kinds.
pub const OURS: &str = "a8s.dev/v1alpha1";

/// A cluster's objects.
#[derive(Clone)]
pub struct Objects {
    /// The administrator's client.
    pub client: Client,
}

impl Objects {
    /// Of this cluster; makes the namespace.
    pub async fn of(cluster: &Cluster) -> Result<Self> {
        let file = Kubeconfig::read_from(cluster.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let objects = Self { client: Client::try_from(config)? };
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        objects.ensure(&namespace).await?;
        Ok(objects)
    }

    /// Objects of a kind in the namespace.
    pub fn api(&self, version: &str, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), NAMESPACE, &resource(version, kind))
    }

    /// Objects of a cluster-scoped kind.
    pub fn cluster_wide(&self, version: &str, kind: &str) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &resource(version, kind))
    }

    /// Makes an object of the namespace.
    pub async fn create(&self, object: &Value) -> Result<()> {
        let (object, version, kind) = dynamic(object)?;
        self.api(&version, &kind).create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Makes a cluster-scoped object unless one of that name is there.
    pub async fn ensure(&self, object: &Value) -> Result<()> {
        let (object, version, kind) = dynamic(object)?;
        match self.cluster_wide(&version, &kind).create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Changes part of an object.
    pub async fn patch(&self, version: &str, kind: &str, name: &str, patch: Value) -> Result<()> {
        self.api(version, kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Waits until the object is as wanted.
    pub async fn until(
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

    /// Deletes it and waits until it is gone, so that its end does not slow what is measured next.
    pub async fn delete(&self, version: &str, kind: &str, name: &str) -> Result<()> {
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

fn resource(version: &str, kind: &str) -> ApiResource {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

fn dynamic(object: &Value) -> Result<(DynamicObject, String, String)> {
    let object: DynamicObject = serde_json::from_value(object.clone())?;
    let types = object.types.clone().context("an object has a kind")?;
    Ok((object, types.api_version, types.kind))
}

/// Whether a condition is `True`.
pub fn is_true(object: &Value, kind: &str) -> bool {
    let all = object["status"]["conditions"].as_array();
    all.is_some_and(|all| all.iter().any(|c| c["type"] == kind && c["status"] == "True"))
}

/// Milliseconds since then.
pub fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
