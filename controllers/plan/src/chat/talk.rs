//! The conversation before the work, as the objects have it: what was said, what was answered, what was asked and how that was decided. It
//! is read anew in each pass; whatever is missing in it is what has to be done next.

use std::{collections::HashMap, sync::Arc};

use a8s_crds::{Attachment, Message, MessageState, Request, RequestState, RequestType, Session, names};
use kube::ResourceExt;

use super::inputs::{self, Values};

/// Key of the goal; a Message's key is its UID, that of a decision the UID of its Request.
pub(super) const GOAL: &str = "goal";

/// One thing that a person said.
#[derive(Debug)]
pub(super) struct Said<'a> {
    pub key: String,
    pub text: &'a str,
    /// It says no more than yes to what was asked before.
    pub yes: bool,
    /// Where it is a Message and not the goal.
    pub message: Option<&'a Message>,
}

/// How a Request was decided.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Open,
    Granted(Values),
    Refused(Option<String>),
    /// It was to start, but what was filled in is not what was asked for.
    Incomplete(Values, Vec<String>),
    /// It does not count any more.
    Closed,
}

/// What is to be answered now.
#[derive(Debug, PartialEq)]
pub(super) enum Last {
    Said,
    Yes,
    Refused { note: bool },
    Incomplete(Vec<String>),
}

/// The whole of it.
pub(super) struct Talk<'a> {
    pub said: Vec<Said<'a>>,
    answers: HashMap<String, &'a Message>,
    asked: HashMap<String, &'a Request>,
    pub attachments: Vec<Attachment>,
    name: String,
    uid: String,
    /// What is to be answered, or was answered last.
    pub key: String,
    pub last: Last,
    /// The newest Request that waits for a decision.
    pub open: Option<&'a Request>,
    /// The Request that was granted, what was filled in, and how many things had been said then.
    pub granted: Option<(&'a Request, Values, usize)>,
    /// What people want, in their words, in order; notes on refusals included.
    pub wishes: Vec<String>,
    /// What was filled in in forms that did not count.
    pub values: Values,
    /// What was proposed where the form was not filled in right.
    pub again: Option<&'a Request>,
}

/// Whether a Message was said by a person to this Session.
pub(super) fn is_addressed(message: &Message, session: &Session) -> bool {
    let other = |m: &Message| {
        m.owner_references()
            .iter()
            .any(|r| r.kind == "Session" && Some(&r.uid) != session.metadata.uid.as_ref())
    };
    !message.is_from_agent()
        && message.spec.session == session.name_any()
        && message.metadata.deletion_timestamp.is_none()
        && !other(message)
}

fn controlled(owners: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference], uid: &str) -> bool {
    owners.iter().any(|r| r.controller == Some(true) && r.uid == uid)
}

impl<'a> Talk<'a> {
    /// Reads it from the objects. `messages` are all of the Session that have their place, in order.
    pub fn read(
        session: &'a Session,
        placed: &[&'a Message],
        all: &'a [Message],
        requests: &'a [Arc<Request>],
    ) -> Self {
        let (name, uid) = (session.name_any(), session.uid().unwrap_or_default());
        let own = all.iter().filter(|m| controlled(m.owner_references(), &uid));
        let handoffs = requests.iter().map(AsRef::as_ref).filter(|r: &&Request| {
            r.spec.kind == RequestType::Handoff && controlled(r.owner_references(), &uid)
        });
        let mut attachments = session.spec.attachments.clone();
        attachments.extend(placed.iter().flat_map(|m| m.spec.attachments.clone()));
        let mut talk = Self {
            said: Vec::new(),
            answers: own.map(|m| (m.name_any(), m)).collect(),
            asked: handoffs.map(|r| (r.name_any(), r)).collect(),
            attachments,
            name,
            uid,
            key: String::new(),
            last: Last::Said,
            open: None,
            granted: None,
            wishes: Vec::new(),
            values: Values::new(),
            again: None,
        };
        if let Some(goal) = &session.spec.goal {
            talk.said.push(Said { key: GOAL.into(), text: goal, yes: false, message: None });
        }
        for message in placed {
            let Some(text) = message.spec.content.as_deref() else { continue };
            talk.said.push(Said {
                key: message.uid().unwrap_or_default(),
                text,
                yes: false,
                message: Some(message),
            });
        }
        talk.follow();
        talk
    }

    /// From the first word to the last: each thing said may have led to a Request, whose decision may have led to another.
    fn follow(&mut self) {
        let mut proposed = false;
        for at in 0..self.said.len() {
            let (text, mut key) = (self.said[at].text, self.said[at].key.clone());
            self.said[at].yes = proposed && is_yes(text);
            if self.said[at].yes {
                self.last = Last::Yes;
            } else {
                self.wishes.push(text.to_owned());
                self.last = Last::Said;
                self.again = None;
            }
            while let Some(request) = self.request(&key) {
                proposed = true;
                match verdict(request, &self.attachments) {
                    Verdict::Granted(values) => {
                        self.key = request.uid().unwrap_or_default();
                        self.granted = Some((request, values, at + 1));
                        self.said[at + 1..].iter_mut().for_each(|said| said.yes = is_yes(said.text));
                        return;
                    }
                    Verdict::Open => {
                        self.open = Some(request);
                        break;
                    }
                    Verdict::Closed => break,
                    Verdict::Refused(note) => {
                        self.last = Last::Refused { note: note.is_some() };
                        self.wishes.extend(note);
                        self.open = None;
                    }
                    Verdict::Incomplete(values, wrong) => {
                        self.values.extend(values);
                        self.last = Last::Incomplete(wrong);
                        self.again = Some(request);
                        self.open = None;
                    }
                }
                key = request.uid().unwrap_or_default();
            }
            self.key = key;
        }
    }

    /// The Request that was made for what has this key.
    pub fn request(&self, key: &str) -> Option<&'a Request> {
        self.asked.get(&names::handoff(&self.name, &self.uid, key)).copied()
    }

