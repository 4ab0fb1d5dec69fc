//! A Session that is talked with: through the API as people do, and straight with the processes of its pod.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use a8s_cluster::Cluster;
use a8s_crds::{Message, Session, Workspace};
use a8s_wire::{Claims, Scope, paths, token};
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::sse::Stream;

/// Where the account of the console may work.
pub const NAMESPACE: &str = "demo";
const SYSTEM: &str = "a8s-system";
const LIMIT: Duration = Duration::from_mins(3);

/// A Session and its pod.
pub struct Talk {
    /// The administrator's client.
    pub client: Client,
    /// Name of the Session.
    pub name: String,
    /// Name of its Workspace.
    workspace: String,
    /// UID of the Workspace.
    pub uid: String,
    http: reqwest::Client,
    sign: Box<dyn Fn(Scope) -> String + Send + Sync>,
    count: AtomicU64,
}

impl Talk {
    /// Starts a Session whose agent has said its first word.
    pub async fn begin(cluster: &Cluster, name: &str) -> Result<Self> {
        let file = Kubeconfig::read_from(cluster.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let sessions: Api<Session> = Api::namespaced(client.clone(), NAMESPACE);
        let session: Session = serde_json::from_value(json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "metadata": {"name": name},
            "spec": {"goal": "/say ready", "environment": "desktop"},
        }))?;
        sessions.create(&PostParams::default(), &session).await?;
        let workspaces: Api<Workspace> = Api::namespaced(client.clone(), NAMESPACE);
        let begun = Instant::now();
        let (workspace, uid, host) = loop {
            let status = sessions.get(name).await?.status.unwrap_or_default();
            let state = status.state.unwrap_or_default();
            let answered = status.turn == Some(1) && matches!(&*state, "Waiting" | "Finished");
            // It has another name than the Session where one of that name is still going.
            if let Some(workspace) = status.workspace.filter(|_| answered) {
                let found = workspaces.get(&workspace.name).await?;
                let host =
                    found.status.and_then(|s| s.host).context("a desktop that answers has an address")?;
                break (workspace.name, workspace.uid, host);
            }
            ensure!(begun.elapsed() < LIMIT, "Session {name} did not begin within {LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let secret = Api::<Secret>::namespaced(client.clone(), SYSTEM).get("a8s-signing").await?;
        let pem = secret.data.and_then(|mut d| d.remove("signing.key")).context("a8s-signing has a key")?;
        let key = token::signing_key(&String::from_utf8(pem.0)?)?;
        let wsu = uid.clone();
        let sign = move |scope| {
            let claims = Claims {
                iss: "controller".into(),
                sub: "bench".into(),
                wsu: wsu.clone(),
                scp: vec![scope],
                exp: Timestamp::now().as_second() + 60,
                jti: Timestamp::now().as_nanosecond().to_string(),
            };
            token::sign(&key, &claims)
        };
        let map = Api::<ConfigMap>::namespaced(client.clone(), SYSTEM).get("a8s-ca").await?;
        let ca = map.data.and_then(|mut d| d.remove("ca.crt")).context("a8s-ca has a certificate")?;
        let http = reqwest::Client::builder()
            .use_rustls_tls()
            .tls_built_in_root_certs(false)
            .add_root_certificate(reqwest::Certificate::from_pem(ca.as_bytes())?)
            .resolve(&paths::server_name(&uid), SocketAddr::new(host.parse()?, 0))
            .no_proxy()
            .build()?;
        Ok(Self {
            client,
            name: name.into(),
            workspace,
            uid,
            http,
            sign: Box::new(sign),
            count: AtomicU64::new(0),
        })
    }

    /// Deletes the Session.
    pub async fn end(&self) -> Result<()> {
        let sessions: Api<Session> = Api::namespaced(self.client.clone(), NAMESPACE);
        Ok(sessions.delete(&self.name, &DeleteParams::default()).await.map(drop)?)
    }

    /// A name that was not used before.
    pub fn fresh(&self, what: &str) -> String {
        format!("{}-{what}-{}", self.name, self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Says something, as people do: an object. Returns when the API server has it.
    pub async fn say(&self, spec: Value) -> Result<String> {
        let name = self.fresh("m");
        let mut spec = spec;
        spec["session"] = self.name.clone().into();
        let message: Message = serde_json::from_value(json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Message", "metadata": {"name": name}, "spec": spec,
        }))?;
        Api::<Message>::namespaced(self.client.clone(), NAMESPACE)
            .create(&PostParams::default(), &message)
            .await?;
        Ok(name)
    }

    fn request(&self, method: Method, port: u16, path: &str, scope: Scope) -> RequestBuilder {
        let url = format!("https://{}:{port}{path}", paths::server_name(&self.uid));
        self.http.request(method, url).bearer_auth((self.sign)(scope))
    }

    /// A call of the runner.
    pub async fn runner(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.request(Method::POST, paths::RUNNER_PORT, path, Scope::Admin).json(body);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// A call of deskd.
    pub async fn deskd(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.request(Method::POST, paths::DESKD_PORT, path, Scope::Admin).json(body);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// What the runner says about itself.
    pub async fn state(&self) -> Result<Value> {
        let request = self.request(Method::GET, paths::RUNNER_PORT, "/v1/state", Scope::Stream);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// What deskd says about itself.
    pub async fn desk_state(&self) -> Result<Value> {
        let request = self.request(Method::GET, paths::DESKD_PORT, "/v1/state", Scope::View);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// The runner's events from now on.
    pub async fn events(&self) -> Result<Stream> {
        let state = self.state().await?;
        let path = format!("/v1/events?after={}.{}", state["epoch"], state["seq"]);
        let request = self.request(Method::GET, paths::RUNNER_PORT, &path, Scope::Stream);
        Ok(Stream::read(request.send().await?.error_for_status()?))
    }

    /// Waits until no turn runs.
    pub async fn idle(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let state = self.state().await?;
            let waits = state["queue"].as_array().is_none_or(Vec::is_empty);
            if state["state"] == "Idle" && waits {
                return Ok(());
            }
            ensure!(begun.elapsed() < LIMIT, "the agent is not idle after {LIMIT:?}: {state}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Gives mouse and keyboard to a person or back to the agent, as people do: a change of the Workspace.
    pub async fn control(&self, holder: &str) -> Result<()> {
        let api: Api<Workspace> = Api::namespaced(self.client.clone(), NAMESPACE);
        let patch = Patch::Merge(json!({"spec": {"control": {"holder": holder}}}));
        Ok(api.patch(&self.workspace, &PatchParams::default(), &patch).await.map(drop)?)
    }
}

/// Milliseconds between two moments.
pub fn between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}
