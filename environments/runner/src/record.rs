//! One line of the transcript.

use a8s_wire::{Event, Prompt, SessionIdentity, Settings};
use serde::{Deserialize, Serialize};

/// What a line of the transcript can be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Record {
    /// Something that readers of the stream see.
    Event(Event),
    /// A prompt was taken on. It is written before the sender gets its answer and is not streamed: the turn's start is.
    Accepted {
        /// The message.
        accepted: Prompt,
        /// Its turn.
        turn: i64,
        /// The epoch it was accepted in.
        epoch: i64,
    },
    /// Whose conversation this is. It holds for one Workspace: what is made from its Snapshots belongs to somebody else.
    Bound {
        /// The Session.
        bound: SessionIdentity,
        /// UID of the Workspace.
        workspace: String,
    },
    /// How the agent is run. It holds for one Workspace, too.
    Configured {
        /// The settings.
        configured: Box<Settings>,
        /// UID of the Workspace.
        workspace: String,
    },
}
