//! What would be handed over: by the words that were said (the scripted brain), or as a model put it. Both are the same thing afterwards: a
//! requirement, an Environment of the catalogue, and a form with what is still to be filled in.

use std::{collections::BTreeMap, fmt::Write as _};

use a8s_crds::{Environment, Handoff, Input, Request, Requirement, conditions::Reason};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use super::{
    bounded,
    inputs::{self, Values},
    talk::Talk,
};
use crate::{overseer, session};

/// Longest requirement; what was filled in is added to it.
const LONGEST: usize = 24_000;

/// What a model proposes to hand over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// What is to be reached; markdown.
    pub requirement: String,
    /// Name of the Environment; else the overseer chooses.
    #[serde(default)]
    pub environment: Option<String>,
    /// Values of the Environment's inputs.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// Tools beside the Environment's.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Connections that are needed.
    #[serde(default)]
    pub connections: Vec<String>,
}

/// What would be handed over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draft {
    pub handoff: Handoff,
    /// What is still to be filled in.
    pub form: Vec<Input>,
    /// The Environment's name for people.
    pub place: String,
    /// Why this Environment.
    pub rationale: Vec<String>,
}

impl Draft {
    /// Whether it may be handed over as it is.
    pub fn is_complete(&self) -> bool {
        inputs::missing(&self.form, &Values::new()).is_empty()
    }
}

/// From what people said.
pub(super) fn scripted(seen: &session::Observed, talk: &Talk<'_>) -> Result<Draft, (Reason, String)> {
    let whole = talk.wishes.join("\n\n");
    let choice = session::choose_for(seen, &whole)?;
    let environment = find(&seen.environments, &choice.environment);
    let declared = environment.map_or(&[][..], |e| &e.spec.inputs);
    let mut values = inputs::answered_by(declared, &talk.attachments);
    let mut words = Vec::new();
    for wish in &talk.wishes {
        let (said, rest) = inputs::said(declared, wish, &talk.attachments);
        values.extend(said);
        words.extend(Some(rest).filter(|rest| !rest.is_empty()));
    }
    values.extend(known(declared, &talk.values));
    // Where nothing but answers were given, they are what is wanted.
    let requirement = if words.is_empty() { whole } else { words.join("\n\n") };
    let handoff = Handoff {
        requirement: bounded(&requirement, LONGEST),
        environment: Some(choice.environment),
        inputs: values,
        tools: Vec::new(),
        connections: Vec::new(),
    };
    Ok(with_form(handoff, environment, choice.rationale))
}

/// The same thing again, with what was filled in so far.
pub(super) fn again(seen: &session::Observed, talk: &Talk<'_>, before: &Request) -> Option<Draft> {
    let mut handoff = before.spec.handoff.clone()?;
    let environment = handoff.environment.as_deref().and_then(|name| find(&seen.environments, name));
    let declared = environment.map_or(&[][..], |e| &e.spec.inputs);
    handoff.inputs.extend(known(declared, &talk.values));
    Some(with_form(handoff, environment, Vec::new()))
}

/// From a model's proposal; what is wrong with it is told in words that the model can use.
pub(super) fn proposed(
    seen: &session::Observed,
    talk: &Talk<'_>,
    proposal: &Proposal,
) -> Result<Draft, String> {
    let requirement = proposal.requirement.trim();
    if requirement.is_empty() {
        return Err("the requirement is empty; write what is to be reached".into());
    }
    // What the spec says leaves nothing to propose.
    let fixed = seen.session.spec.environment.is_some() || seen.session.spec.source.is_some();
    let choice = match proposal.environment.as_deref().filter(|name| !fixed && !name.is_empty()) {
        Some(name) => {
            let wanted = overseer::Proposed {
                environment: name.to_owned(),
                rationale: vec!["chosen in the chat".into()],
                ..overseer::Proposed::default()
            };
            overseer::held_against(&wanted, &seen.environments, &seen.connections)?
        }
        None => session::choose_for(seen, requirement).map_err(|(_, why)| why)?,
    };
    let environment = find(&seen.environments, &choice.environment);
    overseer::held_against(
        &overseer::Proposed {
            environment: choice.environment.clone(),
            tools: proposal.tools.clone(),
            connections: proposal.connections.clone(),
            rationale: Vec::new(),
        },
        &seen.environments,
        &seen.connections,
    )?;
    let declared = environment.map_or(&[][..], |e| &e.spec.inputs);
    let mut values = inputs::answered_by(declared, &talk.attachments);
    for (name, value) in &proposal.inputs {
        let Some(input) = declared.iter().find(|i| i.name == *name) else {
            let names: Vec<&str> = declared.iter().map(|i| i.name.as_str()).collect();
            let there = if names.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", names.join(", "))
            };
            return Err(format!("Environment {} has no input {name}; {there}", choice.environment));
        };
        values.insert(name.clone(), inputs::fits(input, value, &talk.attachments)?);
    }
    values.extend(known(declared, &talk.values));
    let unique = |all: &[String]| {
        let mut all = all.to_vec();
        all.sort();
        all.dedup();
        all
    };
    let handoff = Handoff {
        requirement: bounded(requirement, LONGEST),
        environment: Some(choice.environment),
        inputs: values,
        tools: unique(&proposal.tools),
        connections: unique(&proposal.connections),
    };
    Ok(with_form(handoff, environment, choice.rationale))
}

fn with_form(handoff: Handoff, environment: Option<&Environment>, rationale: Vec<String>) -> Draft {
    let declared = environment.map_or(&[][..], |e| &e.spec.inputs);
    let name = handoff.environment.clone().unwrap_or_default();
    let place = environment.map_or(name, |e| e.spec.title.clone());
    Draft { form: inputs::left(declared, &handoff.inputs), place, rationale, handoff }
}

/// What is handed over, with everything that was filled in.
pub(super) fn requirement(
    environments: &[Environment],
    handoff: &Handoff,
    filled: &Values,
    form: &[Input],
    later: &[&str],
) -> Requirement {
    let mut values = handoff.inputs.clone();
    values.extend(filled.clone());
    let environment = handoff.environment.as_deref().and_then(|name| find(environments, name));
    let declared = environment.map_or(form, |e| &e.spec.inputs);
    let mut text = handoff.requirement.trim().to_owned();
    if !values.is_empty() {
        let _ = write!(text, "\n\nWhat was filled in:\n\n{}", inputs::rendered(declared, &values).trim_end());
    }
    for said in later {
        let _ = write!(text, "\n\n{}", said.trim());
    }
    Requirement {
        text: bounded(&text, 32_000),
        environment: handoff.environment.clone(),
        tools: handoff.tools.clone(),
        connections: handoff.connections.clone(),
        by: None,
        request: None,
    }
}

fn known(declared: &[Input], values: &Values) -> Values {
    let there = |name: &String| declared.iter().any(|i| i.name == *name);
    values.iter().filter(|(name, _)| there(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn find<'a>(environments: &'a [Environment], name: &str) -> Option<&'a Environment> {
    environments.iter().find(|e| e.name_any() == name)
}
