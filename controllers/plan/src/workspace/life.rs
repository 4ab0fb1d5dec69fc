//! What a Workspace shall be just now: what its spec asks for, unless nobody uses it and its lifecycle says what becomes of it then.
//!
//! All times that count are in the status, where the controller wrote them. One that is missing begins now, so that neither a restart
//! nor a lost status ends anything early. A Workspace falls asleep in two steps: the status says so first and the pod goes after that,
//! so that a crash between them leaves no doubt about who wanted it.

mod usage;
mod words;

use a8s_crds::{
    Lifecycle, Workspace, WorkspaceState, WorkspaceStatus,
    conditions::{self, ConditionType, Reason},
    labels,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::{Hold, Observed, status::Draft, trouble, volume};
use crate::{Env, Notice, Op, Plan, Target, Wake};

/// Nothing falls asleep sooner: an agent needs a moment between its start and the first message.
const SHORTEST: SignedDuration = SignedDuration::from_secs(5);
/// Use is looked for at least so often.
const LOOK: SignedDuration = SignedDuration::from_secs(30);
/// How old what the page shows of an audience may be.
const WATCHED: SignedDuration = SignedDuration::from_secs(5);
/// So far the clocks of two controllers may be apart, lest one gives back a volume that the other archived.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// The state that counts, and why it is not another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What the plan works towards.
    pub state: WorkspaceState,
    /// On whose wish.
    pub why: Why,
}

/// On whose wish a Workspace is in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// `spec.state` says so.
    Asked,
    /// The lifecycle says so, because nobody uses it.
    Idle,
}

/// The terms of the lifecycle that can be understood.
struct Terms {
    suspend: Option<SignedDuration>,
    archive: Option<SignedDuration>,
    delete: Option<SignedDuration>,
}

fn terms(workspace: &Workspace) -> Terms {
    let span = |of: fn(&Lifecycle) -> Option<&a8s_crds::Duration>| {
        let seconds = workspace.spec.lifecycle.as_ref().and_then(of)?.seconds()?;
        Some(SignedDuration::from_secs(seconds))
    };
    Terms {
        suspend: span(|l| l.idle_suspend_after.as_ref()).map(|after| after.max(SHORTEST)),
        archive: span(|l| l.archive_after.as_ref()),
        delete: span(|l| l.delete_after.as_ref()),
    }
}

/// The effective state. Everything that depends on `spec.state` asks here.
pub fn wanted(observed: &Observed, env: &Env) -> Wanted {
    let workspace = &observed.workspace;
    let at_rest = |why| {
        let state =
            if archived(observed, env) { WorkspaceState::Archived } else { WorkspaceState::Suspended };
        Wanted { state, why }
    };
    match workspace.spec.state {
        WorkspaceState::Archived => Wanted { state: WorkspaceState::Archived, why: Why::Asked },
        WorkspaceState::Suspended if archived(observed, env) => at_rest(Why::Idle),
        WorkspaceState::Suspended => at_rest(Why::Asked),
        WorkspaceState::Running => {
            let awake = Wanted { state: WorkspaceState::Running, why: Why::Asked };
            if call(workspace).is_some() {
                return awake;
            }
            let rests = if asleep(workspace) { !noticed(observed, env) } else { tired(observed, env) };
            if rests { at_rest(Why::Idle) } else { awake }
        }
    }
}

/// The effective state as the last pass left it; for those who see the object only.
pub fn settled(workspace: &Workspace) -> WorkspaceState {
    if !asleep(workspace) {
        return workspace.spec.state;
    }
    let archive = workspace.status.as_ref().and_then(|s| s.archive.as_ref());
    if archive.is_some() { WorkspaceState::Archived } else { WorkspaceState::Suspended }
}

/// Whether it shall run and yet does not, because nobody used it.
pub fn asleep(workspace: &Workspace) -> bool {
    let status = workspace.status.as_ref();
    workspace.spec.state == WorkspaceState::Running
        && status.is_some_and(|s| s.suspended_since.is_some() && s.idle_since.is_some())
}

/// Whether somebody must ask deskd and the runner now and then, although nothing changes.
pub fn watched(workspace: &Workspace) -> bool {
    terms(workspace).suspend.is_some() && settled(workspace) == WorkspaceState::Running
}

/// A wish to wake that was not acted on yet.
fn call(workspace: &Workspace) -> Option<&str> {
    let wish = workspace.metadata.annotations.as_ref()?.get(labels::WAKE)?;
    let done = workspace.status.as_ref().and_then(|s| s.woken.as_ref());
    (done != Some(wish)).then_some(wish)
}

