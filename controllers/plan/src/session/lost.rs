//! A Session whose desktop was deleted. Its volume, and the conversation on it, are gone; a new desktop that begins with the goal would
//! look as if nothing had happened and do everything again. So nothing is made until somebody says something: the next Message starts a
//! new desktop, in the next epoch of the conversation, and is the first thing that its agent hears.

use a8s_crds::{
    SessionState,
    conditions::{self, ConditionType, Reason},
};

use super::Observed;

/// What is known of the loss.
pub(super) struct Lost {
    /// Whether there is a Message to start a new desktop for.
    pub replace: bool,
    /// For people: what happened and what to do.
    pub text: String,
}

/// Whether the Workspace that the status names is gone. `there` says that the Session has one, that or another.
pub(super) fn lost(seen: &Observed, there: bool) -> Option<Lost> {
    let status = seen.session.status.as_ref()?;
    status.workspace.as_ref()?;
    if there || seen.session.spec.state == SessionState::Terminated {
        return None;
    }
    let told = conditions::get(&status.conditions, ConditionType::WorkspaceReady);
    // What was said first stays: afterwards nobody can tell that the agent was at work.
    let told = told.filter(|c| c.reason == Reason::WorkspaceDeleted.as_str()).map(|c| c.message.clone());
    Some(Lost { replace: seen.undelivered > 0, text: told.unwrap_or_else(|| text(seen)) })
}

fn text(seen: &Observed) -> String {
    let status = seen.session.status.as_ref();
    let finished = status.and_then(|s| conditions::get(&s.conditions, ConditionType::Finished));
    let working = finished.is_some_and(|c| c.reason == Reason::Working.as_str());
    let turn = status.and_then(|s| s.turn).unwrap_or_default();
    let what = if working && turn > 0 {
        format!("The desktop was deleted while the agent worked; turn {turn} is lost. The next Message")
    } else {
        "The desktop was deleted; the next Message".to_owned()
    };
    let source = seen.session.spec.source.as_ref();
    match source.map(|s| (s.snapshot.as_deref(), s.workspace.as_deref())) {
        Some((Some(name), _)) => format!("{what} starts a new one from Snapshot {name}."),
        Some((None, Some(name))) => format!("{what} starts a new one as a clone of Workspace {name}."),
        _ => format!("{what} starts a new, empty one."),
    }
}

/// Epoch of the next desktop's conversation: Messages and files of the one that is gone keep their names.
pub(super) fn next_epoch(seen: &Observed) -> i64 {
    let first = || {
        let taken = seen.snapshot.as_ref().and_then(|s| Some(s.status.as_ref()?.checkpoint.as_ref()?.epoch));
        let cloned = seen.origin.as_ref().and_then(|w| w.status.as_ref()?.epoch);
        taken.or(cloned).map_or(0, |epoch| epoch + 1)
    };
    seen.session.status.as_ref().and_then(|s| s.epoch).unwrap_or_else(first) + 1
}
