//! What an agent asks for while it works: a tool, a Connection, more material. Whether a rule may decide is written into the Request when
//! it is made; the rule decides by what is so then. What no rule may decide waits for a person.

use std::sync::Arc;

use a8s_crds::{Approval, Connection, Decision, Environment, Request, RequestState, RequestType};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::grants::{connection_asked, is_later};
use crate::Env;

/// Whether a rule may decide what is asked for: a tool that the Environment has anyway, or a Connection whose owner says `grant: Auto`.
pub fn policy(
    kind: RequestType,
    subject: Option<&str>,
    environment: Option<&Environment>,
    connections: &[Arc<Connection>],
) -> Approval {
    let auto = subject.and_then(|subject| reason(kind, subject, environment, connections)).is_some();
    if auto { Approval::Auto } else { Approval::Ask }
}

/// The decision of an open Request that a rule may decide and that the rule allows. A rule never refuses: a person may still allow.
pub fn decide(
    request: &Request,
    environment: Option<&Environment>,
    connections: &[Arc<Connection>],
    env: &Env,
) -> Option<Decision> {
    let status = request.status.as_ref();
    let open =
        status.is_none_or(|s| s.decision.is_none() && matches!(s.state, None | Some(RequestState::Open)));
    let expired = request.spec.expires.as_ref().is_some_and(|at| at.0 <= env.now);
    if request.spec.policy != Approval::Auto || !is_later(request) || !open || expired {
        return None;
    }
    let why = reason(request.spec.kind, request.spec.subject.as_deref()?, environment, connections)?;
    Some(Decision {
        option: allowing(request)?,
        note: Some(why),
        by: Some(env.controller_user()),
        at: Some(Time(env.now)),
        ..Decision::default()
    })
}

/// The option that permits this once, or at all.
fn allowing(request: &Request) -> Option<String> {
    let options = &request.spec.options;
    if options.is_empty() {
        return Some("allow".to_owned());
    }
    let once = options.iter().find(|o| o.kind == a8s_crds::OptionKind::AllowOnce);
    once.or_else(|| options.iter().find(|o| o.kind.allows())).map(|o| o.id.clone())
}

fn reason(
    kind: RequestType,
    subject: &str,
    environment: Option<&Environment>,
    connections: &[Arc<Connection>],
) -> Option<String> {
    if kind == RequestType::Tool
        && let Some(environment) = environment.filter(|e| e.spec.tools.iter().any(|t| t == subject))
    {
        return Some(format!("Environment {} has {subject}", environment.name_any()));
    }
    let name = connection_asked(kind, subject)?;
    let found =
        connections.iter().find(|c| c.name_any() == name && c.metadata.deletion_timestamp.is_none())?;
    (found.spec.grant == Approval::Auto).then(|| format!("the grant of Connection {name} is Auto"))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn env() -> Env {
        let now = jiff::Timestamp::from_second(100).unwrap();
        Env { now, runner_image: "r".into(), system_namespace: "a8s-system".into() }
    }

    fn connection(name: &str, grant: &str) -> Arc<Connection> {
        let spec = json!({"grant": grant, "mcp": {"url": "https://mcp.example", "tools": ["find"]}});
        Arc::new(Connection::new(name, from_value(spec).unwrap()))
    }

    fn request(kind: &str, subject: &str, policy: &str) -> Request {
        let spec = json!({"session": "s", "type": kind, "title": "t", "subject": subject, "policy": policy});
        Request::new("r", from_value(spec).unwrap())
    }

    #[test]
    fn a_rule_decides_what_environment_or_connection_leave_to_it_and_nothing_else() {
        let spec = json!({"title": "t", "image": "i", "tools": ["shell"]});
        let office = Environment::new("office", from_value(spec).unwrap());
        let all = [connection("crm", "Auto"), connection("bank", "Ask")];
        for (kind, subject, expected) in [
            ("Tool", "shell", Some("Environment office has shell")),
            ("Tool", "crm__find", Some("the grant of Connection crm is Auto")),
            ("Credential", "crm", Some("the grant of Connection crm is Auto")),
            ("Credential", "bank", None),
            ("Credential", "gone", None),
            ("Context", "q3-figures", None),
            ("Takeover", "crm", None),
        ] {
            let asked = request(kind, subject, "Auto");
            let decided = decide(&asked, Some(&office), &all, &env());
            let note = decided.as_ref().and_then(|d| d.note.as_deref());
            assert_eq!(note, expected, "{kind} {subject}");
            let auto = policy(asked.spec.kind, Some(subject), Some(&office), &all) == Approval::Auto;
            assert_eq!(auto, expected.is_some(), "{kind} {subject}");
            if let Some(decision) = decided {
                assert_eq!(decision.option, "allow");
                assert_eq!(decision.by.as_deref(), Some("system:serviceaccount:a8s-system:a8s-controller"));
            }
        }
    }

    #[test]
    fn what_is_a_persons_to_decide_is_closed_or_is_late_is_left_alone() {
        let all = [connection("crm", "Auto")];
        assert_eq!(decide(&request("Credential", "crm", "Ask"), None, &all, &env()), None);
        let mut late = request("Credential", "crm", "Auto");
        late.spec.expires = Some(Time(env().now));
        assert_eq!(decide(&late, None, &all, &env()), None);
        for state in ["Granted", "Refused", "Expired", "Cancelled"] {
            let mut closed = request("Credential", "crm", "Auto");
            closed.status = Some(from_value(json!({"state": state})).unwrap());
            assert_eq!(decide(&closed, None, &all, &env()), None, "{state}");
        }
        let mut options = request("Credential", "crm", "Auto");
        options.spec.options = from_value(json!([
            {"id": "no", "kind": "RejectOnce"}, {"id": "always", "kind": "AllowAlways"}, {"id": "once", "kind": "AllowOnce"},
        ]))
        .unwrap();
        assert_eq!(decide(&options, None, &all, &env()).unwrap().option, "once");
    }
}
