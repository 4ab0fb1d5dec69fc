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
            NewSessionResponse, PromptCapabilities, PromptRequest, PromptResponse, StopReason,
        },
    },
};
use futures::{SinkExt, TryStreamExt, future::BoxFuture};
use tokio_util::{
    codec::{FramedRead, FramedWrite, LinesCodec},
    sync::CancellationToken,
};

use crate::{
    brain, files,
    mind::{Memory, Mind},
    sessions,
    tools::Toolbox,
    turn::{Failure, Turn},
};

/// Longest line that is read.
const MAX_LINE: usize = 64 << 20;

/// What the agent is started with.
#[derive(Debug)]
pub struct Options {
    /// Home directory.
    pub home: PathBuf,
    /// The brain that asks a model; without it the scripted one answers. An error is told to whoever writes.
    pub mind: Option<Result<Mind, String>>,
}

struct Session {
    tools: Arc<Toolbox>,
    /// Locked for as long as a turn runs.
    memory: Arc<tokio::sync::Mutex<Memory>>,
    running: Option<CancellationToken>,
}

/// What all handlers share.
struct Shared {
    options: Options,
    sessions: Mutex<HashMap<String, Session>>,
}

fn lock(shared: &Shared) -> MutexGuard<'_, HashMap<String, Session>> {
    shared.sessions.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Speaks the protocol on standard input and output until the input ends.
///
/// Boxed, so that it is compiled here once and not again in every program and test that calls it.
pub fn serve(options: Options) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(speak(options))
}

async fn speak(options: Options) -> Result<(), Error> {
    let incoming = FramedRead::new(tokio::io::stdin(), LinesCodec::new_with_max_length(MAX_LINE));
    let outgoing = FramedWrite::new(tokio::io::stdout(), LinesCodec::new());
    let outgoing = SinkExt::<String>::sink_map_err(outgoing, io::Error::other);
    let shared = Arc::new(Shared { options, sessions: Mutex::default() });
    let (for_new, for_load, for_prompt, for_cancel) =
        (shared.clone(), shared.clone(), shared.clone(), shared.clone());
    let pictures = shared.options.mind.is_some();

    Agent
        .v1()
        .name("a8s-agent")
        .on_receive_request(
            async move |_request: InitializeRequest, responder, _connection| {
                let capabilities = AgentCapabilities::new()
                    .load_session(true)
                    .prompt_capabilities(PromptCapabilities::new().image(pictures));
                let response = InitializeResponse::new(ProtocolVersion::V1)
                    .agent_capabilities(capabilities)
                    .agent_info(Implementation::new("a8s-agent", env!("CARGO_PKG_VERSION")));
                responder.respond(response)
            },
            on_receive_request!(),
        )
        .on_receive_request(
            async move |request: NewSessionRequest, responder, _connection| match sessions::create(
                &for_new.options.home,
            ) {
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
                if sessions::exists(&for_load.options.home, &id) {
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
                prompt(&for_prompt, request, responder, connection)
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

fn open(shared: &Shared, id: &str, servers: Vec<McpServer>) {
    let memory = Arc::new(tokio::sync::Mutex::new(Memory::open(&shared.options.home, id)));
    let session = Session { tools: Arc::new(Toolbox::new(servers)), memory, running: None };
    if let Some(Session { running: Some(running), .. }) = lock(shared).insert(id.to_owned(), session) {
        // The client has lost track of a turn; it must not go on beside the new one.
        running.cancel();
    }
}

fn prompt(
    shared: &Arc<Shared>,
    request: PromptRequest,
    responder: Responder<PromptResponse>,
    connection: ConnectionTo<Client>,
) -> Result<(), Error> {
    let id = request.session_id.to_string();
    let token = CancellationToken::new();
    let (tools, memory) = {
        let mut sessions = lock(shared);
        let Some(session) = sessions.get_mut(&id) else {
            return responder.respond_with_error(Error::invalid_params().data("there is no such session"));
        };
        if session.running.is_some() {
            return responder.respond_with_error(Error::invalid_params().data("a prompt is running already"));
        }
        session.running = Some(token.clone());
        (session.tools.clone(), session.memory.clone())
    };
    let (mut text, mut attachments, mut images) = (Vec::new(), Vec::new(), Vec::new());
    for block in request.prompt {
        match block {
            ContentBlock::Text(block) => text.push(block.text),
            ContentBlock::ResourceLink(link) => attachments.extend(files::path_of(&link.uri)),
            ContentBlock::Image(image) => images.push((image.mime_type, image.data)),
            _ => {}
        }
    }
    let home = shared.options.home.clone();
    let mut turn = Turn::new(connection, request.session_id, tools, home, text.join("\n"), attachments);
    turn.images = images;
    let shared = shared.clone();
    // Not awaited here: the protocol's loop must go on, or a cancel could never arrive.
    tokio::spawn(async move {
        let answer = tokio::select! {
            answer = answer(&shared, &turn, &memory) => answer,
            () = token.cancelled() => Ok(StopReason::Cancelled),
        };
        if let Some(session) = lock(&shared).get_mut(&id) {
            session.running = None;
        }
        let _ = match answer {
            Ok(reason) => responder.respond(PromptResponse::new(reason)),
            Err(failure) => responder.respond_with_error(Error::new(INTERNAL, failure.to_string())),
        };
    });
    Ok(())
}

/// JSON-RPC's code for what went wrong on our side.
const INTERNAL: i32 = -32603;

async fn answer(
    shared: &Shared,
    turn: &Turn,
    memory: &tokio::sync::Mutex<Memory>,
) -> Result<StopReason, Failure> {
    let answered = match &shared.options.mind {
        None => {
            brain::answer(turn).await;
            Ok(StopReason::EndTurn)
        }
        Some(Err(error)) => Err(Failure::new(error.clone())),
        Some(Ok(mind)) => mind.answer(turn, &mut *memory.lock().await).await,
    };
    if let Err(failure) = &answered {
        turn.say(failure.to_string());
    }
    answered
}
