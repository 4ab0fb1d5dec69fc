//! The `llm` brain: a loop of looking at the desktop, asking a model and doing what it says. It uses MCP tools, a shell in its own
//! container and nothing else; it holds no key of a provider.

mod act;
mod catalogue;
mod compact;
mod computer;
mod converse;
mod heal;
mod memory;
mod options;
mod prompt;
mod prune;
mod repeat;

pub use converse::Mind;
pub use memory::Memory;
pub use options::MindOptions;
