//! The kinds, one file each.

mod artifact;
mod common;
mod egress;
mod environment;
mod lifecycle;
mod message;
mod session;
mod snapshot;
mod warm_pool;
mod workspace;

pub use artifact::*;
pub use common::*;
pub use egress::*;
pub use environment::*;
pub use lifecycle::*;
pub use message::*;
pub use session::*;
pub use snapshot::*;
pub use warm_pool::*;
pub use workspace::*;
