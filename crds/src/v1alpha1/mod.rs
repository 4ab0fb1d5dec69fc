//! The kinds, one file each.

mod artifact;
mod common;
mod connection;
mod egress;
mod environment;
mod input;
mod lifecycle;
mod message;
mod request;
mod session;
mod share;
mod snapshot;
mod warm_pool;
mod workspace;

pub use artifact::*;
pub use common::*;
pub use connection::*;
pub use egress::*;
pub use environment::*;
pub use input::*;
pub use lifecycle::*;
pub use message::*;
pub use request::*;
pub use session::*;
pub use share::*;
pub use snapshot::*;
pub use warm_pool::*;
pub use workspace::*;
