//! Decisions for Messages that no bridge takes now: their Session does not exist, is suspended or over, or its desktop was deleted. All
//! others are the bridge's: order, delivery and every further status is written by it alone, so that nobody overwrites a place in the
//! order. What is written here is written only to a Message that is as it was seen.

pub mod retention;

use a8s_crds::{
    Message, MessageState, MessageStatus, Session, SessionState,
    conditions::{self, ConditionType, Reason, Status},
};
use jiff::Timestamp;

use crate::{Env, Notice, Plan, Wake};

/// How often a Session that does not exist is looked for.
const LOOK_AGAIN: u64 = 5_000;

/// What was seen, freshly read.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Message.
    pub message: Message,
    /// Its Session, if it exists.
    pub session: Option<Session>,
}

/// What is to be done for a Message that is not in a bridge's hands.
pub fn plan(seen: &Observed, env: &Env) -> Plan<MessageStatus> {
    let mut plan = Plan::default();
    let message = &seen.message;
    if message.is_settled() || message.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let old = message.status.clone().unwrap_or_default();
    let name = &message.spec.session;
    let mut new = old.clone();
    new.observed_generation = message.metadata.generation;
    // A Message that the runner has may have had its effect: only what still waits is told to wait, or is dropped.
    let had = old.state == Some(MessageState::Delivered);
    let mut warning = true;
    match &seen.session {
        None => {
            plan.wake = Wake::AfterMillis(LOOK_AGAIN);
            waits(&mut new, Reason::SessionNotFound, &format!("Session {name} does not exist"), env.now);
        }
        Some(session) if over(session) && !had => {
            new.state = Some(MessageState::Dropped);
            waits(&mut new, Reason::Dropped, &format!("Session {name} is over"), env.now);
        }
        Some(session) if had && desktop_deleted(session) => turn_lost(&mut new, env.now),
        Some(session) if at_rest(session).is_some() && !over(session) && !had => {
            new.state = Some(MessageState::Queued);
            warning = false;
            let rests = at_rest(session).unwrap_or_default();
            let text = format!(
                "Session {name} is {rests}; it gets the Message when it is resumed: \
                 kubectl patch session {name} --type=merge -p '{{\"spec\":{{\"state\":\"Active\"}}}}'"
            );
            waits(&mut new, Reason::Queued, &text, env.now);
        }
        Some(_) => return plan,
    }
    if new != old {
        let told = conditions::get(&new.conditions, ConditionType::Ready);
        let note = told.map(|c| c.message.clone()).unwrap_or_default();
        let reason = match new.state {
            Some(MessageState::Dropped) => Reason::Dropped,
            Some(MessageState::Queued) => Reason::Queued,
            _ => Reason::SessionNotFound,
        };
        plan.notices.push(Notice { warning, reason, note });
        plan.status = Some(new);
    }
    plan
}

/// The agent that had the Message is gone with its desktop, and so is whatever it did there. It is not given to the next one: it may
/// have had its effect outside.
pub fn turn_lost(status: &mut MessageStatus, now: Timestamp) {
    status.state = Some(MessageState::Dropped);
    let turn = status.turn.filter(|t| *t > 0).map_or_else(|| "its turn".to_owned(), |t| format!("turn {t}"));
    let text = format!(
        "the desktop was deleted, or taken back to a Snapshot, before {turn} was over; send the Message again if it still matters"
    );
    let generation = status.observed_generation;
    let mut set = |kind, value, reason| {
        conditions::set(&mut status.conditions, kind, value, reason, text.clone(), generation, now);
    };
    set(ConditionType::Delivered, Status::True, Reason::HandedToAgent);
    set(ConditionType::Ready, Status::False, Reason::WorkspaceDeleted);
}

fn waits(status: &mut MessageStatus, reason: Reason, text: &str, now: Timestamp) {
    let generation = status.observed_generation;
    for kind in [ConditionType::Ready, ConditionType::Delivered] {
        conditions::set(&mut status.conditions, kind, Status::False, reason, text, generation, now);
    }
}

/// How the Session rests, as somebody asked for; one that is only asleep wakes for a Message.
fn at_rest(session: &Session) -> Option<&'static str> {
    match session.spec.state {
        SessionState::Suspended => Some("suspended"),
        SessionState::Archived => Some("archived"),
        SessionState::Active | SessionState::Terminated => None,
    }
}

fn over(session: &Session) -> bool {
    session.spec.state == SessionState::Terminated || session.metadata.deletion_timestamp.is_some()
}

/// Whether the Session says that its desktop was deleted, and no other has been made since.
fn desktop_deleted(session: &Session) -> bool {
    let conditions = session.status.as_ref().map_or(&[][..], |s| &s.conditions);
    conditions::get(conditions, ConditionType::WorkspaceReady)
        .is_some_and(|c| c.reason == Reason::WorkspaceDeleted.as_str())
}

#[cfg(test)]
mod tests {
    use a8s_crds::{Author, AuthorKind, MessageSpec, SessionStatus};

    use super::*;

    fn env() -> Env {
        Env { now: Timestamp::UNIX_EPOCH, runner_image: "r".into(), system_namespace: "s".into() }
    }

