//! The chat stage: before there is a desktop, the chat agent and the person agree on what is to be done. It has two brains: a script,
//! which needs no key and never fails, and a model. Either way the chat agent only says and proposes; what begins, begins because a person
//! decided a Request, or because the Session's policy says so.
//!
//! Nothing is remembered between passes. The objects are the conversation (see [`talk`]), their names are functions of what they answer,
//! and what is missing is done next. A pass may end after any of its steps.

mod draft;
pub mod inputs;
pub mod objects;
mod stage;
mod talk;
mod words;

use std::sync::Arc;

use a8s_crds::{
    Approval, Connection, Message, MessageStatus, Request, RequestState, RequestStatus, RequestType,
    Requirement, Session, SessionState,
    conditions::{self, ConditionType},
};
use kube::ResourceExt;

pub use draft::Proposal;
pub use stage::plan;

use crate::{Env, Notice};

/// Whether the Session's spec wants a talk before the work.
pub fn begins(session: &Session) -> bool {
    let spec = &session.spec;
    spec.policy.as_ref().and_then(|p| p.handoff) == Some(Approval::Ask)
        || spec.goal.is_none() && spec.source.is_none()
}

/// Whether the Session is in the chat stage: nothing was handed over yet, and there never was a desktop.
pub fn applies(session: &Session, has_workspace: bool) -> bool {
    is_undecided(session) && !has_workspace && session.spec.state == SessionState::Active
}

/// Whether it is still to be agreed on what is to be done.
fn is_undecided(session: &Session) -> bool {
    let status = session.status.as_ref();
    let over =
        status.is_some_and(|s| s.requirement.is_some() || s.workspace.is_some() || s.goal_epoch.is_some());
    begins(session)
        && !over
        && session.spec.state != SessionState::Terminated
        && session.metadata.deletion_timestamp.is_none()
}

/// What the agent hears first: what was agreed on, or the goal. Nothing, while that is still being talked about.
pub fn first_prompt(session: &Session) -> Option<&str> {
    let requirement = session.status.as_ref().and_then(|s| s.requirement.as_ref());
    requirement.map(|r| r.text.as_str()).or(session.spec.goal.as_deref())
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Brain {
    /// The script.
    Scripted,
    /// The model of this Connection.
    Model(String),
    /// The Connection was not looked at yet.
    Unknown(String),
    /// A model is named that cannot be asked; the script answers. Why, and what to do.
    Unusable(String),
}

/// Who answers in this Session.
pub fn brain(session: &Session, connections: &[Arc<Connection>]) -> Brain {
    let model = session.spec.agent.as_ref().and_then(|a| a.model.as_ref());
    let Some(name) = model.map(|m| m.connection.clone()) else { return Brain::Scripted };
    let Some(found) = connections.iter().find(|c| c.name_any() == name) else {
        return Brain::Unusable(format!("there is no Connection {name} in the namespace; create it"));
    };
    if found.spec.model.is_none() {
        return Brain::Unusable(format!(
            "Connection {name} is no model; name one of kind model in spec.agent.model"
        ));
    }
    let conditions = found.status.as_ref().map_or(&[][..], |s| &s.conditions);
    match conditions::get(conditions, ConditionType::Ready) {
        Some(ready) if ready.status == "True" => Brain::Model(name),
        Some(ready) => Brain::Unusable(format!("Connection {name} is not ready: {}", ready.message)),
        None => Brain::Unknown(name),
    }
}

/// What the chat agent sees beside the spec of the Session.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// All Messages of the Session's name, freshly read.
    pub messages: Vec<Message>,
    /// All Requests of the Session's name, freshly read.
    pub requests: Vec<Arc<Request>>,
    /// What a model thought, and to what.
    pub thought: Option<(String, Thought)>,
}

/// What became of asking a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thought {
    /// What it says, and what it proposes to hand over.
    Answer(String, Option<Proposal>),
    /// It cannot be asked; why, and what to do.
    Failed(String),
}

/// What a model is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// To what the answer is.
    pub key: String,
    /// Name of the Connection.
    pub connection: String,
    /// Who said what, in order; what people said is true.
    pub lines: Vec<(bool, String)>,
    /// Whether what it proposes begins by itself.
    pub auto: bool,
}

/// A step of the chat. Each may be the last before a crash, and may be done twice.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make the Session an owner of a person's Message, so that it goes with the Session.
    Adopt(Message),
    /// Write the status of a Message that is as it was seen.
    Mark(Message, MessageStatus),
    /// Say something: create the Message, then write its status.
    Say(Message, MessageStatus),
    /// Ask something: create the Request, then write its status.
    Ask(Request, RequestStatus),
    /// Write the status of a Request that is as it was seen.
    Close(Request, RequestStatus),
}

/// How the talk stands, and what is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stage {
    /// Steps, in order.
    pub steps: Vec<Step>,
    /// What a model is to be asked; its answer is needed to go on.
    pub think: Option<Question>,
    /// What is handed over; with it the stage is over.
    pub requirement: Option<Requirement>,
    /// Highest place given to a Message.
    pub last_message: i64,
    /// Requests that wait for a person.
    pub requests: i64,
    /// What is waited for; one line.
    pub doing: String,
    /// Why the talk cannot go on, if it cannot.
    pub problem: Option<(conditions::Reason, String)>,
    /// Whether to look again soon although nothing says that something changed.
    pub look_again: bool,
    /// Events to send.
    pub notices: Vec<Notice>,
}

/// Handoff Requests that are open although there is nothing to hand over any more. A Session that is only suspended goes on later.
pub fn leftovers(session: &Session, requests: &[Arc<Request>], env: &Env) -> Vec<Step> {
    if is_undecided(session) {
        return Vec::new();
    }
    let uid = session.uid().unwrap_or_default();
    let ours = |r: &Request| r.owner_references().iter().any(|o| o.controller == Some(true) && o.uid == uid);
    let open = |r: &Request| {
        let status = r.status.as_ref();
        status.is_none_or(|s| s.decision.is_none() && matches!(s.state, None | Some(RequestState::Open)))
    };
    let left = requests.iter().filter(|r| r.spec.kind == RequestType::Handoff && ours(r) && open(r));
    let close = |request: &Arc<Request>| {
        let (before, generation) = (request.status.as_ref(), request.metadata.generation);
        let state = RequestState::Cancelled;
        let status = objects::stands(before, generation, state, "the talk before the work is over", env.now);
        Step::Close(Request::clone(request), status)
    };
    left.map(close).collect()
}

fn bounded(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        text.to_owned()
    } else {
        text.chars().take(max - 2).collect::<String>() + " …"
    }
}

/// Whether a model's proposal could be handed over; what is wrong with it is told in words that the model can use.
pub fn check(seen: &crate::session::Observed, heard: &Heard, proposal: &Proposal) -> Result<(), String> {
    let (placed, _) = talk::ordered(&seen.session, &heard.messages);
    let talk = talk::Talk::read(&seen.session, &placed, &heard.messages, &heard.requests);
    draft::proposed(seen, &talk, proposal).map(drop)
}

#[cfg(test)]
mod tests;
