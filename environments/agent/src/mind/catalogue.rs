//! The tools that the model is offered: the hosted computer tool where its provider has one, every MCP tool, and a shell.

use std::collections::HashMap;

use a8s_llm::{Computer, ComputerTool, Provider, Tool};
use serde_json::{Value, json};

use crate::{tools::ToolError, turn::Turn};

/// Longest name that all providers accept.
const MAX_NAME: usize = 64;
/// Longest description that is passed on, in characters.
const MAX_DESCRIPTION: usize = 1_000;

/// How the model reaches mouse and keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hands {
    /// The provider's own tool.
    Hosted(ComputerTool),
    /// A function of the same name.
    Function,
}

impl Hands {
    /// What is tried first.
    pub fn of(provider: Provider) -> Self {
        if provider.hosts_computer() { Self::Hosted(ComputerTool::Current) } else { Self::Function }
    }

    /// What is tried when the model does not know this; `None`: nothing is left.
    pub fn simpler(self) -> Option<Self> {
        match self {
            Self::Hosted(ComputerTool::Current) => Some(Self::Hosted(ComputerTool::Older)),
            Self::Hosted(ComputerTool::Older) => Some(Self::Function),
            Self::Function => None,
        }
    }
}

/// The tools of one request.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// Functions.
    pub functions: Vec<Tool>,
    /// The hosted tool.
    pub computer: Option<Computer>,
    /// Whether the desktop takes several actions at once.
    pub batches: bool,
    /// MCP names that providers do not accept as they are.
    renamed: HashMap<String, String>,
}

impl Catalogue {
    /// What there is now.
    pub async fn gather(
        turn: &Turn,
        hands: Hands,
        provider: Provider,
        screen: (u32, u32),
        has_shell: bool,
    ) -> Result<Self, ToolError> {
        let mut catalogue = Self::default();
        let mut has_computer = false;
        for tool in turn.list_tools().await? {
            let name = tool.name.as_ref();
            has_computer |= name == "computer";
            catalogue.batches |= name == "computer_batch";
            let hosted = matches!(hands, Hands::Hosted(_));
            // OpenAI's tool has batches of its own; two ways to do one thing confuse a model.
            if hosted && (name == "computer" || name == "computer_batch" && provider == Provider::OpenAi) {
                continue;
            }
            let description = tool.description.as_deref().unwrap_or_default();
            let schema = Value::Object(tool.input_schema.as_ref().clone());
            catalogue.add(name, description, schema);
        }
        if let (Hands::Hosted(tool), true) = (hands, has_computer) {
            catalogue.computer = Some(Computer { width: screen.0, height: screen.1, tool });
        }
        if has_shell {
            catalogue.functions.push(shell());
        }
        Ok(catalogue)
    }

    fn add(&mut self, name: &str, description: &str, mut schema: Value) {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
        let mut offered: String = name.chars().map(plain).take(MAX_NAME).collect();
        let mut number = 2;
        while self.functions.iter().any(|tool| tool.name == offered) {
            let mark = format!("_{number}");
            offered.truncate(MAX_NAME - mark.len());
            offered.push_str(&mark);
            number += 1;
        }
        if offered != name {
            self.renamed.insert(offered.clone(), name.to_owned());
        }
        // Providers insist on properties, tools without arguments leave them out.
        if schema.get("properties").is_none() {
            schema["type"] = json!("object");
            schema["properties"] = json!({});
        }
        let description = description.chars().take(MAX_DESCRIPTION).collect();
        self.functions.push(Tool { name: offered, description, schema });
    }

    /// Whether the model is offered this function.
    pub fn has(&self, name: &str) -> bool {
        self.functions.iter().any(|tool| tool.name == name)
    }

    /// The MCP name of a function.
    pub fn mcp_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.renamed.get(name).map_or(name, String::as_str)
    }
}

fn shell() -> Tool {
    Tool {
        name: "shell".into(),
        description: "Run a shell command in your own container and wait for it. It shares the home directory with the desktop but has no display. \
                      A long output keeps its beginning and its end."
            .into(),
        schema: json!({
            "type": "object",
            "properties": {
                "command": {"type": "string", "description": "run by sh in the home directory"},
                "timeout_seconds": {"type": "integer", "description": "120 unless said otherwise, at most 1800"}
            },
            "required": ["command"]
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_provider_accepts_are_replaced_and_found_again() {
        let mut catalogue = Catalogue::default();
        let long = "x".repeat(100);
        for name in ["plain", "files.read/all", "files_read_all", &long] {
            catalogue.add(name, "d", json!({"type": "object"}));
        }
        let names: Vec<_> = catalogue.functions.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(&names[..3], ["plain", "files_read_all", "files_read_all_2"]);
        assert_eq!(catalogue.mcp_name("files_read_all"), "files.read/all");
        assert_eq!(catalogue.mcp_name("files_read_all_2"), "files_read_all");
        assert_eq!((names[3].len(), catalogue.mcp_name(names[3])), (64, long.as_str()));
        assert_eq!(catalogue.functions[0].schema["properties"], json!({}));
    }
}