/// Whether it has been idle for so long that it may sleep; only an answer of this very moment proves that.
fn tired(observed: &Observed, env: &Env) -> bool {
    let Some(after) = terms(&observed.workspace).suspend else { return false };
    let since = status(observed).and_then(|s| since(observed, s.idle_since.as_ref()));
    match (usage::seen(observed, env), since) {
        (usage::Seen::Idle { last }, Some(since)) => env.now.duration_since(since.max(last)) >= after,
        _ => false,
    }
}

/// Whether somebody uses it while it is falling asleep and its pod is still there.
fn noticed(observed: &Observed, env: &Env) -> bool {
    let pod = observed.own_pod().is_some_and(|pod| !trouble::leaving(pod));
    pod && matches!(usage::seen(observed, env), usage::Seen::Used(_))
}

/// Whether a Snapshot stands for the volume, or shall. What fell asleep and was archived then gets a volume only when it is woken; what
/// `spec.state` suspends has one until its time is over, by any controller's clock.
fn archived(observed: &Observed, env: &Env) -> bool {
    let after = terms(&observed.workspace).archive;
    let stands = volume::recorded_archive(observed).is_some() && observed.own_claim().is_none();
    let asleep = observed.workspace.spec.state == WorkspaceState::Running;
    if stands {
        asleep || due(observed, after.map(|after| after - SKEW), env)
    } else {
        due(observed, after, env) && observed.own_claim().is_some()
    }
}

/// Whether it has been without use for so long that it is deleted.
pub(super) fn expired(observed: &Observed, env: &Env) -> bool {
    wanted(observed, env).state != WorkspaceState::Running
        && due(observed, terms(&observed.workspace).delete, env)
}

fn due(observed: &Observed, after: Option<SignedDuration>, env: &Env) -> bool {
    let began = status(observed).and_then(|s| since(observed, s.suspended_since.as_ref()));
    began.zip(after).is_some_and(|(began, after)| env.now.duration_since(began) >= after)
}

fn status(observed: &Observed) -> Option<&WorkspaceStatus> {
    observed.workspace.status.as_ref()
}

/// A time of the status. One from before the object was made came out of a backup and says nothing about this object.
fn since(observed: &Observed, time: Option<&Time>) -> Option<Timestamp> {
    let made = observed.workspace.metadata.creation_timestamp.as_ref().map(|t| t.0);
    time.map(|t| t.0).filter(|t| made.is_none_or(|made| *t >= made))
}

/// Times of a status have whole seconds; the next one, so that nothing ends early.
fn second(time: Timestamp) -> Timestamp {
    let whole = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
    Timestamp::from_second(whole).unwrap_or(time)
}

/// Brings the times of the status up to date, and the line that says why it is awake or not.
pub(super) fn settle(
    observed: &Observed,
    env: &Env,
    wanted: Wanted,
    new: &mut WorkspaceStatus,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    let asked = observed.workspace.spec.state;
    if let Some(wish) = call(&observed.workspace) {
        notices.extend(words::woken(wish, asked, asleep(&observed.workspace)));
        new.woken = Some(wish.to_owned());
        new.idle_since = None;
    }
    // A clock that was set back must not make the time longer than it was.
    let kept = |time: Option<&Time>| since(observed, time).map(|t| t.min(second(env.now)));
    if wanted.state == WorkspaceState::Running {
        new.suspended_since = None;
        idle(observed, env, new, kept(new.idle_since.as_ref()));
        return notices;
    }
    let began = kept(new.suspended_since.as_ref()).unwrap_or(second(env.now));
    new.suspended_since = Some(Time(began));
    new.viewers = None;
    if asked != WorkspaceState::Running {
        new.idle_since = None;
    } else if !asleep(&observed.workspace) {
        // From now on any wish to wake counts, even one in the words of the last.
        new.woken = None;
    }
    let terms = terms(&observed.workspace);
    new.awake = Some(words::resting(asked, wanted.state, began, terms.archive, terms.delete));
    notices
}

fn idle(observed: &Observed, env: &Env, new: &mut WorkspaceStatus, since: Option<Timestamp>) {
    let Some(after) = terms(&observed.workspace).suspend else {
        (new.idle_since, new.viewers) = (None, None);
        new.awake = Some("runs until it is suspended".into());
        return;
    };
    match usage::seen(observed, env) {
        usage::Seen::Used(what) => {
            new.idle_since = None;
            new.awake = Some(what);
        }
        usage::Seen::Idle { last } => {
            let now = second(env.now);
            let since = since.map_or(now, |since| since.max(second(last)).min(now));
            new.idle_since = Some(Time(since));
            new.awake = Some(words::idle(since, after));
        }
        usage::Seen::Unknown => {
            new.idle_since = since.map(Time);
            if since.is_none() {
                new.awake = Some("it is starting".into());
            }
        }
    }
    if let Some(desk) = &observed.desk {
        new.viewers = Some(desk.viewers.into());
    }
}

