//! Carries a plan out: operations in order, then the status, then the Events. It leaves nothing to its own judgement.

use std::time::Duration;

use a8s_plan::{Effect, Notice, Op, Plan, Target, Wake};
use k8s_openapi::{
    api::{core::v1::Pod, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
    core::{ApiResource, GroupVersionKind, TypeMeta},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{context::Context, errors::Error, pods::PodAddress, queue::Action, writing::Place};

/// Does the plan's steps for `object`, writes its status and says when to come back.
pub async fn carry_out<K, S>(ctx: &Context, object: &K, plan: Plan<S>) -> Result<Action, Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    S: Serialize,
{
    let Plan { ops, status, wake, notices } = plan;
    for op in &ops {
        step_for(ctx, object, op).await?;
    }
    ctx.metrics.pass(&K::kind(&()), "done");
    if let Some(status) = status {
        write_status(ctx, object, &serde_json::to_value(status)?).await?;
    }
    for notice in &notices {
        report(ctx, object, notice);
    }
    Ok(match wake {
        Wake::OnChange => Action::await_change(),
        Wake::AfterMillis(ms) => Action::requeue(Duration::from_millis(ms)),
    })
}

/// One step in a pass for `object`; what it wrote is remembered, so that the next pass does not decide on an older view.
pub async fn step_for<K: Resource<DynamicType = ()>>(
    ctx: &Context,
    object: &K,
    op: &Op,
) -> Result<(), Error> {
    if let Some(wrote) = attempt(ctx, op).await? {
        ctx.written.note(object.meta().uid.as_deref().unwrap_or_default(), &wrote.kind, wrote.version);
    }
    Ok(())
}

/// One step.
pub async fn step(ctx: &Context, op: &Op) -> Result<(), Error> {
    attempt(ctx, op).await.map(drop)
}

/// What a step left behind.
struct Wrote {
    kind: String,
    version: u64,
}

impl Wrote {
    fn of(kind: &str, version: u64) -> Self {
        Self { kind: kind.to_owned(), version }
    }
}

async fn attempt(ctx: &Context, op: &Op) -> Result<Option<Wrote>, Error> {
    match op {
        Op::Apply { object, manager } => {
            let object: DynamicObject = serde_json::from_value(object.clone())?;
            let params = PatchParams::apply(&format!("a8s/{manager}")).force();
            let (place, kind) = place_of(&object)?;
            let version = place.patch(ctx, &object.name_any(), &params, &Patch::Apply(&object)).await?;
            Ok(Some(Wrote::of(&kind, version)))
        }
        Op::Create { object } => {
            let version = create(ctx, object).await?;
            Ok(Some(Wrote::of(object["kind"].as_str().unwrap_or_default(), version)))
        }
        Op::Delete { target, grace } => {
            let preconditions = Some(Preconditions { uid: Some(target.uid.clone()), resource_version: None });
            let params =
                DeleteParams { grace_period_seconds: *grace, preconditions, ..DeleteParams::default() };
            match api(ctx, target).delete(&target.name, &params).await {
                // Gone, or replaced by another object of that name: either way the target is no more.
                Err(kube::Error::Api(s)) if s.code == 404 || s.code == 409 => Ok(None),
                other => Ok(other?.left().map(|left| Wrote::of(&target.kind, crate::stores::version(&left)))),
            }
        }
        Op::DeleteUnchanged { target, version } => {
            let preconditions = Some(Preconditions {
                uid: Some(target.uid.clone()),
                resource_version: Some(version.clone()),
            });
            let params = DeleteParams { preconditions, ..DeleteParams::default() };
            match api(ctx, target).delete(&target.name, &params).await {
                Err(kube::Error::Api(s)) if s.code == 404 || s.code == 409 => Ok(None),
                other => Ok(other?.left().map(|left| Wrote::of(&target.kind, crate::stores::version(&left)))),
            }
        }
        Op::Swap { target, version, patch } => {
            let mut patch = patch.clone();
            // Both are preconditions: the API server answers 409 if either is another.
            patch["metadata"]["uid"] = target.uid.clone().into();
            patch["metadata"]["resourceVersion"] = version.clone().into();
            let params = PatchParams { field_manager: Some("a8s".into()), ..PatchParams::default() };
            let version = Place::of(target).patch(ctx, &target.name, &params, &Patch::Merge(&patch)).await?;
            Ok(Some(Wrote::of(&target.kind, version)))
        }
        Op::Merge { target, patch } => {
            let mut patch = patch.clone();
            patch["metadata"]["uid"] = target.uid.clone().into();
            let params = PatchParams { field_manager: Some("a8s".into()), ..PatchParams::default() };
            match Place::of(target).patch(ctx, &target.name, &params, &Patch::Merge(&patch)).await {
                // Gone, or another of that name: there is nothing to change.
                Err(kube::Error::Api(s)) if s.code == 404 || s.code == 409 || of_another(&s) => Ok(None),
                other => Ok(Some(Wrote::of(&target.kind, other?))),
            }
        }
        Op::Finalizer { target, finalizer, present } => {
            set_finalizer(ctx, target, finalizer, *present).await.map(|()| None)
        }
        Op::Effect(effect) => take_effect(ctx, effect).await.map(|()| None),
    }
}

async fn take_effect(ctx: &Context, effect: &Effect) -> Result<(), Error> {
    match effect {
        Effect::ServingSecret { owner, name } => {
            crate::serving::ensure_secret(ctx, owner, name).await?;
            ctx.secrets.made(&owner.uid);
            Ok(())
        }
        Effect::SetControl { workspace, lease } => {
            let at = address(ctx, workspace).await?;
            ctx.pods.set_control(&at, lease).await?;
            Ok(())
        }
        Effect::StoreContent { artifact, workspace, sha256, key } => {
            crate::store::store_content(ctx, artifact, workspace, sha256, key).await
        }
        Effect::DeleteContent { key } => crate::store::delete_content(ctx, key).await,
        Effect::Quiesce { workspace } => {
            let at = address(ctx, workspace).await?;
            ctx.pods.quiesce(&at).await?;
            Ok(())
        }
    }
}

/// Where the pod of a Workspace answers: the pod's own address.
pub async fn address(ctx: &Context, workspace: &Target) -> Result<PodAddress, Error> {
    let name = a8s_crds::names::pod(&workspace.name);
    let ip = |pod: &Pod| pod.status.as_ref().and_then(|s| s.pod_ip.clone());
    // An address of the past is nobody's, or that of one without this Workspace's certificate: then the step fails and is done again.
    let known = ctx.stores.pods.get(Some(&workspace.namespace), &name);
    let mut host = known.and_then(|pod| ip(&pod));
    if host.is_none() {
        let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &workspace.namespace);
        host = pods.get_opt(&name).await?.as_ref().and_then(ip);
    }
    let host = host
        .ok_or_else(|| Error::Other(format!("the pod of Workspace {} has no address yet", workspace.name)))?;
    Ok(PodAddress { uid: workspace.uid.clone(), host })
}

/// Whether a write had the UID of an object that has been replaced by another of its name. That is no conflict to the API server, unless
/// the resource version is another as well, but a change of a field that nobody may change.
fn of_another(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 422 && causes.into_iter().any(|cause| cause.field == "metadata.uid")
}

/// Its resource version.
async fn create(ctx: &Context, object: &Value) -> Result<u64, Error> {
    let wanted: DynamicObject = serde_json::from_value(object.clone())?;
    let (place, _) = place_of(&wanted)?;
    let params = PostParams { field_manager: Some("a8s".into()), ..PostParams::default() };
    match place.create(ctx, &params, object).await {
        Err(kube::Error::Api(s)) if s.code == 409 && s.reason == "AlreadyExists" => {
            let found = place.api(ctx).get(&wanted.name_any()).await?;
            if same_object(&wanted, &found) {
                return Ok(crate::stores::version(&found));
            }
            Err(Error::Other(format!("{} exists and belongs to somebody else", wanted.name_any())))
        }
        other => Ok(other?),
    }
}

/// Whether what is there is what a lost answer, or an earlier life of this process, made.
fn same_object(wanted: &DynamicObject, found: &DynamicObject) -> bool {
    let owner = |o: &DynamicObject| {
        o.owner_references().iter().find(|r| r.controller == Some(true)).map(|r| r.uid.clone())
    };
    match owner(wanted) {
        Some(uid) => owner(found) == Some(uid),
        None => found.data.get("spec") == wanted.data.get("spec"),
    }
}

async fn set_finalizer(ctx: &Context, target: &Target, finalizer: &str, present: bool) -> Result<(), Error> {
    let api = api(ctx, target);
    let Some(found) = api.get_opt(&target.name).await? else { return Ok(()) };
    if found.uid().as_deref() != Some(&target.uid)
        || found.finalizers().iter().any(|f| f == finalizer) == present
    {
        return Ok(());
    }
    let mut all = found.finalizers().to_vec();
    if present {
        all.push(finalizer.to_owned());
    } else {
        all.retain(|f| f != finalizer);
    }
    // The resource version makes it a compare-and-swap: finalizers of others are never lost.
    let patch = json!({"metadata": {"finalizers": all, "resourceVersion": found.resource_version()}});
    match api.patch(&target.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Err(kube::Error::Api(s)) if s.code == 404 => Ok(()),
        other => other.map(drop).map_err(Error::from),
    }
}

/// Writes the whole status as one field manager.
pub async fn write_status<K>(ctx: &Context, object: &K, status: &Value) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    apply_status(ctx, object, status, None).await.map(drop)
}

