//! Answers as each wire writes them.

mod anthropic;
mod chat;
mod gemini;
mod openai;

use serde_json::Value;

use crate::{
    asked::{Asked, Wire},
    scenario::{Piece, Step},
};

/// Events: name and data.
pub type Events = Vec<(String, Value)>;

/// The events of an answer.
pub fn events(wire: Wire, asked: &Asked, step: &Step) -> Events {
    match wire {
        Wire::Anthropic => anthropic::events(asked, step),
        Wire::OpenAi => openai::events(asked, step),
        Wire::Chat => chat::events(asked, step),
        Wire::Gemini => gemini::events(asked, step),
    }
}

/// The answer whole.
pub fn whole(wire: Wire, asked: &Asked, step: &Step) -> Value {
    match wire {
        Wire::Anthropic => anthropic::whole(asked, step),
        Wire::OpenAi => openai::whole(asked, step),
        Wire::Chat => chat::whole(asked, step),
        Wire::Gemini => gemini::whole(asked, step),
    }
}

/// Tokens read and written.
fn usage(asked: &Asked, step: &Step) -> (u64, u64) {
    let size = |n: usize| u64::try_from(n / 4 + 1).unwrap_or(u64::MAX);
    let said: usize = step.pieces.iter().map(|piece| text(piece).len()).sum();
    let called: usize = step.calls.iter().map(|call| call.arguments.len()).sum();
    step.usage.unwrap_or((size(asked.bytes), size(said + called)))
}

fn text(piece: &Piece) -> &str {
    match piece {
        Piece::Say(text) | Piece::Think(text) => text,
        Piece::Echo => "",
    }
}

/// Everything that is said.
fn said(step: &Step) -> String {
    let said = step.pieces.iter().filter(|piece| matches!(piece, Piece::Say(_))).map(text);
    said.collect::<Vec<_>>().join("\n")
}

/// A text in a few pieces, as models write it.
fn pieces(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let size = (characters.len() / 200).max(7);
    characters.chunks(size).map(|piece| piece.iter().collect()).collect()
}

/// An id that differs between the calls of a conversation and is the same when the same is asked again.
fn id(prefix: &str, asked: &Asked, number: usize) -> String {
    format!("{prefix}_{:x}_{number}", asked.bytes)
}
