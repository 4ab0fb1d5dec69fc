//! The two worlds a bridge stands between, as one small trait: the API server and the runner. Tests put both in memory.

use std::future::Future;

use a8s_crds::{
    Approval, Artifact, Attachment, ControlStatus, Message, MessageStatus, Request, RequestStatus,
};
use a8s_plan::Notice;
use a8s_wire::{
    Answer, Answered, Event, EventId, Prompt, PromptAccepted, Question, RunnerState, SessionIdentity,
    Settings,
};
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{errors::Error, pods::PodError};

/// What a creation found.
#[derive(Debug)]
pub enum Made<T> {
    /// It was not there.
    New(T),
    /// An object of that name is there.
    Exists(T),
}

/// What the bridge does to the outside. Every call may be the last one before a crash.
pub trait World: Send + Sync {
    /// All Messages of the Session, freshly read.
    fn messages(&self) -> impl Future<Output = Result<Vec<Message>, Error>> + Send;
    /// Those of them whose status does not say that they are settled, freshly read: few, however long the conversation.
    fn unsettled(&self) -> impl Future<Output = Result<Vec<Message>, Error>> + Send;
    /// Whether nobody but this process can give Messages their place now, or could since it began.
    fn is_alone(&self) -> bool;
    /// Creates a Message.
    fn create_message(&self, message: &Message) -> impl Future<Output = Result<Made<Message>, Error>> + Send;
    /// Makes the Session the owner of a person's Message, so that it goes with the Session. The Message as it is then; nothing if it is gone.
    fn adopt(&self, message: &Message) -> impl Future<Output = Result<Option<Message>, Error>> + Send;
    /// Puts the label for what a restore left behind on a Message, or takes it off.
    fn set_abandoned(
        &self,
        message: &Message,
        abandoned: bool,
    ) -> impl Future<Output = Result<(), Error>> + Send;
    /// Writes the first status of a Message, if the Message is as it was read; whether that was so.
    fn set_first_status(
        &self,
        message: &Message,
        status: &MessageStatus,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
    /// Writes the whole status of a Message.
    fn set_status(
        &self,
        message: &Message,
        status: &MessageStatus,
    ) -> impl Future<Output = Result<(), Error>> + Send;
    /// All Requests of the Session, freshly read.
    fn requests(&self) -> impl Future<Output = Result<Vec<Request>, Error>> + Send;
    /// Who may decide what the agent asks; written into the Request when it is made.
    fn approval(&self, question: &Question) -> Approval;
    /// Creates a Request.
    fn create_request(&self, request: &Request) -> impl Future<Output = Result<Made<Request>, Error>> + Send;
    /// Writes the status of a Request, without the decision, if the Request is as it was read; else nothing is done.
    fn set_request_status(
        &self,
        request: &Request,
        status: &RequestStatus,
    ) -> impl Future<Output = Result<(), Error>> + Send;
    /// Who has mouse and keyboard, as deskd confirmed it; nothing if it did not say so yet.
    fn control(&self) -> Option<ControlStatus>;
    /// How the agent is to be run.
    fn settings(&self) -> Settings;
    /// Creates an Artifact.
    fn create_artifact(
        &self,
        artifact: &Artifact,
    ) -> impl Future<Output = Result<Made<Artifact>, Error>> + Send;
    /// The content of an attachment; nothing if there is no file to put anywhere, as for most Connections.
    fn attachment(
        &self,
        attachment: &Attachment,
    ) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send;
    /// What an agent that asked for more material gets: file name and content; nothing if there is no Artifact of that name, and no key of a
    /// ConfigMap (`<name>/<key>`).
    fn material(&self, subject: &str) -> impl Future<Output = Result<Option<(String, Bytes)>, Error>> + Send;
    /// Sends an Event about the Session.
    fn say(&self, notice: Notice) -> impl Future<Output = ()> + Send;

    /// State of the runner.
    fn runner_state(&self) -> impl Future<Output = Result<RunnerState, PodError>> + Send;
    /// Tells the runner whose conversation it keeps; it refuses if it keeps another one's.
    fn bind(&self, session: &SessionIdentity) -> impl Future<Output = Result<(), PodError>> + Send;
    /// Tells the runner how to run the agent.
    fn put_settings(&self, settings: &Settings) -> impl Future<Output = Result<(), PodError>> + Send;
    /// Gives the agent a message.
    fn prompt(&self, prompt: &Prompt) -> impl Future<Output = Result<PromptAccepted, PodError>> + Send;
    /// Stops a turn.
    fn interrupt(&self, turn: i64) -> impl Future<Output = Result<(), PodError>> + Send;
    /// Answers a question of the agent.
    fn answer(&self, id: &str, answer: &Answer) -> impl Future<Output = Result<Answered, PodError>> + Send;
    /// Puts a file into `~/Attachments`.
    fn put_attachment(&self, name: &str, body: Bytes) -> impl Future<Output = Result<(), PodError>> + Send;
    /// Events after `after`, replayed and then live.
    fn events(
        &self,
        after: EventId,
    ) -> impl Future<Output = Result<BoxStream<'static, Result<Event, PodError>>, PodError>> + Send;
}
