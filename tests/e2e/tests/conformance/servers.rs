//! The two servers: the same request to either, and its objects in the same words.

use a8s_sim::{Key, Sim, SimError};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    NAMESPACE,
    requests::{Insists, Request},
};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// What was answered, without the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    NotFound,
    AlreadyExists,
    Conflict,
    Invalid,
}

fn insisted(what: Insists, found: Option<&Value>, field: &str) -> Option<String> {
    match what {
        Insists::Not => None,
        Insists::OnThis => found.and_then(|o| o["metadata"][field].as_str()).map(str::to_owned),
        Insists::OnAnother if field == "uid" => Some(NOBODY.to_owned()),
        Insists::OnAnother => Some("999999999".to_owned()),
    }
}

/// The patch with what it insists on.
fn with(patch: &Value, uid: Option<String>, version: Option<String>) -> Value {
    let mut patch = patch.clone();
    for (field, value) in [("uid", uid), ("resourceVersion", version)] {
        if let Some(value) = value {
            patch["metadata"][field] = value.into();
        }
    }
    patch
}

pub fn in_memory(sim: &mut Sim, key: &Key, request: &Request) -> Answer {
    let found = sim.get(key).cloned();
    let of = |what: &Insists, field: &str| insisted(*what, found.as_ref(), field);
    let done = match request {
        Request::Create(object) => sim.create(object.clone()).map(drop),
        Request::Apply { manager, uid, object } => sim.apply(with(object, of(uid, "uid"), None), manager),
        Request::Merge { uid, version, patch } => {
            sim.patch(key, &with(patch, of(uid, "uid"), of(version, "resourceVersion")))
        }
        Request::Status(status) => {
            let own = of(&Insists::OnThis, "uid").unwrap_or_default();
            sim.set_status(key, &own, status.clone())
        }
        Request::Delete { uid, version } => {
            let own = |what: &Insists, field: &str| {
                of(what, field).or(of(&Insists::OnThis, field)).unwrap_or_default()
            };
            sim.unchanged(key, &own(uid, "uid"), &own(version, "resourceVersion"))
                .and_then(|()| sim.delete(key, None, None))
        }
        Request::Finalizer { name, present } => {
            let own = of(&Insists::OnThis, "uid").unwrap_or_default();
            sim.finalize(key, &own, name, *present)
        }
    };
    match done {
        Ok(()) => Answer::Done,
        Err(SimError::NotFound(_)) => Answer::NotFound,
        Err(SimError::AlreadyExists(_)) => Answer::AlreadyExists,
        Err(SimError::Conflict(..)) => Answer::Conflict,
        Err(_) => Answer::Invalid,
    }
}

fn api(client: &Client, key: &Key) -> Api<DynamicObject> {
    let (group, version) = key.api_version.split_once('/').unwrap_or(("", &key.api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &key.kind));
    Api::namespaced_with(client.clone(), NAMESPACE, &resource)
}

pub async fn read(client: &Client, key: &Key) -> Option<Value> {
    let found = api(client, key).get_opt(&key.name).await.expect("an answer");
    found.map(|o| serde_json::to_value(o).expect("JSON"))
}

/// The same to the real server, in the words of the controller.
pub async fn for_real(client: &Client, key: &Key, found: Option<&Value>, request: &Request) -> Answer {
    let of = |what: &Insists, field: &str| insisted(*what, found, field);
    let api = api(client, key);
    let typed = |object: Value| serde_json::from_value::<DynamicObject>(object).expect("an object");
    let writer = || PatchParams { field_manager: Some("a8s".into()), ..PatchParams::default() };
    let done = match request {
        Request::Create(object) => {
            let params = PostParams { field_manager: Some("a8s".into()), ..PostParams::default() };
            api.create(&params, &typed(object.clone())).await.map(drop)
        }
        Request::Apply { manager, uid, object } => {
            let object = typed(with(object, of(uid, "uid"), None));
            api.patch(&key.name, &PatchParams::apply(manager).force(), &Patch::Apply(object)).await.map(drop)
        }
        Request::Merge { uid, version, patch } => {
            let patch = with(patch, of(uid, "uid"), of(version, "resourceVersion"));
            api.patch(&key.name, &writer(), &Patch::Merge(patch)).await.map(drop)
        }
        Request::Status(status) => {
            let body = json!({"apiVersion": key.api_version, "kind": key.kind, "metadata": {"name": key.name}, "status": status});
            let params = PatchParams::apply("status").force();
            api.patch_status(&key.name, &params, &Patch::Apply(body)).await.map(drop)
        }
        Request::Delete { uid, version } => {
            let preconditions =
                Preconditions { uid: of(uid, "uid"), resource_version: of(version, "resourceVersion") };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            api.delete(&key.name, &params).await.map(drop)
        }
        Request::Finalizer { name, present } => {
            let Some(found) = found else { return Answer::Done };
            let mut all: Vec<Value> = found["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            if all.iter().any(|f| f == name) == *present {
                return Answer::Done;
            }
            all.retain(|f| f != name);
            if *present {
                all.push((*name).into());
            }
            let version = &found["metadata"]["resourceVersion"];
            let patch = json!({"metadata": {"finalizers": all, "resourceVersion": version}});
            api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
        }
    };
    match done {
        Ok(()) => Answer::Done,
        Err(kube::Error::Api(status)) => match (status.code, status.reason.as_str()) {
            (404, _) => Answer::NotFound,
            (409, "AlreadyExists") => Answer::AlreadyExists,
            (409, _) => Answer::Conflict,
            (422, _) => Answer::Invalid,
            other => panic!("{other:?}: {}", status.message),
        },
        Err(other) => panic!("{other}"),
    }
}

/// An object without what only a server can know.
pub fn plain(object: Option<&Value>) -> Option<Value> {
    let mut object = object?.clone();
    let metadata = object["metadata"].as_object_mut().expect("metadata");
    for field in
        ["uid", "resourceVersion", "creationTimestamp", "managedFields", "deletionGracePeriodSeconds"]
    {
        metadata.remove(field);
    }
    if let Some(time) = metadata.get_mut("deletionTimestamp") {
        *time = true.into();
    }
    // The one default that nobody can say instead.
    object.as_object_mut()?.retain(|key, value| key != "status" || value["observedGeneration"] != -1);
    let metadata = object["metadata"].as_object_mut()?;
    // Typed kinds of the server leave out what is empty, and not all of them count generations.
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let empty = |v: &Value| {
            v.as_object().is_some_and(serde_json::Map::is_empty) || v.as_array().is_some_and(Vec::is_empty)
        };
        if metadata.get(field).is_some_and(empty) {
            metadata.remove(field);
        }
    }
    if object["kind"] == "ConfigMap" {
        object["metadata"].as_object_mut()?.remove("generation");
        let all = object.as_object_mut()?;
        all.retain(|key, value| key != "data" || value.as_object().is_some_and(|m| !m.is_empty()));
    }
    Some(object)
}

pub fn version(object: Option<&Value>) -> Option<String> {
    object.and_then(|o| o["metadata"]["resourceVersion"].as_str()).map(str::to_owned)
}
