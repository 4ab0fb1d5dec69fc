//! What the agent says while it says it. Pieces are streamed at once; they become a message, which is recorded, when something follows them,
//! or when the agent falls silent.
//!
//! What was streamed and is not a message yet is in a file beside the transcript, so that killing this process takes back no word that
//! somebody has read. A kill loses nothing that the kernel has; nobody waits for the disk.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    time::Duration,
};

use a8s_wire::{Event, EventBody, EventId, event::LongText};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Engine;
use crate::{history::History, record::Record, redact::Pieces};

/// Longest text of an event, in bytes, and how much of a longer one it shows.
const MAX_TEXT: usize = 32 * 1024;
const PREVIEW: usize = 4 * 1024;
/// Silence after which a text that ends like a sentence is a message, and any other. In one turn each such silence has to be twice as long
/// as the last: what an agent says haltingly costs no more objects than it takes minutes.
const SENTENCE: Duration = Duration::from_secs(2);
const ANY: Duration = Duration::from_secs(10);
const MOST_DOUBLINGS: u32 = 10;
/// Name of the file below the state directory.
const WORDS: &str = "words";

/// What is being said.
pub struct Speech {
    text: String,
    message: Option<String>,
    shown: Pieces,
    pub(super) thought: Pieces,
    last_piece: Option<Instant>,
    /// Messages of this turn that ended in silence.
    pub(super) silences: u32,
    words: Words,
}

impl Speech {
    /// Takes up what an earlier process streamed in the turn that runs and did not record.
    pub fn open(state: &Path, history: &History, records: &[Record]) -> Self {
        let (mut words, spoken) = Words::open(&state.join(WORDS));
        let turn = history.running.as_ref().map(|turn| turn.number);
        let lost = spoken.filter(|(said, _)| Some(said.turn) == turn && !is_recorded(said.after, records));
        if lost.is_none() {
            words.clear();
        }
        Self {
            text: lost.map(|(_, text)| text).unwrap_or_default(),
            message: None,
            shown: Pieces::default(),
            thought: Pieces::default(),
            last_piece: None,
            silences: 0,
            words,
        }
    }

    /// When it is a message although nothing follows.
    pub fn due(&self) -> Option<Instant> {
        let text = self.text.trim_end_matches([' ', '\t']);
        let whole = text.ends_with(|c: char| "\n.!?:;)`\"'*”’»…。！？：".contains(c));
        let patience = if whole { SENTENCE } else { ANY };
        Some(self.last_piece? + patience * 2_u32.pow(self.silences.min(MOST_DOUBLINGS)))
    }
}

/// Whether what was said after this event became a message.
fn is_recorded(after: EventId, records: &[Record]) -> bool {
    records.iter().any(|record| {
        matches!(record, Record::Event(Event { id, body: EventBody::Message { .. }, .. }) if *id > after)
    })
}

impl Engine {
    /// A piece of a message, the last one or not.
    pub(super) fn says(&mut self, text: &str, message: Option<String>, last: bool) {
        if message.is_some() && message != self.speech.message {
            self.flush_text();
            self.speech.message = message;
        }
        self.speech.text.push_str(text);
        self.speech.last_piece = Some(Instant::now());
        let shown = self.speech.shown.push(&self.redactor, text);
        self.show(shown);
        if last {
            self.flush_text();
        }
    }

    /// Nothing came for so long that what was said is a message.
    pub(super) fn fall_silent(&mut self) {
        if self.speech.due().is_some_and(|due| due <= Instant::now()) {
            self.speech.silences += 1;
            self.flush_text();
        }
    }

    /// What was said so far is a message.
    pub(super) fn flush_text(&mut self) {
        self.speech.message = None;
        self.speech.last_piece = None;
        let rest = self.speech.shown.finish(&self.redactor);
        self.show(rest);
        let rest = self.speech.thought.finish(&self.redactor);
        self.live(rest, |text| EventBody::Thinking { text });
        let text = std::mem::take(&mut self.speech.text);
        if !text.trim().is_empty() {
            let message = self.message(self.redactor.text(&text));
            self.record(message);
        }
        // What waits for room on the volume is in memory only.
        if self.storage_failure.is_none() {
            self.speech.words.clear();
        }
    }

    /// Streams a piece of a message. Only what may be told is kept.
    fn show(&mut self, text: String) {
        let turn = self.history.running.as_ref().map_or(0, |turn| turn.number);
        self.speech.words.add(Said { turn, after: self.history.last }, &text);
        self.live(text, |text| EventBody::Delta { text });
    }

