//! The built-in agent: an Agent Client Protocol server on standard input and output.
//!
//! Its scripted brain needs no model and no key: it understands a small scenario language, a few phrases, and one real job, the weather
//! report. It works through MCP tools only; it has no display of its own.

mod brain;
mod files;
mod report;
mod server;
mod sessions;
mod tools;
mod turn;

pub use server::{Options, serve};
