//! What a model proposes for a Session, held against the catalogue. A proposal that names what does not exist is refused whole: whoever
//! made it did not understand what there is.

use std::sync::Arc;

use a8s_crds::{Connection, Environment};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use super::{allowed_tools, matching::Choice};

/// A model's proposal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed {
    /// Name of the Environment.
    pub environment: String,
    /// Names of tools beside the Environment's.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Names of Connections.
    #[serde(default)]
    pub connections: Vec<String>,
    /// Why, one reason a line.
    #[serde(default)]
    pub rationale: Vec<String>,
}

/// The choice that follows from the proposal, or what is wrong with it, in words that its maker can use.
pub fn held_against(
    proposed: &Proposed,
    environments: &[Environment],
    connections: &[Arc<Connection>],
) -> Result<Choice, String> {
    let name = &proposed.environment;
    let there = |e: &&Environment| e.metadata.deletion_timestamp.is_none();
    let Some(environment) = environments.iter().filter(there).find(|e| e.name_any() == *name) else {
        let names: Vec<String> = environments.iter().filter(there).map(ResourceExt::name_any).collect();
        return Err(format!("there is no Environment {name}; there are: {}", names.join(", ")));
    };
    if let Some(tool) = proposed.tools.iter().find(|t| !allowed_tools(t, Some(environment), connections)) {
        return Err(format!(
            "neither Environment {name} nor an MCP server of the namespace has the tool {tool}"
        ));
    }
    if let Some(missing) =
        proposed.connections.iter().find(|c| !connections.iter().any(|k| k.name_any() == **c))
    {
        return Err(format!("there is no Connection {missing} in the namespace"));
    }
    let said = proposed.rationale.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).take(3);
    let said: Vec<String> = said.map(|line| line.chars().take(200).collect()).collect();
    let why = if said.is_empty() { "no reason given".to_owned() } else { said.join("; ") };
    Ok(Choice::given(name, format!("{name}: proposed by the model: {why}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_proposal_is_taken_only_if_everything_that_it_names_is_there() {
        let spec = json!({"title": "t", "image": "i", "tools": ["shell"]});
        let catalogue = [Environment::new("office", from_value(spec).unwrap())];
        let mcp = json!({"mcp": {"url": "https://mcp.example", "tools": ["find"]}});
        let connections = [Arc::new(Connection::new("crm", from_value(mcp).unwrap()))];
        let held = |value| held_against(&from_value(value).unwrap(), &catalogue, &connections);
        let good =
            held(json!({"environment": "office", "tools": ["shell", "crm__find"], "connections": ["crm"],
            "rationale": ["It has the programs.", " "]}));
        assert_eq!(good.unwrap().rationale, ["office: proposed by the model: It has the programs."]);
        for (bad, words) in [
            (json!({"environment": "root"}), "there are: office"),
            (json!({"environment": "office", "tools": ["nuke"]}), "nuke"),
            (json!({"environment": "office", "connections": ["bank"]}), "bank"),
        ] {
            assert!(held(bad).unwrap_err().contains(words), "{words}");
        }
    }
}
