//! The turn state machine. One task owns the conversation: it takes calls from HTTP and MCP and reports from the link, and writes the
//! transcript. Turns run strictly one after the other.
//!
//! An interrupt climbs a ladder: ask once, wait a moment, then cut the connection (the shim ends the process group). Whatever the harness
//! does, its turn ends and the next message is delivered.

mod reports;
mod tell;
mod transcript;

use std::{collections::HashMap, time::Duration};

use a8s_wire::{
    ArtifactInfo, EventBody, EventId, Prompt, PromptAccepted, Restored, SessionIdentity, event::PlanEntry,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    acp::{FromHarness, ToHarness},
    config::Config,
    handle::{Call, Handle, NewArtifact, StorageError},
    history::{History, Turn},
    log::Log,
    record::Record,
    summary,
};

/// How often lines that could not be written are tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Attempts to start the harness, about half a minute, before the runner calls it failed. It goes on trying.
const FAILED_AFTER: u32 = 20;

/// The state machine.
pub struct Engine {
    log: Log,
    history: History,
    harness: mpsc::UnboundedSender<ToHarness>,
    connected: watch::Sender<bool>,
    needs_summary: bool,
    failures: u32,
    failure: Option<String>,
    storage_failure: Option<String>,
    text: String,
    text_message: Option<String>,
    steps: HashMap<String, (String, String)>,
    cancel_deadline: Option<Instant>,
    cancel_grace: Duration,
    workspace: String,
    restored: Option<Restored>,
}

impl Engine {
    /// Takes up the conversation where the transcript ends, and starts the engine's task.
    pub fn start(
        log: Log,
        records: &[Record],
        config: &Config,
        harness: mpsc::UnboundedSender<ToHarness>,
        reports: mpsc::Receiver<FromHarness>,
    ) -> Handle {
        let mut history = History::default();
        for record in records {
            history.apply(record);
        }
        let (calls, inbox) = mpsc::channel(64);
        let (connected, watch_connected) = watch::channel(false);
        let handle = Handle::new(calls, log.feed(), watch_connected);
        let mut engine = Self {
            log,
            history,
            harness,
            connected,
            needs_summary: false,
            failures: 0,
            failure: None,
            storage_failure: None,
            text: String::new(),
            text_message: None,
            steps: HashMap::new(),
            cancel_deadline: None,
            cancel_grace: config.cancel_grace(),
            workspace: config.workspace_uid.clone(),
            restored: None,
        };
        engine.recover(config.epoch);
        engine.belong(&config.session);
        tokio::spawn(engine.work(inbox, reports));
        handle
    }

    /// What an earlier process left open is closed: its turn ends, and a new epoch begins without the old branch's queue.
    fn recover(&mut self, epoch: i64) {
        if self.history.running.is_some() {
            self.end_turn("error", Some("the runner was restarted during this turn".to_owned()));
            self.notice("The runner was restarted while the agent worked; that message is not repeated. Send it again to continue.");
        }
        if epoch > self.history.last.epoch {
            let dropped = self.history.enter_epoch(epoch);
            if !dropped.is_empty() {
                self.notice("Messages that waited when the snapshot was taken were dropped.");
            }
        }
    }

    /// A pod that was made for a Session knows it from its first moment.
    fn belong(&mut self, session: &str) {
        if session.is_empty() {
            return;
        }
        if let Err(error) = self.bind(SessionIdentity { session: session.to_owned(), uid: None }) {
            tracing::error!(%error, session, "the Session that this pod was made for is not the conversation's");
        }
    }

    async fn work(mut self, mut inbox: mpsc::Receiver<Call>, mut reports: mpsc::Receiver<FromHarness>) {
        let mut retry = tokio::time::interval(RETRY);
        loop {
            let deadline = self.cancel_deadline.unwrap_or_else(Instant::now);
            tokio::select! {
                call = inbox.recv() => match call {
                    Some(call) => self.answer(call),
                    None => break,
                },
                report = reports.recv() => match report {
                    Some(report) => self.report(report),
                    None => break,
                },
                () = sleep_until(deadline), if self.cancel_deadline.is_some() => self.give_up(),
                _ = retry.tick(), if self.storage_failure.is_some() => self.stored(Log::flush),
            }
        }
        self.stored(Log::sync);
    }

