//! What no plan for a Workspace may ever do, checked before it is carried out.

use std::fmt;

use a8s_crds::{WorkspaceState, WorkspaceStatus, labels, names};

use super::{Observed, life, trouble};
use crate::{Effect, Env, Op, Plan};

/// A plan that must not be carried out; a defect of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Number of the invariant.
    pub invariant: u8,
    /// What the plan wanted.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}: {}", self.invariant, self.what)
    }
}

/// All violations; 1: at most one pod of a Workspace, and none that is not wanted; 2: only what is ours by UID is touched, a claim never.
pub fn check(observed: &Observed, env: &Env, plan: &Plan<WorkspaceStatus>) -> Vec<Violation> {
    let mut all = Vec::new();
    let mut say = |invariant, what: String| all.push(Violation { invariant, what });
    let mut pods = 0;
    for op in &plan.ops {
        match op {
            Op::Create { object } | Op::Apply { object, .. } => {
                let kind = object["kind"].as_str().unwrap_or_default();
                if kind == "Snapshot" {
                    // It outlives the Workspace, so that nothing owns it.
                    let of_it = &object["metadata"]["labels"][labels::WORKSPACE_UID] == observed.uid();
                    if !of_it || object["spec"]["trigger"] == "Manual" || matches!(op, Op::Apply { .. }) {
                        say(2, "a Snapshot in a person's name or of another Workspace".into());
                    }
                    continue;
                }
                if object["metadata"]["ownerReferences"][0]["uid"] != observed.uid() {
                    say(2, format!("a {kind} without its owner"));
                }
                if kind != "Pod" {
                    continue;
                }
                pods += 1;
                let unwanted = observed.deleted_at().is_some()
                    || life::wanted(observed, env).state != WorkspaceState::Running;
                if object["metadata"]["name"] != names::pod(observed.name()).as_str() {
                    say(1, "a pod under another name".into());
                }
                if observed.pod.is_some() || pods > 1 {
                    say(1, "a second pod".into());
                }
                if unwanted {
                    say(1, "a pod for a Workspace that shall have none".into());
                }
            }
            Op::Delete { target, .. } => {
                let ours = observed.own_pod().is_some_and(|p| p.metadata.uid.as_deref() == Some(&target.uid));
                if target.kind != "Pod" || !ours || target.uid.is_empty() {
                    say(2, format!("to delete {} {}", target.kind, target.name));
                }
            }
            Op::Finalizer { target, present, .. } => {
                if target.uid != observed.uid() {
                    say(2, "a finalizer of another object".into());
                }
                if !present && observed.own_pod().is_some_and(|p| !trouble::leaving(p)) {
                    say(1, "to let the Workspace go before its pod".into());
                }
            }
            Op::Effect(effect) => {
                let of = match effect {
                    Effect::ServingSecret { owner, .. } => Some(owner),
                    Effect::SetControl { workspace, .. } | Effect::Quiesce { workspace } => Some(workspace),
                    Effect::StoreContent { .. } | Effect::DeleteContent { .. } => None,
                };
                if of.is_none_or(|of| of.uid != observed.uid()) {
                    say(2, "an effect on another object".into());
                }
            }
        }
    }
    all
}
