//! An API server, the controller, and what has to be there before anything can be tried.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use a8s_cluster::{ControlPlane, Paths, snapshot_definitions};
use a8s_e2e::programs::{Running, program, repository};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, Config,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::doubles;

pub const TEAM: &str = "team";
pub const OURS: &str = "a8s.dev/v1alpha1";
const LIMIT: Duration = Duration::from_mins(3);

pub struct World {
    // It ends before the server does.
    controller: Mutex<Option<Running>>,
    pub server: ControlPlane,
    pub client: Client,
    program: PathBuf,
    folder: tempfile::TempDir,
}

pub fn resource(version: &str, kind: &str) -> ApiResource {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

impl World {
    pub async fn new() -> Self {
        let server = ControlPlane::start_audited().expect("an API server");
        let kubectl = server.kubectl();
        let paths = Paths::from_env("standalone").expect("paths");
        snapshot_definitions(&paths, kubectl).expect("definitions of VolumeSnapshots");
        let folder = repository().join("crds/yaml").display().to_string();
        kubectl.run(&["apply", "--server-side", "-f", &folder]).expect("definitions");
        let wait = ["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"];
        kubectl.run(&wait).expect("established");
        for namespace in [TEAM, "a8s-system"] {
            kubectl.run(&["create", "namespace", namespace]).expect("a namespace");
        }
        // Which provider is a matter of the features of all packages together.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let file = Kubeconfig::read_from(server.kubeconfig()).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let client = Client::try_from(config.expect("a config")).expect("a client");
        let folder = tempfile::tempdir().expect("a folder");
        let world = Self {
            controller: Mutex::default(),
            server,
            client,
            program: program("a8s-controller").expect("the controller"),
            folder,
        };
        let default = json!({"storageclass.kubernetes.io/is-default-class": "true"});
        world
            .create(&json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
                "metadata": {"name": "double", "annotations": default}, "provisioner": doubles::DRIVER}))
            .await;
        world
            .create(&json!({"apiVersion": doubles::SNAPSHOTS, "kind": "VolumeSnapshotClass",
                "metadata": {"name": "double"}, "driver": doubles::DRIVER, "deletionPolicy": "Delete"}))
            .await;
        world.node("n").await;
        world
            .create(&json!({"apiVersion": OURS, "kind": "Environment", "metadata": {"name": "desktop"},
                "spec": {"title": "Desktop", "image": "desktop:1"}}))
            .await;
        tokio::spawn(doubles::driver(world.client.clone()));
        tokio::spawn(doubles::snapshots(world.client.clone()));
        tokio::spawn(doubles::kubelet(world.client.clone()));
        world.start();
        world
    }

    /// One more node, which is Ready.
    pub async fn node(&self, name: &str) {
        self.create(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})).await;
        self.node_says(name, "True").await;
    }

    /// The state of a node's condition Ready.
    pub async fn node_says(&self, name: &str, ready: &str) {
        let status =
            json!({"status": {"conditions": [{"type": "Ready", "status": ready, "reason": "Double"}]}});
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.expect("a node");
    }

    /// The pods of the team.
    pub async fn pods(&self) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), TEAM);
        api.list(&ListParams::default()).await.expect("pods").items
    }

    /// The controller dies without a word.
    pub fn kill(&self) {
        *self.controller.lock().expect("nobody panicked") = None;
    }

    pub fn start(&self) {
        let log = self.folder.path().join("log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log");
        let store = format!("file://{}/store", self.folder.path().display());
        let child = Command::new(&self.program)
            .args(["--runner-image", "runner:1", "--store-url", &store, "--health-addr", "127.0.0.1:0"])
            .env("KUBECONFIG", self.server.kubeconfig())
            .env("RUST_BACKTRACE", "0")
            // The same name each time: a controller that comes back need not wait for its own lease.
            .env("POD_NAME", "a8s-controller-0")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the controller starts");
        *self.controller.lock().expect("nobody panicked") = Some(Running::of(child));
    }

    /// Whether the controller has not ended.
    pub fn is_alive(&self) -> bool {
        let mut controller = self.controller.lock().expect("nobody panicked");
        controller.as_mut().is_some_and(Running::is_alive)
    }

    /// A merge patch of one of ours.
    pub async fn patch(&self, kind: &str, name: String, patch: &Value) {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), TEAM, &resource(OURS, kind));
        api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("patched");
    }

    pub async fn create(&self, object: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let resource = resource(&text(&object["apiVersion"]), &text(&object["kind"]));
        let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let object = serde_json::from_value(object.clone()).expect("an object");
        api.create(&PostParams::default(), &object).await.expect("created");
    }

    pub async fn all(&self, kind: &str) -> Vec<Value> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), TEAM, &resource(OURS, kind));
        let all = api.list(&ListParams::default()).await.expect("a list").items;
        all.into_iter().map(|o| serde_json::to_value(o).expect("JSON")).collect()
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(30).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let begun = Instant::now();
        while !holds().await {
            if !self.is_alive() {
                // It loses its lease when the machine is too busy, and a kubelet would start it again.
                eprintln!("the controller ended: {}", self.last_words());
                self.start();
            }
            if begun.elapsed() > LIMIT {
                for kind in ["WarmPool", "Session", "Workspace"] {
                    let all = self.all(kind).await;
                    let not = all.iter().filter(|o| !is_ready(o)).take(2);
                    not.for_each(|object| eprintln!("{kind}: {object:#}"));
                }
                panic!("{what}: not within {LIMIT:?}; the controller's last words:\n{}", self.last_words());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        eprintln!("{what}: {:.2} s", begun.elapsed().as_secs_f64());
    }

    /// How many Workspaces wait in the pool, and those that Sessions have, by the Session's UID.
    pub async fn desktops(&self) -> (usize, BTreeMap<String, Vec<String>>) {
        let (mut waiting, mut taken) = (0, BTreeMap::<String, Vec<String>>::new());
        for workspace in self.all("Workspace").await {
            let (metadata, text) =
                (&workspace["metadata"], |v: &Value| v.as_str().unwrap_or_default().to_owned());
            let owner = &metadata["ownerReferences"][0];
            if metadata["deletionTimestamp"].is_string() {
                continue;
            }
            if owner["kind"] == "WarmPool" {
                waiting += 1;
            } else {
                taken.entry(text(&owner["uid"])).or_default().push(text(&metadata["name"]));
            }
        }
        (waiting, taken)
    }

    /// The pool has as many as are asked for, says so, and never had more.
    pub async fn filled(&self, replicas: usize) {
        self.until(&format!("{replicas} desktops are ready"), async || {
            let pool = self.all("WarmPool").await.remove(0);
            let (metadata, status) = (&pool["metadata"], &pool["status"]);
            let (waiting, _) = self.desktops().await;
            // What was said before somebody took one is still said for a moment.
            waiting == replicas
                && status["observedGeneration"] == metadata["generation"]
                && [&status["replicas"], &status["readyReplicas"]].into_iter().all(|n| *n == json!(replicas))
        })
        .await;
    }

    pub async fn sessions(&self, prefix: &str, many: usize) {
        join_all((0..many).map(|n| async move {
            self.create(&json!({"apiVersion": OURS, "kind": "Session",
                "metadata": {"name": format!("{prefix}-{n}"), "namespace": TEAM},
                "spec": {"goal": "g", "environment": "desktop"}}))
                .await;
        }))
        .await;
    }

    /// Every Session is ready and has one desktop, and every desktop one Session.
    pub async fn all_served(&self, sessions: usize) {
        self.until(&format!("{sessions} Sessions are ready"), async || {
            let all = self.all("Session").await;
            all.len() == sessions && all.iter().all(is_ready)
        })
        .await;
        let (_, taken) = self.desktops().await;
        let twice: Vec<_> = taken.values().filter(|all| all.len() > 1).collect();
        assert!(twice.is_empty(), "Sessions with two desktops: {twice:?}");
        let all = self.all("Session").await;
        let named: BTreeSet<_> = all.iter().map(|s| s["status"]["workspace"]["uid"].to_string()).collect();
        assert_eq!(named.len(), sessions, "each has its own");
        assert_eq!(taken.len(), sessions, "no desktop of nobody");
    }
}

pub fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}
