//! What becomes of Requests: how their status changes, and what is decided for those that no bridge attends to, because their time is over
//! or their desktop is gone. It never decides a Request: a decision is a person's, or the overseer's by rule.
//!
//! A Request without `spec.id` is a8s' own question (a Handoff); whoever asks it closes it, and it is left alone here.

use a8s_crds::{
    Request, RequestState, RequestStatus, Session, SessionState,
    conditions::{self, ConditionType, Reason, Status},
};
use jiff::{SignedDuration, Timestamp};

use crate::{Env, Notice, Plan, Wake};

/// The runner closes what nobody answered, and its bridge records it; only then it is closed here.
const GRACE: SignedDuration = SignedDuration::from_secs(5);
/// Longest `status.outcome`.
const OUTCOME: usize = 1_024;

/// What was seen, freshly read.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Request.
    pub request: Request,
    /// Its Session, if it exists.
    pub session: Option<Session>,
}

/// Whether it waits for a decision, or for what follows from one.
pub fn is_open(request: &Request) -> bool {
    request.metadata.deletion_timestamp.is_none()
        && request.status.as_ref().is_none_or(|s| matches!(s.state, None | Some(RequestState::Open)))
}

/// Whether somebody decided, and the agent does not know it yet.
pub fn is_for_the_agent(request: &Request) -> bool {
    let decided =
        request.status.as_ref().is_some_and(|s| s.decision.as_ref().is_some_and(|d| d.by.is_some()));
    is_open(request) && decided && request.spec.id.is_some()
}

/// Status of a Request that waits; `outcome` is what has happened so far.
pub fn waiting(request: &Request, outcome: Option<String>, now: Timestamp) -> RequestStatus {
    let mut status = request.status.clone().unwrap_or_default();
    status.observed_generation = request.metadata.generation;
    status.state = Some(RequestState::Open);
    status.outcome = outcome;
    let text = match &status.outcome {
        Some(outcome) => outcome.clone(),
        None => "waits for a decision in status.decision".to_owned(),
    };
    let (generation, reason) = (status.observed_generation, Reason::WaitingForDecision);
    conditions::set(
        &mut status.conditions,
        ConditionType::Ready,
        Status::False,
        reason,
        text,
        generation,
        now,
    );
    status
}

/// Status of a Request that is over, and what people are told.
pub fn closed(
    request: &Request,
    state: RequestState,
    outcome: &str,
    now: Timestamp,
) -> (RequestStatus, Notice) {
    let outcome: String = outcome.chars().take(OUTCOME).collect();
    let mut status = request.status.clone().unwrap_or_default();
    status.observed_generation = request.metadata.generation;
    status.state = Some(state);
    let reason = reason(state);
    let generation = status.observed_generation;
    let text = outcome.clone();
    conditions::set(
        &mut status.conditions,
        ConditionType::Ready,
        Status::True,
        reason,
        text,
        generation,
        now,
    );
    let note = format!("{}: {outcome}", request.spec.title);
    status.outcome = Some(outcome);
    (status, Notice { warning: state == RequestState::Expired, reason, note })
}

fn reason(state: RequestState) -> Reason {
    match state {
        RequestState::Open => Reason::WaitingForDecision,
        RequestState::Granted => Reason::RequestGranted,
        RequestState::Refused => Reason::RequestRefused,
        RequestState::Expired => Reason::RequestExpired,
        RequestState::Cancelled => Reason::RequestCancelled,
    }
}

/// What is to be done for a Request that may be in nobody's hands.
pub fn plan(seen: &Observed, env: &Env) -> Plan<RequestStatus> {
    let mut plan = Plan::default();
    let request = &seen.request;
    if !is_open(request) || request.spec.id.is_none() {
        return plan;
    }
    let decided = request.status.as_ref().is_some_and(|s| s.decision.is_some());
    let over = match &seen.session {
        None => Some("its Session does not exist any more"),
        Some(session) if is_over(session) => Some("its Session is over"),
        Some(session) if left_behind(request, session) => Some("the desktop whose agent asked is gone"),
        Some(_) => None,
    };
    let expires = request.spec.expires.as_ref().and_then(|at| at.0.checked_add(GRACE).ok());
    let end = match (over, expires) {
        (Some(why), _) => Some((RequestState::Cancelled, why)),
        // What was decided in time is on its way to the agent, however long that takes.
        (None, Some(at)) if at <= env.now && !decided => {
            Some((RequestState::Expired, "nobody decided in time, which counts as refused"))
        }
        _ => None,
    };
    match (end, expires.filter(|_| !decided)) {
        (Some((state, why)), _) => {
            let (status, notice) = closed(request, state, why, env.now);
            plan.status = Some(status);
            plan.notices.push(notice);
        }
        (None, Some(at)) => plan.wake = plan.wake.at(at, env.now),
        (None, None) => plan.wake = Wake::OnChange,
    }
    plan
}