/// The same, only if nobody has changed the object since it was read; whether that was so.
pub async fn write_status_if_unchanged<K>(ctx: &Context, object: &K, status: &Value) -> Result<bool, Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    apply_status(ctx, object, status, object.resource_version()).await
}

async fn apply_status<K>(
    ctx: &Context,
    object: &K,
    status: &Value,
    version: Option<String>,
) -> Result<bool, Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let name = object.name_any();
    let mut body = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": {"name": name, "namespace": object.namespace(), "uid": object.uid()},
        "status": status,
    });
    if let Some(version) = version {
        body["metadata"]["resourceVersion"] = version.into();
    }
    let place = Place { resource: ApiResource::erase::<K>(&()), namespace: object.namespace() };
    let manager = format!("a8s/{}-status", K::kind(&()).to_lowercase());
    match place.patch_status(ctx, &name, &PatchParams::apply(&manager).force(), &Patch::Apply(&body)).await {
        // Deleted or changed meanwhile, or replaced by another of that name: there is nobody to tell.
        Err(kube::Error::Api(s)) if s.code == 404 || s.code == 409 || of_another(&s) => Ok(false),
        other => {
            let uid = object.uid().unwrap_or_default();
            ctx.written.note(&uid, &K::kind(&()), other?);
            Ok(true)
        }
    }
}

