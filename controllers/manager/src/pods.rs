//! HTTPS calls to deskd and runner of a workspace pod, with tokens signed for one Workspace and one minute.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use a8s_wire::{
    Answer, Answered, Claims, ControlState, DeskState, Event, EventId, Interrupt, Interrupted, Prompt,
    PromptAccepted, RunnerState, Scope, SessionIdentity, SetControl, Settings, paths, token,
};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use eventsource_stream::Eventsource;
use futures::{Stream, StreamExt};
use reqwest::{
    Method, RequestBuilder, Response,
    dns::{Addrs, Name, Resolve, Resolving},
};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// A call must be answered within this time; streams and blobs are exempt.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where the pod of a Workspace answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodAddress {
    /// UID of the Workspace; also the name in its certificate.
    pub uid: String,
    /// IP address or host name.
    pub host: String,
}

/// Why a call to a pod failed. Texts never hold tokens.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// No connection, or it broke.
    #[error("the workspace pod cannot be reached: {0}")]
    Unreachable(String),
    /// The pod answered with an error.
    #[error("the workspace pod answered {status}: {text}")]
    Refused {
        /// HTTP status code.
        status: u16,
        /// What it said.
        text: String,
    },
    /// The answer cannot be understood.
    #[error("the workspace pod's answer cannot be understood: {0}")]
    Malformed(String),
}

impl PodError {
    /// What the pod says to something that it will not take however often it is sent; nothing if it may be taken later.
    pub fn refused(&self) -> Option<String> {
        match self {
            Self::Refused { status: status @ (400 | 404 | 405 | 409 | 410 | 413 | 415 | 422), text } => {
                let said = serde_json::from_str::<serde_json::Value>(text).ok();
                let said = said.and_then(|body| body.get("error")?.as_str().map(str::to_owned));
                Some(said.unwrap_or_else(|| format!("{status} {text}")))
            }
            _ => None,
        }
    }
}

impl From<reqwest::Error> for PodError {
    fn from(error: reqwest::Error) -> Self {
        // Without the URL, and with the cause that reqwest hides behind it.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self::Unreachable(text)
    }
}

/// Resolves `<uid>.workspace.a8s.internal` to the addresses last seen.
#[derive(Clone, Default)]
struct Addresses(Arc<std::sync::RwLock<HashMap<String, String>>>);

