//! The client: makes Sessions, sees on one watch when each is Ready, deletes them and sees when they are gone. Time runs from the moment
//! at which a Session was meant to be asked for, so that waiting for a free connection counts too.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use a8s_crds::Session;
use anyhow::{Context, Result};
use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::json;
use tokio::sync::{Semaphore, oneshot};

use crate::objects::NAMESPACE;

/// Environment of the desktops that are objects only.
pub const ENVIRONMENT: &str = "bench-fleet";
/// Connections to the API server; more would measure TLS handshakes.
const CONNECTIONS: usize = 32;
const LIMIT: Duration = Duration::from_mins(3);

/// A Session that became Ready.
pub struct Taken {
    /// Its name.
    pub name: String,
    /// Its Workspace.
    pub workspace: String,
    /// When it was asked for.
    pub asked: Timestamp,
    /// When the client saw it Ready.
    pub ready: Timestamp,
    /// From when it was meant to be asked for until then, in milliseconds.
    pub latency: f64,
}

impl Taken {
    /// Its desktop was made for it.
    pub fn cold(&self) -> bool {
        self.workspace == self.name
    }
}

struct Sight {
    at: Instant,
    wall: Timestamp,
    workspace: String,
}

/// All Sessions of the namespace.
pub struct Sessions {
    api: Api<Session>,
    connections: Semaphore,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    waiting: HashMap<String, oneshot::Sender<Sight>>,
    there: HashSet<String>,
}

impl Sessions {
    /// Starts to watch.
    pub fn watch(client: &Client) -> Arc<Self> {
        let api: Api<Session> = Api::namespaced(client.clone(), NAMESPACE);
        let sessions =
            Arc::new(Self { api, connections: Semaphore::new(CONNECTIONS), seen: Mutex::default() });
        let watching = sessions.clone();
        tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(watching.api.clone(), watcher::Config::default()));
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => watching.take(event),
                    Err(error) => eprintln!("watching Sessions: {error}"),
                }
            }
        });
        sessions
    }

    fn take(&self, event: Event<Session>) {
        let at = Instant::now();
        let mut seen = self.seen();
        match event {
            Event::Init => seen.there.clear(),
            Event::InitDone => {}
            Event::Delete(session) => {
                seen.there.remove(&session.name_any());
            }
            Event::Apply(session) | Event::InitApply(session) => {
                let name = session.name_any();
                if is_ready(&session)
                    && let Some(waiting) = seen.waiting.remove(&name)
                {
                    let status = session.status.as_ref();
                    let workspace = status.and_then(|s| s.workspace.as_ref()).map(|w| w.name.clone());
                    let sight =
                        Sight { at, wall: Timestamp::now(), workspace: workspace.unwrap_or_default() };
                    // Whoever waited may have given up.
                    let _ = waiting.send(sight);
                }
                seen.there.insert(name);
            }
        }
    }

    /// Makes a Session and waits until it is Ready.
    pub async fn start(&self, name: String, meant: Instant) -> Result<Taken> {
        let (sender, receiver) = oneshot::channel();
        self.seen().waiting.insert(name.clone(), sender);
        let object: Session = serde_json::from_value(json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "metadata": {"name": name},
            "spec": {"goal": "Wait for what comes.", "environment": ENVIRONMENT},
        }))?;
        let connection = self.connections.acquire().await?;
        let asked = Timestamp::now();
        self.api.create(&PostParams::default(), &object).await?;
        drop(connection);
        let sight = tokio::time::timeout(LIMIT, receiver)
            .await
            .with_context(|| format!("Session {name} was not Ready within {LIMIT:?}"))??;
        let latency = sight.at.saturating_duration_since(meant).as_secs_f64() * 1000.0;
        Ok(Taken { name, workspace: sight.workspace, asked, ready: sight.wall, latency })
    }

    /// Deletes a Session, if it is there, and does not wait.
    pub async fn delete(&self, name: String) -> Result<()> {
        let _connection = self.connections.acquire().await?;
        match self.api.delete(&name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Waits until none is left.
    pub async fn gone(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let left = self.seen().there.len();
            if left == 0 {
                return Ok(());
            }
            anyhow::ensure!(begun.elapsed() < LIMIT, "{left} Sessions were not gone within {LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.seen().there.len()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_ready(session: &Session) -> bool {
    let conditions = session.status.as_ref().map(|s| &s.conditions[..]).unwrap_or_default();
    a8s_crds::conditions::is_true(conditions, a8s_crds::conditions::ConditionType::Ready)
}
