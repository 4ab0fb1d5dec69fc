//! What the status of a Session says.

use a8s_crds::{
    ObjectRef, PlanStep, Request, RequestState, SessionState, SessionStatus, Workspace,
    conditions::{self, ConditionType, Reason, Status},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;

use super::{Choice, Live, Observed, began, lost::Lost, usage};
use crate::{Env, Notice, chat::Stage, settings, workspace::asleep};

/// A missing reference may be on its way with the same `kubectl apply`; after this time a person has to help.
const PATIENCE_SECONDS: i64 = 30;

type Problem = Option<(Reason, String)>;

pub(super) fn status(
    seen: &Observed,
    env: &Env,
    workspace: Option<&Workspace>,
    choice: Option<Choice>,
    problem: &Problem,
    lost: Option<&Lost>,
) -> (SessionStatus, Vec<Notice>) {
    let session = &seen.session;
    let mut new = session.status.clone().unwrap_or_default();
    let generation = session.metadata.generation;
    new.observed_generation = generation;
    if let Some(choice) = choice {
        new.environment = Some(choice.environment);
        new.rationale = choice.rationale;
    }
    if let Some(workspace) = workspace {
        new.workspace =
            Some(ObjectRef { name: workspace.name_any(), uid: workspace.uid().unwrap_or_default() });
    } else if session.spec.state == SessionState::Terminated {
        new.workspace = None;
    }
    enter_epoch(&mut new, workspace);
    if let Some(live) = &seen.live {
        take_over(&mut new, live);
    }
    if let Some(stage) = &seen.chat {
        new.last_message = Some(stage.last_message).filter(|last| *last > 0);
        new.requirement.clone_from(&stage.requirement);
    }
    let ready = workspace
        .and_then(|w| conditions::get(&w.status.as_ref()?.conditions, ConditionType::Ready).cloned());
    let facts = Facts {
        state: session.spec.state,
        problem,
        workspace,
        lost,
        ready: ready.as_ref(),
        began: began(seen),
        waiting: seen.undelivered,
        chat: seen.chat.as_ref(),
        thinks: seen.advice == super::Advice::Awaited,
        asked: asked(seen),
        hindrance: seen.live.as_ref().and_then(|live| live.hindrance.as_deref()),
    };
    let open =
        facts.chat.map_or_else(|| i64::try_from(facts.asked.len()).unwrap_or(i64::MAX), |c| c.requests);
    new.requests = (open > 0).then_some(open);
    new.waiting_for =
        (open > 0).then(|| if open == 1 { "1 request".to_owned() } else { format!("{open} requests") });
    let stalled = facts.stalled(&new, env);
    let mut notices = Vec::new();
    {
        let mut set = |kind, status, reason, text: String| {
            let held = conditions::get(&new.conditions, kind).map(|c| (c.status.clone(), c.reason.clone()));
            conditions::set(&mut new.conditions, kind, status, reason, text.clone(), generation, env.now);
            held.is_none_or(|(s, r)| s != status.as_str() || r != reason.as_str()).then_some((reason, text))
        };
        match problem {
            Some((reason, text)) => {
                if let Some((reason, note)) =
                    set(ConditionType::ReferencesResolved, Status::False, *reason, text.clone())
                {
                    notices.push(Notice { warning: true, reason, note });
                }
            }
            None => drop(set(ConditionType::ReferencesResolved, Status::True, Reason::Ready, String::new())),
        }
        let (status, reason, text) = facts.workspace_ready();
        if let Some((reason @ Reason::WorkspaceDeleted, note)) =
            set(ConditionType::WorkspaceReady, status, reason, text)
        {
            notices.push(Notice { warning: true, reason, note });
        }
        let (status, reason, text) = facts.ready();
        if let (Some((reason, _)), Status::True) = (set(ConditionType::Ready, status, reason, text), status) {
            notices.push(Notice {
                warning: false,
                reason,
                note: "the desktop is ready and the agent may work".into(),
            });
        }
    }
    finished(&mut new, seen, lost.is_some(), waits(&facts.asked), env, &mut notices);
    usage::limited(&mut new, seen, env, &mut notices);
    overruled(&mut new, seen, env, &mut notices);
    match &stalled {
        Some((reason, text)) => {
            conditions::set(
                &mut new.conditions,
                ConditionType::Stalled,
                Status::True,
                *reason,
                text.clone(),
                generation,
                env.now,
            );
        }
        None => conditions::clear(&mut new.conditions, ConditionType::Stalled),
    }
    let (state, doing) = facts.words(seen.live.as_ref(), &new, stalled.is_some());
    new.state = Some(state.into());
    new.doing = doing.map(|text| one_line(&text, 200));
    (new, notices)
}

/// A desktop that was made after another one was deleted: nothing of its conversation is recorded yet.
fn enter_epoch(new: &mut SessionStatus, workspace: Option<&Workspace>) {
    let Some(epoch) = workspace.and_then(|w| w.status.as_ref()?.epoch) else { return };
    if new.epoch.is_some_and(|known| known < epoch) {
        (new.epoch, new.seq) = (Some(epoch), Some(0));
    }
}

/// Requests that wait for a person.
fn asked(seen: &Observed) -> Vec<&Request> {
    let uid = seen.session.uid();
    let ours = |r: &&Request| r.owner_references().iter().any(|o| Some(&o.uid) == uid.as_ref());
    let open = |r: &&Request| {
        let status = r.status.as_ref();
        status.is_none_or(|s| s.decision.is_none() && matches!(s.state, None | Some(RequestState::Open)))
    };
    seen.requests.iter().map(AsRef::as_ref).filter(ours).filter(open).collect()
}

fn take_over(new: &mut SessionStatus, live: &Live) {
    // What is recorded never goes back: a late pass must not make the bridge create objects that people have deleted since.
    let before = (new.epoch.unwrap_or_default(), new.seq.unwrap_or_default());
    let (epoch, seq) = before.max((live.recorded.epoch, live.recorded.seq));
    new.epoch = Some(epoch);
    new.seq = Some(seq);
    new.goal_epoch = new.goal_epoch.or(live.goal_given.then_some(live.recorded.epoch));
    new.last_message = Some(live.last_message.max(new.last_message.unwrap_or_default()));
    new.turn = Some(live.turn);
    usage::take_over(new, live);
    new.queued = Some(live.queued);
    // A Time is stored without its fraction: with it, each pass would find something new in the same answer.
    let whole = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time);
    new.last_activity = live.last_activity.map(|t| Time(whole(t))).or_else(|| new.last_activity.clone());
    let step =
        |(title, status): &(String, String)| PlanStep { title: one_line(title, 200), status: status.clone() };
    new.plan = live.plan.iter().take(20).map(step).collect();
}

