//! The conversation as the model sees it, kept below the home so that it lives through restarts and is in Snapshots. One message a line,
//! appended; a line that was torn by a crash is left out.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use a8s_llm::{Message, Part, Role};

use super::heal;
use crate::files;

/// A conversation.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    messages: Vec<Message>,
    /// What the model had said when the turn was cut off.
    partial: String,
    /// Results of the last message's calls, as far as they are there.
    results: Vec<Part>,
}

impl Memory {
    /// The conversation of a session in this home; empty if there was none.
    pub fn open(home: &Path, session: &str) -> Self {
        let path = home.join(".a8s-agent").join(format!("{session}.jsonl"));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let messages = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let mut memory = Self { path, messages: Vec::new(), partial: String::new(), results: Vec::new() };
        if text.is_empty() || text.ends_with('\n') {
            memory.messages = messages;
        } else {
            // What is appended next must not be lost with the torn line.
            memory.replace(messages);
        }
        memory
    }

    /// Everything that was said.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Begins a turn: whatever the last one left undone is put in order, then the person speaks.
    pub fn begin(&mut self, parts: Vec<Part>) {
        let partial = std::mem::take(&mut self.partial);
        if !partial.trim().is_empty() {
            self.push(Message::assistant(format!("{partial} [interrupted]")));
        }
        if !self.results.is_empty() {
            self.answered();
        }
        if let Some(healed) = heal::healed(&self.messages) {
            self.replace(healed);
        }
        self.push(Message { role: Role::User, parts });
    }

    /// A piece of what the model is saying.
    pub fn hear(&mut self, piece: &str) {
        self.partial.push_str(piece);
    }

    /// The model begins anew.
    pub fn forget_partial(&mut self) {
        self.partial.clear();
    }

    /// The model has spoken.
    pub fn said(&mut self, message: Message) {
        self.partial.clear();
        self.push(message);
    }

    /// A result of a call of the last message. It is remembered at once, so that an interruption loses nothing that was done.
    pub fn result(&mut self, part: Part) {
        self.results.push(part);
    }

    /// All results are there: the model hears them.
    pub fn answered(&mut self) {
        let parts = std::mem::take(&mut self.results);
        self.push(Message { role: Role::User, parts });
    }

    /// The tools' or the brain's own word to the model.
    pub fn tell(&mut self, text: impl Into<String>) {
        self.push(Message::user(text));
    }

    fn push(&mut self, message: Message) {
        if let Err(error) = self.append(&message) {
            // The volume is full: the runner says so to people, and the turn can go on.
            tracing::warn!(%error, "the conversation cannot be kept");
        }
        self.messages.push(message);
    }

    fn append(&self, message: &Message) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(&line)
    }

    /// Takes another conversation in place of this one.
    pub fn replace(&mut self, messages: Vec<Message>) {
        let mut text = Vec::new();
        for message in &messages {
            let written = serde_json::to_writer(&mut text, message);
            debug_assert!(written.is_ok(), "messages are data");
            text.push(b'\n');
        }
        if let Err(error) = files::write(&self.path, text) {
            tracing::warn!(%error, "the conversation cannot be kept");
        }
        self.messages = messages;
    }
}

#[cfg(test)]
mod tests {
    use a8s_llm::{ToolResult, ToolUse};

    use super::*;

    #[test]
    fn a_conversation_lives_through_a_crash_in_the_middle_of_a_line() {
        let home = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(home.path(), "s");
        memory.begin(vec![Part::text("hello")]);
        memory.said(Message::assistant("hi"));
        let path = memory.path.clone();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"role\":\"us").unwrap();
        let mut again = Memory::open(home.path(), "s");
        assert_eq!(again.messages(), memory.messages());
        again.begin(vec![Part::text("still there?")]);
        let texts: Vec<_> = Memory::open(home.path(), "s").messages().iter().map(Message::text).collect();
        assert_eq!(texts, ["hello", "hi", "still there?"]);
    }

    #[test]
    fn an_interrupted_turn_keeps_what_was_said_and_done() {
        let home = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(home.path(), "s");
        memory.begin(vec![Part::text("go")]);
        let call =
            |id: &str| Part::ToolUse(ToolUse { id: id.into(), name: "x".into(), ..ToolUse::default() });
        memory.said(Message { role: Role::Assistant, parts: vec![call("a"), call("b")] });
        memory.result(Part::ToolResult(ToolResult::text("a", "done")));
        memory.begin(vec![Part::text("stop that")]);
        let results: Vec<_> = memory.messages()[2].tool_results().collect();
        assert_eq!((results[0].all_text().as_str(), results[0].is_error), ("done", false));
        assert!(results[1].is_error && results[1].id == "b");
        memory.hear("I was about");
        memory.begin(vec![Part::text("what?")]);
        let texts: Vec<_> = memory.messages().iter().map(Message::text).collect();
        assert_eq!(&texts[3..], ["stop that", "I was about [interrupted]", "what?"]);
        assert_eq!(Memory::open(home.path(), "s").messages(), memory.messages());
    }
}