/// When the next of its times is over, in milliseconds; nothing if none is under way.
pub(super) fn next(observed: &Observed, env: &Env, wanted: Wanted, new: &WorkspaceStatus) -> Option<u64> {
    let terms = terms(&observed.workspace);
    let left = |since: Option<&Time>, after: Option<SignedDuration>| {
        let left = after? - env.now.duration_since(since?.0);
        (left > SignedDuration::ZERO).then_some(left)
    };
    let millis = |span: SignedDuration| u64::try_from(span.as_millis()).unwrap_or(0) + 1;
    if wanted.state == WorkspaceState::Running {
        let poll = terms.suspend.map(|after| (after / 10).min(LOOK));
        let poll = poll.into_iter().chain(audience(observed)).min()?;
        return Some(millis(
            left(new.idle_since.as_ref(), terms.suspend).map_or(poll, |left| left.min(poll)),
        ));
    }
    let began = new.suspended_since.as_ref();
    let archive = left(began, terms.archive).filter(|_| wanted.state == WorkspaceState::Suspended);
    archive.into_iter().chain(left(began, terms.delete)).min().map(millis)
}

/// Nobody says that a viewer left. Where some are known, that is looked for, so that nobody is told of an audience that is gone.
fn audience(observed: &Observed) -> Option<SignedDuration> {
    observed.desk.as_ref().filter(|desk| desk.viewers > 0).map(|_| WATCHED)
}

/// The first step of falling asleep: it is said. A wish to wake that was acted on goes, so that the same words wake again.
pub(super) fn fall_asleep(observed: &Observed, draft: Draft<'_>) -> Plan<WorkspaceStatus> {
    let annotations = observed.workspace.metadata.annotations.as_ref();
    let old = annotations.is_some_and(|a| a.contains_key(labels::WAKE));
    let version = observed.workspace.metadata.resource_version.clone().unwrap_or_default();
    let patch = json!({"metadata": {"annotations": {labels::WAKE: null}}});
    let forget = Op::Swap { target: observed.target(), version, patch };
    draft.finish(old.then_some(forget).into_iter().collect(), Wake::AfterMillis(50))
}

/// Whether it shall fall asleep and nothing says so yet.
pub(super) fn drowsy(observed: &Observed, wanted: Wanted) -> bool {
    observed.workspace.spec.state == WorkspaceState::Running
        && wanted.state != WorkspaceState::Running
        && !asleep(&observed.workspace)
}

/// The end of a Workspace whose time is over: first everybody is told, then it goes, with the Session that it belongs to.
pub(super) fn expire(observed: &Observed, mut draft: Draft<'_>) -> Plan<WorkspaceStatus> {
    let text = words::expired(observed);
    let last = status(observed).and_then(|s| conditions::get(&s.conditions, ConditionType::Ready));
    let last = last.map_or("", |c| c.reason.as_str());
    let refused = [Reason::Forbidden, Reason::QuotaExceeded].iter().any(|r| r.as_str() == last);
    if refused {
        // It was said before. Nothing changes until somebody allows it, so that the attempts cost one request each.
        draft.notice(false, Reason::Expired, text);
        draft.status = status(observed).cloned().unwrap_or_default();
        return draft
            .finish(vec![Op::Delete { target: owner(observed), grace: None }], Wake::AfterMillis(5_000));
    }
    draft.hold(Hold::wait(Reason::Expired, text.clone()));
    draft.conditions();
    if last == Reason::Expired.as_str() {
        return draft
            .finish(vec![Op::Delete { target: owner(observed), grace: None }], Wake::AfterMillis(5_000));
    }
    draft.notice(false, Reason::Expired, text);
    draft.finish(Vec::new(), Wake::AfterMillis(50))
}

/// What is deleted: the Session if there is one, for without its desktop it is nothing.
pub(super) fn owner(observed: &Observed) -> Target {
    let owners = observed.workspace.metadata.owner_references.as_deref().unwrap_or_default();
    let session = owners.iter().find(|o| o.kind == "Session" && o.controller == Some(true));
    session.map_or_else(
        || observed.target(),
        |session| Target {
            api_version: session.api_version.clone(),
            kind: session.kind.clone(),
            name: session.name.clone(),
            uid: session.uid.clone(),
            namespace: observed.namespace().to_owned(),
        },
    )
}

/// What the conditions say of a desktop that is not there.
pub(super) fn rest(observed: &Observed, wanted: Wanted) -> Hold {
    match wanted.why {
        Why::Asked => Hold::wait(Reason::Suspended, "Suspended as spec.state asks; the volume stays."),
        Why::Idle => Hold::wait(Reason::Idle, words::why_asleep(status(observed))),
    }
}