/// Tells an Event, which is sent a moment later. kube's Recorder would fold Events of one reason into the first of them,
/// whose text then speaks of another turn or person; plans give a notice on a transition only, so there is nothing to fold.
pub fn report<K: Resource<DynamicType = ()>>(ctx: &Context, object: &K, notice: &Notice) {
    let regarding = object.object_ref(&());
    let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".into());
    let event = Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", regarding.name.as_deref().unwrap_or("a8s"))),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        type_: Some(if notice.warning { "Warning" } else { "Normal" }.into()),
        reason: Some(notice.reason.as_str().into()),
        note: Some(notice.note.chars().take(1000).collect()),
        action: Some("Reconcile".into()),
        regarding: Some(regarding),
        reporting_controller: Some("a8s.dev/controller".into()),
        reporting_instance: Some(ctx.instance.clone()),
        event_time: Some(MicroTime(ctx.env().now)),
        ..Event::default()
    };
    ctx.events.tell(event);
}

fn api(ctx: &Context, target: &Target) -> Api<DynamicObject> {
    Place::of(target).api(ctx)
}

/// Where an object is, and its kind.
fn place_of(object: &DynamicObject) -> Result<(Place, String), Error> {
    let types: &TypeMeta =
        object.types.as_ref().ok_or_else(|| Error::Plan("an object without a kind".into()))?;
    let resource = resource(&types.api_version, &types.kind);
    Ok((Place { resource, namespace: object.namespace() }, types.kind.clone()))
}

pub(crate) fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}
