//! Connection: something outside that Sessions may use.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Approval, ConfigMapKey};

/// Something outside that Sessions may use: a model, an MCP server, an HTTP API, a secret, documents. Keys stay in Secrets; the agent never
/// gets them, they are put into its calls on the way out.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "a8s.dev",
    version = "v1alpha1",
    kind = "Connection",
    namespaced,
    shortname = "conn",
    category = "a8s",
    status = "ConnectionStatus",
    derive = "PartialEq",
    doc = "Something outside that Sessions may use: a model, an MCP server, an HTTP API, a secret, documents. Keys stay in Secrets.",
    printcolumn(name = "Kind", type_ = "string", json_path = ".status.kind"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(name = "Sessions", type_ = "integer", json_path = ".status.sessions"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("[has(self.model), has(self.mcp), has(self.http), has(self.secret), has(self.documents)].filter(x, x).size() == 1").message("exactly one of model, mcp, http, secret and documents must be set"))]
pub struct ConnectionSpec {
    /// For people; default: the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub title: Option<String>,
    /// `Auto`: a Session that asks for it gets it. Else a person is asked each time. A Session whose own spec names the Connection was
    /// given it by whoever wrote that spec.
    #[serde(default)]
    pub grant: Approval,
    /// A language model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelConnection>,
    /// A server of the Model Context Protocol over HTTP: its tools become the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpConnection>,
    /// An HTTP API: the agent calls it through the runner, which adds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpConnection>,
    /// A secret that the agent itself must see, as a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretConnection>,
    /// Documents to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<DocumentsConnection>,
}

/// A language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.provider != 'openai-compatible' || has(self.baseUrl)").message("openai-compatible needs baseUrl"))]
pub struct ModelConnection {
    /// Whose interface it speaks.
    pub provider: ModelProvider,
    /// The model's name as the provider knows it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Base URL without a trailing slash; default: the provider's own. With `openai-compatible` it ends where `/chat/completions` is
    /// added, with `gemini` before the version, `/v1beta`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"))]
    pub base_url: Option<String>,
    /// The key; absent for servers that want none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKey>,
    /// Price in US dollars, for `status.usage.cost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// Whose interface a model speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ModelProvider {
    /// Anthropic's Messages API.
    #[serde(rename = "anthropic")]
    Anthropic,
    /// OpenAI's Responses API.
    #[serde(rename = "openai")]
    OpenAi,
    /// OpenAI's chat completions, as local servers speak them.
    #[serde(rename = "openai-compatible")]
    OpenAiCompatible,
    /// Google's Gemini API.
    #[serde(rename = "gemini")]
    Gemini,
}

/// Price of a model in US dollars for a million tokens, as decimal text: `3`, `0.25`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// A million tokens read.
    #[schemars(regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"))]
    pub input: String,
    /// A million tokens written.
    #[schemars(regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"))]
    pub output: String,
}

/// One key of a Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A header with a key in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthHeader {
    /// Name of the header.
    #[serde(default = "authorization")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"))]
    pub header: String,
    /// What stands before the key, `Bearer ` for example.
    #[serde(default = "bearer")]
    #[schemars(length(max = 64))]
    pub prefix: String,
    /// The key.
    pub secret_ref: SecretKey,
}

fn authorization() -> String {
    "Authorization".to_owned()
}

fn bearer() -> String {
    "Bearer ".to_owned()
}

/// A server of the Model Context Protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpConnection {
    /// URL of its endpoint (Streamable HTTP).
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://[^\s/?#@]+([/?][^\s#]*)?$"))]
    pub url: String,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthHeader>,
    /// Only these tools; default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub tools: Vec<String>,
}

/// An HTTP API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpConnection {
    /// What the paths of the agent's calls are put behind.
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"))]
    pub base_url: String,
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthHeader>,
    /// Methods that may be used; default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub methods: Vec<String>,
}

/// A secret that the agent itself must see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretConnection {
    /// Where it is.
    pub secret_ref: SecretKey,
    /// Said in so many words: it becomes the file `/run/a8s/acp/secrets/<connection>` (memory, mode 0440) in the agent's container. The
    /// agent can then do with it what it likes.
    pub expose: Exposure,
}

/// How a secret becomes visible to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Exposure {
    /// As a file in memory.
    File,
}

/// Documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMap) != has(self.url)").message("exactly one of configMap and url must be set"))]
pub struct DocumentsConnection {
    /// A key of a ConfigMap in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKey>,
    /// A file that is fetched by the runner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^\s/?#@]+([/?][^\s#]*)?$"))]
    pub url: Option<String>,
    /// The key for `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthHeader>,
}

/// What is known of a Connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: what it refers to is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// `Model`, `MCP`, `HTTP`, `Secret` or `Documents`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The model's name, or the host; never a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Sessions that hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<i64>,
    /// When the keys were last seen to change; what was granted gets the new ones at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated: Option<Time>,
}
