//! One source of input: the agent, or one person's RFB connection. Each has its own connection to the X server, and everything that it
//! sends there passes through its seat, which knows what is held down and asks the lease before each message.

use std::{io, time::Duration, time::Instant};

use a8s_rfb::{Filter, Kind, Pressed, Role, Violation};
use tokio::{io::AsyncWriteExt, net::unix::OwnedWriteHalf, sync::Mutex};
use tokio_util::sync::CancellationToken;

/// Xvnc reads its sockets within a frame; longer means that it is stuck.
const WRITE_LIMIT: Duration = Duration::from_secs(2);

/// First bytes of messages that are a person's doing: key, pointer, extended key. Nothing of the handshake begins so, and a clipboard
/// message may be the viewer's own.
const INPUT: [u8; 3] = [4, 5, 255];

/// Whose seat it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// deskd's own connection, which serves the agent.
    Agent,
    /// A person's connection.
    Person {
        /// Kubernetes user name.
        user: String,
        /// The token allows input at all.
        may_control: bool,
    },
}

#[derive(Debug)]
enum Held {
    Agent(Pressed),
    Person(Box<Filter>),
}

#[derive(Debug)]
struct Line {
    writer: OwnedWriteHalf,
    held: Held,
}

/// Why a seat's connection is over.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    /// The client said something that no client says.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The X server is gone or stuck.
    #[error("the display does not take input: {0}")]
    Io(#[from] io::Error),
    /// Input without the lease.
    #[error("control is held by a person")]
    NotHeld,
}

/// A source of input.
#[derive(Debug)]
pub struct Seat {
    /// Whose it is.
    pub who: Who,
    /// Cancelled when the connection must end.
    pub closed: CancellationToken,
    line: Mutex<Line>,
}

impl Seat {
    /// deskd's own seat.
    pub fn agent(writer: OwnedWriteHalf) -> Self {
        let line = Line { writer, held: Held::Agent(Pressed::default()) };
        Self { who: Who::Agent, closed: CancellationToken::new(), line: Mutex::new(line) }
    }

    /// A person's seat; `filter` stands at the beginning of the RFB handshake.
    pub fn person(user: String, may_control: bool, filter: Filter, writer: OwnedWriteHalf) -> Self {
        let line = Line { writer, held: Held::Person(Box::new(filter)) };
        let who = Who::Person { user, may_control };
        Self { who, closed: CancellationToken::new(), line: Mutex::new(line) }
    }

    /// Bytes from a person's client. `role` is asked under the seat's lock for every message: after a change of the lease has locked and
    /// unlocked each seat, nothing of the old holder can follow. Says whether there was input among what was let through.
    pub async fn from_client(&self, bytes: &[u8], role: impl Fn() -> Role) -> Result<bool, SeatError> {
        let mut line = self.line.lock().await;
        let Line { writer, held: Held::Person(filter) } = &mut *line else { return Err(SeatError::NotHeld) };
        filter.push(bytes);
        let mut input = false;
        while let Some(message) = filter.next(role(), Instant::now())? {
            input |= message.first().is_some_and(|kind| INPUT.contains(kind));
            write(writer, &message).await?;
        }
        Ok(input)
    }

    /// Key and pointer messages of the agent, sent together if `allowed` says so under the seat's lock.
    pub async fn input(
        &self,
        messages: &[(Kind, Vec<u8>)],
        allowed: impl Fn() -> bool,
    ) -> Result<(), SeatError> {
        let mut line = self.line.lock().await;
        let Line { writer, held: Held::Agent(pressed) } = &mut *line else { return Err(SeatError::NotHeld) };
        if !allowed() {
            return Err(SeatError::NotHeld);
        }
        let mut bytes = Vec::new();
        for (kind, message) in messages {
            let mut message = message.clone();
            if pressed.observe(*kind, &mut message) {
                bytes.extend(message);
            }
        }
        Ok(write(writer, &bytes).await?)
    }

    /// Protocol messages of deskd itself, which are no input.
    pub async fn control(&self, message: &[u8]) -> io::Result<()> {
        write(&mut self.line.lock().await.writer, message).await
    }

    /// Lets go of everything that is held down.
    pub async fn release(&self) -> io::Result<()> {
        let mut line = self.line.lock().await;
        let Line { writer, held } = &mut *line;
        let bytes = match held {
            Held::Agent(pressed) => pressed.release(),
            Held::Person(filter) => filter.release(),
        };
        if bytes.is_empty() { Ok(()) } else { write(writer, &bytes).await }
    }

    /// Buttons that the agent holds down, as a pointer event's mask.
    pub async fn buttons(&self) -> u8 {
        match &self.line.lock().await.held {
            Held::Agent(pressed) => pressed.buttons(),
            Held::Person(_) => 0,
        }
    }
}

async fn write(writer: &mut OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
    tokio::time::timeout(WRITE_LIMIT, writer.write_all(bytes))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it does not read its socket")))
}