    /// A text that is too long for an object of its own is kept as a blob; its beginning is in the event.
    fn message(&self, text: String) -> EventBody {
        if text.len() <= MAX_TEXT {
            return EventBody::Message { text, more: None };
        }
        match self.blobs.keep(text.as_bytes()) {
            Ok((sha256, size)) => {
                let end = (0..=PREVIEW).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
                EventBody::Message { text: text[..end].to_owned(), more: Some(LongText { sha256, size }) }
            }
            // Rather a long line than a lost answer.
            Err(error) => {
                tracing::warn!(%error, "a long message could not be kept beside the transcript");
                EventBody::Message { text, more: None }
            }
        }
    }
}

/// The first line of the file: in which turn it was said, and after what.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    turn: i64,
    after: EventId,
}

/// The file. Without it, which is a reason to warn and for nothing else, words live in memory.
struct Words {
    file: Option<File>,
    empty: bool,
}

impl Words {
    /// Opens it, and returns what it holds.
    fn open(path: &Path) -> (Self, Option<(Said, String)>) {
        let opened = OpenOptions::new().read(true).append(true).create(true).open(path);
        let read = opened.and_then(|mut file| {
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            Ok((file, content))
        });
        match read {
            Ok((file, content)) => (Self { file: Some(file), empty: content.is_empty() }, parse(&content)),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "what the agent is saying cannot be kept");
                (Self { file: None, empty: true }, None)
            }
        }
    }

    fn add(&mut self, said: Said, text: &str) {
        let Some(file) = self.file.as_mut().filter(|_| !text.is_empty()) else { return };
        if let Err(error) = write(file, self.empty.then_some(said), text) {
            // The volume is full, which is told elsewhere.
            tracing::debug!(%error, "a piece of what the agent says was not kept");
        }
        self.empty = false;
    }

    fn clear(&mut self) {
        let Some(file) = self.file.as_ref().filter(|_| !self.empty) else { return };
        match file.set_len(0) {
            Ok(()) => self.empty = true,
            Err(error) => tracing::warn!(%error, "what the agent said cannot be taken out of its file"),
        }
    }
}

fn write(file: &mut File, first: Option<Said>, text: &str) -> io::Result<()> {
    let mut bytes = Vec::new();
    if let Some(said) = first {
        serde_json::to_writer(&mut bytes, &said)?;
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(text.as_bytes());
    file.write_all(&bytes)
}

fn parse(content: &[u8]) -> Option<(Said, String)> {
    let end = content.iter().position(|byte| *byte == b'\n')?;
    let said = serde_json::from_slice(&content[..end]).ok()?;
    let text = &content[end + 1..];
    // The last piece may be torn.
    let whole = std::str::from_utf8(text).map_or_else(|error| error.valid_up_to(), str::len);
    Some((said, String::from_utf8_lossy(&text[..whole]).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: Said = Said { turn: 3, after: EventId { epoch: 0, seq: 7 } };

    #[test]
    fn words_are_there_again_until_they_are_taken_out_and_a_torn_one_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(WORDS);
        let (mut words, nothing) = Words::open(&path);
        assert_eq!(nothing, None);
        words.add(SAID, "");
        words.add(SAID, "It rains\n");
        words.add(Said { turn: 4, ..SAID }, "in Köln.");
        drop(words);
        let (mut words, said) = Words::open(&path);
        assert_eq!(said, Some((SAID, "It rains\nin Köln.".to_owned())));
        words.clear();
        words.add(SAID, "ü");
        drop(words);
        let length = std::fs::metadata(&path).unwrap().len();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
        assert_eq!(Words::open(&path).1, Some((SAID, String::new())));
        std::fs::write(&path, "{\"turn\":").unwrap();
        assert_eq!(Words::open(&path).1, None);
    }

    #[test]
    fn what_became_a_message_is_not_said_again() {
        let event =
            |seq, body| Record::Event(Event { id: EventId { epoch: 0, seq }, ts: "t".into(), turn: 3, body });
        let message = |seq| event(seq, EventBody::Message { text: "x".into(), more: None });
        let notice = event(8, EventBody::Notice { text: "n".into() });
        assert!(!is_recorded(SAID.after, &[message(7), notice.clone()]));
        assert!(is_recorded(SAID.after, &[message(7), notice, message(9)]));
    }

    #[tokio::test]
    async fn a_sentence_is_over_sooner_than_its_beginning_and_each_silence_is_longer_than_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let mut speech = Speech::open(folder.path(), &History::default(), &[]);
        assert_eq!(speech.due(), None);
        let now = Instant::now();
        speech.last_piece = Some(now);
        let mut after = |text: &str, silences| {
            (speech.text, speech.silences) = (text.into(), silences);
            (speech.due().unwrap() - now).as_secs()
        };
        assert_eq!([after("I look at ", 0), after("I look. ", 0), after("I look:\n", 0)], [10, 2, 2]);
        assert_eq!([after("I look.", 1), after("I look.", 4), after("I", 2)], [4, 32, 40]);
    }
}
