//! The kinds, one file each.

mod artifact;
mod common;
mod environment;
mod message;
mod session;
mod snapshot;
mod workspace;

pub use artifact::*;
pub use common::*;
pub use environment::*;
pub use message::*;
pub use session::*;
pub use snapshot::*;
pub use workspace::*;
