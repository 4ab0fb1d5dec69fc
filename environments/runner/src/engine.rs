//! The turn state machine. One task owns the conversation: it takes calls from HTTP and MCP and reports from the link, and writes the
//! transcript. Turns run strictly one after the other.
//!
//! An interrupt climbs a ladder: what the agent asks is cancelled, it is asked to stop once, has a moment, then the connection is cut (the
//! shim ends the process group). Whatever the harness does, its turn ends and the next message is delivered.

mod questions;
mod reports;
mod settings;
mod speech;
mod tell;
mod transcript;
mod usage;

use std::{collections::HashMap, sync::Arc, time::Duration};

use a8s_wire::{
    ArtifactInfo, EventBody, EventId, Grants, Launch, Prompt, PromptAccepted, Restored, SessionIdentity,
    Settings, event::PlanEntry,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    acp::{FromHarness, ToHarness},
    artifacts::Blobs,
    config::Config,
    handle::{Call, Handle, NewArtifact, StorageError},
    history::{History, Turn},
    launch::Gateway,
    log::Log,
    mcp::Granted,
    record::Record,
    redact::Redactor,
    summary,
};
use questions::Waiter;
use speech::Speech;
use usage::Meter;

/// How often lines that could not be written are tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Attempts to start the harness, about half a minute, before the runner calls it failed. It goes on trying.
const FAILED_AFTER: u32 = 20;

/// What the engine is connected to.
pub struct Parts {
    /// The link.
    pub harness: mpsc::UnboundedSender<ToHarness>,
    /// What the link reports.
    pub reports: mpsc::Receiver<FromHarness>,
    /// What the link starts.
    pub launch: watch::Sender<Launch>,
    /// What was granted.
    pub grants: watch::Receiver<Arc<Grants>>,
    /// Where the agent finds what was granted.
    pub gateway: Gateway,
    /// Knows what must not be told.
    pub redactor: Redactor,
    /// Keeps texts that are too long for an event.
    pub blobs: Blobs,
    /// The turn that is to be recorded.
    pub recorded: watch::Sender<Option<i64>>,
}

/// The state machine.
pub struct Engine {
    log: Log,
    history: History,
    harness: mpsc::UnboundedSender<ToHarness>,
    connected: watch::Sender<bool>,
    /// Nothing that the harness wants of the desktop is passed on: it may be deaf.
    halted: watch::Sender<bool>,
    granted: watch::Sender<Granted>,
    needs_summary: bool,
    failures: u32,
    failure: Option<String>,
    storage_failure: Option<String>,
    speech: Speech,
    steps: HashMap<String, (String, String)>,
    cancel_deadline: Option<Instant>,
    cancel_grace: Duration,
    workspace: String,
    restored: Option<Restored>,
    waiters: HashMap<String, Waiter>,
    defaults: Settings,
    grants: watch::Receiver<Arc<Grants>>,
    gateway: Gateway,
    redactor: Redactor,
    blobs: Blobs,
    recorded: watch::Sender<Option<i64>>,
    launch: watch::Sender<Launch>,
    /// What runs, once it is connected.
    launched: Option<Launch>,
    /// The model that was not granted yet, and since when it is missed.
    ungranted: Option<(String, Instant)>,
    /// The harness keeps only a summary of what was said.
    compacted: bool,
    /// The harness has not heard the standing instructions.
    uninstructed: bool,
    meter: Meter,
}

impl Engine {
    /// Takes up the conversation where the transcript ends, and starts the engine's task.
    pub fn start(log: Log, records: &[Record], config: &Config, parts: Parts) -> Handle {
        let mut history = History::default();
        for record in records {
            history.apply(record);
        }
        let (calls, inbox) = mpsc::channel(64);
        let (connected, watch_connected) = watch::channel(false);
        let (halted, watch_halted) = watch::channel(false);
        let (granted, watch_granted) = watch::channel(Granted::default());
        let handle = Handle::new(calls, log.feed(), watch_connected, watch_halted, watch_granted);
        let meter = Meter::from(history.usage);
        let speech = Speech::open(&config.state, &history, records);
        let mut engine = Self {
            log,
            history,
            harness: parts.harness,
            connected,
            halted,
            granted,
            needs_summary: false,
            failures: 0,
            failure: None,
            storage_failure: None,
            speech,
            steps: HashMap::new(),
            cancel_deadline: None,
            cancel_grace: config.cancel_grace(),
            workspace: config.workspace_uid.clone(),
            restored: None,
            waiters: HashMap::new(),
            defaults: Settings { request_timeout_seconds: 1_800, ..Settings::default() },
            grants: parts.grants,
            gateway: parts.gateway,
            redactor: parts.redactor,
            blobs: parts.blobs,
            recorded: parts.recorded,
            launch: parts.launch,
            launched: None,
            ungranted: None,
            compacted: false,
            uninstructed: false,
            meter,
        };
        engine.recover(config.epoch);
        engine.belong(&config.session);
        engine.arrange();
        tokio::spawn(engine.work(inbox, parts.reports));
        handle
    }

    /// What an earlier process left open is closed: its turn ends, and a new epoch begins without the old branch's queue.
    fn recover(&mut self, epoch: i64) {
        if self.history.running.is_some() {
            self.end_turn("error", Some("the runner was restarted during this turn".to_owned()));
            self.notice("The runner was restarted while the agent worked; that message is not repeated. Send it again to continue.");
        }
        // A harness that waited for permission is gone; whoever waited for anything else is told by a message.
        self.cancel_questions(|question, _| question.kind == "Permission");
        if epoch > self.history.last.epoch {
            self.cancel_questions(|_, _| true);
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
            self.settle();
            let wake = self.wake();
            tokio::select! {
                call = inbox.recv() => match call {
                    Some(call) => self.answer(call),
                    None => break,
                },
                report = reports.recv() => match report {
                    Some(report) => self.report(report),
                    None => break,
                },
                // Whoever reads the grants lives as long as the process.
                Ok(()) = self.grants.changed() => self.arrange(),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.due(),
                _ = retry.tick(), if self.storage_failure.is_some() => self.stored(Log::flush),
            }
        }
        self.tell_usage();
        self.stored(Log::sync);
    }

