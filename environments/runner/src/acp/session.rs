//! Opening a session: the old one if the harness still has it, else a new one; and what some harnesses need for it.

use std::{
    io,
    path::{Path, PathBuf},
};

use a8s_wire::{Launch, paths::harness_env};
use agent_client_protocol::{
    Agent, JsonRpcRequest,
    schema::ProtocolVersion,
    v1::{
        ConnectionTo,
        schema::{
            AuthMethod, AuthMethodId, AuthenticateRequest, ClientCapabilities, ClientSessionCapabilities,
            CompactionCapabilities, ElicitationCapabilities, ElicitationFormCapabilities,
            ElicitationUrlCapabilities, EnvVariable, ErrorCode, Implementation, InitializeRequest,
            LoadSessionRequest, McpServer, McpServerStdio, NewSessionRequest, NewSessionResponse,
            NoticeCapabilities, ResumeSessionRequest, SessionConfigKind, SessionConfigOption,
            SessionConfigOptionCategory, SessionConfigOptionValue, SessionConfigSelectOptions,
            SessionConfigValueId, SessionId, SessionModeState, SetSessionConfigOptionRequest,
            SetSessionModeRequest,
        },
    },
};
use serde::{Deserialize, Serialize};

use super::LinkOptions;

type Error = agent_client_protocol::Error;
type Connection = ConnectionTo<Agent>;

/// What people are told of a harness that refuses our server of tools.
const NO_TOOLS: &str = "This agent takes no MCP servers: it can neither use the desktop nor publish files, and knows nothing of what was granted.";

/// A session that is open.
pub(super) struct Session {
    pub(super) id: SessionId,
    /// Whether the harness remembers it.
    pub(super) resumed: bool,
    /// What people should know of it.
    pub(super) notice: Option<String>,
}

/// What is known of the harness.
struct Harness<'a> {
    connection: &'a Connection,
    launch: &'a Launch,
    methods: Vec<AuthMethod>,
}

/// Opens the session.
pub(super) async fn open(
    options: &LinkOptions,
    launch: &Launch,
    connection: &Connection,
) -> Result<Session, Error> {
    let hello = InitializeRequest::new(ProtocolVersion::V1)
        .client_capabilities(capabilities())
        .client_info(Implementation::new("a8s-runner", env!("CARGO_PKG_VERSION")));
    let agent = connection.send_request(hello).block_task().await?;
    let (abilities, servers) = (agent.agent_capabilities, vec![mcp_server(options)]);
    let harness = Harness { connection, launch, methods: agent.auth_methods };
    if let Some(id) = remembered(&options.session_file, &launch.command) {
        let home = options.home.clone();
        let taken_up = if abilities.session_capabilities.resume.is_some() {
            let resume = ResumeSessionRequest::new(id.clone(), home).mcp_servers(servers.clone());
            Some(harness.ask(resume).await.map(|answer| (answer.modes, answer.config_options)))
        } else if abilities.load_session {
            let load = LoadSessionRequest::new(id.clone(), home).mcp_servers(servers.clone());
            Some(harness.ask(load).await.map(|answer| (answer.modes, answer.config_options)))
        } else {
            None
        };
        match taken_up {
            Some(Ok((modes, choices))) => {
                harness.arrange(&id, modes, choices).await;
                return Ok(Session { id, resumed: true, notice: None });
            }
            Some(Err(error)) => {
                tracing::info!(%error, "the agent does not have its old session any more; it gets a new one");
            }
            None => {}
        }
    }
    let (made, notice) = harness.new_session(&options.home, servers).await?;
    let id = made.session_id;
    harness.arrange(&id, made.modes, made.config_options).await;
    if let Err(error) = remember(&options.session_file, &launch.command, &id) {
        tracing::warn!(%error, "the agent's session id could not be written; a restart will not resume it");
    }
    Ok(Session { id, resumed: false, notice })
}

