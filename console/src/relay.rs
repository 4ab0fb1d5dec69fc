//! The runner's events, passed on to a browser that cannot reach the pod. The console vouches for the person with a token of its own, after
//! the API server said that the person may look at this desktop, and asks again while the stream runs.

use std::{sync::Arc, time::Duration};

use a8s_wire::{
    Claims, EventId, Scope,
    paths::{RUNNER_PORT, server_name},
    token,
};
use axum::response::sse::Event;
use ed25519_dalek::SigningKey;
use futures::StreamExt;
use kube::{Client, ResourceExt, api::DynamicObject};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    artifacts::may,
    errors::Refusal,
    events::{Out, denied},
    server::Console,
};

const TOKEN_SECONDS: i64 = 60;
const RECHECK: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// The runner breaks silence every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// A longer event is none of the runner's.
const MAX_EVENT: usize = 4 * 1024 * 1024;

/// Where the runner of a Workspace answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    name: String,
    uid: String,
    host: String,
}

impl Place {
    /// As the Workspace says; nowhere without a pod.
    pub fn of(workspace: &DynamicObject) -> Option<Self> {
        let status = &workspace.data["status"];
        let host = status["host"].as_str().filter(|host| !host.is_empty())?;
        Some(Self { name: workspace.name_any(), uid: workspace.uid()?, host: host.to_owned() })
    }
}

/// What it takes to reach runners.
pub struct Runners {
    key: SigningKey,
    ca: reqwest::Certificate,
    port: u16,
}

impl Runners {
    /// With the install's signing key and CA, both PEM.
    pub fn new(key: &str, ca: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { key: token::signing_key(key)?, ca: reqwest::Certificate::from_pem(ca)?, port: RUNNER_PORT })
    }

    /// On another port, for tests.
    #[must_use]
    pub fn on_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    async fn open(&self, place: &Place, user: &str, after: EventId) -> anyhow::Result<reqwest::Response> {
        let addresses: Vec<_> = tokio::net::lookup_host((place.host.as_str(), self.port)).await?.collect();
        let name = server_name(&place.uid);
        let client = reqwest::Client::builder()
            .tls_built_in_root_certs(false)
            .add_root_certificate(self.ca.clone())
            .resolve_to_addrs(&name, &addresses)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .https_only(true)
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(SILENCE)
            .build()?;
        let claims = Claims {
            iss: "console".into(),
            sub: user.to_owned(),
            wsu: place.uid.clone(),
            scp: vec![Scope::Stream],
            exp: jiff::Timestamp::now().as_second() + TOKEN_SECONDS,
            jti: hex::encode(rand::random::<[u8; 16]>()),
        };
        let url = format!("https://{name}:{}/v1/events?after={after}", self.port);
        let request = client.get(url).bearer_auth(token::sign(&self.key, &claims));
        Ok(request.send().await?.error_for_status()?)
    }
}

/// One browser's share of a runner.
pub struct Relay {
    /// The console.
    pub console: Arc<Console>,
    /// The person's client.
    pub client: Client,
    /// Namespace of the Workspace.
    pub namespace: String,
    /// The person.
    pub user: String,
    /// The browser.
    pub out: Out,
}

enum End {
    /// The browser is gone, or the Session is no longer watched.
    Gone,
    /// To be opened again.
    Broken,
    /// The person may not look.
    Denied(Refusal),
}

