//! Where a pass gets its facts: from the caches, or, for what must not rest on a late one, from the API server.
//!
//! Passes decide on the caches, since names are functions of the owner (making something twice is making it once) and no pass runs on a
//! cache that does not show what passes for its object wrote. Three things are asked of the server all the same: what a cache does not
//! have, before it is said to be missing or is somebody else's; and the Workspace with its pod, volumes, Snapshots and Artifacts, before a
//! plan that deletes something, gives up a finalizer or makes a volume anew is carried out. A late cache would cost data there, or a second pod.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use a8s_crds::{Environment, Snapshot, Workspace};
use a8s_plan::{Op, Plan, workspace::SnapshotFact};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{PersistentVolumeClaim, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Resource, ResourceExt, api::ListParams, runtime::reflector::ObjectRef};

use crate::{
    context::Context,
    errors::Error,
    queue::Action,
    stores::{Cache, Cached, within},
};

/// A cache that is behind asks for the next pass itself; this is for the case that it does not.
pub const BEHIND: Duration = Duration::from_millis(250);

/// Where facts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The caches, and the server for what they do not have.
    Caches,
    /// The server only.
    Server,
}

/// Whether a plan does what must not rest on a late cache.
pub fn is_final<S>(plan: &Plan<S>, workspace: &Workspace) -> bool {
    let had = workspace.status.as_ref().is_some_and(|s| s.storage.is_some());
    plan.ops.iter().any(|op| match op {
        Op::Delete { .. } | Op::DeleteUnchanged { .. } | Op::Finalizer { present: false, .. } => true,
        Op::Create { object } => had && object["kind"] == "PersistentVolumeClaim",
        _ => false,
    })
}

/// The object that a pass is for, as it may be decided on, or when to come again. `behind` is given its UID and says whether a cache does not
/// show everything yet that passes for it wrote. The queue had found the object before that was asked: it may be older than the answer.
///
/// # Errors
///
/// What to do instead of a pass.
pub fn current<K: Cached>(
    cache: &Cache<K>,
    found: &K,
    behind: impl FnOnce(&str) -> bool,
) -> Result<Arc<K>, Action> {
    let uid = found.meta().uid.as_deref().unwrap_or_default();
    if behind(uid) {
        return Err(Action::requeue(BEHIND));
    }
    let now = cache.find(&ObjectRef::from_obj(found));
    // What has its name since is told of by itself.
    now.filter(|now| now.meta().uid == found.meta().uid).ok_or(Action::await_change())
}

/// Whether the caches do not show everything yet that passes for this Workspace wrote.
pub fn behind(ctx: &Context, uid: &str) -> bool {
    let stores = &ctx.stores;
    [
        ("Workspace", stores.workspaces.seen()),
        ("Pod", stores.pods.seen()),
        ("PersistentVolumeClaim", stores.claims.seen()),
        ("NetworkPolicy", stores.policies.seen()),
        ("Snapshot", stores.snapshots.seen()),
    ]
    .into_iter()
    .any(|(kind, seen)| ctx.written.behind(uid, kind, seen))
}

/// One object of a namespace.
pub async fn one<K>(
    ctx: &Context,
    cache: &Cache<K>,
    reads: Reads,
    namespace: &str,
    name: &str,
) -> Result<Option<K>, Error>
where
    K: Cached + Resource<Scope = NamespaceResourceScope>,
{
    if reads == Reads::Caches {
        if let Some(found) = cache.get(Some(namespace), name) {
            return Ok(Some(K::clone(&found)));
        }
        if ctx.absent.is(&K::kind(&()), namespace, name) {
            return Ok(None);
        }
    }
    let found = Api::<K>::namespaced(ctx.client.clone(), namespace).get_opt(name).await?;
    if found.is_none() {
        ctx.absent.note(&K::kind(&()), namespace, name);
    }
    Ok(found)
}

/// One Environment.
pub async fn environment(ctx: &Context, name: &str) -> Result<Option<Environment>, Error> {
    match ctx.stores.environments.get(None, name) {
        Some(found) => Ok(Some(Environment::clone(&found))),
        None => Ok(Api::<Environment>::all(ctx.client.clone()).get_opt(name).await?),
    }
}

/// All claims of the Workspace; none is no proof that its next name is free.
pub async fn claims(
    ctx: &Context,
    reads: Reads,
    namespace: &str,
    workspace: &Workspace,
) -> Result<Vec<PersistentVolumeClaim>, Error> {
    let uid = workspace.uid().unwrap_or_default();
    if reads == Reads::Caches {
        let found = ctx.stores.claims_of.get(&uid);
        if !found.is_empty() || workspace.metadata.deletion_timestamp.is_some() {
            return Ok(found.iter().map(|c| PersistentVolumeClaim::clone(c)).collect());
        }
    }
    crate::volumes::claims(ctx, namespace, workspace).await
}

