//! A few sentences that people may say.

use crate::{
    files,
    turn::{Failure, Turn},
};

/// A sentence that is understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Phrase {
    /// Write a note.
    Note(String),
    /// Open a page.
    Browse(String),
}

impl Phrase {
    /// Looks for a known sentence.
    pub fn read(text: &str) -> Option<Self> {
        let lower = text.to_lowercase();
        // Lower-casing may change lengths, so positions are looked up only in text where it does not.
        let same = lower.len() == text.len();
        let after = |mark: &str| {
            let at = lower.find(mark)? + mark.len();
            let rest = if same { text.get(at..)? } else { lower.get(at..)? };
            let rest = rest.trim().trim_matches(['"', '“', '”', '\'']).trim();
            (!rest.is_empty()).then(|| rest.to_owned())
        };
        if lower.contains("note")
            && let Some(note) = after("that says").or_else(|| after("saying"))
        {
            return Some(Self::Note(note));
        }
        if lower.contains("open")
            && (lower.contains("browser") || lower.contains("http") || lower.contains("www."))
        {
            let url = text
                .split_whitespace()
                .find(|word| word.contains("://") || word.starts_with("www.") || word.starts_with("about:"));
            let url = url.map(|url| url.trim_end_matches(['.', ',', '!', ')']));
            return Some(Self::Browse(match url {
                Some(url) if url.contains(':') => url.to_owned(),
                Some(url) => format!("https://{url}"),
                None => "about:blank".to_owned(),
            }));
        }
        None
    }

    /// Does it.
    pub async fn run(self, turn: &Turn) -> Result<(), Failure> {
        match self {
            Self::Note(note) => {
                let path = turn.home.join("Notes/note.txt");
                files::write(&path, format!("{note}\n"))?;
                let shown = path.display().to_string();
                turn.step("open the note in the editor", async {
                    Ok(turn.launch("editor", &[&shown]).await?)
                })
                .await?;
                turn.say("I wrote the note to `~/Notes/note.txt` and opened it.");
            }
            Self::Browse(url) => {
                let title = format!("open {url} in the browser");
                turn.step(title, async { Ok(turn.launch("browser", &[&url]).await?) }).await?;
                turn.say(format!("I opened {url}."));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sentences_are_understood_and_others_are_not() {
        let note = Phrase::read("Please write a note that says \"Buy Milk\"");
        assert_eq!(note, Some(Phrase::Note("Buy Milk".into())));
        let page = Phrase::read("open a browser at https://example.com/a.");
        assert_eq!(page, Some(Phrase::Browse("https://example.com/a".into())));
        assert_eq!(Phrase::read("what is the meaning of life"), None);
    }
}