    fn said(by: AuthorKind) -> Message {
        let author = Some(Author { kind: by, name: "jane".into() });
        let spec = MessageSpec {
            session: "s".into(),
            content: Some("hi".into()),
            content_ref: None,
            attachments: Vec::new(),
            delivery: a8s_crds::Delivery::Queue,
            turn: None,
            author,
        };
        Message::new("m", spec)
    }

    fn session(state: SessionState) -> Session {
        let spec = serde_json::from_value(serde_json::json!({"goal": "g", "state": state})).unwrap();
        Session::new("s", spec)
    }

    #[test]
    fn a_message_to_nobody_says_so_once_and_heals_when_the_session_comes() {
        let mut message = said(AuthorKind::User);
        let first = plan(&Observed { message: message.clone(), session: None }, &env());
        let status = first.status.unwrap();
        assert_eq!(
            conditions::get(&status.conditions, ConditionType::Delivered).unwrap().reason,
            "SessionNotFound"
        );
        assert_eq!((status.state, first.notices.len()), (None, 1));
        message.status = Some(status);
        let again = plan(&Observed { message: message.clone(), session: None }, &env());
        assert_eq!((again.status, again.notices.len(), again.wake), (None, 0, Wake::AfterMillis(5_000)));
        let healed = plan(&Observed { message, session: Some(session(SessionState::Active)) }, &env());
        assert_eq!(healed, Plan::default());
    }

    #[test]
    fn a_terminated_session_drops_what_waited_but_not_what_the_agent_had_already() {
        let over = Some(session(SessionState::Terminated));
        let mut message = said(AuthorKind::User);
        let dropped = plan(&Observed { message: message.clone(), session: over.clone() }, &env());
        assert_eq!(dropped.status.unwrap().state, Some(MessageState::Dropped));
        message.status = Some(MessageStatus { state: Some(MessageState::Delivered), ..Default::default() });
        assert_eq!(plan(&Observed { message, session: over.clone() }, &env()), Plan::default());
        assert_eq!(
            plan(&Observed { message: said(AuthorKind::Agent), session: over }, &env()),
            Plan::default()
        );
    }

    #[test]
    fn a_message_to_a_suspended_session_says_at_once_that_it_waits_and_how_to_resume() {
        let suspended = Some(session(SessionState::Suspended));
        let mut message = said(AuthorKind::User);
        let planned = plan(&Observed { message: message.clone(), session: suspended.clone() }, &env());
        let status = planned.status.unwrap();
        let told = conditions::get(&status.conditions, ConditionType::Delivered).unwrap();
        assert_eq!((told.status.as_str(), told.reason.as_str()), ("False", "Queued"));
        assert!(told.message.contains("Session s is suspended"), "{}", told.message);
        assert!(told.message.contains(r#"-p '{"spec":{"state":"Active"}}'"#), "{}", told.message);
        assert_eq!(
            (status.state, status.seq),
            (Some(MessageState::Queued), None),
            "the bridge gives it its place"
        );
        assert_eq!(planned.notices.len(), 1);
        message.status = Some(MessageStatus { seq: Some(7), ..status.clone() });
        let again = plan(&Observed { message: message.clone(), session: suspended.clone() }, &env());
        assert_eq!(again, Plan::default(), "said once, and its place stays");
        message.status.as_mut().unwrap().conditions.clear();
        let placed = plan(&Observed { message: message.clone(), session: suspended.clone() }, &env());
        assert_eq!(placed.status.unwrap().seq, Some(7));
        message.status = Some(MessageStatus { state: Some(MessageState::Delivered), ..Default::default() });
        assert_eq!(plan(&Observed { message, session: suspended }, &env()), Plan::default());
    }

    #[test]
    fn a_message_whose_turn_went_with_the_desktop_says_so_and_one_that_waits_goes_on_waiting() {
        let mut deleted = session(SessionState::Active);
        let mut status = SessionStatus::default();
        let reason = Reason::WorkspaceDeleted;
        let now = env().now;
        conditions::set(
            &mut status.conditions,
            ConditionType::WorkspaceReady,
            Status::False,
            reason,
            "gone",
            None,
            now,
        );
        deleted.status = Some(status);
        let mut message = said(AuthorKind::User);
        message.status = Some(MessageStatus {
            state: Some(MessageState::Delivered),
            turn: Some(3),
            seq: Some(4),
            ..Default::default()
        });
        let lost = plan(&Observed { message: message.clone(), session: Some(deleted.clone()) }, &env());
        let status = lost.status.unwrap();
        assert_eq!((status.state, status.seq, status.turn), (Some(MessageState::Dropped), Some(4), Some(3)));
        assert_eq!(conditions::get(&status.conditions, ConditionType::Delivered).unwrap().status, "True");
        let ready = conditions::get(&status.conditions, ConditionType::Ready).unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "WorkspaceDeleted"));
        assert!(
            ready.message.contains("before turn 3 was over; send the Message again"),
            "{}",
            ready.message
        );
        message.status = Some(MessageStatus { state: Some(MessageState::Queued), ..Default::default() });
        assert_eq!(plan(&Observed { message, session: Some(deleted) }, &env()), Plan::default());
    }
}
