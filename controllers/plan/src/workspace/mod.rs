//! Decisions for a Workspace: a volume, a certificate, a Service, a NetworkPolicy and one pod, and who holds mouse and keyboard.
//!
//! The pod is created once and never changed; a change of the spec takes effect at its next start. The claim is created once and never
//! deleted here: it goes with the Workspace.

mod check;
mod children;
mod control;
mod keeping;
mod leaving;
mod life;
mod observed;
mod pod;
mod quantity;
mod running;
mod status;
mod trouble;

#[cfg(test)]
mod tests;

use a8s_crds::{WorkspaceState, WorkspaceStatus, conditions::Reason, labels};

pub use check::{Violation, check};
pub use children::storage_class;
pub use keeping::SnapshotFact;
pub use life::{Wanted, Why, settled, wanted};
pub use observed::{Binding, Made, Observed, Source};

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
    if observed.deleted_at().is_some() {
        return leaving::deleted(observed, env);
    }
    let mut draft = status::Draft::new(observed, env);
    if let Some(error) = &observed.last_error {
        // Said once, before the next attempt: a pass that fails never gets as far as its status.
        draft.hold(Hold::stalled(Reason::Forbidden, error.clone()));
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
    match wanted(observed, env).state {
        WorkspaceState::Running => running::plan(observed, env, draft, ops),
        WorkspaceState::Suspended | WorkspaceState::Archived => leaving::suspended(observed, env, draft, ops),
    }
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
}
