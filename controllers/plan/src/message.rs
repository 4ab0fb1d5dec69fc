//! Decisions for Messages that no bridge will take: their Session does not exist, or is over. All others are the bridge's: order,
//! delivery and every further status is written by it alone, so that nobody overwrites a place in the order.

use a8s_crds::{
    AuthorKind, Message, MessageState, MessageStatus, Session, SessionState,
    conditions::{self, ConditionType, Reason, Status},
};

use crate::{Env, Notice, Plan, Wake};

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
    let by_agent = message.spec.author.as_ref().is_some_and(|a| a.kind != AuthorKind::User);
    let old = message.status.clone().unwrap_or_default();
    let settled = matches!(old.state, Some(MessageState::Consumed | MessageState::Dropped));
    if by_agent || settled || message.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let name = &message.spec.session;
    let (reason, text, state) = match &seen.session {
        None => {
            plan.wake = Wake::AfterMillis(5_000);
            (Reason::SessionNotFound, format!("Session {name} does not exist"), old.state)
        }
        Some(s) if s.spec.state == SessionState::Terminated || s.metadata.deletion_timestamp.is_some() => {
            // A Message that the runner has may have had its effect; only what still waited is dropped.
            if old.state == Some(MessageState::Delivered) {
                return plan;
            }
            (Reason::Dropped, format!("Session {name} is over"), Some(MessageState::Dropped))
        }
        Some(_) => return plan,
    };
    let mut new = old.clone();
    new.observed_generation = message.metadata.generation;
    new.state = state;
    for kind in [ConditionType::Ready, ConditionType::Delivered] {
        conditions::set(
            &mut new.conditions,
            kind,
            Status::False,
            reason,
            text.clone(),
            new.observed_generation,
            env.now,
        );
    }
    if new != old {
        plan.notices.push(Notice { warning: true, reason, note: text });
        plan.status = Some(new);
    }
    plan
}

#[cfg(test)]
mod tests {
    use a8s_crds::{Author, MessageSpec};

    use super::*;

    fn env() -> Env {
        Env { now: jiff::Timestamp::UNIX_EPOCH, runner_image: "r".into(), system_namespace: "s".into() }
    }

    fn said(by: AuthorKind) -> Message {
        let author = Some(Author { kind: by, name: "jane".into() });
        let spec = MessageSpec {
            session: "s".into(),
            content: Some("hi".into()),
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
}
