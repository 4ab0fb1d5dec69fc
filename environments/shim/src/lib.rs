//! The shim sits between the runner and a harness that only knows standard input and output.
//!
//! [`serve`] is PID 1 of the agent container: it offers the harness on a unix socket, one run a connection. [`bridge`] is the other
//! direction: the harness's stdio MCP server, carried to the runner's socket. Neither reads what it carries.

mod bridge;
mod reap;
mod serve;

pub use bridge::bridge;
pub use serve::{ServeOptions, serve};
