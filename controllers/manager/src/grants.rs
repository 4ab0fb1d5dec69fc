//! Grants: what a Workspace was granted becomes a Secret that only its runner's container mounts. Keys are read here, written there, and
//! kept nowhere: no plan, log, Event or status ever holds one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use a8s_crds::{
    Connection, Workspace,
    conditions::{self, ConditionType, Reason},
    labels, names,
};
use a8s_plan::{
    Notice, Op, Target,
    grants::{FILE, VERSION, render, secrets},
};
use base64::Engine;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    runtime::reflector::ObjectRef,
};
use serde_json::json;

use crate::{
    context::Context,
    errors::Error,
    execute,
    queue::{self, Action},
    stores::within,
};

const MANAGER: &str = "a8s/grants";
/// What the pod's annotation says when nothing is granted any more.
const NOTHING: &str = "none";

/// Shared by all passes.
struct Passes {
    ctx: Arc<Context>,
    began: Timestamp,
    /// By UID: whether the Workspace was granted nothing when it was looked at, so that there is nothing to take away.
    bare: Mutex<HashMap<String, bool>>,
    /// By UID: generation of a running Workspace whose pod has what it was granted. What else changes about it is nothing to us.
    settled: Mutex<HashMap<String, Option<i64>>>,
}

/// Renders grants until the process ends.
pub async fn run(ctx: Arc<Context>) {
    ctx.stores.ready().await;
    let store = ctx.stores.workspaces.clone();
    let passes = Arc::new(Passes {
        ctx: ctx.clone(),
        began: Timestamp::now(),
        bare: Mutex::default(),
        settled: Mutex::default(),
    });
    let forgetting = passes.clone();
    let own = ctx.stores.workspaces.changes().filter_map(move |change| {
        let uid = change.object.uid().unwrap_or_default();
        if change.gone {
            forgetting.bare().remove(&uid);
            forgetting.settled().remove(&uid);
        }
        let concerned = !change.gone && forgetting.concerns(&change.object);
        std::future::ready(concerned.then(|| ObjectRef::from_obj(&*change.object)))
    });
    let holders = ctx.stores.holders_of.clone();
    // A key that changed, a Connection that came, went or says something else.
    let connections = ctx.stores.connections.changes().map(move |change| {
        let name = within(change.object.namespace().as_deref(), &change.object.name_any());
        stream::iter(queue::references(&holders.get(&name)))
    });
    let triggers = [own.boxed(), connections.flatten().boxed()];
    queue::run(ctx, store, triggers, 8, move |workspace| pass(workspace, passes.clone())).await;
}

impl Passes {
    /// Whether the Workspace has, or may have, a Secret. One that was made since this process began, and asked for nothing so far, has none.
    fn concerns(&self, workspace: &Workspace) -> bool {
        if workspace.metadata.deletion_timestamp.is_some() {
            return false;
        }
        let uid = workspace.uid().unwrap_or_default();
        let mut bare = self.bare();
        if !workspace.spec.grants.is_empty() {
            bare.insert(uid.clone(), false);
            return !is_ready(workspace) || self.settled().get(&uid) != Some(&workspace.metadata.generation);
        }
        let made = workspace.metadata.creation_timestamp.as_ref().map(|t| t.0);
        let new = made.is_some_and(|made| made > self.began);
        !*bare.entry(uid).or_insert(new)
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<i64>>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bare(&self) -> std::sync::MutexGuard<'_, HashMap<String, bool>> {
        self.bare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pass(workspace: Arc<Workspace>, passes: Arc<Passes>) -> Result<Action, Error> {
    let ctx = &passes.ctx;
    if workspace.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let namespace = workspace.namespace().unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &namespace);
    let name = names::grants_secret(&workspace.name_any());
    let found = api.get_opt(&name).await?;
    if let Some(found) = &found
        && !owns(&workspace, &found.metadata)
    {
        // What is in there is not ours to change, and the runner must not take it for grants; its pod is not made anew for it.
        let note = format!(
            "Secret {name} exists and belongs to somebody else; delete it, or nothing can be granted to this desktop"
        );
        let notice = Notice { warning: true, reason: Reason::NameTaken, note };
        execute::report(ctx, &*workspace, &notice);
        return Ok(Action::requeue(std::time::Duration::from_mins(5)));
    }
    let wanted = connections(ctx, &namespace, &workspace.spec.grants);
    let content = content(ctx, &namespace, &wanted).await?;
    let version = match (content, &found) {
        (None, None) => None,
        (None, Some(found)) => {
            remove(&api, found).await?;
            Some(NOTHING.to_owned())
        }
        (Some(content), found) => Some(write(ctx, &workspace, &api, found.as_ref(), &content).await?),
    };
    if let Some(version) = version {
        refresh(ctx, &workspace, found.as_ref(), &version).await?;
    }
    if is_ready(&workspace) {
        passes.settled().insert(workspace.uid().unwrap_or_default(), workspace.metadata.generation);
    }
    if workspace.spec.grants.is_empty() {
        // Unless it was granted something meanwhile: then another pass follows.
        passes.bare().insert(workspace.uid().unwrap_or_default(), true);
    }
    Ok(Action::await_change())
}

fn connections(ctx: &Context, namespace: &str, wanted: &[String]) -> Vec<Arc<Connection>> {
    wanted.iter().filter_map(|name| ctx.stores.connections.get(Some(namespace), name)).collect()
}

/// The file, with keys; nothing if there is nothing to grant.
async fn content(
    ctx: &Context,
    namespace: &str,
    wanted: &[Arc<Connection>],
) -> Result<Option<String>, Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    let mut found = BTreeMap::new();
    for name in secrets(wanted.iter().map(AsRef::as_ref)) {
        if let Some(secret) = api.get_opt(name).await? {
            found.insert(name.to_owned(), secret.data.unwrap_or_default());
        }
    }
    let grants = render(wanted.iter().map(AsRef::as_ref), |key| {
        let bytes = &found.get(&key.name)?.get(&key.key)?.0;
        String::from_utf8(bytes.clone()).ok()
    });
    if grants.connections.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::to_string(&grants)?))
}

