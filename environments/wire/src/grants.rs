//! What a Workspace was granted, keys included. It reaches the runner as the file `grants.json` of the Secret `<workspace>-grants`, which
//! only the runner's container mounts. It is never sent anywhere else and never written to the volume.

use serde::{Deserialize, Serialize};

/// The file's content.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Every Connection that was granted, by name, ordered by it.
    #[serde(default)]
    pub connections: Vec<Grant>,
}

/// One Connection.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Name of the Connection.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is.
    #[serde(flatten)]
    pub kind: GrantKind,
}

/// What was granted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum GrantKind {
    /// A language model: `http://127.0.0.1:<GATEWAY_PORT>/connections/<name>/…` leads to it, key added.
    Model {
        /// `anthropic`, `openai` or `openai-compatible`.
        provider: String,
        /// The model's name as the provider knows it.
        model: String,
        /// Base URL; the provider's own where the Connection says none.
        base_url: String,
        /// The key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Millionths of a US dollar for a million tokens read, and written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        price: Option<(i64, i64)>,
    },
    /// A server of the Model Context Protocol, whose tools are added to the agent's as `<connection>__<tool>`.
    Mcp {
        /// Its endpoint.
        url: String,
        /// Header with the key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header: Option<Header>,
        /// Only these tools; empty: all.
        #[serde(default)]
        tools: Vec<String>,
    },
    /// An HTTP API: `http://127.0.0.1:<GATEWAY_PORT>/connections/<name>/…` leads to it, key added.
    Http {
        /// What the path is put behind.
        base_url: String,
        /// Header with the key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header: Option<Header>,
        /// Methods that may be used; empty: all.
        #[serde(default)]
        methods: Vec<String>,
    },
    /// A secret that the agent sees as a file in memory.
    Secret {
        /// The secret itself.
        value: String,
    },
    /// A document that the runner fetches into the attachments.
    Documents {
        /// Where it is.
        url: String,
        /// Header with the key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header: Option<Header>,
    },
}

/// A header with a key in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its whole value.
    pub value: String,
}

impl Grants {
    /// Every secret text in it, for redaction.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.connections.iter().filter_map(|grant| match &grant.kind {
            GrantKind::Model { key, .. } => key.as_deref(),
            GrantKind::Mcp { header, .. }
            | GrantKind::Http { header, .. }
            | GrantKind::Documents { header, .. } => {
                header.as_ref().map(|h| h.value.split_once(' ').map_or(h.value.as_str(), |(_, key)| key))
            }
            GrantKind::Secret { value } => Some(value),
        })
    }
}

impl std::fmt::Debug for Grants {
    // A key must not get into a log by a careless `{:?}`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.connections.iter().map(|grant| &grant.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_as_they_were_written_and_show_no_key() {
        let header = Some(Header { name: "Authorization".into(), value: "Bearer canary-2".into() });
        let grants = Grants {
            connections: vec![
                Grant {
                    name: "llm".into(),
                    title: None,
                    kind: GrantKind::Model {
                        provider: "anthropic".into(),
                        model: "m".into(),
                        base_url: "https://api.example".into(),
                        key: Some("canary-1".into()),
                        price: Some((3_000_000, 15_000_000)),
                    },
                },
                Grant {
                    name: "api".into(),
                    title: None,
                    kind: GrantKind::Http { base_url: "https://x".into(), header, methods: vec![] },
                },
            ],
        };
        let text = serde_json::to_string(&grants).unwrap();
        assert_eq!(serde_json::from_str::<Grants>(&text).unwrap(), grants);
        assert_eq!(grants.secrets().collect::<Vec<_>>(), ["canary-1", "canary-2"]);
        assert!(!format!("{grants:?}").contains("canary"));
    }
}
