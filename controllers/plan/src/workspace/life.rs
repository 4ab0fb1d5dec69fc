//! What a Workspace shall be just now: what its spec asks for, unless nobody uses it and its lifecycle says what becomes of it then.

use a8s_crds::{Workspace, WorkspaceState};

use super::Observed;
use crate::Env;

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
    /// Nobody used it for long enough.
    Idle,
}

/// The effective state. Everything that depends on `spec.state` asks here.
pub fn wanted(observed: &Observed, _env: &Env) -> Wanted {
    Wanted { state: settled(&observed.workspace), why: Why::Asked }
}

/// The effective state as the last pass left it; for those who see the object only.
pub fn settled(workspace: &Workspace) -> WorkspaceState {
    workspace.spec.state
}