impl Harness<'_> {
    /// Asks; a harness that first wants to know who is there is told to take the key of its environment.
    async fn ask<R: JsonRpcRequest + Clone>(&self, request: R) -> Result<R::Response, Error> {
        let error = match self.connection.send_request(request.clone()).block_task().await {
            Err(error) if error.code == ErrorCode::AuthRequired => error,
            answer => return answer,
        };
        let Some(method) = by_key(&self.methods, self.launch) else { return Err(error) };
        self.connection.send_request(AuthenticateRequest::new(method)).block_task().await?;
        self.connection.send_request(request).block_task().await
    }

    /// A new session. Some refuse servers of tools: then one without is better than none.
    async fn new_session(
        &self,
        home: &Path,
        servers: Vec<McpServer>,
    ) -> Result<(NewSessionResponse, Option<String>), Error> {
        let new = NewSessionRequest::new(home.to_owned());
        match self.ask(new.clone().mcp_servers(servers)).await {
            Ok(made) => Ok((made, None)),
            Err(error) if speaks_of_servers(&error) => {
                tracing::warn!(%error, "the agent takes no MCP servers");
                Ok((self.ask(new).await?, Some(NO_TOOLS.to_owned())))
            }
            Err(error) => Err(error),
        }
    }

    /// Has it ask, and use the model that was granted. What it refuses of that is its own matter: it works all the same.
    async fn arrange(
        &self,
        id: &SessionId,
        modes: Option<SessionModeState>,
        choices: Option<Vec<SessionConfigOption>>,
    ) {
        if let Some(mode) = modes.as_ref().and_then(asking_mode) {
            let request = SetSessionModeRequest::new(id.clone(), mode);
            if let Err(error) = self.connection.send_request(request).block_task().await {
                tracing::warn!(%error, "the agent does not let itself be put into the mode in which it asks");
            }
        }
        let model = self.launch.env.get(harness_env::MODEL).map_or("", String::as_str);
        for choice in choices.unwrap_or_default().iter().filter(|choice| offers(choice, model)) {
            let value = SessionConfigOptionValue::value_id(SessionConfigValueId::new(model));
            let request = SetSessionConfigOptionRequest::new(id.clone(), choice.id.clone(), value);
            if let Err(error) = self.connection.send_request(request).block_task().await {
                tracing::warn!(%error, "the agent does not let its model be chosen");
            }
        }
    }
}

/// The way to authenticate with a key that the harness has in its environment.
fn by_key(methods: &[AuthMethod], launch: &Launch) -> Option<AuthMethodId> {
    let ids = || methods.iter().filter(|method| matches!(method, AuthMethod::Agent(_))).map(AuthMethod::id);
    let named =
        |id: &&AuthMethodId| launch.env.contains_key(&id.to_string().to_uppercase().replace('-', "_"));
    let any = |id: &&AuthMethodId| id.to_string().to_lowercase().replace(['-', '_'], "").contains("apikey");
    ids().find(named).or_else(|| ids().find(any)).cloned()
}

fn speaks_of_servers(error: &Error) -> bool {
    let data = error.data.as_ref().map(ToString::to_string).unwrap_or_default();
    error.code != ErrorCode::AuthRequired
        && format!("{} {data}", error.message).to_lowercase().contains("mcp")
}

/// The mode in which harnesses that have such modes ask before they act.
const ASKS: &str = "default";

/// Some harnesses begin in a mode in which they, or their model, decide what they may do. Here people decide, or the Session's policy, so
/// they are to ask.
fn asking_mode(modes: &SessionModeState) -> Option<&'static str> {
    let asks = modes.available_modes.iter().any(|mode| mode.id.to_string() == ASKS);
    (asks && modes.current_mode_id.to_string() != ASKS).then_some(ASKS)
}

/// Whether this is where the model is chosen, and it is there and not chosen yet.
fn offers(choice: &SessionConfigOption, model: &str) -> bool {
    let SessionConfigKind::Select(select) = &choice.kind else { return false };
    let known = match &select.options {
        SessionConfigSelectOptions::Ungrouped(options) => {
            options.iter().any(|option| option.value.to_string() == model)
        }
        SessionConfigSelectOptions::Grouped(groups) => {
            groups.iter().flat_map(|group| &group.options).any(|option| option.value.to_string() == model)
        }
        _ => false,
    };
    let of_model = matches!(choice.category, Some(SessionConfigOptionCategory::Model));
    of_model && known && select.current_value.to_string() != model
}

/// Files and terminals are the harness's own; what is asked and told comes here.
fn capabilities() -> ClientCapabilities {
    let elicitation = ElicitationCapabilities::new()
        .form(ElicitationFormCapabilities::new())
        .url(ElicitationUrlCapabilities::new());
    let session = ClientSessionCapabilities::new()
        .compaction(CompactionCapabilities::new())
        .notices(NoticeCapabilities::new());
    ClientCapabilities::new().elicitation(elicitation).session(session)
}

fn mcp_server(options: &LinkOptions) -> McpServer {
    let socket = options.mcp_socket.display().to_string();
    let server = McpServerStdio::new("a8s", options.mcp_command.clone())
        .args(vec!["mcp".to_owned()])
        .env(vec![EnvVariable::new("A8S_MCP_SOCKET", socket)]);
    McpServer::Stdio(server)
}

/// A session id, and whose it is: another harness knows nothing of it.
#[derive(Serialize, Deserialize)]
struct Remembered {
    command: Vec<String>,
    session: String,
}

fn remembered(file: &Path, command: &[String]) -> Option<SessionId> {
    let text = std::fs::read_to_string(file).ok()?;
    let remembered: Remembered = serde_json::from_str(&text).ok()?;
    (remembered.command == command).then(|| SessionId::new(remembered.session))
}

fn remember(file: &Path, command: &[String], id: &SessionId) -> io::Result<()> {
    let fresh: PathBuf = file.with_extension("new");
    let remembered = Remembered { command: command.to_vec(), session: id.to_string() };
    std::fs::write(&fresh, serde_json::to_vec(&remembered)?)?;
    std::fs::rename(fresh, file)
}
