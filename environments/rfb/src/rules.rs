//! Who may send what: the filter's table, one line a message type. Lengths are in [`crate::message`]; a type that is in neither ends the
//! connection.

use crate::{encodings::Announced, message::Kind};

/// What a client may do at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// See.
    Viewer,
    /// See and send input.
    Controller,
}

/// What a controller may do beyond keys and pointer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Put text into the desktop's clipboard.
    pub paste: bool,
    /// Ask for the text in it. A server that sends text unasked must be kept from it by itself.
    pub copy: bool,
    /// Change the size of the desktop.
    pub resize: bool,
    /// Best quality of the picture, 0 to 9, whatever the client asks for. This holds for viewers, too.
    pub quality: Option<u8>,
}

/// Why a message is not passed on. The connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Viewers do not send it.
    Role,
    /// Nobody sends it here.
    Policy,
    /// The server would close the connection, since the client has not announced that it understands the answer.
    Unannounced,
    /// It is longer than is held, or has a shape that the server does not take.
    Size,
    /// The client holds more keys down than a keyboard has.
    Excess,
}

impl Reason {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 5] = [Self::Role, Self::Policy, Self::Unannounced, Self::Size, Self::Excess];

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Policy => "policy",
            Self::Unannounced => "unannounced",
            Self::Size => "size",
            Self::Excess => "excess",
        }
    }
}

/// Whether a message of this type may pass. Sections are those of RFC 6143; the rest is in the community's rfbproto, by the names given.
#[allow(clippy::match_same_arms, reason = "one line a rule")]
pub fn judge(kind: Kind, role: Role, policy: Policy, announced: Announced) -> Result<(), Reason> {
    let controls = require(role == Role::Controller, Reason::Role);
    match kind {
        // 7.5.1: concerns only what this client is sent.
        Kind::SetPixelFormat => Ok(()),
        // 7.5.2: rewritten, see `encodings`.
        Kind::SetEncodings => Ok(()),
        // 7.5.3: full ones are rationed, see `Filter`.
        Kind::UpdateRequest => Ok(()),
        // 7.5.4, and "QEMU Extended Key Event Message".
        Kind::Key | Kind::QemuKey => controls,
        // 7.5.5
        Kind::Pointer => controls,
        // 7.5.6, and "Extended Clipboard Pseudo-Encoding": which way is said in the message, see `clipboard::may_pass`.
        Kind::CutText => controls.and(require(policy.paste || policy.copy, Reason::Policy)),
        // "EnableContinuousUpdates": the server takes it only from a client that can be measured by fences.
        Kind::ContinuousUpdates => require(announced.continuous, Reason::Unannounced),
        // "ClientFence": viewers' too, since the server measures each connection by it. One that asks for an answer: see `Filter`.
        Kind::Fence => Ok(()),
        // "SetDesktopSize": several clients that resize would never end.
        Kind::SetDesktopSize => controls
            .and(require(policy.resize, Reason::Policy))
            .and(require(announced.resize, Reason::Unannounced)),
        // "xvp Client Message": switches machines off.
        Kind::Xvp => Err(Reason::Policy),
        // "QEMU Audio Client Message": there is no sound in this stream.
        Kind::QemuAudio => Err(Reason::Policy),
    }
}

fn require(granted: bool, reason: Reason) -> Result<(), Reason> {
    if granted { Ok(()) } else { Err(reason) }
}