fn is_over(session: &Session) -> bool {
    session.spec.state == SessionState::Terminated || session.metadata.deletion_timestamp.is_some()
}

/// Whether the conversation in which it was asked is not the Session's any more.
fn left_behind(request: &Request, session: &Session) -> bool {
    let status = session.status.as_ref();
    let deleted = status
        .and_then(|s| conditions::get(&s.conditions, ConditionType::WorkspaceReady))
        .is_some_and(|c| c.reason == Reason::WorkspaceDeleted.as_str());
    deleted || status.and_then(|s| s.epoch).is_some_and(|epoch| epoch > request.spec.epoch)
}

#[cfg(test)]
mod tests {
    use a8s_crds::{Decision, SessionStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{from_value, json};

    use super::*;

    fn env(second: i64) -> Env {
        let now = Timestamp::from_second(second).unwrap();
        Env { now, runner_image: "r".into(), system_namespace: "s".into() }
    }

    fn asked() -> Request {
        let spec = json!({"session": "s", "type": "Takeover", "title": "Log in", "id": "0-4", "turn": 1,
            "expires": "1970-01-01T00:01:40Z"});
        let mut request = Request::new("s-0-4", from_value(spec).unwrap());
        let status = waiting(&request, None, Timestamp::UNIX_EPOCH);
        request.status = Some(status);
        request
    }

    fn session() -> Session {
        let mut session = Session::new("s", from_value(json!({"goal": "g"})).unwrap());
        session.status = Some(SessionStatus { epoch: Some(0), ..SessionStatus::default() });
        session
    }

    fn pass(request: &Request, session: Option<Session>, second: i64) -> Plan<RequestStatus> {
        plan(&Observed { request: request.clone(), session }, &env(second))
    }

    fn ready(status: &RequestStatus) -> (&str, &str) {
        let ready = conditions::get(&status.conditions, ConditionType::Ready).unwrap();
        (&ready.status, &ready.reason)
    }

    #[test]
    fn what_nobody_decides_expires_once_and_counts_as_refused() {
        let mut request = asked();
        assert_eq!(ready(request.status.as_ref().unwrap()), ("False", "WaitingForDecision"));
        let early = pass(&request, Some(session()), 100);
        assert_eq!(early.status, None, "the runner says so first");
        assert!(matches!(early.wake, Wake::AfterMillis(ms) if ms <= 5_001), "{:?}", early.wake);
        let late = pass(&request, Some(session()), 106);
        assert_eq!((late.notices.len(), late.notices[0].reason), (1, Reason::RequestExpired));
        let status = late.status.unwrap();
        assert_eq!((status.state, ready(&status)), (Some(RequestState::Expired), ("True", "RequestExpired")));
        request.status = Some(status);
        assert_eq!(pass(&request, Some(session()), 200), Plan::default());
    }

    #[test]
    fn what_was_decided_waits_for_its_agent_however_late_that_is() {
        let mut request = asked();
        request.status.as_mut().unwrap().decision =
            Some(Decision { option: "allow".into(), by: Some("jane".into()), ..Decision::default() });
        assert_eq!(pass(&request, Some(session()), 1_000), Plan::default());
        let mut terminated = session();
        terminated.spec.state = SessionState::Terminated;
        let over = pass(&request, Some(terminated), 1_000).status.unwrap();
        assert_eq!(over.state, Some(RequestState::Cancelled));
        assert!(over.decision.is_some(), "what a person wrote stays");
    }

    #[test]
    fn a_question_goes_with_the_desktop_that_asked_it() {
        let mut later = session();
        later.status.as_mut().unwrap().epoch = Some(1);
        let mut deleted = session();
        let (kind, why) = (ConditionType::WorkspaceReady, Reason::WorkspaceDeleted);
        let all = &mut deleted.status.as_mut().unwrap().conditions;
        conditions::set(all, kind, Status::False, why, "", None, Timestamp::UNIX_EPOCH);
        for gone in [Some(later), Some(deleted), None] {
            assert_eq!(pass(&asked(), gone, 1).status.unwrap().state, Some(RequestState::Cancelled));
        }
        assert_eq!(pass(&asked(), Some(session()), 1).status, None);
    }

    #[test]
    fn what_a8s_asks_itself_is_closed_by_whoever_asked() {
        let mut handoff = asked();
        handoff.spec.id = None;
        handoff.spec.expires = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(pass(&handoff, None, 1_000), Plan::default());
    }
}
