//! WebSocket close codes. They are part of the console's contract: it reconnects at once on 1012, with a pause on 1011 and 1013, asks the
//! person on 44xx, and waits for them on 4409: two windows would take each other's place without end.

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// The browser broke the WebSocket's protocol.
    Protocol,
    /// The browser sent text; RFB is binary.
    NotBinary,
    /// The browser broke RFB's protocol.
    Violation,
    /// A frame that is longer than any browser sends.
    TooLarge,
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
    /// The browser answered no ping, or did not begin to speak RFB.
    Silent,
    /// The same person opened another stream to the desktop, and there were too many.
    Replaced,
    /// The desktop is not running.
    Stopped,
    /// Another person holds the desktop in private.
    Private,
    /// Too many viewers.
    Limit,
}

impl Close {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Protocol,
        Self::NotBinary,
        Self::Violation,
        Self::TooLarge,
        Self::Upstream,
        Self::Drain,
        Self::Stalled,
        Self::Ticket,
        Self::Revoked,
        Self::Gone,
        Self::Silent,
        Self::Replaced,
        Self::Stopped,
        Self::Private,
        Self::Limit,
    ];

    /// The code on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::NotBinary => 1003,
            Self::Violation => 1008,
            Self::TooLarge => 1009,
            Self::Upstream => 1011,
            Self::Drain => 1012,
            Self::Stalled => 1013,
            Self::Ticket => 4401,
            Self::Revoked => 4403,
            Self::Gone => 4404,
            Self::Silent => 4408,
            Self::Replaced => 4409,
            Self::Stopped => 4410,
            Self::Private => 4423,
            Self::Limit => 4429,
        }
    }

    /// A short sentence for the person.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Protocol => "the browser broke the WebSocket protocol",
            Self::NotBinary => "only binary messages are understood",
            Self::Violation => "the browser sent an invalid message",
            Self::TooLarge => "the browser sent too much at once",
            Self::Upstream => "the desktop does not answer",
            Self::Drain => "the proxy restarts; connect again",
            Self::Stalled => "the connection is too slow",
            Self::Ticket => "the ticket is not valid; ask for a new one",
            Self::Revoked => "you may no longer see this desktop",
            Self::Gone => "this workspace no longer exists",
            Self::Silent => "the browser did not answer",
            Self::Replaced => "you opened this desktop in another window, and too many are open",
            Self::Stopped => "the desktop is not running",
            Self::Private => "another person holds this desktop in private",
            Self::Limit => "too many viewers",
        }
    }
}
