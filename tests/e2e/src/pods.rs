//! The doubles of scheduler, volume driver and kubelet. Each pod of a Workspace runs as the processes that it would have: deskd with its
//! display without X, shim with the built-in agent, and runner, on an address of its own in 127.0.0.0/8. A process that ends is started
//! again, as a kubelet does. Containers, limits and networks are not played.

use std::{
    collections::HashMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use a8s_wire::paths;
use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::{process::Command, task::AbortHandle};

/// Name of the only node.
pub const NODE: &str = "n";

/// The programs of a pod.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Folder with `a8s-deskd`, `a8s-runner`, `a8s-shim` and `a8s-agent`.
    pub folder: PathBuf,
}

impl Programs {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

struct Running {
    address: Ipv4Addr,
    processes: Vec<AbortHandle>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The processes are killed with the tasks that watch them.
        self.processes.iter().for_each(AbortHandle::abort);
    }
}

/// The node.
pub struct Node {
    client: Client,
    folder: PathBuf,
    programs: Programs,
    pods: Mutex<HashMap<String, Running>>,
    count: AtomicU32,
}

impl Node {
    /// Plays until the value is dropped and its tasks have ended.
    pub fn play(client: Client, folder: &Path, programs: Programs) -> Arc<Self> {
        let node = Arc::new(Self {
            client: client.clone(),
            folder: folder.to_owned(),
            programs,
            pods: Mutex::default(),
            count: AtomicU32::new(0),
        });
        tokio::spawn(bind_claims(client));
        tokio::spawn(node.clone().run_pods());
        node
    }

    fn pods(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run_pods(self: Arc<Self>) {
        let all: Api<Pod> = Api::all(self.client.clone());
        let pods = watcher(all, watcher::Config::default()).default_backoff().applied_objects();
        let pods = pods.filter_map(|pod| std::future::ready(pod.ok()));
        pods.for_each_concurrent(8, |pod| {
            let node = self.clone();
            async move {
                let name = pod.name_any();
                if let Err(error) = node.look_after(pod).await {
                    eprintln!("pod {name}: {error:#}");
                }
            }
        })
        .await;
    }

    async fn look_after(&self, pod: Pod) -> Result<()> {
        let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        if pod.metadata.deletion_timestamp.is_some() {
            self.pods().remove(&uid);
            return match api.delete(&name, &DeleteParams::default().grace_period(0)).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                other => Ok(other.map(drop)?),
            };
        }
        let spec = pod.spec.clone().unwrap_or_default();
        if spec.node_name.is_none() {
            let target = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                "target": {"kind": "Node", "name": NODE}});
            let params = PostParams::default();
            return match api.create_subresource::<_, Value>("binding", &name, &params, &target).await {
                // It was bound when this was on its way.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
                other => Ok(other.map(drop)?),
            };
        }
        let known = self.pods().get(&uid).map(|running| running.address);
        let address = match known {
            Some(address) => address,
            None => self.start(&pod).await?,
        };
        if pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running") {
            return Ok(());
        }
        let running = |c: &k8s_openapi::api::core::v1::Container| {
            json!({"name": c.name, "image": c.image, "imageID": "", "ready": true, "started": true, "restartCount": 0,
                "state": {"running": {}}})
        };
        let containers: Vec<Value> = spec.containers.iter().map(running).collect();
        let ready = |kind: &str| json!({"type": kind, "status": "True"});
        let status = json!({"status": {"phase": "Running", "podIP": address.to_string(), "containerStatuses": containers,
            "conditions": [ready("PodScheduled"), ready("ContainersReady"), ready("Ready")]}});
        match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Starts the pod's processes.
    async fn start(&self, pod: &Pod) -> Result<Ipv4Addr> {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let [_, high, middle, low] = number.to_be_bytes();
        let address = Ipv4Addr::new(127, 64 + high, middle, low);
        // Names of sockets are short.
        let own = self.folder.join(format!("p{number}"));
        let volume = self.folder.join(volume(pod).context("a pod of a Workspace has a volume")?);
        let at = |name: &str| own.join(name);
        let (home, state) = (volume.join("home"), volume.join("state"));
        for folder in [&home, &state, &at("tls"), &at("run"), &at("skel"), &at("secrets")] {
            fs::create_dir_all(folder)?;
        }
        self.certificate(pod, &at("tls")).await?;
        let value = |name: &str| environment(pod, name).unwrap_or_default();
        let uid = value(paths::env::WORKSPACE_UID);

        let mut deskd = Command::new(self.programs.path("a8s-deskd"));
        deskd.args(["--backend", "fake", "--listen", &format!("{address}:{}", paths::DESKD_PORT)]);
        deskd.args(["--workspace-uid", &uid, "--geometry", "1280x800"]);
        for (flag, path) in [
            ("--tls", at("tls")),
            ("--socket", at("desk.sock")),
            ("--home", home.clone()),
            ("--skel", at("skel")),
            ("--run-dir", at("run")),
            ("--machine-id", at("machine")),
            ("--config", at("desktop.json")),
        ] {
            deskd.arg(flag).arg(path);
        }

        let mut shim = Command::new(self.programs.path("a8s-shim"));
        shim.args(["serve", "--grace", "0.5", "--socket"]).arg(at("agent.sock"));
        shim.arg("--directory").arg(&home).arg("--").arg(self.programs.path("a8s-agent"));

        let mut runner = Command::new(self.programs.path("a8s-runner"));
        runner.args(["--listen", &format!("{address}:{}", paths::RUNNER_PORT), "--gateway", "127.0.0.1:0"]);
        runner.args(["--workspace-uid", &uid, "--session", &value(paths::env::SESSION)]);
        let epoch = value(paths::env::EPOCH);
        runner.args(["--epoch", if epoch.is_empty() { "0" } else { &epoch }]);
        runner.args(["--restored-from", &value(paths::env::RESTORED_FROM)]);
        for (flag, path) in [
            ("--tls", at("tls")),
            ("--state", state),
            ("--home", home),
            ("--agent-socket", at("agent.sock")),
            ("--mcp-socket", at("mcp.sock")),
            ("--deskd-socket", at("desk.sock")),
            ("--mcp-command", self.programs.path("a8s-shim")),
            ("--grants", at("grants.json")),
            ("--secrets", at("secrets")),
        ] {
            runner.arg(flag).arg(path);
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(at("log"))?;
        let mut processes = Vec::new();
        for mut command in [deskd, shim, runner] {
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
            command.env("RUST_LOG", "warn").kill_on_drop(true);
            processes.push(tokio::spawn(keep(command)).abort_handle());
        }
        self.pods().insert(pod.uid().unwrap_or_default(), Running { address, processes });
        Ok(address)
    }

    /// What the kubelet would mount.
    async fn certificate(&self, pod: &Pod, folder: &Path) -> Result<()> {
        let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
        let tls =
            volumes.iter().find(|v| v.name == "tls").and_then(|v| v.secret.as_ref()?.secret_name.clone());
        let name = tls.context("a pod of a Workspace has a certificate")?;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        for (file, content) in api.get(&name).await?.data.unwrap_or_default() {
            fs::write(folder.join(file), content.0)?;
        }
        Ok(())
    }
}

