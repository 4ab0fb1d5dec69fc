//! Which tools the agent has: the Environment's, and those of the MCP servers that the Session was granted. Who granted one tool of a server
//! did not grant its others; who granted the server granted all of them.

use std::sync::Arc;

use a8s_crds::{Approval, Connection, Environment, Request, RequestType, Session};
use kube::ResourceExt;

use super::{
    connection_of_tool,
    grants::{granted_by, grants},
};

/// What agents have in an Environment that does not list it.
const USUAL: [&str; 3] = ["computer", "shell", "files"];

/// The tools by name, in order, as the runner understands them: `<connection>__*` stands for all of a server.
pub fn agent_tools(
    session: &Session,
    environment: Option<&Environment>,
    connections: &[Arc<Connection>],
    requests: &[Arc<Request>],
) -> Vec<String> {
    let offered = environment.map_or(&[][..], |e| &e.spec.tools);
    let mut tools = offered.to_vec();
    if tools.is_empty() {
        tools.extend(USUAL.map(str::to_owned));
    }
    for name in grants(session, environment, connections, requests).connections {
        let server = connections.iter().find(|c| c.name_any() == name && c.spec.mcp.is_some());
        let Some(server) = server else { continue };
        if whole(server, session, environment, connections, requests) {
            tools.push(format!("{name}__*"));
        } else {
            tools.extend(parts(&name, session, connections, requests));
        }
    }
    tools.sort();
    tools.dedup();
    tools
}

/// Whether somebody who may give the server asked for it, and not for single tools of it.
fn whole(
    server: &Connection,
    session: &Session,
    environment: Option<&Environment>,
    connections: &[Arc<Connection>],
    requests: &[Arc<Request>],
) -> bool {
    let name = server.name_any();
    let auto = server.spec.grant == Approval::Auto;
    let spec = &session.spec;
    let attached = spec.attachments.iter().filter_map(|a| a.connection.as_ref()).any(|c| c.name == name);
    let offered = auto && environment.is_some_and(|e| e.spec.connections.contains(&name));
    let required = session.status.as_ref().and_then(|s| s.requirement.as_ref()).is_some_and(|requirement| {
        let by_person = requirement.by.is_some() && requirement.request.is_some();
        let single = requirement.tools.iter().any(|t| part(t, &name, connections).is_some());
        requirement.connections.contains(&name) && (by_person || auto) && !single
    });
    let later = requests.iter().any(|r| {
        let asked = r.spec.kind == RequestType::Credential && r.spec.subject.as_deref() == Some(&*name);
        asked && granted_by(r).is_some() && (auto || r.spec.policy == Approval::Ask)
    });
    attached || offered || required || later
}

/// Single tools of a server that were asked for and granted, under their full names.
fn parts(
    name: &str,
    session: &Session,
    connections: &[Arc<Connection>],
    requests: &[Arc<Request>],
) -> Vec<String> {
    let requirement = session.status.as_ref().and_then(|s| s.requirement.as_ref());
    let required = requirement.into_iter().flat_map(|r| &r.tools);
    let later = requests.iter().filter(|r| r.spec.kind == RequestType::Tool && granted_by(r).is_some());
    let later = later.filter_map(|r| r.spec.subject.as_ref());
    required.chain(later).filter_map(|tool| part(tool, name, connections)).collect()
}

/// The full name of a tool if it is one of this server.
fn part(tool: &str, name: &str, connections: &[Arc<Connection>]) -> Option<String> {
    if tool == name || connection_of_tool(tool, connections).as_deref() != Some(name) {
        return None;
    }
    let full = tool.split_once("__").is_some_and(|(server, _)| server == name);
    Some(if full { tool.to_owned() } else { format!("{name}__{tool}") })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn server(name: &str, grant: &str) -> Arc<Connection> {
        let spec = json!({"grant": grant, "mcp": {"url": "https://mcp.example", "tools": []}});
        Arc::new(Connection::new(name, from_value(spec).unwrap()))
    }

    fn tools(
        spec: Value,
        requirement: &Value,
        environment: &Value,
        requests: &[(&str, &str)],
    ) -> Vec<String> {
        let mut session = Session::new("s", from_value(spec).unwrap());
        session.status = Some(from_value(json!({"requirement": requirement})).unwrap());
        let mut all = json!({"title": "t", "image": "i"});
        all.as_object_mut().unwrap().extend(environment.as_object().unwrap().clone());
        let environment = Environment::new("office", from_value(all).unwrap());
        let requests: Vec<_> = requests
            .iter()
            .map(|(kind, subject)| {
                let spec =
                    json!({"session": "s", "type": kind, "title": "t", "subject": subject, "policy": "Ask"});
                let mut request = Request::new(subject, from_value(spec).unwrap());
                request.status =
                    Some(from_value(json!({"decision": {"option": "allow", "by": "jane"}})).unwrap());
                Arc::new(request)
            })
            .collect();
        let connections = [server("crm", "Ask"), server("wiki", "Auto")];
        agent_tools(&session, Some(&environment), &connections, &requests)
    }

    #[test]
    fn the_agent_has_what_the_environment_lists_or_else_what_agents_usually_have() {
        let none = json!({"text": "t"});
        assert_eq!(tools(json!({"goal": "g"}), &none, &json!({}), &[]), ["computer", "files", "shell"]);
        assert_eq!(tools(json!({"goal": "g"}), &none, &json!({"tools": ["shell"]}), &[]), ["shell"]);
    }

    #[test]
    fn who_grants_one_tool_of_a_server_does_not_grant_the_others() {
        let goal = json!({"goal": "g"});
        let shell = json!({"tools": ["shell"]});
        let required = |connections: Value, tools: Value| json!({"text": "t", "connections": connections, "tools": tools, "by": "omar", "request": "r"});
        let none = json!({"text": "t"});
        for (requirement, requests, expected) in [
            (required(json!(["crm"]), json!([])), &[][..], &["crm__*", "shell"][..]),
            (required(json!(["crm"]), json!(["crm__find"])), &[], &["crm__find", "shell"]),
            (required(json!([]), json!(["crm__find"])), &[], &["shell"]),
            (none.clone(), &[("Tool", "crm__find")], &["crm__find", "shell"]),
            (none.clone(), &[("Tool", "crm__find"), ("Credential", "crm")], &["crm__*", "shell"]),
        ] {
            let got = tools(goal.clone(), &requirement, &shell, requests);
            assert_eq!(got, expected, "{requirement} {requests:?}");
        }
        let attached = json!({"goal": "g", "attachments": [{"name": "a", "connection": {"name": "crm"}}]});
        assert_eq!(tools(attached, &none, &shell, &[]), ["crm__*", "shell"]);
        let offered = json!({"tools": ["shell"], "connections": ["wiki", "crm"]});
        assert_eq!(tools(goal, &none, &offered, &[]), ["shell", "wiki__*"], "crm is not granted by itself");
    }
}
