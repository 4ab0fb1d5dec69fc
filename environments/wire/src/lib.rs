//! What the control plane and the processes of a workspace pod say to each other: access tokens, HTTP bodies, stream events and
//! well-known paths. Pure data and pure functions; it never opens a socket and knows nothing of Kubernetes clients.

pub mod desk;
pub mod event;
pub mod grants;
pub mod launch;
pub mod paths;
pub mod recording;
pub mod request;
pub mod runner;
pub mod token;

pub use desk::{AUDIENCE, Clipboard, ControlState, DeskState, FirstFrame, Holder, SetControl};
pub use event::{Event, EventBody, EventId};
pub use grants::{Grant, GrantKind, Grants, Header};
pub use launch::{Launch, Launched};
pub use request::{Answer, Answered, Choice, Field, PermissionPolicy, Question, Settings, Usage};
pub use runner::{
    ArtifactInfo, Flushed, Interrupt, Interrupted, Prompt, PromptAccepted, Restored, RunnerPhase,
    RunnerState, SessionIdentity,
};
pub use token::{Claims, Scope, TokenError};
