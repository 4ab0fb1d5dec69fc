//! The runner: the pod's only client of the agent, and the only keeper of the conversation.
//!
//! It takes prompts over HTTPS, hands them to the harness over the Agent Client Protocol one turn at a time, records what happens in an
//! append-only transcript and streams it. It gives the harness one MCP server: the desktop's tools and a few of its own. It holds no
//! Kubernetes token and never touches the display.

pub mod acp;
mod artifacts;
mod attachments;
pub mod config;
pub mod control;
mod deliver;
mod engine;
mod flush;
mod gateway;
mod grants;
mod handle;
mod history;
mod http;
mod launch;
mod log;
mod manifest;
mod mcp;
mod question;
mod record;
mod recording;
mod redact;
mod restore;
mod run;
mod space;
mod summary;

pub use run::run;
