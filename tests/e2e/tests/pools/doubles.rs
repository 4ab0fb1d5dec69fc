//! Who else writes in a cluster: volume driver, scheduler and kubelet, as far as the controller can see them. A node that is not Ready has no
//! kubelet, and none starts what is called `stuck-…`: a test does.

use std::fmt::Debug;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::resource;

pub const DRIVER: &str = "double.example";
pub const SNAPSHOTS: &str = "snapshot.storage.k8s.io/v1";

/// Serves every object of a kind, whenever it is made or changed.
async fn each<K, F>(all: Api<K>, serve: impl Fn(K) -> F)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    F: Future<Output = kube::Result<()>>,
{
    let found = watcher(all, watcher::Config::default()).default_backoff().applied_objects();
    let found = found.filter_map(|object| std::future::ready(object.ok()));
    let serve = &serve;
    found.for_each_concurrent(8, |object| async move { drop(serve(object).await) }).await;
}

/// Makes a volume for every claim, and lets go of those that are deleted.
pub async fn driver(client: Client) {
    each(Api::all(client.clone()), |claim| provide(client.clone(), claim)).await;
}

async fn provide(client: Client, claim: PersistentVolumeClaim) -> kube::Result<()> {
    let meta = claim.metadata;
    let (name, namespace) = (meta.name.unwrap_or_default(), meta.namespace.unwrap_or_default());
    let uid = meta.uid.unwrap_or_default();
    let volume = format!("pvc-{uid}");
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    let volumes: Api<PersistentVolume> = Api::all(client);
    let (params, free) = (PatchParams::default(), Patch::Merge(json!({"metadata": {"finalizers": null}})));
    if meta.deletion_timestamp.is_some() {
        claims.patch(&name, &params, &free).await?;
        volumes.delete(&volume, &DeleteParams::default()).await?;
        return volumes.patch(&volume, &params, &free).await.map(drop);
    }
    if claim.status.and_then(|s| s.phase).as_deref() == Some("Bound") {
        return Ok(());
    }
    let object = json!({"metadata": {"name": volume}, "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
        "storageClassName": "double", "csi": {"driver": DRIVER, "volumeHandle": volume},
        "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name, "uid": uid}}});
    let object = serde_json::from_value(object).expect("a volume");
    // It may be there since the last time that this was tried.
    drop(volumes.create(&PostParams::default(), &object).await);
    if claim.spec.and_then(|s| s.volume_name).is_none() {
        let named = Patch::Merge(json!({"spec": {"volumeName": volume}}));
        claims.patch(&name, &params, &named).await?;
    }
    let bound = Patch::Merge(json!({"status": {"phase": "Bound", "capacity": {"storage": "5Gi"}}}));
    claims.patch_status(&name, &params, &bound).await.map(drop)
}

/// Takes every VolumeSnapshot at once.
pub async fn snapshots(client: Client) {
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource(SNAPSHOTS, "VolumeSnapshot"));
    each(all, |snapshot| take(client.clone(), snapshot)).await;
}

async fn take(client: Client, snapshot: DynamicObject) -> kube::Result<()> {
    if snapshot.data["status"]["readyToUse"] == true {
        return Ok(());
    }
    let meta = snapshot.metadata;
    let (name, namespace) = (meta.name.unwrap_or_default(), meta.namespace.unwrap_or_default());
    let uid = meta.uid.unwrap_or_default();
    let content = format!("snapcontent-{uid}");
    let object = json!({"apiVersion": SNAPSHOTS, "kind": "VolumeSnapshotContent", "metadata": {"name": content}, "spec": {
        "deletionPolicy": "Delete", "driver": DRIVER, "source": {"volumeHandle": "v"}, "volumeSnapshotClassName": "double",
        "volumeSnapshotRef": {"namespace": namespace, "name": name, "uid": uid}}});
    let contents: Api<DynamicObject> =
        Api::all_with(client.clone(), &resource(SNAPSHOTS, "VolumeSnapshotContent"));
    let object = serde_json::from_value(object).expect("an object");
    // It may be there since the last time that this was tried.
    drop(contents.create(&PostParams::default(), &object).await);
    let taken = json!({"status": {"snapshotHandle": format!("handle-{uid}"), "readyToUse": true, "restoreSize": 5_i64 << 30,
        "creationTime": 1_800_000_000_000_000_000_i64}});
    contents.patch_status(&content, &PatchParams::default(), &Patch::Merge(taken)).await?;
    let ready = json!({"status": {"boundVolumeSnapshotContentName": content, "readyToUse": true, "restoreSize": "5Gi",
        "creationTime": "2027-01-15T08:00:00Z"}});
    let all: Api<DynamicObject> =
        Api::namespaced_with(client, &namespace, &resource(SNAPSHOTS, "VolumeSnapshot"));
    all.patch_status(&name, &PatchParams::default(), &Patch::Merge(ready)).await.map(drop)
}

/// Gives every pod a node and says that it runs and that its probes succeed; ends those that are deleted.
pub async fn kubelet(client: Client) {
    each(Api::all(client.clone()), |pod| serve(client.clone(), pod)).await;
}

async fn serve(client: Client, pod: Pod) -> kube::Result<()> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.metadata.namespace.clone().unwrap_or_default());
    let Some(node) = pod.spec.as_ref().and_then(|s| s.node_name.clone()) else {
        let Some(node) = ready_nodes(&client).await?.into_iter().next() else { return Ok(()) };
        let target = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"kind": "Node", "name": node}});
        return api
            .create_subresource::<_, Value>("binding", &name, &PostParams::default(), &target)
            .await
            .map(drop);
    };
    if !ready_nodes(&client).await?.contains(&node) {
        return Ok(());
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return api.delete(&name, &DeleteParams::default().grace_period(0)).await.map(drop);
    }
    if name.starts_with("stuck-") || pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running") {
        return Ok(());
    }
    run(&client, &pod).await
}

async fn ready_nodes(client: &Client) -> kube::Result<Vec<String>> {
    let all = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?.items;
    let ready = |node: &Node| {
        let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
    };
    Ok(all.into_iter().filter(ready).filter_map(|node| node.metadata.name).collect())
}

/// Says of a pod that it runs and that its probes succeed.
pub async fn run(client: &Client, pod: &Pod) -> kube::Result<()> {
    let running = |c: &k8s_openapi::api::core::v1::Container| {
        json!({"name": c.name, "image": c.image, "imageID": "", "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {}}})
    };
    let containers: Vec<Value> = pod.spec.iter().flat_map(|s| &s.containers).map(running).collect();
    let ready = |kind: &str| json!({"type": kind, "status": "True"});
    // Nobody listens there.
    let status = json!({"status": {"phase": "Running", "podIP": "127.0.0.2", "containerStatuses": containers,
        "conditions": [ready("PodScheduled"), ready("ContainersReady"), ready("Ready")]}});
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let name = pod.metadata.name.clone().unwrap_or_default();
    api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.map(drop)
}
