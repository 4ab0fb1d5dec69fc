//! The control lease. The spec says who shall hold it, deskd enforces it, the status repeats what deskd confirmed and nothing else.

use a8s_crds::{ClipboardRule, ControlHolder, ControlStatus, Workspace, conditions::Reason};
use a8s_wire::{Clipboard, ControlState, DeskState, Holder, SetControl};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Observed;
use crate::{Effect, Notice, Op};

/// What follows for the lease.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The lease to hand to deskd, if it has another.
    pub op: Option<Op>,
    /// What deskd confirmed; `None` if it said nothing.
    pub confirmed: Option<ControlStatus>,
    /// What is wrong with the wish.
    pub refused: Option<String>,
}

/// Whose hands the spec asks for: the holder, the person, and whether in private.
fn wished(workspace: &Workspace) -> (Holder, Option<String>, bool) {
    let wish = &workspace.spec.control;
    match wish.holder {
        ControlHolder::Agent => (Holder::Agent, None, false),
        ControlHolder::User => (Holder::User, wish.user.clone(), wish.private),
    }
}

/// What deskd has if it has what it last confirmed.
pub fn last_hands(workspace: &Workspace) -> DeskState {
    let known = workspace.status.as_ref().and_then(|s| s.control.clone()).unwrap_or_default();
    let (holder, user, private) = match known.holder {
        ControlHolder::Agent => (Holder::Agent, None, false),
        ControlHolder::User => (Holder::User, known.user, known.private),
    };
    let control = ControlState { holder, user, private, epoch: known.epoch, ..ControlState::default() };
    DeskState { control, ..DeskState::default() }
}

/// Whether the spec asks for other hands than those that deskd last confirmed.
pub fn other_hands(workspace: &Workspace) -> bool {
    let held = last_hands(workspace).control;
    wished(workspace) != (held.holder, held.user, held.private)
}

/// The lease to hand to deskd, if what it enforces is not what the spec asks for.
pub fn lease(observed: &Observed) -> Option<SetControl> {
    match settle(observed).op? {
        Op::Effect(Effect::SetControl { lease, .. }) => Some(lease),
        _ => None,
    }
}

/// Compares the wish with what deskd enforces.
pub(crate) fn settle(observed: &Observed) -> Outcome {
    let Some(desk) = &observed.desk else { return Outcome::default() };
    let held = &desk.control;
    let known = observed.workspace.status.as_ref().and_then(|s| s.control.as_ref());
    let (holder, user, private) = wished(&observed.workspace);
    if holder == Holder::User && user.is_none() {
        let text = "spec.control.holder is User, but nobody stamped spec.control.user; is the webhook of a8s installed?";
        return Outcome { refused: Some(text.into()), ..Outcome::default() };
    }
    let same = held.holder == holder && held.user == user && held.private == private;
    let last = known.map_or(0, |k| k.epoch);
    if same && held.epoch >= last {
        return Outcome { confirmed: Some(confirmed(desk)), ..Outcome::default() };
    }
    // A new deskd counts from 0. Its epoch catches up, so that the number in the status never goes back.
    let epoch = if same { last } else { last.max(held.epoch) + 1 };
    let lease = SetControl { holder, user, private, epoch };
    Outcome {
        op: Some(Op::Effect(Effect::SetControl { workspace: observed.target(), lease })),
        confirmed: Some(ControlStatus { epoch: last.max(held.epoch), ..confirmed(desk) }),
        refused: None,
    }
}

fn confirmed(desk: &DeskState) -> ControlStatus {
    let held = &desk.control;
    let holder = match held.holder {
        Holder::Agent => ControlHolder::Agent,
        Holder::User => ControlHolder::User,
    };
    ControlStatus {
        holder,
        user: held.user.clone(),
        private: held.private,
        epoch: held.epoch,
        since: held.since.parse::<Timestamp>().ok().map(Time),
        summary: Some(summary(holder, held.user.as_deref(), held.private)),
        audience: desk.audience.clone(),
        clipboard: match desk.clipboard {
            Clipboard::Both => None,
            Clipboard::In => Some(ClipboardRule::In),
            Clipboard::Out => Some(ClipboardRule::Out),
            Clipboard::None => Some(ClipboardRule::None),
        },
    }
}

fn summary(holder: ControlHolder, user: Option<&str>, private: bool) -> String {
    match (holder, user) {
        (ControlHolder::User, Some(user)) if private => format!("{user} (private)"),
        (ControlHolder::User, Some(user)) => user.to_owned(),
        (ControlHolder::User, None) => "a person".to_owned(),
        (ControlHolder::Agent, _) => "agent".to_owned(),
    }
}

/// What people should read about a change of the lease.
pub(crate) fn notice(old: Option<&ControlStatus>, new: &ControlStatus) -> Option<Notice> {
    let place = |c: &ControlStatus| (c.holder, c.user.clone(), c.private);
    let before = old.map_or((ControlHolder::Agent, None, false), place);
    let note = (before != place(new)).then(|| match (&new.user, new.private) {
        (Some(user), true) => format!("{user} has taken control in private; the agent sees nothing."),
        (Some(user), false) => format!("{user} has taken control."),
        (None, _) => "Control is back with the agent.".to_owned(),
    })?;
    Some(Notice { warning: false, reason: Reason::ControlChanged, note })
}
