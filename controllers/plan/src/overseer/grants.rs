//! Which Connections and tools a Session gets. A Connection is granted if somebody who may give it named it: the Session's own spec (the
//! API server let its author refer to it), a person who decided a Request, or the Connection itself (`grant: Auto`). Nothing is kept: a
//! Request that is deleted takes its grant along.

use std::{collections::BTreeMap, sync::Arc};

use a8s_crds::{Approval, Connection, Environment, Request, RequestState, RequestType, Session};
use kube::ResourceExt;

/// What a Session gets, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Names of Connections, in order.
    pub connections: Vec<String>,
    /// Names of tools, in order.
    pub tools: Vec<String>,
    /// Why, and why not; one a line.
    pub rationale: Vec<String>,
}

/// Who asks for a Connection. The first that may give it is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// The Session's own spec.
    Spec,
    /// A person, in a Request.
    Person {
        /// Who.
        by: String,
        /// Where.
        request: String,
    },
    /// The Environment.
    Environment(String),
    /// The requirement, which nobody confirmed, or a rule that decided a Request.
    Rule,
}

impl Asked {
    fn may_give(&self) -> bool {
        matches!(self, Self::Spec | Self::Person { .. })
    }

    fn words(&self) -> String {
        match self {
            Self::Spec => "named in the Session's spec".into(),
            Self::Person { by, request } => format!("granted by {by} in Request {request}"),
            Self::Environment(name) => format!("Environment {name} offers it"),
            Self::Rule => "asked for".into(),
        }
    }
}

/// What the Session gets now.
pub fn grants(
    session: &Session,
    environment: Option<&Environment>,
    connections: &[Arc<Connection>],
    requests: &[Arc<Request>],
) -> Grants {
    let mut all = Grants::default();
    for (name, asked) in asked_for(session, environment, requests, connections) {
        let found =
            connections.iter().find(|c| c.name_any() == name && c.metadata.deletion_timestamp.is_none());
        let who = asked.iter().find(|a| a.may_give()).or(asked.first()).map(Asked::words).unwrap_or_default();
        let line = match found {
            None => {
                format!("connection {name}: {who}, but there is no Connection of that name in the namespace")
            }
            Some(_) if asked.iter().any(Asked::may_give) => {
                all.connections.push(name.clone());
                format!("connection {name}: {who}")
            }
            Some(found) if found.spec.grant == Approval::Auto => {
                all.connections.push(name.clone());
                format!("connection {name}: {who}, and its grant is Auto")
            }
            Some(_) => format!("connection {name}: {who}, but its grant is Ask; the agent may ask for it"),
        };
        all.rationale.push(line);
    }
    tools(&mut all, session, environment, connections, requests);
    all
}

/// Names of the Connections that the Session itself speaks of: its spec, and the requirement that was agreed on.
pub fn named(session: &Session) -> impl Iterator<Item = &str> {
    let attached = session.spec.attachments.iter().filter_map(|a| a.connection.as_ref()).map(|c| &*c.name);
    let model = session.spec.agent.as_ref().and_then(|a| a.model.as_ref()).map(|m| &*m.connection);
    let requirement = session.status.as_ref().and_then(|s| s.requirement.as_ref());
    let required = requirement.map_or(&[][..], |r| &r.connections).iter().map(String::as_str);
    attached.chain(model).chain(required)
}

/// Every Connection that somebody asks for, and who does.
fn asked_for(
    session: &Session,
    environment: Option<&Environment>,
    requests: &[Arc<Request>],
    connections: &[Arc<Connection>],
) -> BTreeMap<String, Vec<Asked>> {
    let mut all: BTreeMap<String, Vec<Asked>> = BTreeMap::new();
    let mut add = |name: &str, asked: Asked| {
        let known = all.entry(name.to_owned()).or_default();
        if !known.contains(&asked) {
            known.push(asked);
        }
    };
    let spec = &session.spec;
    for attachment in &spec.attachments {
        attachment.connection.iter().for_each(|c| add(&c.name, Asked::Spec));
    }
    let model = spec.agent.as_ref().and_then(|a| a.model.as_ref());
    if let Some(model) = model {
        add(&model.connection, Asked::Spec);
    }
    if let Some(requirement) = session.status.as_ref().and_then(|s| s.requirement.as_ref()) {
        let asked = match (&requirement.by, &requirement.request) {
            (Some(by), Some(request)) => Asked::Person { by: by.clone(), request: request.clone() },
            _ => Asked::Rule,
        };
        requirement.connections.iter().for_each(|name| add(name, asked.clone()));
    }
    for request in requests.iter().filter(|r| is_later(r)) {
        let (Some(by), Some(subject)) = (granted_by(request), request.spec.subject.as_deref()) else {
            continue;
        };
        let asked = match request.spec.policy {
            Approval::Ask => Asked::Person { by, request: request.name_any() },
            Approval::Auto => Asked::Rule,
        };
        if let Some(name) = connection_asked(request.spec.kind, subject) {
            add(name, asked);
        }
    }
    if let Some(environment) = environment {
        let asked = Asked::Environment(environment.name_any());
        // What the catalogue would like to have and the namespace does not know is nobody's fault.
        let there = environment
            .spec
            .connections
            .iter()
            .filter(|name| connections.iter().any(|c| c.name_any() == **name));
        there.for_each(|name| add(name, asked.clone()));
    }
    all
}

