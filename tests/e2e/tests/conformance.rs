//! The server in memory against the real one: whatever is asked of both, in any order, they answer alike and have the same objects in
//! the end. So what the schedules show on the one is worth something on the other. A list of requests that shows a difference names its
//! seed; `A8S_SEED=<seed>` runs only that one.

use std::path::Path;

use a8s_cluster::ControlPlane;
use a8s_sim::{Key, Sim, SimError};
use futures::{StreamExt, stream};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

const NAMESPACE: &str = "team";
const LISTS: u64 = 320;
const REQUESTS: usize = 20;
const FINALIZERS: [&str; 2] = ["example.com/one", "example.com/two"];
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// A UID or resource version that a request may insist on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Insists {
    Not,
    OnThis,
    OnAnother,
}

#[derive(Clone, Debug)]
enum Request {
    Create(Value),
    Apply {
        manager: &'static str,
        uid: Insists,
        object: Value,
    },
    Merge {
        uid: Insists,
        version: Insists,
        patch: Value,
    },
    /// Without a UID: the real server takes no notice of one when a status is applied.
    Status(Value),
    Delete {
        uid: Insists,
        version: Insists,
    },
    Finalizer {
        name: &'static str,
        present: bool,
    },
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create(object) => write!(f, "create {object}"),
            Self::Apply { manager, uid, object } => write!(f, "apply as {manager}, UID {uid:?}: {object}"),
            Self::Merge { uid, version, patch } => {
                write!(f, "merge, UID {uid:?}, version {version:?}: {patch}")
            }
            Self::Status(status) => write!(f, "status {status}"),
            Self::Delete { uid, version } => write!(f, "delete, UID {uid:?}, version {version:?}"),
            Self::Finalizer { name, present } => write!(f, "finalizer {name} {present}"),
        }
    }
}

/// What was answered, without the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Done,
    NotFound,
    AlreadyExists,
    Conflict,
    Invalid,
}

/// Chance, and what it makes of it.
struct Lot(StdRng);

impl Lot {
    fn of(&mut self, many: usize) -> usize {
        self.0.random_range(0..many)
    }

    fn insists(&mut self) -> Insists {
        [Insists::Not, Insists::Not, Insists::OnThis, Insists::OnThis, Insists::OnAnother][self.of(5)]
    }

    /// A few fields of an object; with `null` some are to go.
    fn fields(&mut self, kind: &str, gone: bool) -> Value {
        let mut object = json!({});
        let paths: &[&[&str]] = if kind == "ConfigMap" {
            &[&["data", "a"], &["data", "b"], &["metadata", "labels", "c"], &["metadata", "annotations", "d"]]
        } else {
            &[
                &["spec", "lifecycle", "idleSuspendAfter"],
                &["spec", "lifecycle", "archiveAfter"],
                &["spec", "resources", "limits", "cpu"],
                &["spec", "resources", "requests", "memory"],
                &["metadata", "labels", "c"],
                &["metadata", "annotations", "d"],
            ]
        };
        for path in paths {
            let value = match self.of(6) {
                0 | 1 => continue,
                2 if gone => Value::Null,
                n => format!("{}s", n / 2 + 1).into(),
            };
            let value = if path.contains(&"resources") && value.is_string() { "2".into() } else { value };
            let (last, above) = path.split_last().expect("a path");
            above.iter().fold(&mut object, |at, key| &mut at[*key])[*last] = value;
        }
        if gone && self.of(12) == 0 {
            object[if kind == "ConfigMap" { "data" } else { "spec" }] =
                if kind == "ConfigMap" { Value::Null } else { json!({"lifecycle": null}) };
        }
        object
    }

    /// A whole object. What has a default is always said: the server in memory knows no schema.
    fn object(&mut self, key: &Key) -> Value {
        let mut object = self.fields(&key.kind, false);
        (object["apiVersion"], object["kind"]) = (key.api_version.clone().into(), key.kind.clone().into());
        object["metadata"]["name"] = key.name.clone().into();
        object["metadata"]["namespace"] = NAMESPACE.into();
        if key.kind == "Workspace" {
            object["spec"]["environment"] = "desktop".into();
            object["spec"]["state"] = ["Running", "Suspended"][self.of(2)].into();
            object["spec"]["control"] = json!({"holder": "Agent", "private": false});
        }
        object
    }

