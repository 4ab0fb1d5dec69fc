//! OpenAI's chat completions, as vLLM, llama.cpp, Ollama and many services speak them. Every dialect's quirk that is known is tolerated:
//! missing ids and indexes, arguments that are objects, usage that never comes.

mod decode;
mod encode;

pub(crate) use decode::Decoder;
pub(crate) use encode::encode;
