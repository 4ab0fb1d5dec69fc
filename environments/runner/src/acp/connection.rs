//! One connection: initialize, open or load the session, then prompts until the harness or the runner ends it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use a8s_wire::Launch;
use agent_client_protocol::{
    Agent, Client, Lines, on_receive_notification, on_receive_request,
    schema::ProtocolVersion,
    v1::{
        ConnectionTo,
        schema::{
            CancelNotification, ClientCapabilities, ClientSessionCapabilities, CompactionCapabilities,
            CreateElicitationRequest, ElicitationCapabilities, ElicitationFormCapabilities,
            ElicitationUrlCapabilities, EnvVariable, Implementation, InitializeRequest, LoadSessionRequest,
            McpServer, McpServerStdio, NewSessionRequest, NoticeCapabilities, PromptRequest,
            RequestPermissionRequest, ResumeSessionRequest, SessionId, SessionModeState, SessionNotification,
            SetSessionModeRequest,
        },
    },
};
use futures::{SinkExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::{
    net::UnixStream,
    sync::mpsc::{Sender, UnboundedReceiver},
    time::timeout,
};
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec};

use super::{Ended, FromHarness, LinkOptions, ToHarness, asks::Asks, start, translate};

/// Longest line that is read. Harnesses put whole images into one.
const MAX_LINE: usize = 64 << 20;
/// A harness that is not ready by then is taken for broken. The shim may first need to end the one before.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// One run of the harness.
pub(super) async fn converse(
    options: &LinkOptions,
    stream: UnixStream,
    commands: &mut UnboundedReceiver<ToHarness>,
    events: &Sender<FromHarness>,
) -> Ended {
    let launch = options.launch.borrow().clone();
    let (read, write) = match start::start(stream, &launch).await {
        Ok(started) => started,
        Err(error) => {
            let refused = matches!(error, start::StartError::Refused(_));
            return Ended { reason: error.to_string(), was_up: false, refused };
        }
    };
    let incoming = FramedRead::new(read, LinesCodec::new_with_max_length(MAX_LINE)).map_err(io::Error::other);
    let outgoing = FramedWrite::new(write, LinesCodec::new());
    let outgoing = SinkExt::<String>::sink_map_err(outgoing, io::Error::other);
    let up = Arc::new(AtomicBool::new(false));

    let (updates, listening) = (events.clone(), up.clone());
    let asks = Asks::default();
    let (permissions, forms) = (asks.clone(), asks.clone());
    let (asked, elicited) = (events.clone(), events.clone());
    let connection = Client
        .v1()
        .name("a8s-runner")
        .on_receive_notification(
            async move |notification: SessionNotification, _connection| {
                // A harness that loads a session repeats it; we have it in the transcript.
                if listening.load(Ordering::Acquire)
                    && let Some(update) = translate::update(notification.update)
                {
                    let _ = updates.send(FromHarness::Update(update)).await;
                }
                Ok(())
            },
            on_receive_notification!(),
        )
        .on_receive_request(
            async move |request: RequestPermissionRequest, responder, _connection| {
                let (ask, question) = permissions.permission(request, responder);
                let _ = asked.send(FromHarness::Asked { ask, question }).await;
                Ok(())
            },
            on_receive_request!(),
        )
        .on_receive_request(
            async move |request: CreateElicitationRequest, responder, _connection| {
                if let Some((ask, question)) = forms.elicitation(request, responder) {
                    let _ = elicited.send(FromHarness::Asked { ask, question }).await;
                }
                Ok(())
            },
            on_receive_request!(),
        )
        .connect_with(Lines::new(outgoing, incoming), async |connection: ConnectionTo<Agent>| {
            let session = match timeout(START_TIMEOUT, open(options, &launch, &connection)).await {
                Ok(Ok(session)) => session,
                Ok(Err(error)) => return Ok(format!("the agent refused the session: {error}")),
                Err(_) => return Ok("the agent did not answer within a minute of its start".to_owned()),
            };
            up.store(true, Ordering::Release);
            if events.send(FromHarness::Up { resumed: session.resumed, launch }).await.is_err() {
                return Ok("the runner stops".to_owned());
            }
            Ok(obey(options, &connection, &session.id, &asks, commands, events).await)
        });
    let reason = match connection.await {
        Ok(reason) => reason,
        Err(error) => format!("the connection to the agent broke: {error}"),
    };
    Ended { reason, was_up: up.load(Ordering::Acquire), refused: false }
}