/// The Workspace's Snapshots: by UID where that is known, else by name, since one that was just made counts.
pub async fn snapshots(
    ctx: &Context,
    reads: Reads,
    namespace: &str,
    workspace: &Workspace,
) -> Result<Vec<SnapshotFact>, Error> {
    let (name, uid) = (workspace.name_any(), workspace.uid());
    let facts: Vec<SnapshotFact> = if reads == Reads::Caches {
        let found = ctx.stores.snapshots_of.get(&within(Some(namespace), &name));
        found.iter().map(|s| SnapshotFact::of(s)).collect()
    } else {
        let api: Api<Snapshot> = Api::namespaced(ctx.client.clone(), namespace);
        let all = api.list(&ListParams::default()).await?.items;
        all.iter().filter(|s| s.spec.workspace == name).map(SnapshotFact::of).collect()
    };
    Ok(facts.into_iter().filter(|s| s.workspace_uid.is_none() || s.workspace_uid == uid).collect())
}

/// Metadata of the Secret with the serving certificate. Secrets are not watched: nobody of us may list them. Once it was seen, it counts
/// as there for as long as the Workspace has a pod, or for [`LATELY`] until it gets one.
pub async fn secret(
    ctx: &Context,
    workspace: &Workspace,
    has_pod: bool,
) -> Result<Option<ObjectMeta>, Error> {
    let uid = workspace.uid().unwrap_or_default();
    if let Some(known) = ctx.secrets.get(&uid, has_pod) {
        return Ok(Some(known));
    }
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &workspace.namespace().unwrap_or_default());
    let name = a8s_crds::names::tls_secret(&workspace.name_any());
    let mut found = api.get_metadata_opt(&name).await?.map(|s| s.metadata);
    if let Some(meta) = &mut found {
        meta.managed_fields = None;
        ctx.secrets.put(uid, meta.clone());
    }
    Ok(found)
}

/// What was asked for that lately is not asked for again: a start makes many passes within a moment.
const LATELY: Duration = Duration::from_secs(2);
/// From so many on, what is not there is looked through for what was asked too long ago.
const FORGET: usize = 1024;

/// What the API server said is not there, by kind, namespace and name. Somebody else's object that comes meanwhile is in the way of ours,
/// and is seen a moment later.
#[derive(Debug, Default)]
pub struct Absent(Mutex<HashMap<[String; 3], Instant>>);

impl Absent {
    fn is(&self, kind: &str, namespace: &str, name: &str) -> bool {
        let key = [kind, namespace, name].map(str::to_owned);
        self.all().get(&key).is_some_and(|at| at.elapsed() < LATELY)
    }

    fn note(&self, kind: &str, namespace: &str, name: &str) {
        let mut all = self.all();
        if all.len() >= FORGET {
            all.retain(|_, at| at.elapsed() < LATELY);
        }
        all.insert([kind, namespace, name].map(str::to_owned), Instant::now());
    }

    fn all(&self) -> MutexGuard<'_, HashMap<[String; 3], Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Secrets that were seen, and when, by UID of the Workspace; only who owns them is kept.
#[derive(Debug, Default)]
pub struct SeenSecrets(Mutex<HashMap<String, (Vec<String>, Instant)>>);

impl SeenSecrets {
    fn get(&self, uid: &str, however_long_ago: bool) -> Option<ObjectMeta> {
        let all = self.all();
        let reference = |owner: &String| k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
            controller: Some(true),
            uid: owner.clone(),
            ..Default::default()
        };
        let (owners, at) = all.get(uid)?;
        if !however_long_ago && at.elapsed() >= LATELY {
            return None;
        }
        let owners = owners.iter().map(reference).collect();
        Some(ObjectMeta { owner_references: Some(owners), ..ObjectMeta::default() })
    }

    fn put(&self, uid: String, meta: ObjectMeta) {
        let owners = meta.owner_references.unwrap_or_default().into_iter();
        let owners = owners.filter(|o| o.controller == Some(true)).map(|o| o.uid).collect();
        self.all().insert(uid, (owners, Instant::now()));
    }

    /// It was just made for this Workspace.
    pub fn made(&self, uid: &str) {
        self.all().insert(uid.to_owned(), (vec![uid.to_owned()], Instant::now()));
    }

    /// The Workspace is gone.
    pub fn forget(&self, uid: &str) {
        self.all().remove(uid);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, (Vec<String>, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn object(uid: &str, version: u64) -> ConfigMap {
        let meta = json!({"name": "a", "namespace": "n", "uid": uid, "resourceVersion": version.to_string()});
        serde_json::from_value(json!({"metadata": meta})).unwrap()
    }

    #[test]
    fn a_pass_decides_on_what_came_while_it_was_asked_whether_the_cache_is_behind() {
        let cache = Cache::shown();
        let found = object("u", 3);
        cache.show(found.clone());
        let asked = |uid: &str| {
            cache.show(object(uid, 5));
            cache.seen() < 5
        };
        assert_eq!(current(&cache, &found, asked).unwrap().resource_version().as_deref(), Some("5"));
        assert_eq!(current(&cache, &found, |_| true).unwrap_err(), Action::requeue(BEHIND));
        cache.show(object("another", 7));
        assert_eq!(current(&cache, &found, |_| false).unwrap_err(), Action::await_change());
    }
}