impl Relay {
    /// Passes on what happened after `after`, for as long as there is somebody to read it.
    pub async fn run(self, mut place: watch::Receiver<Option<Place>>, mut after: EventId) {
        let mut pause = PAUSE;
        let mut told = false;
        loop {
            let Ok(now) = place.wait_for(Option::is_some).await.map(|place| place.clone()) else { return };
            let Some(now) = now else { continue };
            let before = after;
            let end = tokio::select! {
                end = self.pass(&now, &mut after) => end,
                end = self.watch_access(&now) => end,
                moved = place.wait_for(|other| other.as_ref() != Some(&now)) => {
                    if moved.is_ok() {
                        continue;
                    }
                    End::Gone
                }
            };
            match end {
                End::Gone => return,
                End::Broken => {}
                // Rights may come back; it is said once.
                End::Denied(refusal) => {
                    if !told && self.out.send(denied("Runner", &refusal)).await.is_err() {
                        return;
                    }
                    told = true;
                    pause = LONGEST_PAUSE;
                }
            }
            pause = if after == before { (pause * 2).min(LONGEST_PAUSE) } else { PAUSE };
            tokio::time::sleep(pause).await;
        }
    }

    /// Ends when the person may not look any more. Without an answer the stream goes on; it ends with the login.
    async fn watch_access(&self, place: &Place) -> End {
        loop {
            tokio::time::sleep(RECHECK).await;
            if let Some(end) = self.access(place).await {
                return end;
            }
        }
    }

    async fn access(&self, place: &Place) -> Option<End> {
        let asked = may(&self.client, "get", ("workspaces", "desktop"), (&self.namespace, &place.name)).await;
        match asked {
            Ok(true) => None,
            Ok(false) => {
                let text =
                    format!("{} may not get workspaces/desktop {}/{}", self.user, self.namespace, place.name);
                Some(End::Denied(Refusal::forbidden("Forbidden", text)))
            }
            Err(refusal) if matches!(refusal.status.as_u16(), 401 | 403) => Some(End::Denied(refusal)),
            Err(_) => Some(End::Broken),
        }
    }

    async fn pass(&self, place: &Place, after: &mut EventId) -> End {
        if let Some(end) = self.access(place).await {
            return end;
        }
        let response = match self.console.runners.open(place, &self.user, *after).await {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(
                    workspace = place.uid,
                    error = format!("{error:#}"),
                    "cannot reach the runner"
                );
                return End::Broken;
            }
        };
        let mut chunks = response.bytes_stream();
        let mut decoder = Decoder::default();
        while let Some(Ok(chunk)) = chunks.next().await {
            let Some(events) = decoder.feed(&chunk) else { return End::Broken };
            for text in events {
                let Ok(data) = serde_json::from_str::<Value>(&text) else { continue };
                let mut event = Event::default().event("runner").data(data.to_string());
                // A delta has the id of the last recorded event.
                if let (Some(epoch), Some(seq)) = (data["epoch"].as_i64(), data["seq"].as_i64()) {
                    *after = EventId { epoch, seq };
                    event = event.id(after.to_string());
                }
                if self.out.send(event).await.is_err() {
                    return End::Gone;
                }
            }
        }
        End::Broken
    }
}

/// The `data` of server-sent events out of chunks of bytes.
#[derive(Default)]
struct Decoder {
    line: Vec<u8>,
    data: String,
}

impl Decoder {
    /// Events that are complete with this chunk; nothing if one is too long.
    fn feed(&mut self, chunk: &[u8]) -> Option<Vec<String>> {
        let mut events = Vec::new();
        for &byte in chunk {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() + self.data.len() > MAX_EVENT {
                    return None;
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                if !self.data.is_empty() {
                    events.push(std::mem::take(&mut self.data));
                }
            } else if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        Some(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_the_chunks_break() {
        let text = ": heartbeat\n\nid: 0.1\nevent: message\ndata: {\"a\":1}\n\ndata: x\r\ndata: y\r\n\r\n";
        for size in 1..text.len() {
            let mut decoder = Decoder::default();
            let events: Vec<_> =
                text.as_bytes().chunks(size).flat_map(|chunk| decoder.feed(chunk).unwrap()).collect();
            assert_eq!(events, ["{\"a\":1}", "x\ny"], "chunks of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_given_up() {
        let mut decoder = Decoder::default();
        let chunk = vec![b'x'; 65_536];
        assert!((0..100).any(|_| decoder.feed(&chunk).is_none()));
    }
}
