//! Decisions for a Workspace: a volume, a certificate, a NetworkPolicy and one pod, and who holds mouse and keyboard.
//!
//! The pod is created once and never changed; a change of the spec takes effect at its next start. A claim is deleted
//! only when a Snapshot holds what is on it (see [`removal`]).

mod adoption;
mod archive;
mod check;
mod children;
mod control;
mod egress;
mod keeping;
mod leaving;
mod life;
mod lost;
mod observed;
mod placement;
mod pod;
pub(crate) mod quantity;
mod receipt;
mod removal;
mod resting;
mod restore;
mod running;
mod sparing;
mod status;
mod timing;
mod trouble;
mod volume;

#[cfg(test)]
mod tests;

use a8s_crds::{WorkspaceState, WorkspaceStatus, conditions::Reason, labels};

pub use check::{Violation, check, irrevocable};
pub use children::storage_class;
pub use control::{last_hands, lease, other_hands};
pub use keeping::{Conversation, SnapshotFact, doomed};
pub use life::{Wanted, Why, asleep, settled, wanted, watched};
pub use lost::{NodeState, suspect};
pub use observed::{Binding, CloneSource, Made, Observed, Source};
pub use placement::NodeFact;
pub use restore::snapshot as restored_snapshot;
pub use volume::{archive as archive_name, claims, next_name as next_claim};

use crate::{Env, Op, Plan, Wake};

/// Annotation of the claim: the conversation epoch of what is on it. On a Workspace: the least epoch that it begins with, written by a
/// Session whose earlier Workspace was deleted.
pub const EPOCH: &str = "a8s.dev/epoch";
/// Annotation of the claim: the Snapshot that it was made from.
pub const RESTORED_FROM: &str = "a8s.dev/restored-from";

/// How long a Workspace that is starting is left alone, at most. Its processes report over HTTPS, which no watch can see.
const STARTING: u64 = 200;
/// How long what only people can mend is left alone.
const STALLED: u64 = 10_000;

/// What is to be done for a Workspace.
pub fn plan(observed: &Observed, env: &Env) -> Plan<WorkspaceStatus> {
    let mut plan = decide(observed, env);
    sparing::spare(observed, env, &mut plan);
    plan
}

fn decide(observed: &Observed, env: &Env) -> Plan<WorkspaceStatus> {
    if observed.deleted_at().is_some() {
        return leaving::deleted(observed, env);
    }
    let mut draft = status::Draft::new(observed, env);
    if let Some(error) = &observed.last_error {
        // Said once, before the next attempt: a pass that fails never gets as far as its status.
        draft.hold(trouble::refused(error));
        draft.conditions();
        return draft.finish(Vec::new(), Wake::AfterMillis(STALLED / 2));
    }
    let mut ops = Vec::new();
    if !observed.has_finalizer() {
        ops.push(Op::Finalizer {
            target: observed.target(),
            finalizer: labels::WORKSPACE_FINALIZER,
            present: true,
        });
    }
    let wanted = wanted(observed, env);
    if lost::clear(observed, &mut draft, &mut ops) {
        draft.conditions();
        return draft.finish(ops, Wake::AfterMillis(STARTING));
    }
    if life::expired(observed, env) {
        return life::expire(observed, draft);
    }
    if life::drowsy(observed, wanted) {
        return life::fall_asleep(observed, draft);
    }
    if let Some(hold) = adoption::settle(observed, &mut ops) {
        draft.hold(hold);
        draft.conditions();
        return draft.finish(ops, Wake::AfterMillis(STARTING));
    }
    let mut plan = match wanted.state {
        WorkspaceState::Running => running::plan(observed, env, draft, ops),
        WorkspaceState::Suspended => leaving::suspended(observed, env, draft, ops),
        WorkspaceState::Archived => archive::plan(observed, env, draft, ops),
    };
    keeping::keep(observed, env, &mut plan);
    plan
}

/// Why it does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// For the conditions.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether a person must help.
    pub stalled: bool,
}

impl Hold {
    fn wait(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), stalled: false }
    }

    fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), stalled: true }
    }

    /// When to look again at what no process does anything about: what only people can mend may be something that nobody watches.
    fn wake(&self) -> Wake {
        if self.stalled { Wake::AfterMillis(STALLED) } else { Wake::OnChange }
    }
}
