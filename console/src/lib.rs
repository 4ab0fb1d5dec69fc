//! The console's server: a JSON and SSE window on Kubernetes objects for the page in `web/`. Every call to the API server carries the
//! token of the person who asks, so that the console can do nothing that the person could not do with kubectl. It keeps no state but a key
//! that seals cookies, and decides nothing.

pub mod artifacts;
pub mod clients;
pub mod errors;
pub mod events;
pub mod guard;
pub mod login;
pub mod objects;
pub mod options;
pub mod page;
pub mod relay;
pub mod seal;
pub mod server;
pub mod sessions;
pub mod shares;
pub mod vnc;

pub use server::{Console, router};