fn tools(
    all: &mut Grants,
    session: &Session,
    environment: Option<&Environment>,
    connections: &[Arc<Connection>],
    requests: &[Arc<Request>],
) {
    let offered = environment.map_or(&[][..], |e| &e.spec.tools);
    all.tools = offered.to_vec();
    let name = environment.map(ResourceExt::name_any).unwrap_or_default();
    if !offered.is_empty() {
        all.rationale.push(format!("tools {}: Environment {name} has them", offered.join(", ")));
    }
    let status = session.status.as_ref();
    let mut asked: Vec<String> =
        status.and_then(|s| s.requirement.as_ref()).map(|r| r.tools.clone()).unwrap_or_default();
    let later = requests.iter().filter(|r| r.spec.kind == RequestType::Tool && granted_by(r).is_some());
    asked.extend(later.filter_map(|r| r.spec.subject.clone()));
    let mut seen = Vec::new();
    for tool in asked {
        if seen.contains(&tool) || offered.contains(&tool) {
            continue;
        }
        seen.push(tool.clone());
        match connection_of_tool(&tool, connections).filter(|c| all.connections.contains(c)) {
            Some(connection) => {
                all.rationale.push(format!("tool {tool}: Connection {connection} has it"));
                all.tools.push(tool);
            }
            None => all
                .rationale
                .push(format!("tool {tool}: neither Environment {name} nor a granted Connection has it")),
        }
    }
}

/// Tools that may be asked for: the Environment's, and those of the namespace's MCP servers as `<connection>__<tool>`. A server whose
/// tools are not listed may have any.
pub fn allowed_tools(tool: &str, environment: Option<&Environment>, connections: &[Arc<Connection>]) -> bool {
    environment.is_some_and(|e| e.spec.tools.iter().any(|t| t == tool))
        || connection_of_tool(tool, connections).is_some()
}

/// The MCP server that a tool belongs to, by its full name `<connection>__<tool>`, the server's name, or one of the tools that it lists.
pub fn connection_of_tool(tool: &str, connections: &[Arc<Connection>]) -> Option<String> {
    let has = |c: &&Arc<Connection>| {
        let Some(mcp) = &c.spec.mcp else { return false };
        let name = c.name_any();
        let full = tool.split_once("__").filter(|(connection, _)| *connection == name);
        full.is_some_and(|(_, short)| mcp.tools.is_empty() || mcp.tools.iter().any(|t| t == short))
            || tool == name
            || mcp.tools.iter().any(|t| t == tool)
    };
    connections.iter().find(has).map(|c| c.name_any())
}

/// The Connection that is asked for: a Credential's subject is its name, a tool's is `<connection>__<tool>`. Whoever grants it was asked by
/// the API server whether they may use that very Connection, so nothing else is concluded from the subject.
pub(super) fn connection_asked(kind: RequestType, subject: &str) -> Option<&str> {
    match kind {
        RequestType::Credential => Some(subject),
        RequestType::Tool | RequestType::Context => {
            subject.split_once("__").map(|(connection, _)| connection)
        }
        _ => None,
    }
}

/// What an agent asks for while it works.
pub(super) fn is_later(request: &Request) -> bool {
    matches!(request.spec.kind, RequestType::Credential | RequestType::Tool | RequestType::Context)
}