fn finished(
    new: &mut SessionStatus,
    seen: &Observed,
    lost: bool,
    waits: Option<String>,
    env: &Env,
    notices: &mut Vec<Notice>,
) {
    let Some(live) = seen.live.as_ref().filter(|_| !lost) else {
        if lost {
            new.queued = i64::try_from(seen.undelivered).ok();
            let reason = if seen.undelivered > 0 { Reason::Working } else { Reason::WaitingForMessage };
            // What was reached stays reached until there is something else to do.
            if seen.undelivered > 0 || !conditions::is_true(&new.conditions, ConditionType::Finished) {
                let (kind, generation) = (ConditionType::Finished, new.observed_generation);
                conditions::set(&mut new.conditions, kind, Status::False, reason, "", generation, env.now);
            }
            return;
        }
        // Nothing new is known. A Session that never began says so; any other keeps what was seen.
        if conditions::get(&new.conditions, ConditionType::Finished).is_none() {
            let text = "the agent has not begun";
            conditions::set(
                &mut new.conditions,
                ConditionType::Finished,
                Status::False,
                Reason::Progressing,
                text,
                new.observed_generation,
                env.now,
            );
        }
        return;
    };
    let was = conditions::is_true(&new.conditions, ConditionType::Finished);
    let (status, reason, text) = match &live.finished {
        Some(summary) if !live.running && live.queued == 0 => {
            (Status::True, Reason::GoalReached, one_line(summary, 1000))
        }
        // A turn goes on while somebody is asked, and nothing happens in it until they decide.
        _ if let Some(text) = waits => (Status::False, Reason::WaitingForDecision, text),
        _ if live.running || live.queued > 0 => (Status::False, Reason::Working, String::new()),
        _ => (Status::False, Reason::WaitingForMessage, String::new()),
    };
    if status == Status::True && !was {
        notices.push(Notice { warning: false, reason, note: format!("finished: {text}") });
    }
    conditions::set(
        &mut new.conditions,
        ConditionType::Finished,
        status,
        reason,
        text,
        new.observed_generation,
        env.now,
    );
}

