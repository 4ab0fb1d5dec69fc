//! One connection: a session is opened, then prompts until the harness or the runner ends it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use agent_client_protocol::{
    Agent, Client, Lines, on_receive_notification, on_receive_request,
    v1::{
        ConnectionTo,
        schema::{
            CancelNotification, CreateElicitationRequest, PromptRequest, RequestPermissionRequest, SessionId,
            SessionNotification,
        },
    },
};
use futures::{SinkExt, TryStreamExt};
use tokio::{
    net::UnixStream,
    sync::mpsc::{Sender, UnboundedReceiver},
    time::timeout,
};
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec};

use super::{Ended, FromHarness, LinkOptions, ToHarness, asks::Asks, session, start, translate};

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
            let session = match timeout(START_TIMEOUT, session::open(options, &launch, &connection)).await {
                Ok(Ok(session)) => session,
                Ok(Err(error)) => return Ok(format!("the agent refused the session: {error}")),
                Err(_) => return Ok("the agent did not answer within a minute of its start".to_owned()),
            };
            up.store(true, Ordering::Release);
            let up = FromHarness::Up { resumed: session.resumed, launch, notice: session.notice };
            if events.send(up).await.is_err() {
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