    /// When something is due although nothing happens.
    fn wake(&self) -> Option<Instant> {
        let due = [self.cancel_deadline, self.next_expiry(), self.next_measure(), self.speech.due()];
        due.into_iter().flatten().min()
    }

    fn due(&mut self) {
        if self.cancel_deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            self.give_up();
        }
        self.fall_silent();
        self.expire();
    }

    /// What follows from whatever happened.
    fn settle(&mut self) {
        self.measure();
        if self.history.running.is_none() && *self.connected.borrow() && self.outdated() {
            self.relaunch();
        }
        self.next_turn();
        self.record_desktop();
    }

    fn answer(&mut self, call: Call) {
        // An answer that nobody waits for any more is no error: the caller hung up.
        match call {
            Call::Prompt(prompt, answer) => {
                let accepted = self.accept(&prompt);
                let _ = answer.send(accepted);
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
            Call::Ask(question, answer) => {
                let _ = answer.send(self.ask(question));
            }
            Call::Reply(id, reply, answer) => {
                let _ = answer.send(self.reply(&id, &reply));
            }
            Call::Configure(settings, answer) => {
                let _ = answer.send(self.configure(*settings));
            }
            Call::Used(usage) => self.used(usage),
            Call::Notice(text) => self.notice(&text),
            Call::Plan(entries, answer) => {
                self.set_plan(entries);
                let _ = answer.send(());
            }
            Call::Finish(summary, answer) => {
                self.record(EventBody::Finished { summary });
                let _ = answer.send(());
            }
            Call::Artifact(artifact, answer) => {
                let turn = self.history.current_turn;
                let _ = answer.send(self.publish(artifact, turn));
            }
            Call::Recording(turn, artifact, answer) => {
                let _ = answer.send(self.publish(artifact, turn));
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
            let record = self.redactor.record(record);
            self.log.append_or_refuse(&record)?;
            self.history.apply(record.get());
        }
        let waiting = self.history.queue.iter().position(|turn| turn.prompt.message_id == prompt.message_id);
        let busy = usize::from(self.history.running.is_some() || !*self.connected.borrow());
        let turn = self.history.known.get(&prompt.message_id).copied().unwrap_or_default();
        Ok(PromptAccepted { turn, position: waiting.map_or(0, |at| at + busy) })
    }

    fn publish(&mut self, artifact: NewArtifact, turn: i64) -> ArtifactInfo {
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
            turn,
        };
        self.record(EventBody::Artifact(info.clone()));
        info
    }

    fn interrupt(&mut self, turn: i64) -> bool {
        let running = self.history.running.as_ref().is_some_and(|running| running.number == turn);
        // A second cancel confuses harnesses: one is sent, later ones only join the wait.
        if running && self.cancel_deadline.is_none() {
            self.halted.send_replace(true);
            // Who says stop does not want to be asked any more. What the harness waits for is answered before it hears of the interrupt.
            self.cancel_questions(|question, _| question.turn == turn);
            let _ = self.harness.send(ToHarness::Cancel);
            self.cancel_deadline = Some(Instant::now() + self.cancel_grace);
        }
        running
    }

    fn give_up(&mut self) {
        let _ = self.harness.send(ToHarness::Hangup);
        self.connected.send_replace(false);
        self.launched = None;
        self.end_turn("interrupted", None);
        self.notice("The agent did not stop by itself and was restarted.");
    }

    fn set_plan(&mut self, entries: Vec<PlanEntry>) {
        if self.history.plan != entries {
            self.record(EventBody::Plan { entries });
        }
    }

    fn next_turn(&mut self) {
        let ready = *self.connected.borrow() && self.storage_failure.is_none() && self.hindrance().is_none();
        if self.history.running.is_some() || !ready || self.limit().is_some() {
            return;
        }
        let Some(Turn { number, prompt }) = self.history.queue.front().cloned() else { return };
        self.halted.send_replace(false);
        let preamble = self.preamble();
        let started = EventBody::TurnStarted {
            message_id: prompt.message_id.clone(),
            content: prompt.content.clone(),
            author: prompt.author.clone(),
        };
        self.turn_begins();
        self.record_in(number, started);
        let _ = self.harness.send(ToHarness::Prompt { turn: number, prompt, preamble });
    }

    /// What the harness must know before the next message.
    fn preamble(&mut self) -> Option<String> {
        let settings = self.settings();
        let (instructions, requirement) = (settings.instructions.clone(), settings.requirement.clone());
        // The built-in agent has them in its environment.
        let instructions = instructions.filter(|_| !self.settings().command.is_empty());
        let mut parts = Vec::new();
        if std::mem::take(&mut self.uninstructed) {
            parts.extend(instructions.map(|text| format!("[Standing instructions]\n{text}")));
        }
        if std::mem::take(&mut self.needs_summary)
            && let Some(said) = summary::of(&self.log.feed().after(EventId::default()))
        {
            parts.extend(requirement.map(|text| format!("[What is to be reached]\n{text}")));
            parts.push(said);
        } else if std::mem::take(&mut self.compacted) {
            parts.extend(requirement.map(|text| format!("[A reminder: what is to be reached]\n{text}")));
        }
        self.compacted = false;
        if self.history.interrupted {
            parts.push("[The user interrupted what you did before.]".to_owned());
        }
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }
}
