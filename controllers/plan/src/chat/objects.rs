//! The objects of the chat: what the chat agent says, what it asks, and what their statuses say. Their names are functions of the Session
//! and of what is answered, so that nothing is ever said or asked twice.

use a8s_crds::{
    Approval, Author, AuthorKind, Delivery, Handoff, Input, Message, MessageSpec, MessageState,
    MessageStatus, OptionKind, Request, RequestOption, RequestSpec, RequestState, RequestStatus, RequestType,
    Session,
    conditions::{self, ConditionType, Reason, Status},
    labels, names,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::ResourceExt;

use super::bounded;

/// Annotation on the chat agent's last Message where no Request asked: what it handed over.
pub(super) const HANDOFF: &str = "a8s.dev/handoff";
/// The option that starts the work.
pub(super) const START: &str = "allow";
/// The option that does not.
pub(super) const NOT_YET: &str = "deny";

/// The Session as the owner of a Message or Request.
pub fn owner(session: &Session, controller: bool) -> OwnerReference {
    OwnerReference {
        api_version: "a8s.dev/v1alpha1".into(),
        kind: "Session".into(),
        name: session.name_any(),
        uid: session.uid().unwrap_or_default(),
        controller: controller.then_some(true),
        block_owner_deletion: None,
    }
}

fn own(session: &Session, meta: &mut kube::core::ObjectMeta) {
    meta.namespace = session.namespace();
    meta.owner_references = Some(vec![owner(session, true)]);
    let labels = [(labels::MANAGED_BY, labels::MANAGER.to_owned()), (labels::SESSION, session.name_any())];
    meta.labels = Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
}

/// What the chat agent says to `key`; `handoff` is what it hands over without a Request.
pub(super) fn message(session: &Session, key: &str, text: &str, handoff: Option<&Handoff>) -> Message {
    let name = names::chat_answer(&session.name_any(), &session.uid().unwrap_or_default(), key);
    let spec = MessageSpec {
        session: session.name_any(),
        content: Some(bounded(text, 32_768)),
        content_ref: None,
        attachments: Vec::new(),
        delivery: Delivery::Queue,
        turn: None,
        author: Some(Author { kind: AuthorKind::Agent, name: Author::CHAT.into() }),
    };
    let mut message = Message::new(&name, spec);
    own(session, &mut message.metadata);
    if let Some(text) = handoff.and_then(|h| serde_json::to_string(h).ok()) {
        message.annotations_mut().insert(HANDOFF.into(), text);
    }
    message
}

/// What the Message hands over without a Request.
pub(super) fn handed_over(message: &Message) -> Option<Handoff> {
    serde_json::from_str(message.annotations().get(HANDOFF)?).ok()
}

/// Status of what the chat agent said.
pub(super) fn said(seq: i64, now: Timestamp) -> MessageStatus {
    let mut status = MessageStatus {
        seq: Some(seq),
        state: Some(MessageState::Consumed),
        at: Some(Time(now)),
        ..MessageStatus::default()
    };
    both(&mut status, Reason::Ready, "said by the chat agent", now);
    status
}

/// Status of what a person said to the chat agent.
pub(super) fn heard(before: &MessageStatus, seq: i64, state: MessageState, now: Timestamp) -> MessageStatus {
    let at = before.at.clone().or(Some(Time(now)));
    let mut status = MessageStatus { seq: Some(seq), state: Some(state), at, ..before.clone() };
    let text =
        if state == MessageState::Consumed { "the chat agent took it in" } else { "the chat agent has it" };
    both(&mut status, Reason::HandedToAgent, text, now);
    status
}

fn both(status: &mut MessageStatus, reason: Reason, text: &str, now: Timestamp) {
    let generation = status.observed_generation;
    for kind in [ConditionType::Delivered, ConditionType::Ready] {
        conditions::set(&mut status.conditions, kind, Status::True, reason, text, generation, now);
    }
}

/// What a Handoff Request says.
pub(super) struct Asking<'a> {
    pub key: &'a str,
    pub title: &'a str,
    pub detail: &'a str,
    pub form: Vec<Input>,
    pub handoff: Handoff,
    pub policy: Approval,
}

/// The Request that hands over what was said up to its key.
pub(super) fn request(session: &Session, asking: Asking<'_>) -> Request {
    let name = names::handoff(&session.name_any(), &session.uid().unwrap_or_default(), asking.key);
    let option =
        |id: &str, title: &str, kind| RequestOption { id: id.into(), title: Some(title.into()), kind };
    let spec = RequestSpec {
        session: session.name_any(),
        kind: RequestType::Handoff,
        title: bounded(asking.title, 256),
        detail: Some(bounded(asking.detail, 4_096)),
        options: vec![
            option(START, "Start", OptionKind::AllowOnce),
            option(NOT_YET, "Not yet", OptionKind::RejectOnce),
        ],
        form: asking.form,
        subject: None,
        handoff: Some(asking.handoff),
        policy: asking.policy,
        turn: None,
        epoch: 0,
        id: None,
        // Nothing waits for it that costs anything.
        expires: None,
    };
    let mut request = Request::new(&name, spec);
    own(session, &mut request.metadata);
    // Only the controller may make one, so that no backup can bring it back.
    request.labels_mut().insert(labels::VELERO_EXCLUDE.into(), "true".into());
    request
}

/// Status of a Request as it becomes.
pub(super) fn stands(
    before: Option<&RequestStatus>,
    generation: Option<i64>,
    state: RequestState,
    outcome: &str,
    now: Timestamp,
) -> RequestStatus {
    let mut status = before.cloned().unwrap_or_default();
    status.observed_generation = generation;
    status.state = Some(state);
    status.outcome = (!outcome.is_empty()).then(|| bounded(outcome, 1_024));
    let (ready, reason, text) = match state {
        RequestState::Open => (Status::False, Reason::HandoffProposed, "waits for a decision"),
        RequestState::Granted => (Status::True, Reason::HandoffGranted, outcome),
        RequestState::Refused => (Status::True, Reason::HandoffRefused, outcome),
        RequestState::Expired => (Status::True, Reason::Expired, outcome),
        RequestState::Cancelled => (Status::True, Reason::Dropped, outcome),
    };
    conditions::set(&mut status.conditions, ConditionType::Ready, ready, reason, text, generation, now);
    status
}