/// Carries out commands until the connection is to end; returns why.
async fn obey(
    options: &LinkOptions,
    connection: &ConnectionTo<Agent>,
    session: &SessionId,
    asks: &Asks,
    commands: &mut UnboundedReceiver<ToHarness>,
    events: &Sender<FromHarness>,
) -> String {
    loop {
        let command = tokio::select! {
            () = connection.incoming_closed() => return "the agent ended".to_owned(),
            command = commands.recv() => command,
        };
        match command {
            None => return "the runner stops".to_owned(),
            Some(ToHarness::Hangup) => return "the agent did not obey the interrupt".to_owned(),
            Some(ToHarness::Relaunch) => return "another agent takes over".to_owned(),
            Some(ToHarness::Reply { ask, reply }) => asks.reply(ask, reply),
            Some(ToHarness::Cancel) => {
                asks.cancel_all();
                let _ = connection.send_notification(CancelNotification::new(session.clone()));
            }
            Some(ToHarness::Prompt { turn, prompt, preamble }) => {
                let blocks = translate::blocks(prompt, preamble, &options.home);
                let answer = connection.send_request(PromptRequest::new(session.clone(), blocks));
                let (events, connection) = (events.clone(), connection.clone());
                // Updates and the answer go through one queue, and updates are handled first: the end of a turn is its last event.
                tokio::spawn(async move {
                    let outcome = match answer.block_task().await {
                        Ok(response) => Ok(translate::wire_name(response.stop_reason)),
                        // The end of the connection is reported once, by `converse`.
                        Err(_) if connection.is_incoming_closed() => return,
                        Err(error) => Err(error.to_string()),
                    };
                    let _ = events.send(FromHarness::Ended { turn, outcome }).await;
                });
            }
        }
    }
}

struct Session {
    id: SessionId,
    resumed: bool,
}

async fn open(
    options: &LinkOptions,
    launch: &Launch,
    connection: &ConnectionTo<Agent>,
) -> Result<Session, agent_client_protocol::Error> {
    let hello = InitializeRequest::new(ProtocolVersion::V1)
        .client_capabilities(capabilities())
        .client_info(Implementation::new("a8s-runner", env!("CARGO_PKG_VERSION")));
    let agent = connection.send_request(hello).block_task().await?;
    let (abilities, servers) = (agent.agent_capabilities, vec![mcp_server(options)]);
    if let Some(id) = remembered(&options.session_file, &launch.command) {
        let home = options.home.clone();
        let taken_up = if abilities.session_capabilities.resume.is_some() {
            let resume = ResumeSessionRequest::new(id.clone(), home).mcp_servers(servers.clone());
            Some(connection.send_request(resume).block_task().await.map(|answer| answer.modes))
        } else if abilities.load_session {
            let load = LoadSessionRequest::new(id.clone(), home).mcp_servers(servers.clone());
            Some(connection.send_request(load).block_task().await.map(|answer| answer.modes))
        } else {
            None
        };
        match taken_up {
            Some(Ok(modes)) => {
                have_it_ask(connection, &id, modes).await;
                return Ok(Session { id, resumed: true });
            }
            Some(Err(error)) => {
                tracing::info!(%error, "the agent does not have its old session any more; it gets a new one");
            }
            None => {}
        }
    }
    let new = NewSessionRequest::new(options.home.clone()).mcp_servers(servers);
    let made = connection.send_request(new).block_task().await?;
    let id = made.session_id;
    have_it_ask(connection, &id, made.modes).await;
    if let Err(error) = remember(&options.session_file, &launch.command, &id) {
        tracing::warn!(%error, "the agent's session id could not be written; a restart will not resume it");
    }
    Ok(Session { id, resumed: false })
}

/// The mode in which harnesses that have such modes ask before they act.
const ASKS: &str = "default";

/// Some harnesses begin in a mode in which they, or their model, decide what they may do. Here people decide, or the Session's policy, so
/// they are to ask.
async fn have_it_ask(connection: &ConnectionTo<Agent>, id: &SessionId, modes: Option<SessionModeState>) {
    let Some(modes) = modes else { return };
    let asks = modes.available_modes.iter().any(|mode| mode.id.to_string() == ASKS);
    if !asks || modes.current_mode_id.to_string() == ASKS {
        return;
    }
    let request = SetSessionModeRequest::new(id.clone(), ASKS);
    if let Err(error) = connection.send_request(request).block_task().await {
        tracing::warn!(%error, mode = %modes.current_mode_id, "the agent does not let itself be put into the mode in which it asks");
    }
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
