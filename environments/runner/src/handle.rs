//! How the rest of the process talks to the engine: calls with answers, over a queue.

use std::io;

use a8s_wire::{
    Answer, ArtifactInfo, Prompt, PromptAccepted, Restored, RunnerState, SessionIdentity, Settings, Usage,
    event::PlanEntry,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    log::Feed,
    mcp::Granted,
    question::{AnswerError, Closed, NewQuestion},
};

/// The transcript cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the transcript cannot be written ({0}); is the workspace's volume full?")]
pub struct StorageError(#[from] pub io::Error);

/// The conversation cannot be given to this Session.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It is another one's.
    #[error("this conversation belongs to the Session {0}; a pod is never given from one Session to another")]
    Other(String),
    /// The transcript cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// An answer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// It does not fit the question.
    #[error(transparent)]
    Unfit(#[from] AnswerError),
    /// The transcript cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A question that was opened.
#[derive(Debug)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// How it ends. If nobody listens any more, the agent is told by a message.
    pub closed: oneshot::Receiver<Closed>,
}

/// A file in the blob store that is about to be published.
#[derive(Clone, Debug)]
pub struct NewArtifact {
    /// Name without version.
    pub name: String,
    /// Human-readable title.
    pub title: String,
    /// File name offered for a download.
    pub file_name: String,
    /// Media type.
    pub media_type: String,
    /// Bytes.
    pub size: i64,
    /// Hex SHA-256.
    pub sha256: String,
}

/// A call, with the place for its answer.
pub enum Call {
    /// Take a message on.
    Prompt(Prompt, oneshot::Sender<Result<PromptAccepted, StorageError>>),
    /// Stop a turn.
    Interrupt(i64, oneshot::Sender<bool>),
    /// Tell the state.
    State(oneshot::Sender<RunnerState>),
    /// Bring everything to the disk.
    Quiesce(oneshot::Sender<Result<RunnerState, StorageError>>),
    /// Learn whose conversation it is.
    Bind(SessionIdentity, oneshot::Sender<Result<SessionIdentity, BindError>>),
    /// Learn what was found on a restored volume.
    Restored(Restored, oneshot::Sender<()>),
    /// Ask a person.
    Ask(NewQuestion, oneshot::Sender<Asked>),
    /// Answer a question.
    Reply(String, Answer, oneshot::Sender<Result<bool, ReplyError>>),
    /// Learn how the agent is run.
    Configure(Box<Settings>, oneshot::Sender<Result<(), StorageError>>),
    /// Count what a model was used.
    Used(Usage),
    /// Tell people something.
    Notice(String),
    /// Record a plan.
    Plan(Vec<PlanEntry>, oneshot::Sender<()>),
    /// Record that the goal is reached.
    Finish(String, oneshot::Sender<()>),
    /// Record an artifact.
    Artifact(NewArtifact, oneshot::Sender<ArtifactInfo>),
    /// Record what was recorded of a turn that may be over.
    Recording(i64, NewArtifact, oneshot::Sender<ArtifactInfo>),
}

/// The engine has stopped: the process is on its way down.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the runner is stopping")]
pub struct Stopped;

/// How the rest of the process talks to the engine.
#[derive(Clone)]
pub struct Handle {
    calls: mpsc::Sender<Call>,
    feed: Feed,
    connected: watch::Receiver<bool>,
    halted: watch::Receiver<bool>,
    granted: watch::Receiver<Granted>,
}

impl Handle {
    /// A handle to the engine that reads `calls`.
    pub fn new(
        calls: mpsc::Sender<Call>,
        feed: Feed,
        connected: watch::Receiver<bool>,
        halted: watch::Receiver<bool>,
        granted: watch::Receiver<Granted>,
    ) -> Self {
        Self { calls, feed, connected, halted, granted }
    }

    async fn call<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Call) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(make(answer)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Takes a message on, durably. A message that is known already changes nothing.
    pub async fn prompt(&self, prompt: Prompt) -> Result<Result<PromptAccepted, StorageError>, Stopped> {
        self.call(|answer| Call::Prompt(prompt, answer)).await
    }

    /// Stops the given turn if it is the running one.
    pub async fn interrupt(&self, turn: i64) -> Result<bool, Stopped> {
        self.call(|answer| Call::Interrupt(turn, answer)).await
    }

    /// The state now.
    pub async fn state(&self) -> Result<RunnerState, Stopped> {
        self.call(Call::State).await
    }

    /// Brings the transcript to the disk.
    pub async fn quiesce(&self) -> Result<Result<RunnerState, StorageError>, Stopped> {
        self.call(Call::Quiesce).await
    }

    /// Gives the conversation to a Session, durably; once and for all.
    pub async fn bind(
        &self,
        session: SessionIdentity,
    ) -> Result<Result<SessionIdentity, BindError>, Stopped> {
        self.call(|answer| Call::Bind(session, answer)).await
    }

    /// Tells what was found on a restored volume.
    pub async fn restored(&self, restored: Restored) -> Result<(), Stopped> {
        self.call(|answer| Call::Restored(restored, answer)).await
    }

    /// Asks a person.
    pub async fn ask(&self, question: NewQuestion) -> Result<Asked, Stopped> {
        self.call(|answer| Call::Ask(question, answer)).await
    }

    /// Answers a question; false if it is closed already, or not known.
    pub async fn reply(&self, id: String, reply: Answer) -> Result<Result<bool, ReplyError>, Stopped> {
        self.call(|answer| Call::Reply(id, reply, answer)).await
    }

    /// Says how the agent is run, durably.
    pub async fn configure(&self, settings: Settings) -> Result<Result<(), StorageError>, Stopped> {
        self.call(|answer| Call::Configure(Box::new(settings), answer)).await
    }

    /// Adds to what was used.
    pub async fn used(&self, usage: Usage) {
        // The engine ends with the process.
        let _ = self.calls.send(Call::Used(usage)).await;
    }

    /// Tells people something.
    pub async fn notice(&self, text: String) {
        // The engine ends with the process.
        let _ = self.calls.send(Call::Notice(text)).await;
    }

    /// Records a plan.
    pub async fn plan(&self, entries: Vec<PlanEntry>) -> Result<(), Stopped> {
        self.call(|answer| Call::Plan(entries, answer)).await
    }

    /// Records that the goal is reached.
    pub async fn finish(&self, summary: String) -> Result<(), Stopped> {
        self.call(|answer| Call::Finish(summary, answer)).await
    }

    /// Records an artifact and gives it its version.
    pub async fn artifact(&self, artifact: NewArtifact) -> Result<ArtifactInfo, Stopped> {
        self.call(|answer| Call::Artifact(artifact, answer)).await
    }

    /// Records the recording of a turn as its artifact.
    pub async fn recording(&self, turn: i64, artifact: NewArtifact) -> Result<ArtifactInfo, Stopped> {
        self.call(|answer| Call::Recording(turn, artifact, answer)).await
    }

    /// The event stream.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Waits until the harness is ready for prompts.
    pub async fn ready(&self) {
        // The engine ends with the process.
        let _ = self.connected.clone().wait_for(|connected| *connected).await;
    }

    /// Waits until the hands of the agent are held: from an interrupt to the next turn.
    pub async fn halted(&self) {
        // The engine ends with the process.
        let _ = self.halted.clone().wait_for(|halted| *halted).await;
    }

    /// The tools that the agent was granted.
    pub fn granted(&self) -> watch::Receiver<Granted> {
        let mut granted = self.granted.clone();
        granted.mark_unchanged();
        granted
    }

    /// Whether the harness is ready for prompts.
    pub fn connected(&self) -> bool {
        *self.connected.borrow()
    }
}