impl Resolve for Addresses {
    fn resolve(&self, name: Name) -> Resolving {
        let host = self.0.read().ok().and_then(|map| map.get(name.as_str()).cloned());
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let host = host.ok_or_else(|| format!("no address known for {name}"))?;
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Calls deskd and runner.
#[derive(Clone)]
pub struct PodClient {
    http: reqwest::Client,
    addresses: Addresses,
    key: Arc<SigningKey>,
}

impl PodClient {
    /// `ca_pem` is the certificate that all workspace pods are verified against.
    pub fn new(ca_pem: &str, key: SigningKey) -> Result<Self, PodError> {
        let addresses = Addresses::default();
        let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes())?;
        let http = reqwest::Client::builder()
            .use_rustls_tls()
            .tls_built_in_root_certs(false)
            .add_root_certificate(ca)
            .https_only(true)
            .no_proxy()
            .connect_timeout(Duration::from_secs(3))
            .pool_idle_timeout(Duration::from_mins(1))
            .dns_resolver(Arc::new(addresses.clone()))
            .build()?;
        Ok(Self { http, addresses, key: Arc::new(key) })
    }

    /// Its Workspace is gone.
    pub fn forget(&self, uid: &str) {
        if let Ok(mut map) = self.addresses.0.write() {
            map.remove(&paths::server_name(uid));
        }
    }

    fn request(
        &self,
        at: &PodAddress,
        method: Method,
        port: u16,
        path: &str,
        scope: Scope,
    ) -> RequestBuilder {
        let name = paths::server_name(&at.uid);
        if let Ok(mut map) = self.addresses.0.write() {
            map.insert(name.clone(), at.host.clone());
        }
        let claims = Claims {
            iss: "controller".into(),
            sub: "system:a8s:controller".into(),
            wsu: at.uid.clone(),
            scp: vec![scope],
            exp: jiff::Timestamp::now().as_second() + 60,
            jti: uuid::Uuid::new_v4().to_string(),
        };
        let url = format!("https://{name}:{port}{path}");
        self.http.request(method, url).bearer_auth(token::sign(&self.key, &claims))
    }

    async fn send(request: RequestBuilder) -> Result<Response, PodError> {
        let response = request.send().await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let text = response.text().await.unwrap_or_default();
        Err(PodError::Refused { status, text: text.chars().take(500).collect() })
    }

    async fn json<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, PodError> {
        let response = Self::send(request.timeout(DEADLINE)).await?;
        response.json().await.map_err(|error| PodError::Malformed(error.without_url().to_string()))
    }

    /// Whether anybody listens there, which costs a fraction of asking somebody who does not.
    pub async fn listens(&self, at: &PodAddress) -> bool {
        let ports = [paths::DESKD_PORT, paths::RUNNER_PORT];
        let connections = ports.map(|port| Box::pin(TcpStream::connect((at.host.as_str(), port))));
        futures::future::select_ok(connections).await.is_ok()
    }

    /// State of the desktop.
    pub async fn desk_state(&self, at: &PodAddress) -> Result<DeskState, PodError> {
        Self::json(self.request(at, Method::GET, paths::DESKD_PORT, "/v1/state", Scope::View)).await
    }

    /// Hands the control lease over.
    pub async fn set_control(&self, at: &PodAddress, lease: &SetControl) -> Result<ControlState, PodError> {
        let request = self.request(at, Method::POST, paths::DESKD_PORT, "/v1/control", Scope::Admin);
        Self::json(request.json(lease)).await
    }

    /// State of the runner.
    pub async fn runner_state(&self, at: &PodAddress) -> Result<RunnerState, PodError> {
        Self::json(self.request(at, Method::GET, paths::RUNNER_PORT, "/v1/state", Scope::Stream)).await
    }

    /// Tells the runner whose conversation it keeps, once and for all.
    pub async fn bind(&self, at: &PodAddress, session: &SessionIdentity) -> Result<(), PodError> {
        let request = self.request(at, Method::PUT, paths::RUNNER_PORT, "/v1/session", Scope::Admin);
        Self::send(request.json(session).timeout(DEADLINE)).await.map(drop)
    }

    /// Gives the agent a message; doing it twice has the effect of once.
    pub async fn prompt(&self, at: &PodAddress, prompt: &Prompt) -> Result<PromptAccepted, PodError> {
        let request = self.request(at, Method::POST, paths::RUNNER_PORT, "/v1/prompt", Scope::Admin);
        Self::json(request.json(prompt)).await
    }

    /// Tells the runner how to run the agent.
    pub async fn put_settings(&self, at: &PodAddress, settings: &Settings) -> Result<(), PodError> {
        let request = self.request(at, Method::PUT, paths::RUNNER_PORT, "/v1/settings", Scope::Admin);
        Self::send(request.json(settings).timeout(DEADLINE)).await.map(drop)
    }

    /// Answers a question of the agent; doing it twice has the effect of once.
    pub async fn answer(&self, at: &PodAddress, id: &str, answer: &Answer) -> Result<Answered, PodError> {
        // The id is made of digits and dashes; whatever else comes is not sent as a path.
        let id: String =
            id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect();
        let request =
            self.request(at, Method::POST, paths::RUNNER_PORT, &format!("/v1/requests/{id}"), Scope::Admin);
        Self::json(request.json(answer)).await
    }

    /// Stops a turn.
    pub async fn interrupt(&self, at: &PodAddress, turn: i64) -> Result<Interrupted, PodError> {
        let request = self.request(at, Method::POST, paths::RUNNER_PORT, "/v1/interrupt", Scope::Admin);
        Self::json(request.json(&Interrupt { turn })).await
    }

    /// Puts a file into `~/Attachments`.
    pub async fn put_attachment(&self, at: &PodAddress, name: &str, body: Bytes) -> Result<(), PodError> {
        let path = format!("/v1/attachments/{}", name.replace(' ', "%20"));
        let request = self.request(at, Method::PUT, paths::RUNNER_PORT, &path, Scope::Admin);
        Self::send(request.body(body).timeout(Duration::from_mins(2))).await.map(drop)
    }

    /// The content of a published file; the caller reads the body.
    pub async fn blob(&self, at: &PodAddress, sha256: &str) -> Result<Response, PodError> {
        Self::send(self.request(
            at,
            Method::GET,
            paths::RUNNER_PORT,
            &format!("/v1/blobs/{sha256}"),
            Scope::Files,
        ))
        .await
    }

    /// Flushes transcript and files to the volume.
    pub async fn quiesce(&self, at: &PodAddress) -> Result<RunnerState, PodError> {
        Self::json(self.request(at, Method::POST, paths::RUNNER_PORT, "/v1/quiesce", Scope::Admin)).await
    }

    /// Events after `after`, for as long as the connection lasts.
    pub async fn events(
        &self,
        at: &PodAddress,
        after: EventId,
    ) -> Result<impl Stream<Item = Result<Event, PodError>> + Send + use<>, PodError> {
        let path = format!("/v1/events?after={after}");
        let response =
            Self::send(self.request(at, Method::GET, paths::RUNNER_PORT, &path, Scope::Stream)).await?;
        Ok(response.bytes_stream().eventsource().filter_map(|item| async {
            match item {
                // A type of event that this version does not know is no reason to lose the stream.
                Ok(event) => serde_json::from_str(&event.data).ok().map(Ok),
                Err(error) => Some(Err(PodError::Unreachable(error.to_string()))),
            }
        }))
    }
}