/// Says what the Environment does not let the Session have.
fn overruled(new: &mut SessionStatus, seen: &Observed, env: &Env, notices: &mut Vec<Notice>) {
    let chosen = new.environment.as_ref();
    let environment = seen.environments.iter().find(|e| Some(&e.name_any()) == chosen);
    let Some((reason, text)) = environment.and_then(|e| settings::overruled(&seen.session, e)) else {
        return conditions::clear(&mut new.conditions, ConditionType::Overruled);
    };
    let held = conditions::get(&new.conditions, ConditionType::Overruled);
    if held.is_none_or(|held| held.reason != reason.as_str()) {
        notices.push(Notice { warning: true, reason, note: text.clone() });
    }
    let (kind, generation) = (ConditionType::Overruled, new.observed_generation);
    conditions::set(&mut new.conditions, kind, Status::True, reason, text, generation, env.now);
}

/// What the conditions and words are made from.
struct Facts<'a> {
    state: SessionState,
    problem: &'a Problem,
    workspace: Option<&'a Workspace>,
    lost: Option<&'a Lost>,
    ready: Option<&'a Condition>,
    began: bool,
    waiting: usize,
    chat: Option<&'a Stage>,
    thinks: bool,
    asked: Vec<&'a Request>,
    /// Why the agent is given nothing.
    hindrance: Option<&'a str>,
}

/// Requests that wait for a person, and until when the first of them does; nothing if there are none.
fn waits(asked: &[&Request]) -> Option<String> {
    let [first, more @ ..] = asked else { return None };
    let title = &first.spec.title;
    // Minutes are what people plan in; the Request has the second.
    let until = asked.iter().filter_map(|r| r.spec.expires.as_ref()).map(|at| at.0).min();
    let until = until.map(|at| format!(" until {}", at.strftime("%H:%M UTC"))).unwrap_or_default();
    Some(match more.len() {
        0 => format!("waits for 1 request{until}: {title}"),
        n => format!("waits for {} requests{until}, first: {title}", n + 1),
    })
}

