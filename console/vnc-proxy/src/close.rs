//! WebSocket close codes. They are part of the console's contract: it reconnects at once on 1012, with a pause on 1011 and 1013, asks the
//! person on 44xx.

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// The browser sent text; RFB is binary.
    NotBinary,
    /// The browser broke the protocol.
    Violation,
    /// deskd cannot be reached or ended the stream.
    Upstream,
    /// This proxy is being replaced.
    Drain,
    /// The browser does not read.
    Stalled,
    /// The ticket is unknown, used or expired, or belongs to another origin.
    Ticket,
    /// Access was withdrawn.
    Revoked,
    /// The Workspace is gone, or is another one of the same name.
    Gone,
    /// The browser answered no ping.
    Silent,
    /// The desktop is not running.
    Stopped,
    /// Another person holds the desktop in private.
    Private,
    /// Too many viewers.
    Limit,
}

impl Close {
    /// The code on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::NotBinary => 1003,
            Self::Violation => 1008,
            Self::Upstream => 1011,
            Self::Drain => 1012,
            Self::Stalled => 1013,
            Self::Ticket => 4401,
            Self::Revoked => 4403,
            Self::Gone => 4404,
            Self::Silent => 4408,
            Self::Stopped => 4410,
            Self::Private => 4423,
            Self::Limit => 4429,
        }
    }

    /// A short sentence for the person.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotBinary => "only binary messages are understood",
            Self::Violation => "the browser sent an invalid message",
            Self::Upstream => "the desktop does not answer",
            Self::Drain => "the proxy restarts; connect again",
            Self::Stalled => "the connection is too slow",
            Self::Ticket => "the ticket is not valid; ask for a new one",
            Self::Revoked => "you may no longer see this desktop",
            Self::Gone => "this workspace no longer exists",
            Self::Silent => "the browser did not answer",
            Self::Stopped => "the desktop is not running",
            Self::Private => "another person holds this desktop in private",
            Self::Limit => "too many viewers",
        }
    }
}
