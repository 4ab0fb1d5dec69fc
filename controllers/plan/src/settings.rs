//! How a Session's agent is run, as its runner is told: what the Environment offers, narrowed by what the Session asks for and by what was
//! granted.

use std::sync::Arc;

use a8s_crds::{
    Connection, Duration, Environment, Harness, PermissionPolicy, Recording, RecordingRule, Request, Session,
    conditions::Reason,
};
use a8s_wire::Settings;

use crate::{chat::first_prompt, overseer::agent_tools};

/// The settings. Without an Environment, because it was deleted since, the built-in agent is run.
pub fn settings(
    session: &Session,
    environment: Option<&Environment>,
    connections: &[Arc<Connection>],
    requests: &[Arc<Request>],
) -> Settings {
    let spec = &session.spec;
    let agent = spec.agent.as_ref();
    let harness =
        environment.and_then(|e| harness(&e.spec.harnesses, agent.and_then(|a| a.harness.as_deref())));
    let own = agent.and_then(|a| a.instructions.as_deref());
    let instructions: Vec<&str> =
        [environment.and_then(|e| e.spec.instructions.as_deref()), own].into_iter().flatten().collect();
    let policy = spec.policy.as_ref();
    let limits = spec.limits.as_ref();
    let timeout = policy.and_then(|p| p.request_timeout.as_deref()).and_then(seconds);
    let active = limits.and_then(|l| l.active_duration.as_deref()).and_then(seconds);
    Settings {
        harness: harness.map(|h| h.name.clone()).unwrap_or_default(),
        command: harness.map(|h| h.command.clone()).unwrap_or_default(),
        model: agent.and_then(|a| a.model.as_ref()).map(|m| m.connection.clone()),
        instructions: (!instructions.is_empty()).then(|| instructions.join("\n\n")),
        requirement: first_prompt(session).map(str::to_owned),
        tools: Some(agent_tools(session, environment, connections, requests)),
        permissions: match policy.map(|p| p.permissions).unwrap_or_default() {
            PermissionPolicy::Ask => a8s_wire::PermissionPolicy::Ask,
            PermissionPolicy::Allow => a8s_wire::PermissionPolicy::Allow,
            PermissionPolicy::Deny => a8s_wire::PermissionPolicy::Deny,
        },
        recording: recording(environment.map(|e| e.spec.recording), policy.and_then(|p| p.recording)),
        request_timeout_seconds: timeout.and_then(|s| u64::try_from(s).ok()).unwrap_or(HALF_AN_HOUR),
        max_turns: limits.and_then(|l| l.turns).unwrap_or_default(),
        max_tokens: limits.and_then(|l| l.tokens).unwrap_or_default(),
        max_active_seconds: active.unwrap_or_default(),
    }
}

/// Without an Environment there is nobody who allowed it.
fn recording(rule: Option<RecordingRule>, wanted: Option<Recording>) -> bool {
    match rule.unwrap_or(RecordingRule::Never) {
        RecordingRule::Never => false,
        RecordingRule::OnRequest => wanted == Some(Recording::Enabled),
        RecordingRule::ByDefault => wanted != Some(Recording::Disabled),
        RecordingRule::Always => true,
    }
}

/// What a Session asks for and its Environment overrules.
pub fn overruled(session: &Session, environment: &Environment) -> Option<(Reason, String)> {
    let wanted = session.spec.policy.as_ref()?.recording?;
    let name = kube::ResourceExt::name_any(environment);
    match (environment.spec.recording, wanted) {
        (RecordingRule::Never, Recording::Enabled) => Some((
            Reason::RecordingRefused,
            format!("spec.policy.recording: Environment {name} forbids recordings; nothing is recorded"),
        )),
        (RecordingRule::Always, Recording::Disabled) => Some((
            Reason::RecordingEnforced,
            format!(
                "spec.policy.recording: Environment {name} records always; the desktop is recorded while the agent works"
            ),
        )),
        _ => None,
    }
}

fn seconds(text: &str) -> Option<i64> {
    Duration(text.to_owned()).seconds()
}

/// What an unanswered Request waits where nobody says otherwise.
const HALF_AN_HOUR: u64 = 1_800;

/// The harness of this name; without one the default, or the first that there is.
fn harness<'a>(all: &'a [Harness], name: Option<&str>) -> Option<&'a Harness> {
    match name {
        Some(name) => all.iter().find(|h| h.name == name),
        None => all.iter().find(|h| h.default).or_else(|| all.first()),
    }
}