/// Writes the Secret if it says something else; its resource version.
async fn write(
    ctx: &Context,
    workspace: &Workspace,
    api: &Api<Secret>,
    found: Option<&Secret>,
    content: &str,
) -> Result<String, Error> {
    if let Some(found) = found
        && found
            .data
            .as_ref()
            .and_then(|data| data.get(FILE))
            .is_some_and(|have| have.0 == content.as_bytes())
    {
        return Ok(found.resource_version().unwrap_or_default());
    }
    let name = names::grants_secret(&workspace.name_any());
    let uid = workspace.uid().unwrap_or_default();
    let mut intent = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": name,
            "labels": {
                labels::MANAGED_BY: labels::MANAGER, labels::WORKSPACE: workspace.name_any(), labels::WORKSPACE_UID: uid,
                // Keys are in no backup; they are put together anew from what is granted.
                labels::VELERO_EXCLUDE: "true",
            },
            "ownerReferences": [{
                "apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace", "name": workspace.name_any(), "uid": uid, "controller": true,
            }],
        },
        "data": {FILE: base64::engine::general_purpose::STANDARD.encode(content)},
    });
    if let Some(found) = found {
        // Another one of that name, made meanwhile, is left alone.
        intent["metadata"]["uid"] = json!(found.uid());
    }
    let written = api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&intent)).await?;
    tracing::info!(workspace = workspace.name_any(), namespace = workspace.namespace(), connections = ?workspace.spec.grants,
        "grants written");
    ctx.metrics.pass("Grants", "done");
    Ok(written.resource_version().unwrap_or_default())
}

async fn remove(api: &Api<Secret>, found: &Secret) -> Result<(), Error> {
    let preconditions = Some(Preconditions { uid: found.uid(), resource_version: None });
    let params = DeleteParams { preconditions, ..DeleteParams::default() };
    match api.delete(&found.name_any(), &params).await {
        Err(kube::Error::Api(s)) if matches!(s.code, 404 | 409) => Ok(()),
        other => other.map(drop).map_err(Error::from),
    }
}

/// Tells the kubelet of a running pod that there is something new. A pod that began with this version has it.
async fn refresh(
    ctx: &Context,
    workspace: &Workspace,
    before: Option<&Secret>,
    version: &str,
) -> Result<(), Error> {
    let namespace = workspace.namespace().unwrap_or_default();
    let pod = names::pod(&workspace.name_any());
    let Some(pod) = ctx.stores.pods.get(Some(&namespace), &pod).filter(|p| owns(workspace, &p.metadata))
    else {
        return Ok(());
    };
    let told = pod.annotations().get(VERSION);
    if told.map(String::as_str) == Some(version) || told.is_none() && !is_newer(before, version, &pod) {
        return Ok(());
    }
    let target = Target {
        api_version: "v1".into(),
        kind: "Pod".into(),
        namespace,
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
    };
    let patch = json!({"metadata": {"annotations": {VERSION: version}}});
    execute::step(ctx, &Op::Merge { target, patch }).await
}

/// Whether the Secret was written after the pod was made, by this pass or by one whose process died before it could tell.
fn is_newer(before: Option<&Secret>, version: &str, pod: &Pod) -> bool {
    let Some(before) = before.filter(|b| b.resource_version().as_deref() == Some(version)) else {
        return true;
    };
    let written = before.managed_fields().iter().filter(|f| f.manager.as_deref() == Some(MANAGER));
    let written = written.filter_map(|f| f.time.as_ref().map(|t| t.0)).max();
    let made = pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
    matches!((written, made), (Some(written), Some(made)) if written >= made)
}

fn is_ready(workspace: &Workspace) -> bool {
    let conditions = workspace.status.as_ref().map_or(&[][..], |s| &s.conditions);
    conditions::is_true(conditions, ConditionType::Ready)
}

fn owns(workspace: &Workspace, meta: &kube::core::ObjectMeta) -> bool {
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    owners.iter().any(|o| o.controller == Some(true) && Some(&o.uid) == workspace.metadata.uid.as_ref())
}
