//! Language models: one message model, three wires (Anthropic's Messages, OpenAI's Responses, chat completions), streamed.
//!
//! Why not a ready client library: the hosted computer tools of both vendors, images in tool results and errors that a person can act on
//! are what this project needs, and no general client offers the three together.
//!
//! ```no_run
//! # async fn example() -> Result<(), a8s_llm::LlmError> {
//! use a8s_llm::{Client, Key, Message, Patience, Provider, Request, Settings};
//!
//! let client = Client::new(Settings {
//!     provider: Provider::Anthropic,
//!     model: "a-model".into(),
//!     base_url: None,
//!     key: Key::new("from a Secret"),
//!     patience: Patience::default(),
//! })?;
//! let messages = vec![Message::user("What is the capital of France?")];
//! let reply = client.ask(Request { messages, ..Request::default() }).await?;
//! assert_eq!(reply.message.text(), "Paris");
//! # Ok(())
//! # }
//! ```
//!
//! It never writes a key into a log or an error, never runs a tool, and knows nothing of agents, sessions or Kubernetes.
#![forbid(unsafe_code)]

mod anthropic;
mod ask;
mod client;
mod compatible;
mod error;
mod http;
mod message;
mod openai;
mod refusal;
mod request;
mod retry;
mod sse;

pub use ask::Answer;
pub use client::{Client, Key, Settings};
pub use error::LlmError;
pub use message::{Image, Message, Opaque, Part, ResultPart, Role, SafetyCheck, ToolResult, ToolUse};
pub use request::{
    Choice, Computer, ComputerTool, Event, Events, Provider, Reply, Request, Stop, Tool, UnknownProvider,
    Usage,
};
pub use retry::Patience;
