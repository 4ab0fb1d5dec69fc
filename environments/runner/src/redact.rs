//! Redaction: whatever goes into the transcript or the stream passes here once, and the keys that the Workspace was granted stay behind.
//!
//! [`Clean`] can be made by a [`Redactor`] only, and the log takes nothing else, so no path around it compiles. A key is found as it is,
//! in base64 at any alignment and URL-encoded; in live pieces of a message also when it is cut in two.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use a8s_wire::{Event, EventBody, GrantKind, Grants};
use aho_corasick::{AhoCorasick, MatchKind};
use base64::{Engine, engine::general_purpose};
use serde_json::Value;

use crate::record::Record;

/// Shorter texts are no secrets: they would tear holes into every sentence.
const SHORTEST: usize = 6;
/// Lines of a key of many lines are secrets of their own from this length on.
const LINE: usize = 16;

/// Fields whose values are words of the protocol.
const OURS: [&str; 4] = ["type", "ts", "permissions", "stopReason"];

/// Something that holds no secret any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Clean<T>(T);

impl<T> Clean<T> {
    /// What it is.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// What it is.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// What is looked for and what is put in its place.
#[derive(Default)]
struct Table {
    /// By pattern: the Connection's name. Keys that were replaced stay: the agent may have seen them.
    known: BTreeMap<String, String>,
    patterns: Vec<String>,
    replacements: Vec<String>,
    search: Option<AhoCorasick>,
}

/// Knows every secret that this process was given.
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<Table>>);

impl Redactor {
    /// Learns the secrets of these grants. It never forgets one.
    pub fn learn(&self, grants: &Grants) {
        for grant in &grants.connections {
            let texts: Vec<&str> = match &grant.kind {
                GrantKind::Model { key, .. } => key.as_deref().into_iter().collect(),
                GrantKind::Mcp { header, .. }
                | GrantKind::Http { header, .. }
                | GrantKind::Documents { header, .. } => header.iter().map(|h| h.value.as_str()).collect(),
                GrantKind::Secret { value } => vec![value],
            };
            for text in texts {
                self.add(&grant.name, text);
            }
        }
    }

    /// Learns one secret.
    pub fn add(&self, name: &str, secret: &str) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = table.known.len();
        for pattern in forms(secret) {
            table.known.entry(pattern).or_insert_with(|| name.to_owned());
        }
        if table.known.len() == before {
            return;
        }
        table.patterns = table.known.keys().cloned().collect();
        table.replacements = table.known.values().map(|name| format!("[redacted:{name}]")).collect();
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&table.patterns);
        // It fails only for more patterns than fit into memory.
        table.search =
            search.inspect_err(|error| tracing::error!(%error, "secrets cannot be searched for")).ok();
    }

    /// The text without secrets.
    pub fn text(&self, text: &str) -> String {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table
            .search
            .as_ref()
            .map_or_else(|| text.to_owned(), |search| search.replace_all(text, &table.replacements))
    }

    /// A record without secrets.
    pub fn record(&self, record: Record) -> Clean<Record> {
        Clean(self.value(record))
    }

    /// An event without secrets.
    pub fn event(&self, event: Event) -> Clean<Event> {
        Clean(self.value(event))
    }

    fn value<T: serde::Serialize + serde::de::DeserializeOwned>(&self, value: T) -> T {
        if self.0.read().unwrap_or_else(PoisonError::into_inner).search.is_none() {
            return value;
        }
        let Ok(mut json) = serde_json::to_value(&value) else { return value };
        if !self.walk(&mut json) {
            return value;
        }
        // Only strings changed, and each stays one.
        serde_json::from_value(json).unwrap_or(value)
    }

    /// Whether something was found.
    fn walk(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => {
                let clean = self.text(text);
                let found = clean != *text;
                *text = clean;
                found
            }
            Value::Array(items) => items.iter_mut().fold(false, |found, item| self.walk(item) | found),
            // A name of ours that happens to be a secret as well is no place where it is told.
            Value::Object(fields) => fields
                .iter_mut()
                .filter(|(name, _)| !OURS.contains(&name.as_str()))
                .fold(false, |found, (_, item)| self.walk(item) | found),
            _ => false,
        }
    }
}

/// A text that arrives in pieces, made clean across their borders: what may be the beginning of a secret is held back until it is clear.
#[derive(Default)]
pub struct Pieces {
    held: String,
}

impl Pieces {
    /// What can be shown after this piece.
    pub fn push(&mut self, redactor: &Redactor, piece: &str) -> String {
        self.held.push_str(piece);
        let table = redactor.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(search) = &table.search else { return std::mem::take(&mut self.held) };
        let mut cut = beginning(&self.held, &table.patterns);
        // A secret that is there as a whole is not torn by the possible beginning of another one.
        for found in search.find_iter(&self.held) {
            if found.start() < cut && cut < found.end() {
                cut = found.end();
            }
        }
        let rest = self.held.split_off(cut);
        let ready = std::mem::replace(&mut self.held, rest);
        search.replace_all(&ready, &table.replacements)
    }

    /// What is left at the end of the text.
    pub fn finish(&mut self, redactor: &Redactor) -> String {
        redactor.text(&std::mem::take(&mut self.held))
    }
}