impl Facts<'_> {
    fn workspace_ready(&self) -> (Status, Reason, String) {
        match (self.workspace, self.ready) {
            (Some(_), Some(c)) if c.status == "True" => (Status::True, Reason::Ready, String::new()),
            (Some(_), Some(c)) => (Status::False, reason_of(&c.reason), c.message.clone()),
            (Some(_), None) => (Status::False, Reason::Progressing, "the Workspace was created".into()),
            (None, _) if self.state == SessionState::Terminated => {
                (Status::False, Reason::Terminated, String::new())
            }
            (None, _) if let Some(lost) = self.lost.filter(|l| !l.replace) => {
                (Status::False, Reason::WorkspaceDeleted, lost.text.clone())
            }
            (None, _) if self.lost.is_some() => {
                let text = "the desktop was deleted; a new one is started for the waiting Message";
                (Status::False, Reason::WorkspaceNotFound, text.into())
            }
            (None, _) => {
                (Status::False, Reason::WorkspaceNotFound, "the Workspace is not created yet".into())
            }
        }
    }

    fn ready(&self) -> (Status, Reason, String) {
        match self.state {
            SessionState::Terminated => {
                return (Status::False, Reason::Terminated, "terminated as asked".into());
            }
            SessionState::Suspended => {
                return (Status::False, Reason::Suspended, "suspended as asked".into());
            }
            SessionState::Archived => {
                return (Status::False, Reason::Archived, "archived as asked".into());
            }
            SessionState::Active => {}
        }
        if let Some((reason, text)) = self.problem {
            return (Status::False, *reason, text.clone());
        }
        if let Some(stage) = self.chat {
            return (Status::False, Reason::Chatting, stage.doing.clone());
        }
        let (status, reason, text) = self.workspace_ready();
        if self.workspace.is_none() && reason != Reason::WorkspaceDeleted {
            return (Status::False, Reason::Progressing, text);
        }
        (status, reason, text)
    }

    fn stalled(&self, new: &SessionStatus, env: &Env) -> Problem {
        if let Some((reason, text)) = self.problem {
            let since = conditions::get(&new.conditions, ConditionType::ReferencesResolved)
                .filter(|c| c.status == "False")
                .map(|c| c.last_transition_time.0);
            let patient =
                since.is_none_or(|since| env.now.as_second() - since.as_second() < PATIENCE_SECONDS);
            return (!patient).then(|| (*reason, text.clone()));
        }
        let workspace = self.workspace.filter(|_| self.state == SessionState::Active)?;
        if let Some(text) = self.hindrance {
            return Some((Reason::AgentFailed, text.to_owned()));
        }
        let status = workspace.status.as_ref()?;
        let stalled =
            conditions::get(&status.conditions, ConditionType::Stalled).filter(|c| c.status == "True")?;
        Some((reason_of(&stalled.reason), stalled.message.clone()))
    }

    fn words(
        &self,
        live: Option<&Live>,
        new: &SessionStatus,
        stalled: bool,
    ) -> (&'static str, Option<String>) {
        match self.state {
            SessionState::Terminated => {
                return ("Terminated", self.workspace.map(|_| "removing the desktop".into()));
            }
            SessionState::Suspended => return ("Suspended", self.under_way("Suspended")),
            SessionState::Archived => return ("Archived", self.under_way("Archived")),
            SessionState::Active => {}
        }
        let trouble = || {
            let of_workspace = self.ready.filter(|c| c.status != "True").map(|c| c.message.clone());
            let problem = self.problem.as_ref().map(|(_, text)| text.as_str());
            problem.or(self.hindrance).map(str::to_owned).or(of_workspace)
        };
        if stalled {
            return ("Stalled", trouble());
        }
        if self.problem.is_some() {
            return ("Pending", trouble());
        }
        if let Some(stage) = self.chat {
            return ("Chatting", Some(stage.doing.clone()));
        }
        if let Some(lost) = self.lost.filter(|l| !l.replace) {
            let finished = conditions::is_true(&new.conditions, ConditionType::Finished);
            return (if finished { "Finished" } else { "Waiting" }, Some(lost.text.clone()));
        }
        if let Some(words) = self.asleep(new) {
            return words;
        }
        if self.workspace.is_none() && self.thinks {
            return ("Provisioning", Some("the model is asked which Environment fits".into()));
        }
        if self.ready.is_none_or(|c| c.status != "True") {
            return (
                "Provisioning",
                trouble().filter(|t| !t.is_empty()).or_else(|| Some("starting the desktop".into())),
            );
        }
        if conditions::is_true(&new.conditions, ConditionType::Finished) {
            let text = conditions::get(&new.conditions, ConditionType::Finished).map(|c| c.message.clone());
            return ("Finished", text);
        }
        if let Some(text) = usage::waits(new) {
            return ("Waiting", Some(text));
        }
        if let Some(text) = waits(&self.asked) {
            return ("Waiting", Some(text));
        }
        match live {
            Some(live) if live.running => ("Working", live.step.clone().or_else(|| Some("thinking".into()))),
            Some(live) if live.queued > 0 => ("Working", Some("taking the next message".into())),
            Some(_) => ("Waiting", Some("waiting for a message".into())),
            None if self.began => ("Working", Some("reconnecting to the agent".into())),
            None => ("Working", Some("connecting to the agent".into())),
        }
    }
}

impl Facts<'_> {
    /// What is still to be done until the desktop is as it was asked for.
    fn under_way(&self, there: &str) -> Option<String> {
        let state = self.workspace?.status.as_ref()?.state.as_deref()?;
        let told = self.ready.filter(|c| state != there && c.status != "True");
        told.map(|c| c.message.clone())
    }

    /// A desktop that nobody uses sleeps until somebody wants it. That a goal was reached says more than that.
    fn asleep(&self, new: &SessionStatus) -> Option<(&'static str, Option<String>)> {
        let workspace = self.workspace.filter(|w| asleep(w))?;
        if self.waiting > 0 {
            return Some(("Provisioning", Some("waking for a message".into())));
        }
        if conditions::is_true(&new.conditions, ConditionType::Finished) {
            let text = conditions::get(&new.conditions, ConditionType::Finished).map(|c| c.message.clone());
            return Some(("Finished", text));
        }
        let status = workspace.status.as_ref()?;
        let since =
            status.awake.as_deref().and_then(|line| line.split_once("; a message")).map(|(since, _)| since);
        let since = since.unwrap_or("asleep for lack of use");
        let archived = status.state.as_deref() == Some("Archived");
        Some((if archived { "Archived" } else { "Suspended" }, Some(format!("{since}; a message wakes it"))))
    }
}

fn reason_of(text: &str) -> Reason {
    Reason::ALL.iter().map(|(reason, _)| *reason).find(|r| r.as_str() == text).unwrap_or(Reason::Progressing)
}

/// A terminal shows one line; control characters never reach it.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let flat = flat.trim();
    if flat.chars().count() <= max {
        flat.to_owned()
    } else {
        flat.chars().take(max - 1).collect::<String>() + "…"
    }
}
