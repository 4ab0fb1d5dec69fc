//! How many Messages are kept as objects. The transcript on the volume keeps all of them; the API server keeps what people look at.

use a8s_crds::{Message, Session, SessionState};
use jiff::{SignedDuration, Timestamp};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Newest Messages of a Session that goes on.
    pub live: usize,
    /// Newest Messages of one that is over.
    pub over: usize,
    /// How long those are kept.
    pub after: SignedDuration,
}

impl Default for Keep {
    fn default() -> Self {
        Self { live: 200, over: 50, after: SignedDuration::from_hours(7 * 24) }
    }
}

/// A Message is nobody's business any more when it is this old, at the earliest.
const SETTLED: SignedDuration = SignedDuration::from_mins(1);

/// Messages of the Session that may go, oldest first. What is not settled stays, however much there is; and so does the talk before the
/// work, which is its own memory.
pub fn surplus<'a>(
    session: &Session,
    messages: impl IntoIterator<Item = &'a Message>,
    keep: Keep,
    now: Timestamp,
) -> Vec<&'a Message> {
    let over = session.spec.state == SessionState::Terminated;
    let began = session.status.as_ref().is_some_and(|s| s.workspace.is_some() || s.goal_epoch.is_some());
    if !over && !began {
        return Vec::new();
    }
    let age = |m: &Message| {
        m.metadata.creation_timestamp.as_ref().map_or(SignedDuration::ZERO, |t| now.duration_since(t.0))
    };
    let place = |m: &Message| {
        (m.status.as_ref().and_then(|s| s.seq), m.metadata.creation_timestamp.as_ref().map(|t| t.0))
    };
    let uid = session.metadata.uid.as_deref();
    let ours = |m: &&Message| {
        let owners = m.metadata.owner_references.as_deref().unwrap_or_default();
        uid.is_some() && owners.iter().any(|o| Some(o.uid.as_str()) == uid)
    };
    let mut all: Vec<&Message> = messages.into_iter().filter(ours).collect();
    all.sort_by_key(|m| std::cmp::Reverse(place(m)));
    let most = if over { keep.over } else { keep.live };
    let may_go = |(at, message): &(usize, &Message)| {
        let recorded = message.status.as_ref().is_some_and(|s| s.seq.is_some());
        let settled = message.is_settled() && recorded && age(message) > SETTLED;
        let surplus = *at >= most || over && age(message) > keep.after;
        settled && surplus && message.metadata.deletion_timestamp.is_none()
    };
    let mut gone: Vec<&Message> =
        all.into_iter().enumerate().filter(may_go).map(|(_, message)| message).collect();
    gone.reverse();
    gone
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    const KEEP: Keep = Keep { live: 3, over: 2, after: SignedDuration::from_secs(1_000) };

    fn session(state: &str, began: bool) -> Session {
        let mut session = Session::new("s", from_value(json!({"goal": "g", "state": state})).unwrap());
        session.metadata.uid = Some("u".into());
        session.status = Some(from_value(json!({"goalEpoch": began.then_some(0)})).unwrap());
        session
    }

    fn message(seq: i64, state: &str, second: i64) -> Message {
        from_value(json!({
            "metadata": {"name": format!("m{seq}"), "creationTimestamp": Timestamp::from_second(second).unwrap().to_string(),
                "ownerReferences": [{"apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "name": "s", "uid": "u"}]},
            "spec": {"session": "s", "content": "c", "author": {"kind": "User", "name": "jane"}},
            "status": {"seq": seq, "state": state},
        }))
        .unwrap()
    }

    fn names(session: &Session, messages: &[Message], second: i64) -> Vec<String> {
        let gone = surplus(session, messages, KEEP, Timestamp::from_second(second).unwrap());
        gone.iter().map(|m| m.metadata.name.clone().unwrap()).collect()
    }

    #[test]
    fn the_newest_stay_and_what_is_not_settled_stays_however_old_it_is() {
        let all: Vec<Message> =
            (1..=6).map(|n| message(n, if n == 2 { "Queued" } else { "Consumed" }, n)).collect();
        assert_eq!(names(&session("Active", true), &all, 500), ["m1", "m3"]);
        assert_eq!(names(&session("Terminated", true), &all, 500), ["m1", "m3", "m4"]);
        assert_eq!(names(&session("Terminated", true), &all, 5_000), ["m1", "m3", "m4", "m5", "m6"]);
        assert_eq!(
            names(&session("Active", true), &all, 5_000),
            ["m1", "m3"],
            "age is no reason while it goes on"
        );
        assert_eq!(names(&session("Active", true), &all, 30), [""; 0], "nor does anything go at once");
        assert_eq!(
            names(&session("Active", false), &all, 500),
            [""; 0],
            "the talk before the work is needed whole"
        );
    }

    #[test]
    fn messages_of_an_earlier_session_of_the_name_are_not_counted() {
        let mut all: Vec<Message> = (1..=5).map(|n| message(n, "Consumed", n)).collect();
        for other in &mut all[3..] {
            other.metadata.owner_references.as_mut().unwrap()[0].uid = "other".into();
        }
        assert_eq!(names(&session("Active", true), &all, 500), [""; 0]);
    }
}
