//! An API server, the controller as a process, and a node whose pods are processes. It ends with the value that holds it.

use std::{
    fs::OpenOptions,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use a8s_cluster::ControlPlane;
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::{
    Api, Client, Config,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    pods::{NODE, Node, Programs},
    programs::{Running, repository},
};

/// Namespace that is worked in.
pub const TEAM: &str = "team";
/// Version of our kinds.
pub const OURS: &str = "a8s.dev/v1alpha1";

/// All of it.
pub struct World {
    // They end in this order.
    controller: Option<Running>,
    _node: Arc<Node>,
    /// The API server.
    pub server: ControlPlane,
    /// The administrator's client.
    pub client: Client,
    programs: Programs,
    folder: tempfile::TempDir,
}

fn resource(version: &str, kind: &str) -> ApiResource {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

impl World {
    /// Starts all of it, with the Environment `desktop`.
    pub async fn start(programs: Programs) -> Result<Self> {
        let server = ControlPlane::start_audited()?;
        let kubectl = server.kubectl();
        let definitions = repository().join("crds/yaml").display().to_string();
        kubectl.run(&["apply", "--server-side", "-f", &definitions])?;
        kubectl.run(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"])?;
        for namespace in [TEAM, "a8s-system"] {
            kubectl.run(&["create", "namespace", namespace])?;
        }
        // Which provider is a matter of the features of all packages together.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let file = Kubeconfig::read_from(server.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        // Sockets have short names.
        let folder = tempfile::Builder::new().prefix("a8s-").tempdir()?;
        let node = Node::play(client.clone(), folder.path(), programs.clone());
        let mut world = Self { controller: None, _node: node, server, client, programs, folder };
        let default = json!({"storageclass.kubernetes.io/is-default-class": "true"});
        world
            .create(&json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
                "metadata": {"name": "double", "annotations": default}, "provisioner": "double.example"}))
            .await?;
        world.create(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})).await?;
        let ready =
            json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Double"}]}});
        let nodes: Api<NodeObject> = Api::all(world.client.clone());
        nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(ready)).await?;
        world
            .create(&json!({"apiVersion": OURS, "kind": "Environment", "metadata": {"name": "desktop"},
                "spec": {"title": "Desktop", "image": "desktop:1"}}))
            .await?;
        world.start_controller()?;
        Ok(world)
    }

    /// Starts the controller; one that ran before is killed.
    pub fn start_controller(&mut self) -> Result<()> {
        self.controller = None;
        // The same name each time: a controller that comes back need not wait for its own lease.
        self.controller = Some(self.another_controller("a8s-controller-0")?);
        Ok(())
    }

    /// The process of the controller; it runs unless it was killed.
    pub fn controller(&self) -> Option<&Running> {
        self.controller.as_ref()
    }

    /// Starts one more controller, of this name.
    pub fn another_controller(&self, name: &str) -> Result<Running> {
        let folder = self.folder.path();
        let log = OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
        let store = format!("file://{}/store", folder.display());
        let child = Command::new(self.programs.folder.join("a8s-controller"))
            .args(["--runner-image", "runner:1", "--store-url", &store, "--health-addr", "127.0.0.1:0"])
            .env("KUBECONFIG", self.server.kubeconfig())
            .env("POD_NAME", name)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting the controller")?;
        Ok(Running::of(child))
    }

    /// Sends a signal to every process of this program, by its file's name, that works for the Session's desktop; how many there were.
    pub fn signal(&self, signal: &str, program: &str, session: &str) -> Result<usize> {
        let volume = self.folder.path().join(format!("{TEAM}.{session}-home"));
        let mut sent = 0;
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let folder = entry.path();
            let exe = std::fs::read_link(folder.join("exe")).unwrap_or_default();
            let command = std::fs::read(folder.join("cmdline")).unwrap_or_default();
            let at = std::fs::read_link(folder.join("cwd")).unwrap_or_default();
            // The runner is told where its volume is, and an agent works in its home.
            let named = String::from_utf8_lossy(&command).contains(&volume.display().to_string());
            if exe.file_name().is_some_and(|name| name == program) && (named || at.starts_with(&volume)) {
                let pid = entry.file_name();
                ensure!(
                    Command::new("kill").arg(signal).arg(&pid).status()?.success(),
                    "{program} ends by itself"
                );
                sent += 1;
            }
        }
        Ok(sent)
    }

    /// What the runner of the Session's desktop has recorded.
    pub fn transcript(&self, session: &str) -> PathBuf {
        self.folder.path().join(format!("{TEAM}.{session}-home/state/transcript.jsonl"))
    }

    /// The controller dies without a word.
    pub fn kill_controller(&mut self) {
        self.controller = None;
    }

    /// What the controller said last.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().rev().take(30).collect::<Vec<_>>().join("\n")
    }

    /// Makes an object.
    pub async fn create(&self, object: &Value) -> Result<()> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let resource = resource(&text(&object["apiVersion"]), &text(&object["kind"]));
        let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        api.create(&PostParams::default(), &serde_json::from_value(object.clone())?).await?;
        Ok(())
    }

    /// Makes one of our objects in the namespace.
    pub async fn make(&self, kind: &str, name: &str, spec: &Value) -> Result<()> {
        let metadata = json!({"name": name, "namespace": TEAM});
        self.create(&json!({"apiVersion": OURS, "kind": kind, "metadata": metadata, "spec": spec})).await
    }

    /// A person says something in a Session.
    pub async fn say(&self, session: &str, name: &str, content: &str) -> Result<()> {
        let author = json!({"kind": "User", "name": "jane"});
        let spec = json!({"session": session, "content": content, "author": author});
        self.make("Message", name, &spec).await
    }

    /// One of our objects in the namespace.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Value> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), TEAM, &resource(OURS, kind));
        Ok(serde_json::to_value(api.get(name).await?)?)
    }

    /// All of our objects of a kind in the namespace.
    pub async fn all(&self, kind: &str) -> Result<Vec<Value>> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), TEAM, &resource(OURS, kind));
        let all = api.list(&ListParams::default()).await?.items;
        Ok(all.into_iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
    }

    /// Waits until it holds.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        holds: impl AsyncFn() -> Result<bool>,
    ) -> Result<()> {
        let begun = Instant::now();
        while !holds().await? {
            ensure!(
                begun.elapsed() < limit,
                "{what}: not within {limit:?}; the controller's last words, latest first:\n{}",
                self.last_words()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        eprintln!("{what}: {:.2} s", begun.elapsed().as_secs_f64());
        Ok(())
    }
}
