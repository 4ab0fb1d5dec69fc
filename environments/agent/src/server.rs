//! The Agent Client Protocol side: sessions, one prompt at a time each, cancel.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use agent_client_protocol::{
    Agent, Client, Error, Lines, on_receive_notification, on_receive_request,
    schema::ProtocolVersion,
    v1::{
        ConnectionTo, Responder,
        schema::{
            AgentCapabilities, CancelNotification, ContentBlock, Implementation, InitializeRequest,
            InitializeResponse, LoadSessionRequest, LoadSessionResponse, McpServer, NewSessionRequest,
            NewSessionResponse, PromptRequest, PromptResponse, StopReason,
        },
    },
};
use futures::{SinkExt, TryStreamExt};
use tokio_util::{
    codec::{FramedRead, FramedWrite, LinesCodec},
    sync::CancellationToken,
};

use crate::{brain, files, sessions, tools::Toolbox, turn::Turn};

/// Longest line that is read.
const MAX_LINE: usize = 64 << 20;

/// What the agent is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Home directory.
    pub home: PathBuf,
}

struct Session {
    tools: Arc<Toolbox>,
    running: Option<CancellationToken>,
}

type Sessions = Arc<Mutex<HashMap<String, Session>>>;

fn lock(sessions: &Sessions) -> MutexGuard<'_, HashMap<String, Session>> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Speaks the protocol on standard input and output until the input ends.
pub async fn serve(options: Options) -> Result<(), Error> {
    let incoming = FramedRead::new(tokio::io::stdin(), LinesCodec::new_with_max_length(MAX_LINE));
    let outgoing = FramedWrite::new(tokio::io::stdout(), LinesCodec::new());
    let outgoing = SinkExt::<String>::sink_map_err(outgoing, io::Error::other);
    let sessions = Sessions::default();
    let (for_new, for_load, for_prompt, for_cancel) =
        (sessions.clone(), sessions.clone(), sessions.clone(), sessions);
    let (home_new, home_load, home_prompt) = (options.home.clone(), options.home.clone(), options.home);

    Agent
        .v1()
        .name("a8s-agent")
        .on_receive_request(
            async move |_request: InitializeRequest, responder, _connection| {
                let capabilities = AgentCapabilities::new().load_session(true);
                let response = InitializeResponse::new(ProtocolVersion::V1)
                    .agent_capabilities(capabilities)
                    .agent_info(Implementation::new("a8s-agent", env!("CARGO_PKG_VERSION")));
                responder.respond(response)
            },
            on_receive_request!(),
        )
        .on_receive_request(
            async move |request: NewSessionRequest, responder, _connection| match sessions::create(&home_new)
            {
                Ok(id) => {
                    open(&for_new, &id, request.mcp_servers);
                    responder.respond(NewSessionResponse::new(id))
                }
                Err(error) => {
                    responder.respond_with_internal_error(format!("cannot keep a session: {error}"))
                }
            },
            on_receive_request!(),
        )
        .on_receive_request(
            async move |request: LoadSessionRequest, responder, _connection| {
                let id = request.session_id.to_string();
                if sessions::exists(&home_load, &id) {
                    open(&for_load, &id, request.mcp_servers);
                    responder.respond(LoadSessionResponse::new())
                } else {
                    responder.respond_with_error(Error::invalid_params().data("there is no such session"))
                }
            },
            on_receive_request!(),
        )
        .on_receive_request(
            async move |request: PromptRequest, responder, connection: ConnectionTo<Client>| {
                prompt(&for_prompt, home_prompt.clone(), request, responder, connection)
            },
            on_receive_request!(),
        )
        .on_receive_notification(
            async move |cancel: CancelNotification, _connection| {
                let id = cancel.session_id.to_string();
                if let Some(running) = lock(&for_cancel).get(&id).and_then(|session| session.running.clone())
                {
                    running.cancel();
                }
                Ok(())
            },
            on_receive_notification!(),
        )
        .connect_to(Lines::new(outgoing, incoming.map_err(io::Error::other)))
        .await
}

fn open(sessions: &Sessions, id: &str, servers: Vec<McpServer>) {
    let session = Session { tools: Arc::new(Toolbox::new(servers)), running: None };
    lock(sessions).insert(id.to_owned(), session);
}

fn prompt(
    sessions: &Sessions,
    home: PathBuf,
    request: PromptRequest,
    responder: Responder<PromptResponse>,
    connection: ConnectionTo<Client>,
) -> Result<(), Error> {
    let id = request.session_id.to_string();
    let token = CancellationToken::new();
    let tools = {
        let mut sessions = lock(sessions);
        let Some(session) = sessions.get_mut(&id) else {
            return responder.respond_with_error(Error::invalid_params().data("there is no such session"));
        };
        if session.running.is_some() {
            return responder.respond_with_error(Error::invalid_params().data("a prompt is running already"));
        }
        session.running = Some(token.clone());
        session.tools.clone()
    };
    let (mut text, mut attachments) = (Vec::new(), Vec::new());
    for block in request.prompt {
        match block {
            ContentBlock::Text(block) => text.push(block.text),
            ContentBlock::ResourceLink(link) => attachments.extend(files::path_of(&link.uri)),
            _ => {}
        }
    }
    let turn = Turn::new(connection, request.session_id, tools, home, text.join("\n"), attachments);
    let sessions = sessions.clone();
    // Not awaited here: the protocol's loop must go on, or a cancel could never arrive.
    tokio::spawn(async move {
        let reason = tokio::select! {
            () = brain::answer(&turn) => StopReason::EndTurn,
            () = token.cancelled() => StopReason::Cancelled,
        };
        if let Some(session) = lock(&sessions).get_mut(&id) {
            session.running = None;
        }
        let _ = responder.respond(PromptResponse::new(reason));
    });
    Ok(())
}
