//! The link to the harness: the only place that speaks the Agent Client Protocol, and the only one that knows its SDK's types.
//!
//! The link connects to the shim's socket, again and again for ever; a connection is one run of the harness. It reports what comes in as
//! [`FromHarness`] and does what [`ToHarness`] says. It decides nothing about turns.

mod asks;
mod connection;
mod session;
mod start;
mod translate;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use a8s_wire::{Launch, Prompt, event::PlanEntry};
use tokio::{
    net::UnixStream,
    sync::{
        mpsc::{Sender, UnboundedReceiver},
        watch,
    },
    time::{Instant, sleep},
};

pub use self::asks::Reply;
use crate::question::NewQuestion;

/// What the link is told.
#[derive(Debug)]
pub enum ToHarness {
    /// Hand over a message. `preamble` is put before it: a summary for a harness that remembers nothing.
    Prompt {
        /// The turn, given back with its end.
        turn: i64,
        /// The message.
        prompt: Prompt,
        /// What the harness must know first.
        preamble: Option<String>,
    },
    /// Answer what the harness asked.
    Reply {
        /// The number that its question came with.
        ask: u64,
        /// The answer.
        reply: Reply,
    },
    /// Ask the harness to stop what it does; whatever it asked and waits for is cancelled first.
    Cancel,
    /// Cut the connection and start what is to run now.
    Relaunch,
    /// Cut the connection; the shim then ends the harness.
    Hangup,
}

/// What the link reports.
#[derive(Debug)]
pub enum FromHarness {
    /// The harness is ready for prompts.
    Up {
        /// Whether it remembers the conversation.
        resumed: bool,
        /// What was started.
        launch: Launch,
        /// What people should know of it.
        notice: Option<String>,
    },
    /// The harness asks and waits.
    Asked {
        /// Given back with the answer.
        ask: u64,
        /// What it asks.
        question: NewQuestion,
    },
    /// The harness is gone or cannot be started.
    Down {
        /// Why.
        reason: String,
        /// Whether it had been up.
        was_up: bool,
        /// Whether it cannot be started at all, as far as anybody knows.
        refused: bool,
    },
    /// Something happened within a turn.
    Update(Update),
    /// The harness answered a prompt.
    Ended {
        /// The turn of the prompt.
        turn: i64,
        /// ACP's stop reason, or what went wrong.
        outcome: Result<String, String>,
    },
}

/// Something that happened within a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// A piece of a message.
    Text {
        /// The piece.
        text: String,
        /// Id of the message, if the harness has such.
        message: Option<String>,
        /// The message ends with it.
        last: bool,
    },
    /// A tool call began or changed.
    Step {
        /// Id of the call.
        id: String,
        /// Its title, if it is new or changed.
        title: Option<String>,
        /// Its status, if it is new or changed.
        status: Option<String>,
    },
    /// The plan, whole.
    Plan(Vec<PlanEntry>),
    /// A piece of what it thinks.
    Thinking(String),
    /// Something that people should know.
    Notice(String),
    /// The harness forgot the words of the conversation and keeps a summary of its own.
    Compacted,
    /// What the harness says that its session used so far.
    Spent {
        /// Tokens in its context.
        context: i64,
        /// Price in millionths of a US dollar, if it knows one.
        cost_micros: Option<i64>,
    },
}

/// What the link needs to know.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// The shim's socket.
    pub socket: PathBuf,
    /// Home and working directory of the harness.
    pub home: PathBuf,
    /// File that keeps the harness's session id over restarts.
    pub session_file: PathBuf,
    /// The stdio MCP server the harness is given.
    pub mcp_command: PathBuf,
    /// The socket that this MCP server leads to.
    pub mcp_socket: PathBuf,
    /// What is to be started.
    pub launch: watch::Receiver<Launch>,
}

/// Longest wait between two attempts to connect.
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// A look at a socket costs next to nothing, and people wait for what is behind it.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Connects to a socket that may not be there yet: tries for `patience`.
pub async fn reach(socket: &Path, patience: Duration) -> io::Result<UnixStream> {
    let until = Instant::now() + patience;
    loop {
        match UnixStream::connect(socket).await {
            Err(_) if Instant::now() < until => sleep(LOOK_AGAIN).await,
            reached => return reached,
        }
    }
}

/// How a connection ended.
#[derive(Debug, Default)]
struct Ended {
    reason: String,
    was_up: bool,
    refused: bool,
}

/// Runs the link until the engine is gone.
pub async fn run(
    options: LinkOptions,
    mut commands: UnboundedReceiver<ToHarness>,
    events: Sender<FromHarness>,
) {
    let mut backoff = Duration::from_millis(50);
    loop {
        let reached = reach(&options.socket, backoff).await;
        let missing = reached.is_err();
        let Ended { reason, was_up, refused } = match reached {
            Ok(stream) => connection::converse(&options, stream, &mut commands, &events).await,
            Err(error) => {
                Ended { reason: format!("cannot reach the agent's socket: {error}"), ..Ended::default() }
            }
        };
        if was_up {
            backoff = Duration::from_millis(50);
        }
        if events.send(FromHarness::Down { reason, was_up, refused }).await.is_err() {
            return;
        }
        // Commands for a harness that is gone mean nothing to the next one.
        while commands.try_recv().is_ok() {}
        // Where nobody listens the wait is over already.
        if !missing {
            sleep(backoff).await;
        }
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}