    /// What the chat agent said to it.
    pub fn answer(&self, key: &str) -> Option<&'a Message> {
        self.answers.get(&names::chat_answer(&self.name, &self.uid, key)).copied()
    }

    /// All Handoff Requests of the Session.
    pub fn requests(&self) -> impl Iterator<Item = &'a Request> + '_ {
        let mut all: Vec<_> = self.asked.values().copied().collect();
        all.sort_by_key(|r| r.name_any());
        all.into_iter()
    }

    /// Whether the chat agent said these words before.
    pub fn has_said(&self, words: &str) -> bool {
        self.answers
            .values()
            .any(|m| m.is_from_agent() && m.spec.content.as_deref().is_some_and(|c| c.contains(words)))
    }

    /// What was said, by whom, in order: the person's words are true.
    pub fn lines(&self) -> Vec<(bool, String)> {
        let mut lines = Vec::new();
        for said in &self.said {
            lines.push((true, said.text.to_owned()));
            let mut key = said.key.clone();
            loop {
                lines.extend(self.answer(&key).and_then(|m| Some((false, m.spec.content.clone()?))));
                let Some(request) = self.request(&key) else { break };
                let decision = request.status.as_ref().and_then(|s| s.decision.as_ref());
                let Some(decision) = decision else { break };
                let note = decision.note.as_ref().map(|n| format!(": {n}")).unwrap_or_default();
                lines.push((true, format!("(decided about your proposal: {}{note})", decision.option)));
                key = request.uid().unwrap_or_default();
            }
        }
        lines
    }
}

/// How the Request stands.
pub(super) fn verdict(request: &Request, attachments: &[Attachment]) -> Verdict {
    let status = request.status.as_ref();
    if matches!(status.and_then(|s| s.state), Some(RequestState::Cancelled | RequestState::Expired)) {
        return Verdict::Closed;
    }
    let Some(decision) = status.and_then(|s| s.decision.as_ref()) else {
        // Granted by rule, because the policy said so.
        let by_rule = status.is_some_and(|s| s.state == Some(RequestState::Granted));
        return if by_rule { Verdict::Granted(Values::new()) } else { Verdict::Open };
    };
    match request.spec.allows(&decision.option) {
        Some(false) => {
            let note = decision.note.as_deref().map(str::trim).filter(|n| !n.is_empty());
            Verdict::Refused(note.map(str::to_owned))
        }
        Some(true) => match inputs::filled(&request.spec.form, &decision.values, attachments) {
            (values, wrong) if wrong.is_empty() => Verdict::Granted(values),
            (values, wrong) => Verdict::Incomplete(values, wrong),
        },
        None => {
            let why = format!("there is no option {}, only allow and deny", decision.option);
            Verdict::Incomplete(Values::new(), vec![why])
        }
    }
}

/// A person's Messages in the order of the conversation: those that have a place, and the new ones.
pub(super) fn ordered<'a>(session: &Session, all: &'a [Message]) -> (Vec<&'a Message>, Vec<&'a Message>) {
    let seq = |m: &Message| m.status.as_ref().and_then(|s| s.seq);
    let theirs = all.iter().filter(|m| is_addressed(m, session));
    let dropped = |m: &&Message| m.status.as_ref().is_some_and(|s| s.state == Some(MessageState::Dropped));
    let (mut placed, mut new): (Vec<&Message>, Vec<&Message>) =
        theirs.filter(|m| !dropped(m)).partition(|m| seq(m).is_some());
    placed.sort_by_key(|m| seq(m));
    new.sort_by_key(|m| (m.metadata.creation_timestamp.clone().map(|t| t.0), m.name_any()));
    (placed, new)
}

/// Words that say yes and nothing else.
const YES: &[&str] = &[
    "yes",
    "y",
    "yep",
    "yes please",
    "ok",
    "okay",
    "start",
    "start it",
    "start now",
    "go",
    "go on",
    "go ahead",
    "do it",
    "begin",
    "confirm",
    "confirmed",
    "looks good",
    "lgtm",
    "sounds good",
    "please start",
    "proceed",
    "run it",
    "ja",
    "los",
];

fn is_yes(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace()).collect();
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    YES.contains(&plain.as_str())
}
