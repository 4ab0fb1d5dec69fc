//! Anthropic's Messages API, with its hosted computer tool. The safety classifiers for screenshots run only where the hosted tool is
//! declared, so a function of the same form is no substitute.

mod decode;
mod encode;

pub(crate) use decode::Decoder;
pub(crate) use encode::{VERSION, beta, encode};
