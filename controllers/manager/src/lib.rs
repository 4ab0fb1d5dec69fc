//! The controller: gathers what a plan needs to know, carries the plan out, writes the status. It decides nothing; decisions are in
//! `a8s-plan`. It never serves people.

pub mod artifact;
pub mod asking;
pub mod bridge;
pub mod chat;
pub mod connection;
pub mod context;
pub mod environment;
pub mod errors;
pub mod execute;
pub mod grants;
pub mod install;
pub mod keeping;
pub mod lease;
pub mod lost;
pub mod message;
pub mod metrics;
pub mod pods;
pub mod protected;
pub mod reading;
pub mod request;
pub mod serving;
pub mod session;
pub mod snapshot;
pub mod store;
pub mod stores;
pub mod volumes;
pub mod waiting;
pub mod warm_pool;
pub mod workspace;
pub mod written;

pub use context::{Context, Settings};
pub use errors::Error;
