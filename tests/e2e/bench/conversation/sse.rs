//! Streams of events, with the moment at which each arrived.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;

/// Longest wait for any event.
const LIMIT: Duration = Duration::from_mins(1);

/// An event of a runner, and when it was here.
#[derive(Debug)]
pub struct Heard {
    /// When the client had it.
    pub at: Timestamp,
    /// What it says.
    pub event: Value,
}

impl Heard {
    /// When the runner noted it.
    pub fn noted(&self) -> Result<Timestamp> {
        Ok(self.event["ts"].as_str().context("an event has a time")?.parse()?)
    }
}

/// A stream that is read all the time, so that an event's moment does not depend on who waits for it.
pub struct Stream(mpsc::UnboundedReceiver<Heard>);

impl Stream {
    /// Reads an answer.
    pub fn read(response: reqwest::Response) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (mut chunks, mut text) = (response.bytes_stream(), Vec::new());
            while let Some(Ok(chunk)) = chunks.next().await {
                let at = Timestamp::now();
                text.extend_from_slice(&chunk);
                while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                    let block: Vec<u8> = text.drain(..end + 2).collect();
                    let block = String::from_utf8_lossy(&block);
                    let data: String =
                        block.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).collect();
                    let Ok(event) = serde_json::from_str::<Value>(&data) else { continue };
                    if sender.send(Heard { at, event }).is_err() {
                        return;
                    }
                }
            }
        });
        Self(receiver)
    }

    /// The next one that is meant; those before it are forgotten.
    pub async fn until(&mut self, what: &str, mut meant: impl FnMut(&Value) -> bool) -> Result<Heard> {
        let next = async {
            while let Some(heard) = self.0.recv().await {
                if meant(&heard.event) {
                    return Ok(heard);
                }
            }
            bail!("the stream ended before {what}")
        };
        tokio::time::timeout(LIMIT, next).await.with_context(|| format!("{what}: not within {LIMIT:?}"))?
    }
}