/// Runs a program again and again until its task is aborted.
async fn keep(mut command: Command) {
    loop {
        match command.spawn() {
            Ok(mut child) => drop(child.wait().await),
            Err(error) => eprintln!("{}: {error}", command.as_std().get_program().display()),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The pod's claim, as a folder's name: a volume outlives its pod.
fn volume(pod: &Pod) -> Option<String> {
    let volumes = pod.spec.as_ref()?.volumes.as_deref()?;
    let claim = volumes.iter().find_map(|v| v.persistent_volume_claim.as_ref())?;
    Some(format!("{}.{}", pod.namespace()?, claim.claim_name))
}

fn environment(pod: &Pod, name: &str) -> Option<String> {
    let runner = pod.spec.as_ref()?.containers.iter().find(|c| c.name == "runner")?;
    runner.env.as_ref()?.iter().find(|e| e.name == name)?.value.clone()
}

/// Binds every claim.
async fn bind_claims(client: Client) {
    let all: Api<PersistentVolumeClaim> = Api::all(client.clone());
    let claims = watcher(all, watcher::Config::default()).default_backoff().applied_objects();
    let bind = |claim: PersistentVolumeClaim| {
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(client.clone(), &claim.namespace().unwrap_or_default());
        async move {
            if claim.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Bound") {
                let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "5Gi"}}});
                // A claim that is gone needs no volume; one that changed comes again.
                drop(
                    api.patch_status(&claim.name_any(), &PatchParams::default(), &Patch::Merge(bound)).await,
                );
            }
        }
    };
    claims.filter_map(|c| std::future::ready(c.ok())).for_each_concurrent(8, bind).await;
}