/// Why the Session's agent cannot be run, if the Environment does not have what it asks for.
pub fn unknown_harness(session: &Session, environment: &Environment) -> Option<String> {
    let name = session.spec.agent.as_ref()?.harness.as_deref()?;
    let all = &environment.spec.harnesses;
    if all.iter().any(|h| h.name == name) {
        return None;
    }
    let names: Vec<&str> = all.iter().map(|h| h.name.as_str()).collect();
    let there = if names.is_empty() {
        "it has only the built-in agent".into()
    } else {
        format!("it has {}", names.join(", "))
    };
    let environment = kube::ResourceExt::name_any(environment);
    Some(format!("spec.agent.harness: Environment {environment} has no harness {name}; {there}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_session_chooses_whether_it_is_recorded_where_its_environment_leaves_it_a_choice() {
        let recorded = |rule: Option<&str>, wanted: Option<&str>| {
            let mut spec = json!({"title": "t", "image": "i"});
            if let Some(rule) = rule {
                spec["recording"] = json!(rule);
            }
            let environment = Environment::new("e", from_value(spec).unwrap());
            let mut spec = json!({"goal": "g", "policy": {}});
            if let Some(wanted) = wanted {
                spec["policy"]["recording"] = json!(wanted);
            }
            settings(&Session::new("s", from_value(spec).unwrap()), Some(&environment), &[], &[]).recording
        };
        let (on, off) = (Some("Enabled"), Some("Disabled"));
        for (rule, outcomes) in [
            (None, [false, true, false]),
            (Some("Never"), [false, false, false]),
            (Some("OnRequest"), [false, true, false]),
            (Some("ByDefault"), [true, true, false]),
            (Some("Always"), [true, true, true]),
        ] {
            assert_eq!([None, on, off].map(|wanted| recorded(rule, wanted)), outcomes, "{rule:?}");
        }
        let lost =
            Session::new("s", from_value(json!({"goal": "g", "policy": {"recording": "Enabled"}})).unwrap());
        assert!(
            !settings(&lost, None, &[], &[]).recording,
            "the Environment is gone, and with it who allowed it"
        );
    }

    #[test]
    fn the_session_narrows_what_the_environment_offers() {
        let environment = Environment::new("e", from_value(json!({"title": "t", "image": "i", "instructions": "Be tidy.",
            "harnesses": [{"name": "a", "command": ["/a"]}, {"name": "b", "default": true, "command": ["/b", "--acp"]}]})).unwrap());
        let session = |spec| Session::new("s", from_value(spec).unwrap());
        let settings = |session: &Session| settings(session, Some(&environment), &[], &[]);
        let plain = settings(&session(json!({"goal": "g"})));
        assert_eq!(
            (plain.harness.as_str(), plain.command.len(), plain.request_timeout_seconds),
            ("b", 2, 1_800)
        );
        assert_eq!(plain.tools.unwrap(), ["computer", "files", "shell"]);
        assert_eq!(
            plain.permissions,
            a8s_wire::PermissionPolicy::Ask,
            "nothing is allowed that nobody allowed"
        );
        let spec = json!({"goal": "g", "agent": {"harness": "a", "instructions": "Be quick.", "model": {"connection": "llm"}},
            "policy": {"permissions": "Deny", "requestTimeout": "90s"},
            "limits": {"turns": 3, "tokens": 1000, "activeDuration": "1h30m"}});
        let asked = settings(&session(spec.clone()));
        assert_eq!((asked.harness.as_str(), asked.model.as_deref()), ("a", Some("llm")));
        assert_eq!(asked.instructions.as_deref(), Some("Be tidy.\n\nBe quick."));
        assert_eq!((asked.max_turns, asked.max_tokens, asked.max_active_seconds), (3, 1_000, 5_400));
        assert_eq!((asked.request_timeout_seconds, asked.requirement.as_deref()), (90, Some("g")));
        assert_eq!(unknown_harness(&session(spec), &environment), None);
        let other = session(json!({"goal": "g", "agent": {"harness": "c"}}));
        assert_eq!(
            unknown_harness(&other, &environment).unwrap(),
            "spec.agent.harness: Environment e has no harness c; it has a, b"
        );
    }
}