    fn request(&mut self, key: &Key) -> Request {
        match self.of(12) {
            0..=2 => {
                let mut object = self.object(key);
                if self.of(3) == 0 {
                    object["metadata"]["finalizers"] = json!([FINALIZERS[0]]);
                }
                Request::Create(object)
            }
            3..=5 => {
                let manager = ["one", "two"][self.of(2)];
                Request::Apply { manager, uid: self.insists(), object: self.object(key) }
            }
            6..=7 => Request::Merge {
                uid: self.insists(),
                version: self.insists(),
                patch: self.fields(&key.kind, true),
            },
            8 if key.kind == "Workspace" => {
                let (state, epoch) = (["Running", "Stalled"][self.of(2)], self.of(2));
                let status = json!({"observedGeneration": 1, "state": state, "epoch": epoch});
                Request::Status(status)
            }
            8..=9 => Request::Delete { uid: self.insists(), version: self.insists() },
            _ => Request::Finalizer { name: FINALIZERS[self.of(2)], present: self.of(2) == 0 },
        }
    }
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

fn in_memory(sim: &mut Sim, key: &Key, request: &Request) -> Answer {
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

async fn read(client: &Client, key: &Key) -> Option<Value> {
    let found = api(client, key).get_opt(&key.name).await.expect("an answer");
    found.map(|o| serde_json::to_value(o).expect("JSON"))
}

/// The same to the real server, in the words of the controller.
async fn for_real(client: &Client, key: &Key, request: &Request) -> Answer {
    let found = read(client, key).await;
    let of = |what: &Insists, field: &str| insisted(*what, found.as_ref(), field);
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
            let Some(found) = &found else { return Answer::Done };
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
fn plain(object: Option<&Value>) -> Option<Value> {
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

fn version(object: Option<&Value>) -> Option<String> {
    object.and_then(|o| o["metadata"]["resourceVersion"].as_str()).map(str::to_owned)
}

/// One list of requests to both; what differs, if anything does.
async fn differs(client: &Client, seed: u64) -> Option<String> {
    let mut lot = Lot(StdRng::seed_from_u64(seed));
    let mut sim = Sim::new(seed);
    let keys = [("v1", "ConfigMap"), ("a8s.dev/v1alpha1", "Workspace"), ("a8s.dev/v1alpha1", "Workspace")];
    let keys: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(n, (version, kind))| Key::new(version, kind, NAMESPACE, &format!("c{seed}-{n}")))
        .collect();
    let mut asked = Vec::new();
    for _ in 0..REQUESTS {
        let key = &keys[lot.of(keys.len())];
        let request = lot.request(key);
        let before = (version(sim.get(key)), version(read(client, key).await.as_ref()));
        let answers = (in_memory(&mut sim, key, &request), for_real(client, key, &request).await);
        asked.push(format!("{} {request} -> {answers:?}", key.name));
        let real = read(client, key).await;
        let after = (version(sim.get(key)), version(real.as_ref()));
        let wrote = (before.0 != after.0, before.1 != after.1);
        let objects = (plain(sim.get(key)), plain(real.as_ref()));
        if answers.0 != answers.1 || objects.0 != objects.1 || wrote.0 != wrote.1 {
            let managed = real.map(|o| o["metadata"]["managedFields"].to_string());
            return Some(format!(
                "seed {seed}:\n{}\nanswers {answers:?}\nwrote {wrote:?}\nin memory {}\nfor real {}\n{managed:?}",
                asked.join("\n"),
                objects.0.unwrap_or_default(),
                objects.1.unwrap_or_default(),
            ));
        }
    }
    None
}

async fn client(server: &ControlPlane) -> Client {
    // Which provider is a matter of the features of all packages together.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let file = Kubeconfig::read_from(server.kubeconfig()).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a config")).expect("a client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "T3: hundreds of lists against a real API server; run by `make test-conformance`"]
async fn the_server_in_memory_answers_as_the_real_one_does() {
    let server = ControlPlane::start().expect("an API server");
    let kubectl = server.kubectl();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two folders up");
    let file = folder.join("crds/yaml").display().to_string();
    kubectl.run(&["apply", "--server-side", "-f", &file]).expect("definitions");
    kubectl
        .run(&["wait", "--for=condition=Established", "--timeout=30s", "crd/workspaces.a8s.dev"])
        .expect("established");
    kubectl.run(&["create", "namespace", NAMESPACE]).expect("a namespace");
    let client = client(&server).await;
    let seeds = match std::env::var("A8S_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..LISTS,
    };
    let all = stream::iter(seeds).map(|seed| differs(&client, seed)).buffer_unordered(8);
    let found: Vec<_> = all.filter_map(std::future::ready).collect().await;
    let first: Vec<_> = found.iter().take(5).map(String::as_str).collect();
    assert!(found.is_empty(), "{} lists differ, of these the first:\n{}", found.len(), first.join("\n\n"));
    eprintln!("{LISTS} lists of {REQUESTS} requests");
}
