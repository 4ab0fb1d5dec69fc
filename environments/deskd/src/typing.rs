//! Keys and text. Characters are typed as keysyms, which the X server maps to keys exactly; what it cannot map, and what would use up its
//! spare keys, is pasted.

use std::{collections::HashSet, sync::PoisonError, time::Duration};

use a8s_rfb::{Kind, encode, keysym};

use crate::{error::DeskError, hands::Hands};

/// Keys sent before the server must have caught up; also how soon a change of the lease stops a long text.
const CHUNK: usize = 32;
/// A character that is on no key of the layout takes a spare key code for ever, and there are about twenty; when they are used up, Xvnc
/// drops such characters without a word. People's keyboards need some too.
const SPARE_KEYS: usize = 12;
const FETCH_LIMIT: Duration = Duration::from_secs(2);
const AFTER_PASTE: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(600));

/// A key message.
pub fn key(symbol: u32, down: bool) -> (Kind, Vec<u8>) {
    (Kind::Key, encode::key(symbol, down).to_vec())
}

impl Hands {
    /// Types `text` exactly.
    pub async fn type_text(&self, text: &str) -> Result<(), DeskError> {
        for piece in self.plan(text) {
            match piece {
                Piece::Type(text) => self.type_keys(&text).await?,
                Piece::Paste(text) => self.paste(text).await?,
            }
        }
        Ok(())
    }

    async fn type_keys(&self, text: &str) -> Result<(), DeskError> {
        let symbols: Vec<u32> = text.replace("\r\n", "\n").chars().map(keysym::from_char).collect();
        for chunk in symbols.chunks(CHUNK) {
            let messages: Vec<_> =
                chunk.iter().flat_map(|symbol| [key(*symbol, true), key(*symbol, false)]).collect();
            self.input(&messages).await?;
            self.barrier().await?;
        }
        Ok(())
    }

    /// Offers `text` as the clipboard and presses Shift+Insert, which pastes in terminals as well as in forms.
    async fn paste(&self, text: String) -> Result<(), DeskError> {
        self.check()?;
        self.screen.offer(text).await?;
        self.barrier().await?;
        let fetched = self.screen.fetched.notified();
        tokio::pin!(fetched);
        fetched.as_mut().enable();
        self.press(&[0xffe1, 0xff63], None).await?;
        if self.wait(tokio::time::timeout(FETCH_LIMIT, fetched)).await?.is_err() {
            let why = "the text contains characters that must be pasted, and no window took the paste; click into a text field first";
            return Err(DeskError::Timeout(why.into()));
        }
        // The window inserts the text some time after it has fetched it; keys sent before that would come first.
        let (quiet, limit) = AFTER_PASTE;
        self.settled(quiet, limit).await?;
        // What the agent itself had put into the clipboard is there again.
        let copied = self.screen.copied.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match copied {
            Some(copied) => self.screen.offer(copied).await,
            None => Ok(()),
        }
    }

    fn plan(&self, text: &str) -> Vec<Piece> {
        let mut used = self.screen.extra_keys.lock().unwrap_or_else(PoisonError::into_inner);
        plan(text, &mut used)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Type(String),
    Paste(String),
}

/// Splits at control characters, which are keys; a run that cannot be typed as a whole is pasted as a whole.
fn plan(text: &str, used: &mut HashSet<char>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for run in text.split_inclusive(char::is_control) {
        let (run, control) = match run.char_indices().next_back() {
            Some((at, c)) if c.is_control() => run.split_at(at),
            _ => (run, ""),
        };
        let extra: HashSet<char> = run.chars().filter(|c| !c.is_ascii() && !used.contains(c)).collect();
        let fits = used.len() + extra.len() <= SPARE_KEYS && extra.iter().all(|c| (*c as u32) <= 0xffff);
        if fits {
            used.extend(extra);
            append(&mut pieces, run);
        } else {
            pieces.push(Piece::Paste(run.to_owned()));
        }
        append(&mut pieces, control);
    }
    pieces
}

fn append(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Type(piece)) => piece.push_str(text),
        _ => pieces.push(Piece::Type(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Piece {
        Piece::Type(text.into())
    }

    #[test]
    fn what_the_keyboard_can_do_is_typed_and_the_rest_is_pasted_line_by_line() {
        let mut used = HashSet::new();
        assert_eq!(plan("ls -l\nä\tö\n", &mut used), [typed("ls -l\nä\tö\n")]);
        assert_eq!(used, HashSet::from(['ä', 'ö']));
        let emoji = plan("one\nsmile 😀 now\nend", &mut used);
        assert_eq!(emoji, [typed("one\n"), Piece::Paste("smile 😀 now".into()), typed("\nend")]);
        let many: String = ('а'..'р').collect();
        assert_eq!(plan(&many, &mut used), [Piece::Paste(many.clone())]);
        assert_eq!(used.len(), 2, "a pasted character takes no key");
    }
}
