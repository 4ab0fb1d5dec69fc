//! Whether somebody uses a desktop: the agent works, a message waits for it, a person watches, sent input or holds control. Load is not
//! use, and neither is an open network connection. The X server's own idle time would tell nothing new: without XTEST all input comes through
//! deskd, which knows whose it is.

use a8s_wire::{DeskState, Holder, RunnerPhase, RunnerState};
use jiff::{SignedDuration, Timestamp};

use super::{super::restore, Observed};
use crate::Env;

/// Control that was taken and forgotten keeps a desktop no longer than this.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(8);

/// What can be said of the use of a desktop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Somebody uses it: who or how. The text stays the same as long as the use does.
    Used(String),
    /// Nobody does; `last` is the last time that is known of.
    Idle {
        /// Time of the last input or event.
        last: Timestamp,
    },
    /// Its processes do not answer.
    Unknown,
}

/// Looks at what deskd and the runner answered.
pub(super) fn seen(observed: &Observed, env: &Env) -> Seen {
    if restore::under_way(observed) {
        return Seen::Used("a Snapshot is being restored".into());
    }
    let (Some(desk), Some(runner)) = (&observed.desk, &observed.runner) else { return Seen::Unknown };
    if !desk.ready {
        return Seen::Unknown;
    }
    let used = at_work(runner).or_else(|| watched(desk)).or_else(|| held(desk, env.now));
    used.map_or_else(|| Seen::Idle { last: last(desk, runner).min(env.now) }, Seen::Used)
}

fn at_work(runner: &RunnerState) -> Option<String> {
    match (runner.state, runner.queue.len()) {
        (RunnerPhase::Running, _) => Some(format!("turn {} is running", runner.turn)),
        (RunnerPhase::Starting, _) => Some("the agent is starting".into()),
        // Messages of an agent that cannot be started wait for a person's help, not for the desktop.
        (RunnerPhase::Failed, _) | (RunnerPhase::Idle, 0) => None,
        (RunnerPhase::Idle, 1) => Some("a message waits for the agent".into()),
        (RunnerPhase::Idle, count) => Some(format!("{count} messages wait for the agent")),
    }
}

fn watched(desk: &DeskState) -> Option<String> {
    match desk.viewers {
        0 => None,
        1 => Some("a person watches".into()),
        count => Some(format!("{count} people watch")),
    }
}

fn held(desk: &DeskState, now: Timestamp) -> Option<String> {
    let control = &desk.control;
    if control.holder != Holder::User {
        return None;
    }
    let touched = time(&control.since).max(desk.last_input.as_deref().and_then(time));
    let fresh = touched.is_none_or(|touched| now.duration_since(touched) < FORGOTTEN);
    fresh.then(|| format!("{} has control", control.user.as_deref().unwrap_or("a person")))
}

fn last(desk: &DeskState, runner: &RunnerState) -> Timestamp {
    let input = desk.last_input.as_deref().and_then(time);
    input.max(time(&runner.last_activity)).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