/// Whether the Request was granted, and by whom.
pub(super) fn granted_by(request: &Request) -> Option<String> {
    let status = request.status.as_ref()?;
    let closed =
        matches!(status.state, Some(RequestState::Refused | RequestState::Expired | RequestState::Cancelled));
    let decision = status.decision.as_ref().filter(|_| !closed)?;
    // Where nobody was stamped, nobody decided.
    decision.by.clone().filter(|_| request.spec.allows(&decision.option) == Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn session(spec: Value, requirement: &Value) -> Session {
        let mut session = Session::new("s", from_value(spec).unwrap());
        session.status = Some(from_value(json!({"requirement": requirement})).unwrap());
        session
    }

    fn connection(name: &str, spec: Value) -> Arc<Connection> {
        Arc::new(Connection::new(name, from_value(spec).unwrap()))
    }

    fn mcp(name: &str, grant: &str, tools: &[&str]) -> Arc<Connection> {
        connection(name, json!({"grant": grant, "mcp": {"url": "https://mcp.example", "tools": tools}}))
    }

    fn asked(name: &str, kind: &str, subject: &str, policy: &str, decision: Option<&str>) -> Arc<Request> {
        let spec = json!({"session": "s", "type": kind, "title": "t", "subject": subject, "policy": policy});
        let mut request = Request::new(name, from_value(spec).unwrap());
        let decision = decision.map(|option| json!({"option": option, "by": "jane"}));
        request.status = Some(from_value(json!({"decision": decision})).unwrap());
        Arc::new(request)
    }

    fn environment(spec: &Value) -> Environment {
        let mut all = json!({"title": "t", "image": "i"});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Environment::new("office", from_value(all).unwrap())
    }

    #[test]
    fn a_connection_is_granted_by_the_spec_by_a_person_or_by_itself_and_each_says_why() {
        let session = session(
            json!({"goal": "g", "agent": {"model": {"connection": "llm"}},
                "attachments": [{"name": "portal", "connection": {"name": "portal"}}]}),
            &json!({"text": "t", "connections": ["crm"], "by": "omar", "request": "s-handoff-1"}),
        );
        let environment =
            environment(&json!({"connections": ["wiki", "vault", "elsewhere"], "tools": ["computer"]}));
        let all = ["llm", "portal", "crm", "vault", "later"].map(|name| mcp(name, "Ask", &[]));
        let all = [&all[..], &[mcp("wiki", "Auto", &[])]].concat();
        let requests = [asked("s-0-9", "Credential", "later", "Ask", Some("allow"))];
        let got = grants(&session, Some(&environment), &all, &requests);
        assert_eq!(got.connections, ["crm", "later", "llm", "portal", "wiki"]);
        assert_eq!(
            got.rationale,
            [
                "connection crm: granted by omar in Request s-handoff-1",
                "connection later: granted by jane in Request s-0-9",
                "connection llm: named in the Session's spec",
                "connection portal: named in the Session's spec",
                "connection vault: Environment office offers it, but its grant is Ask; the agent may ask for it",
                "connection wiki: Environment office offers it, and its grant is Auto",
                "tools computer: Environment office has them",
            ]
        );
    }

    #[test]
    fn what_nobody_may_give_is_not_granted_however_it_is_asked_for() {
        let session = session(json!({"goal": "g"}), &json!({"text": "t", "connections": ["crm", "gone"]}));
        let all = [mcp("crm", "Ask", &[]), mcp("bank", "Ask", &[])];
        for request in [
            asked("a", "Credential", "bank", "Ask", None),
            asked("b", "Credential", "bank", "Ask", Some("deny")),
            // A rule may decide only what the Connection leaves to rules.
            asked("c", "Credential", "bank", "Auto", Some("allow")),
            asked("d", "Permission", "bank", "Ask", Some("allow")),
        ] {
            let got = grants(&session, None, &all, &[request]);
            assert_eq!(got.connections, [""; 0]);
            assert!(
                got.rationale[1].starts_with("connection ") && got.rationale.len() >= 2,
                "{:?}",
                got.rationale
            );
        }
    }

    #[test]
    fn a_tool_needs_the_environment_or_a_granted_connection_that_has_it() {
        let session = session(
            json!({"goal": "g"}),
            &json!({"text": "t", "tools": ["computer", "crm__find", "bank__pay", "fly"], "connections": ["crm"]}),
        );
        let all = [mcp("crm", "Auto", &[]), mcp("bank", "Ask", &["pay"])];
        let got = grants(&session, Some(&environment(&json!({"tools": ["computer", "shell"]}))), &all, &[]);
        assert_eq!(got.tools, ["computer", "shell", "crm__find"]);
        assert!(
            got.rationale.iter().any(|l| l.starts_with("tool bank__pay: neither")),
            "{:?}",
            got.rationale
        );
        assert!(allowed_tools("bank__pay", None, &all) && allowed_tools("pay", None, &all));
        assert!(!allowed_tools("bank__steal", None, &all) && !allowed_tools("fly", None, &all));
        let granted = asked("r", "Tool", "bank__pay", "Ask", Some("allow"));
        let got = grants(&session, None, &all, &[granted]);
        assert!(got.connections.contains(&"bank".to_owned()) && got.tools.contains(&"bank__pay".to_owned()));
    }
}
