//! The built-in agent: an Agent Client Protocol server on standard input and output.
//!
//! It has two brains. The scripted one needs no model and no key: it understands a small scenario language, a few phrases, and one real
//! job, the weather report. The other one asks a language model what to do. Both work through MCP tools; neither has a display of its own.

mod brain;
mod command;
mod files;
mod mind;
mod report;
mod server;
mod sessions;
mod tools;
mod turn;

pub use mind::{Mind, MindOptions};
pub use server::{Options, serve};
