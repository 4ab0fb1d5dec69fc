//! What deskd is asked and what it answers.

use serde::{Deserialize, Serialize};

/// Who may send input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// The agent, through deskd's MCP tools.
    #[default]
    Agent,
    /// A person, through RFB.
    User,
}

/// Which way text may go between the clipboard of the desktop and those of the people who control it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clipboard {
    /// Both ways.
    #[default]
    Both,
    /// Into the desktop only.
    In,
    /// Out of the desktop only.
    Out,
    /// Neither.
    None,
}

impl Clipboard {
    /// Whether people may put text into the desktop's clipboard.
    pub fn goes_in(self) -> bool {
        matches!(self, Self::Both | Self::In)
    }

    /// Whether people get what is copied in the desktop.
    pub fn comes_out(self) -> bool {
        matches!(self, Self::Both | Self::Out)
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_both(&self) -> bool {
        *self == Self::Both
    }
}

impl std::str::FromStr for Clipboard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "Both" => Ok(Self::Both),
            "In" => Ok(Self::In),
            "Out" => Ok(Self::Out),
            "None" => Ok(Self::None),
            _ => Err(format!("{text:?} is none of Both, In, Out and None")),
        }
    }
}

/// The control lease as deskd enforces it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlState {
    /// Who may send input.
    pub holder: Holder,
    /// The person, while `holder` is `User`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// While true the agent gets no pixels either.
    #[serde(default)]
    pub private: bool,
    /// Grows with every change of the lease.
    pub epoch: i64,
    /// When the lease began, RFC 3339; empty before the first change.
    #[serde(default)]
    pub since: String,
}

/// Body of `POST /v1/control`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetControl {
    /// Who shall hold the lease.
    pub holder: Holder,
    /// The person, required if `holder` is `User`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether the agent is blinded.
    #[serde(default)]
    pub private: bool,
    /// Must not be older than the epoch that deskd holds; the same epoch with the same content is a no-op.
    pub epoch: i64,
}

/// So many viewers are named.
pub const AUDIENCE: usize = 16;

/// Answer of `GET /v1/state`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeskState {
    /// Display, window manager and panel are up.
    pub ready: bool,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// The lease.
    pub control: ControlState,
    /// Open RFB connections.
    pub viewers: u32,
    /// Kubernetes user names of the people behind them, each once, in order, and not more than [`AUDIENCE`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// The desktop is being recorded at this moment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recording: bool,
    /// Which way the clipboard's text may go.
    #[serde(default, skip_serializing_if = "Clipboard::is_both")]
    pub clipboard: Clipboard,
    /// RFC 3339 time of the last key or pointer event that a person sent with effect; absent before the first. The agent's input is not
    /// counted, and what a viewer without the lease does is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_input: Option<String>,
    /// The first picture that was really drawn; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_frame: Option<FirstFrame>,
}

/// Evidence that the desktop shows something: window manager and panel were up and the picture had more than one colour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FirstFrame {
    /// RFC 3339 time.
    pub at: String,
    /// Milliseconds since deskd began.
    pub after_millis: u64,
}
