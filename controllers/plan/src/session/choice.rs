//! Which Environment a Session gets, and why: what its spec or the requirement says; else the overseer's rules choose.

use a8s_crds::conditions::Reason;
use kube::ResourceExt;

use super::{Advice, Observed, status::one_line};
use crate::overseer::{Choice, Demand, best, held_against, of_attachments};

/// Chooses. A choice that was made stays: the catalogue may change, the Session's Workspace does not.
pub fn choose(seen: &Observed) -> Result<Choice, (Reason, String)> {
    let session = &seen.session;
    let before = session.status.as_ref().and_then(|s| Some((s.environment.clone()?, s.rationale.clone())));
    if let (Some((environment, rationale)), Some(_)) =
        (before, session.status.as_ref().and_then(|s| s.workspace.as_ref()))
    {
        return Ok(Choice { environment, rationale, certain: true });
    }
    let requirement = session.status.as_ref().and_then(|s| s.requirement.as_ref());
    let free = session.spec.environment.is_none() && session.spec.source.is_none();
    if let Some((requirement, name)) =
        requirement.filter(|_| free).and_then(|r| Some((r, r.environment.as_deref()?)))
    {
        let why = match &requirement.request {
            Some(request) => format!("{name}: agreed on in Request {request}"),
            None => format!("{name}: what the chat agent found"),
        };
        return named(seen, name, why);
    }
    choose_for(seen, crate::chat::first_prompt(session).unwrap_or_default())
}

/// Chooses for this text, whatever was chosen or agreed on before. What the spec says leaves nothing to choose.
pub fn choose_for(seen: &Observed, text: &str) -> Result<Choice, (Reason, String)> {
    let session = &seen.session;
    if let Some(name) = &session.spec.environment {
        return named(seen, name, format!("{name}: named in spec.environment"));
    }
    if let Some(name) = session.spec.source.as_ref().and_then(|s| s.workspace.as_deref()) {
        return match &seen.origin {
            Some(origin) => {
                let environment = &origin.spec.environment;
                named(seen, environment, format!("{environment}: Workspace {name}, which is cloned, has it"))
            }
            None => Err((
                Reason::WorkspaceNotFound,
                format!(
                    "Workspace {name} does not exist, so that it cannot be cloned; name another one in a new Session"
                ),
            )),
        };
    }
    if let Some(source) = &session.spec.source {
        let recorded = seen.snapshot.as_ref().and_then(|s| s.status.as_ref()?.environment.clone());
        return match (recorded, &seen.snapshot) {
            (Some(name), _) => named(
                seen,
                &name,
                format!(
                    "{name}: Snapshot {} was taken of it",
                    source.snapshot.as_deref().unwrap_or_default()
                ),
            ),
            (None, Some(_)) => Err((
                Reason::SnapshotNotReady,
                format!("Snapshot {} is not ready", source.snapshot.as_deref().unwrap_or_default()),
            )),
            (None, None) => Err((
                Reason::SnapshotNotFound,
                format!(
                    "Snapshot {} does not exist; create it, or name another",
                    source.snapshot.as_deref().unwrap_or_default()
                ),
            )),
        };
    }
    let attachments = &session.spec.attachments;
    let files = attachments.iter().filter(|a| a.connection.is_none()).count();
    let choice = best(&seen.environments, &Demand { text, calls: of_attachments(attachments), files })?;
    Ok(if choice.certain { choice } else { advised(seen, choice) })
}

/// Where no rule speaks for any Environment, a model may; what it proposes must exist.
fn advised(seen: &Observed, mut guess: Choice) -> Choice {
    let refused = match &seen.advice {
        Advice::None | Advice::Awaited => return guess,
        Advice::Given(proposed) => match held_against(proposed, &seen.environments, &seen.connections) {
            Ok(choice) => return choice,
            Err(why) => format!("the model's proposal was refused: {why}"),
        },
        Advice::Failed(why) => format!("the model was asked and could not say: {why}"),
    };
    guess.certain = true;
    guess.rationale.push(one_line(&refused, 300));
    guess
}

fn named(seen: &Observed, name: &str, why: String) -> Result<Choice, (Reason, String)> {
    if seen.environments.iter().any(|e| e.name_any() == name) {
        return Ok(Choice::given(name, why));
    }
    Err((
        Reason::EnvironmentNotFound,
        format!("Environment {name} does not exist; create it or ask for another"),
    ))
}
