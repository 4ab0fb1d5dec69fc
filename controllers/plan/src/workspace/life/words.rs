//! What people read about the life of a Workspace. No text changes with the clock alone: times are those of the day, not distances.

use a8s_crds::{WorkspaceState, WorkspaceStatus, conditions::Reason};
use jiff::{SignedDuration, Timestamp};

use super::Observed;
use crate::Notice;

/// How it is woken.
const HOW: &str = "a message, opening the desktop or the annotation a8s.dev/wake wakes it";

pub(super) fn idle(since: Timestamp, after: SignedDuration) -> String {
    format!("idle since {}, suspends at {}", clock(since, after), end(since, after))
}

pub(super) fn resting(
    asked: WorkspaceState,
    state: WorkspaceState,
    since: Timestamp,
    archive: Option<SignedDuration>,
    delete: Option<SignedDuration>,
) -> String {
    let longest = archive.max(delete).unwrap_or(SignedDuration::from_hours(24));
    let from = stamp(since, longest);
    let mut text = match (asked, state) {
        (WorkspaceState::Running, WorkspaceState::Archived) => {
            format!("asleep since {from} and archived; {HOW}")
        }
        (WorkspaceState::Running, _) => format!("asleep since {from}; {HOW}"),
        (WorkspaceState::Suspended, WorkspaceState::Archived) => {
            format!("suspended since {from} and archived")
        }
        (WorkspaceState::Suspended, _) => format!("suspended by spec.state since {from}"),
        (WorkspaceState::Archived, _) => format!("archived by spec.state since {from}"),
    };
    if let Some(after) = archive.filter(|_| state == WorkspaceState::Suspended) {
        text.extend(["; archived at ", &end(since, after)]);
    }
    if let Some(after) = delete {
        text.extend(["; deleted at ", &end(since, after)]);
    }
    text
}

/// What became of a wish to wake.
pub(super) fn woken(wish: &str, asked: WorkspaceState, asleep: bool) -> Option<Notice> {
    let wish: String = wish.chars().filter(|c| !c.is_control()).take(64).collect();
    let note = match asked {
        WorkspaceState::Running if asleep => format!("Woken ({wish})."),
        WorkspaceState::Running => return None,
        state => format!("Not woken ({wish}), because spec.state is {state:?}; set spec.state to Running."),
    };
    Some(Notice { warning: asked != WorkspaceState::Running, reason: Reason::Woken, note })
}

pub(super) fn why_asleep(status: Option<&WorkspaceStatus>) -> String {
    let idle = status.and_then(|s| s.idle_since.as_ref()).map(|t| t.0);
    match idle {
        Some(since) => format!(
            "Nobody has used it since {}; {HOW}. The volume stays.",
            stamp(since, SignedDuration::from_hours(24))
        ),
        None => format!("Nobody uses it; {HOW}. The volume stays."),
    }
}

pub(super) fn expired(observed: &Observed) -> String {
    let after = observed.workspace.spec.lifecycle.as_ref().and_then(|l| l.delete_after.as_ref());
    let after = after.map_or("its time", |after| after.0.as_str());
    let session = observed.session();
    let what = if session.is_empty() { "it is".to_owned() } else { format!("Session {session} is") };
    format!(
        "Not used for {after}, which is spec.lifecycle.deleteAfter: {what} deleted now. Snapshots and Artifacts stay."
    )
}

/// The end of a span, as exact as the span is short.
fn end(since: Timestamp, after: SignedDuration) -> String {
    let end = since.checked_add(after).unwrap_or(Timestamp::MAX);
    stamp(end, after)
}

fn stamp(time: Timestamp, span: SignedDuration) -> String {
    format!("{} UTC", clock(time, span))
}

fn clock(time: Timestamp, span: SignedDuration) -> String {
    let form = if span < SignedDuration::from_mins(3) {
        "%H:%M:%S"
    } else if span < SignedDuration::from_hours(20) {
        "%H:%M"
    } else {
        "%Y-%m-%d %H:%M"
    };
    time.strftime(form).to_string()
}