    fn answer(&mut self, call: Call) {
        // An answer that nobody waits for any more is no error: the caller hung up.
        match call {
            Call::Prompt(prompt, answer) => {
                let accepted = self.accept(&prompt);
                let _ = answer.send(accepted);
                self.next_turn();
            }
            Call::Interrupt(turn, answer) => {
                let _ = answer.send(self.interrupt(turn));
            }
            Call::State(answer) => {
                let _ = answer.send(self.state());
            }
            Call::Quiesce(answer) => {
                let synced = self.log.sync().map_err(StorageError);
                let _ = answer.send(synced.map(|()| self.state()));
            }
            Call::Bind(session, answer) => {
                let _ = answer.send(self.bind(session));
            }
            Call::Restored(restored, answer) => {
                self.restored = Some(restored);
                let _ = answer.send(());
            }
            Call::Plan(entries, answer) => {
                self.set_plan(entries);
                let _ = answer.send(());
            }
            Call::Finish(summary, answer) => {
                self.record(EventBody::Finished { summary });
                let _ = answer.send(());
            }
            Call::Artifact(artifact, answer) => {
                let _ = answer.send(self.publish(artifact));
            }
        }
    }

    fn accept(&mut self, prompt: &Prompt) -> Result<PromptAccepted, StorageError> {
        if !self.history.known.contains_key(&prompt.message_id) {
            let record = Record::Accepted {
                accepted: prompt.clone(),
                turn: self.history.last_turn + 1,
                epoch: self.history.last.epoch,
            };
            self.log.append_or_refuse(&record)?;
            self.history.apply(&record);
        }
        let waiting = self.history.queue.iter().position(|turn| turn.prompt.message_id == prompt.message_id);
        let busy = usize::from(self.history.running.is_some() || !*self.connected.borrow());
        let turn = self.history.known.get(&prompt.message_id).copied().unwrap_or_default();
        Ok(PromptAccepted { turn, position: waiting.map_or(0, |at| at + busy) })
    }

    fn publish(&mut self, artifact: NewArtifact) -> ArtifactInfo {
        let newest = self.history.newest(&artifact.name);
        if let Some(same) =
            newest.filter(|info| info.sha256 == artifact.sha256 && info.title == artifact.title)
        {
            return same.clone();
        }
        let info = ArtifactInfo {
            version: newest.map_or(1, |info| info.version + 1),
            name: artifact.name,
            title: artifact.title,
            file_name: artifact.file_name,
            media_type: artifact.media_type,
            size: artifact.size,
            sha256: artifact.sha256,
            turn: self.history.current_turn,
        };
        self.record(EventBody::Artifact(info.clone()));
        info
    }

    fn interrupt(&mut self, turn: i64) -> bool {
        let running = self.history.running.as_ref().is_some_and(|running| running.number == turn);
        // A second cancel confuses harnesses: one is sent, later ones only join the wait.
        if running && self.cancel_deadline.is_none() {
            let _ = self.harness.send(ToHarness::Cancel);
            self.cancel_deadline = Some(Instant::now() + self.cancel_grace);
        }
        running
    }

    fn give_up(&mut self) {
        let _ = self.harness.send(ToHarness::Hangup);
        self.connected.send_replace(false);
        self.end_turn("interrupted", None);
        self.notice("The agent did not stop by itself and was restarted.");
    }

    fn set_plan(&mut self, entries: Vec<PlanEntry>) {
        if self.history.plan != entries {
            self.record(EventBody::Plan { entries });
        }
    }

    fn next_turn(&mut self) {
        if self.history.running.is_some() || !*self.connected.borrow() || self.storage_failure.is_some() {
            return;
        }
        let Some(Turn { number, prompt }) = self.history.queue.front().cloned() else { return };
        let preamble = if std::mem::take(&mut self.needs_summary) {
            summary::of(&self.log.feed().after(EventId::default()))
        } else {
            None
        };
        let started = EventBody::TurnStarted {
            message_id: prompt.message_id.clone(),
            content: prompt.content.clone(),
            author: prompt.author.clone(),
        };
        self.record_in(number, started);
        let _ = self.harness.send(ToHarness::Prompt { turn: number, prompt, preamble });
    }
}
