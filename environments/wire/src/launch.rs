//! The two lines that runner and shim exchange on the agent socket before the harness's own lines follow: what is to be started, and whether
//! it was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The runner's first line: one JSON object, then a newline.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Program and arguments; empty: what the shim itself was started with.
    #[serde(default)]
    pub command: Vec<String>,
    /// Variables beside those of the shim. The gateway's token is among them, so this is never logged.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl Launch {
    /// The longest line that the shim reads.
    pub const MAX_LINE: usize = 1 << 20;
}

impl std::fmt::Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.env.keys().collect();
        f.debug_struct("Launch").field("command", &self.command).field("env", &names).finish()
    }
}

/// The shim's first line. After one with an error it closes the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launched {
    /// Why nothing was started; absent if the harness runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_variables_are_not_shown() {
        let launch = Launch {
            command: vec!["agent".into()],
            env: BTreeMap::from([("A8S_GATEWAY_TOKEN".to_owned(), "canary".to_owned())]),
        };
        let shown = format!("{launch:?}");
        assert!(shown.contains("A8S_GATEWAY_TOKEN") && !shown.contains("canary"), "{shown}");
    }
}
