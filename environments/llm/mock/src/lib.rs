//! A model that does what the last message says: the same scenario drives Anthropic's Messages, OpenAI's Responses and chat completions,
//! with answers of the recorded shapes, streamed or whole. For tests, and for harnesses of others that want to talk to a model without a
//! key. It thinks nothing and calls nobody.
//!
//! A scenario is lines of the last user message that has any:
//!
//! | line | effect |
//! |---|---|
//! | `/say text` | says it |
//! | `/echo` | says the text of the last tool results |
//! | `/think text` | thinks it |
//! | `/tool name {json}` | calls a tool; the lines after it belong to the answer that follows its result |
//! | `/and name {json}` | calls another one in the same answer |
//! | `/safety text` | the computer call of this answer needs a person's consent (OpenAI) |
//! | `/usage in out` | tokens that this answer claims to have cost |
//! | `/refuse`, `/max-tokens` | stops for that reason |
//! | `/status 429 retry-after=1 times=2` | refuses with that status, so many times |
//! | `/cut times=1` | the connection breaks in the middle |
//! | `/malformed times=1` | an event that is no JSON |
//! | `/overloaded times=1` | an error event within the stream |
//! | `/hang` | says nothing for ever after the first event |
//! | `/slow ms` | byte by byte |
//! | `/huge n` | says n characters |
//! | `/counted` | places itself by the answers it gave, not by the results it sees, for conversations that are summarised |
//!
//! Models of some names have a fault: `no-such-model`, `no-tools`, `text-only`, `no-hosted`, `old-hosted`, `no-thoughts`, `tiny-<bytes>`.
#![forbid(unsafe_code)]

mod asked;
mod refuse;
mod scenario;
mod send;
mod server;
mod wire;

pub use server::{Mock, Seen, router};
