//! Which Environment a Session gets, and why.

use a8s_crds::{Environment, conditions::Reason};
use kube::ResourceExt;

use super::Observed;

/// The choice and its reasons, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Name of the Environment.
    pub environment: String,
    /// Why.
    pub rationale: Vec<String>,
}

/// Chooses. A choice that was made stays: the catalogue may change, the Session's Workspace does not.
pub fn choose(seen: &Observed) -> Result<Choice, (Reason, String)> {
    let session = &seen.session;
    let before = session.status.as_ref().and_then(|s| Some((s.environment.clone()?, s.rationale.clone())));
    if let (Some((environment, rationale)), Some(_)) =
        (before, session.status.as_ref().and_then(|s| s.workspace.as_ref()))
    {
        return Ok(Choice { environment, rationale });
    }
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
    best(&seen.environments, session.spec.goal.as_deref().unwrap_or_default())
}

fn named(seen: &Observed, name: &str, why: String) -> Result<Choice, (Reason, String)> {
    if seen.environments.iter().any(|e| e.name_any() == name) {
        return Ok(Choice { environment: name.to_owned(), rationale: vec![why] });
    }
    Err((
        Reason::EnvironmentNotFound,
        format!("Environment {name} does not exist; create it or ask for another"),
    ))
}

/// The most matching words win, then the higher priority, then the first name: the same catalogue always gives the same answer. Where no
/// word matches at all, the lowest priority wins: what is general comes before what is special.
fn best(catalogue: &[Environment], goal: &str) -> Result<Choice, (Reason, String)> {
    let goal = goal.to_lowercase();
    let mut ranked: Vec<(Vec<&str>, i32, String)> = catalogue
        .iter()
        .filter(|e| e.metadata.deletion_timestamp.is_none())
        .map(|e| {
            let matching = e.spec.matching.as_ref();
            let words = matching.map_or(&[][..], |m| &m.keywords).iter().map(String::as_str);
            let hits = words.filter(|word| mentions(&goal, &word.to_lowercase())).collect();
            (hits, matching.map_or(0, |m| m.priority), e.name_any())
        })
        .collect();
    let special = ranked.iter().any(|(hits, ..)| !hits.is_empty());
    ranked.sort_by(|a, b| {
        let priority = if special { b.1.cmp(&a.1) } else { a.1.cmp(&b.1) };
        b.0.len().cmp(&a.0.len()).then(priority).then(a.2.cmp(&b.2))
    });
    let Some((hits, priority, name)) = ranked.first() else {
        return Err((
            Reason::NoEnvironment,
            "no Environment exists; an administrator has to create one".into(),
        ));
    };
    let mut rationale = vec![if hits.is_empty() {
        format!(
            "{name}: no Environment's keywords are in the goal; priority {priority} is the lowest, it is the most general"
        )
    } else {
        format!("{name}: the goal mentions {}", hits.join(", "))
    }];
    if let Some((others, their, next)) = ranked.get(1) {
        rationale.push(if others.len() < hits.len() {
            format!("{next}: {} of its keywords in the goal", others.len())
        } else if their < priority {
            format!("{next}: as many keywords, priority {their} is lower than {priority}")
        } else if their > priority {
            format!("{next}: no keywords either, priority {their} is higher: it is more special")
        } else {
            format!("{next}: as many keywords and the same priority; the first name wins")
        });
    }
    Ok(Choice { environment: name.clone(), rationale })
}

/// Whole words only: `pdf` is in "a PDF report", not in "spdf".
fn mentions(goal: &str, word: &str) -> bool {
    let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    !word.is_empty()
        && goal.match_indices(word).any(|(at, _)| {
            !letter(goal[..at].chars().next_back()) && !letter(goal[at + word.len()..].chars().next())
        })
}
