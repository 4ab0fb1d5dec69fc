//! What the cluster knows of the backend: VolumeSnapshot, content and class.

use a8s_crds::Snapshot;
use a8s_plan::snapshot::{Class, ContentFacts, VolumeSnapshotFacts, content_name};
use a8s_snapshots::{VolumeSnapshot, VolumeSnapshotClass, VolumeSnapshotContent};
use kube::{Api, ResourceExt, api::ListParams};

use crate::{context::Context, errors::Error};

/// The VolumeSnapshot of this name.
pub async fn volume_snapshot(
    ctx: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<VolumeSnapshot>, Error> {
    match Api::namespaced(ctx.client.clone(), namespace).get_opt(name).await {
        // The API itself is missing, and with it everything of it.
        Err(kube::Error::Api(s)) if s.code == 404 => Ok(None),
        other => Ok(other?),
    }
}

/// The content of a VolumeSnapshot, bound or not; without a VolumeSnapshot the one that was made around the handle, and when deleting any that
/// says that it belongs to a VolumeSnapshot of that name.
pub async fn content(
    ctx: &Context,
    found: Option<&VolumeSnapshot>,
    snapshot: &Snapshot,
    namespace: &str,
    name: &str,
) -> Result<Option<ContentFacts>, Error> {
    let contents: Api<VolumeSnapshotContent> = Api::all(ctx.client.clone());
    if let Some(found) = found {
        let bound = found.status.as_ref().and_then(|s| s.bound_volume_snapshot_content_name.clone());
        let named = bound.or_else(|| found.spec.source.volume_snapshot_content_name.clone());
        // The snapshot-controller's name for a content that it has made and not bound yet.
        let name = named.unwrap_or_else(|| format!("snapcontent-{}", found.uid().unwrap_or_default()));
        return Ok(contents.get_opt(&name).await?.map(content_facts));
    }
    if let Some(own) = contents.get_opt(&content_name(snapshot)).await? {
        return Ok(Some(content_facts(own)));
    }
    if snapshot.metadata.deletion_timestamp.is_none() {
        return Ok(None);
    }
    let all = match contents.list(&ListParams::default()).await {
        Err(kube::Error::Api(s)) if s.code == 404 => return Ok(None),
        other => other?,
    };
    let of_it = |c: &VolumeSnapshotContent| {
        let to = &c.spec.volume_snapshot_ref;
        to.namespace.as_deref() == Some(namespace) && to.name.as_deref() == Some(name)
    };
    Ok(all.items.into_iter().find(of_it).map(content_facts))
}

/// How new a list has to be. For a current one the API server may wait until its own cache has caught up with etcd, a tenth of a second
/// if nothing of that kind was written lately (KEP-2340).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    /// As the API server's cache has it.
    Late,
    /// As etcd has it.
    Current,
}

/// All classes; nothing if the cluster has no snapshot API.
pub async fn classes(ctx: &Context, lists: Lists) -> Result<Option<Vec<VolumeSnapshotClass>>, Error> {
    let api: Api<VolumeSnapshotClass> = Api::all(ctx.client.clone());
    let every = ListParams::default();
    let every = if lists == Lists::Late { every.match_any() } else { every };
    match api.list(&every).await {
        // The list of a kind that exists is never "not found".
        Err(kube::Error::Api(s)) if s.code == 404 => Ok(None),
        other => Ok(Some(other?.items)),
    }
}

/// The class that a snapshot was taken with, if this cluster has it.
pub async fn recorded_class(ctx: &Context, snapshot: &Snapshot) -> Result<Class, Error> {
    let Some(all) = classes(ctx, Lists::Current).await? else { return Ok(Class::NoApi) };
    let status = snapshot.status.as_ref();
    let (recorded, driver) =
        (status.and_then(|s| s.snapshot_class_name.as_ref()), status.and_then(|s| s.driver.as_ref()));
    let named = snapshot.spec.snapshot_class_name.as_ref().or(recorded);
    let driver = driver.or(snapshot.spec.import.as_ref().map(|i| &i.driver));
    let found = all.iter().find(|c| Some(&c.name_any()) == named && Some(&c.driver) == driver);
    Ok(found.map_or_else(|| Class::Missing(String::new()), |c| Class::Chosen(c.name_any())))
}

/// What counts of a VolumeSnapshot.
pub fn facts(found: VolumeSnapshot) -> VolumeSnapshotFacts {
    let deleting = found.metadata.deletion_timestamp.is_some();
    let uid = found.uid().unwrap_or_default();
    let owner = found.owner_references().iter().find(|o| o.controller == Some(true)).map(|o| o.uid.clone());
    let created = found.creation_timestamp().map(|t| t.0);
    let given = found.spec.source.volume_snapshot_content_name.is_some();
    let status = found.status.unwrap_or_default();
    VolumeSnapshotFacts {
        uid,
        owner,
        created,
        given,
        ready: status.ready_to_use == Some(true),
        error: status.error.map(|e| e.message.unwrap_or_else(|| "unknown error".into())),
        restore_size: status.restore_size,
        taken_at: status.creation_time.map(|t| t.0),
        deleting,
    }
}

fn content_facts(found: VolumeSnapshotContent) -> ContentFacts {
    let error = found.status.as_ref().and_then(|s| s.error.as_ref());
    ContentFacts {
        name: found.name_any(),
        uid: found.uid().unwrap_or_default(),
        created: found.creation_timestamp().map(|t| t.0),
        handle: found.handle().map(str::to_owned),
        policy_delete: found.spec.deletion_policy == "Delete",
        error: error.map(|e| e.message.clone().unwrap_or_else(|| "unknown error".into())),
        deleting: found.metadata.deletion_timestamp.is_some(),
        driver: found.spec.driver,
        class: found.spec.volume_snapshot_class_name,
    }
}
