//! Where the overseer has a word in a Session: what a model may say about the Environment, what its desktop is granted, and why.

use a8s_crds::conditions::Reason;
use kube::ResourceExt;

use super::{Choice, Observed, Place};
use crate::overseer::{Grants, Proposed, grants};

/// What a model says about the Environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Advice {
    /// It is not asked.
    #[default]
    None,
    /// It thinks.
    Awaited,
    /// What it proposes.
    Given(Proposed),
    /// It gave no answer; why.
    Failed(String),
}

/// Whether a model may still know better than the rules.
pub(super) fn awaited(seen: &Observed, choice: &Result<Choice, (Reason, String)>) -> bool {
    seen.advice == Advice::Awaited && choice.as_ref().is_ok_and(|choice| !choice.certain)
}

/// A Workspace that was made in a pass that did not live to say so has the Environment that was chosen then.
pub(super) fn of_the_workspace(seen: &Observed, place: &Place<'_>, choice: Choice) -> Choice {
    let recorded = seen.session.status.as_ref().is_some_and(|s| s.workspace.is_some());
    match place {
        Place::Mine(workspace) if !recorded && workspace.spec.environment != choice.environment => {
            let name = &workspace.spec.environment;
            Choice::given(name, format!("{name}: Workspace {} was made from it", workspace.name_any()))
        }
        _ => choice,
    }
}

/// What the Session's desktop is granted.
pub(super) fn granted(seen: &Observed, choice: Option<&Choice>) -> Grants {
    let environment = choice.and_then(|c| seen.environments.iter().find(|e| e.name_any() == c.environment));
    grants(&seen.session, environment, &seen.connections, &seen.requests)
}

/// Why this Environment, and why these tools and Connections; of what was granted later the newest is said.
pub(super) fn explained(mut choice: Choice, granted: Grants) -> Choice {
    let of_grants =
        |line: &String| ["connection ", "tool ", "tools "].iter().any(|word| line.starts_with(word));
    choice.rationale.retain(|line| !of_grants(line));
    choice.rationale.extend(granted.rationale);
    choice
}
