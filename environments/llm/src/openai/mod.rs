//! OpenAI's Responses API, with its hosted computer tool. Nothing is stored with the provider: the whole conversation is sent each time,
//! thoughts included in the encrypted form in which they were received.

mod actions;
mod decode;
mod encode;

pub(crate) use decode::{Decoder, arguments};
pub(crate) use encode::{encode, wants_no_thoughts};