/// Where the longest end of `text` begins that is the beginning of a pattern, but not the whole of it.
fn beginning(text: &str, patterns: &[String]) -> usize {
    let longest = patterns.iter().map(String::len).max().unwrap_or_default();
    let from = (0..=text.len()).find(|at| text.len() - at < longest && text.is_char_boundary(*at));
    let from = from.unwrap_or(text.len());
    text[from..]
        .char_indices()
        .map(|(at, _)| from + at)
        .find(|at| {
            let end = &text[*at..];
            patterns.iter().any(|pattern| pattern.len() > end.len() && pattern.starts_with(end))
        })
        .unwrap_or(text.len())
}

/// Every way in which a secret may be written.
fn forms(secret: &str) -> Vec<String> {
    let secret = secret.trim();
    let mut plain = vec![secret];
    // `Bearer abc`, `user:password`: the key is the second part.
    plain.extend(secret.split_once(' ').map(|(_, key)| key.trim()));
    if secret.contains('\n') {
        plain.extend(secret.lines().map(str::trim).filter(|line| line.len() >= LINE));
    }
    let mut all = Vec::new();
    for text in plain.into_iter().filter(|text| text.len() >= SHORTEST) {
        all.push(text.to_owned());
        all.push(url_encoded(text));
        all.push(serde_json::to_string(text).unwrap_or_default().trim_matches('"').to_owned());
        all.extend(base64_forms(text.as_bytes()));
    }
    all.retain(|form| form.len() >= SHORTEST);
    all
}

fn url_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// What stays the same of a text in base64, wherever it stands in a longer one: three alignments, without the letters that neighbours share.
fn base64_forms(text: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for shift in 0..3_usize {
        let mut bytes = vec![0; shift];
        bytes.extend_from_slice(text);
        let first = (shift * 8).div_ceil(6);
        let last = bytes.len() * 8 / 6;
        for engine in [general_purpose::STANDARD_NO_PAD, general_purpose::URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&bytes);
            forms.extend(encoded.get(first..last).map(str::to_owned));
        }
    }
    forms
}

/// Whether an event is one that is streamed only.
pub fn live_only(body: &EventBody) -> bool {
    matches!(body, EventBody::Delta { .. } | EventBody::Thinking { .. })
}

#[cfg(test)]
mod tests {
    use a8s_wire::EventId;

    use super::*;

    const KEY: &str = "sk-canary/4711+Zürich";

    fn redactor() -> Redactor {
        let redactor = Redactor::default();
        redactor.add("llm", KEY);
        redactor
    }

    #[test]
    fn a_secret_is_found_in_every_form_and_at_every_alignment() {
        let redactor = redactor();
        assert_eq!(redactor.text(&format!("key={KEY}.")), "key=[redacted:llm].");
        assert_eq!(redactor.text(&format!("?k={}&", url_encoded(KEY))), "?k=[redacted:llm]&");
        for before in ["", "a", "ab", "abc"] {
            let whole = format!("{before}{KEY} and more");
            for engine in [general_purpose::STANDARD, general_purpose::URL_SAFE] {
                let encoded = engine.encode(&whole);
                let clean = redactor.text(&encoded);
                assert!(clean.contains("[redacted:llm]"), "{before:?}: {clean}");
                let middle = &engine.encode(KEY)[4..20];
                assert!(!clean.contains(middle));
            }
        }
        assert_eq!(redactor.text("nothing here"), "nothing here");
    }

    #[test]
    fn a_secret_is_found_wherever_the_pieces_are_cut() {
        let redactor = redactor();
        redactor.add("other", "sk-canary-but-longer");
        let text = format!("before {KEY} between sk-cana, sk-canary-but-longer after");
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        for first in &places {
            for second in places.iter().filter(|second| *second >= first) {
                let mut pieces = Pieces::default();
                let mut shown = String::new();
                for piece in [&text[..*first], &text[*first..*second], &text[*second..]] {
                    shown.push_str(&pieces.push(&redactor, piece));
                    assert!(!shown.contains("sk-canary"), "{shown}");
                }
                shown.push_str(&pieces.finish(&redactor));
                assert_eq!(shown, "before [redacted:llm] between sk-cana, [redacted:other] after");
            }
        }
    }

    #[test]
    fn nothing_is_held_back_without_need() {
        let redactor = redactor();
        let mut pieces = Pieces::default();
        assert_eq!(pieces.push(&redactor, "hello "), "hello ");
        assert_eq!(pieces.push(&redactor, "task"), "ta", "sk may go on");
        assert_eq!(pieces.push(&redactor, " done"), "sk done");
    }

    #[test]
    fn an_event_keeps_its_shape_and_old_keys_stay_secret_after_a_rotation() {
        let redactor = redactor();
        redactor.add("llm", "new-key-0815");
        let id = EventId { epoch: 0, seq: 1 };
        let body =
            EventBody::Step { id: "t".into(), title: format!("curl {KEY} new-key-0815"), status: "x".into() };
        let event = Event { id, ts: "now".into(), turn: 1, body };
        let clean = redactor.event(event).into_inner();
        let EventBody::Step { title, .. } = clean.body else { panic!("{clean:?}") };
        assert_eq!(title, "curl [redacted:llm] [redacted:llm]");
    }

    #[test]
    fn words_and_lines_of_a_long_secret_are_secrets_too() {
        let redactor = Redactor::default();
        redactor.add("api", "Bearer token-1234");
        redactor.add("pem", "-----BEGIN-----\nMIIEowIBAAKCAQEA1\n-----END-----");
        assert_eq!(redactor.text("x token-1234 y"), "x [redacted:api] y");
        assert_eq!(redactor.text("12: MIIEowIBAAKCAQEA1"), "12: [redacted:pem]");
        redactor.add("short", "abc");
        assert_eq!(redactor.text("abc"), "abc");
    }
}
