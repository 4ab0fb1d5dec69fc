//! A toy program: a page of text with a caret, that takes keys as an editor does and saves on Ctrl+S. `events` writes down what it
//! receives instead.

use std::{io::Write, path::PathBuf};

use a8s_rfb::{Framebuffer, keysym};

use super::glyph::{self, Rect};

const BAR: glyph::Colour = [170, 160, 150, 0];
const BAR_ACTIVE: glyph::Colour = [250, 200, 140, 0];
const MARKED: glyph::Colour = [250, 220, 180, 0];
const CARET: glyph::Colour = [200, 60, 60, 0];

/// What a key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// Nothing that is seen.
    Nothing,
    /// The text is another.
    Changed,
    /// The marked text is to be copied.
    Copied,
    /// The clipboard's text is wanted.
    WantsPaste,
    /// The window is to be closed.
    Closed,
}

/// One window.
#[derive(Clone, Debug)]
pub struct Window {
    /// Its number.
    pub id: u32,
    /// Name of the program.
    pub program: String,
    /// Title.
    pub title: String,
    /// Title bar included.
    pub place: Rect,
    /// What is written in it.
    pub text: Vec<char>,
    /// Where it is saved.
    pub file: PathBuf,
    caret: usize,
    marked: bool,
    first_line: usize,
}

impl Window {
    /// A new window; what `file` holds is in it.
    pub fn new(id: u32, program: &str, title: String, place: Rect, file: PathBuf) -> Self {
        let text: Vec<char> = std::fs::read_to_string(&file).unwrap_or_default().chars().collect();
        let caret = text.len();
        Self {
            id,
            program: program.to_owned(),
            title,
            place,
            text,
            file,
            caret,
            marked: false,
            first_line: 0,
        }
    }

    /// Whether the pixel is on the title bar.
    pub fn on_bar(&self, at: (u16, u16)) -> bool {
        Rect { h: glyph::HEIGHT, ..self.place }.holds(at)
    }

    /// The part with the text.
    pub fn page(&self) -> Rect {
        let bar = glyph::HEIGHT;
        Rect { y: self.place.y + bar, h: self.place.h.saturating_sub(bar), ..self.place }
    }

    /// Appends a line; for `events`. It is on the disk when this returns.
    pub fn note(&mut self, line: &str) {
        self.text.extend(line.chars());
        self.text.push('\n');
        self.caret = self.text.len();
        self.first_line = self.lines().count().saturating_sub(self.rows());
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&self.file);
        if let Err(error) = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())) {
            tracing::warn!(%error, file = %self.file.display(), "an event cannot be written down");
        }
    }

    /// The marked text, or none.
    pub fn selection(&self) -> Option<String> {
        self.marked.then(|| self.text.iter().collect())
    }

    /// Puts text where the caret is, in place of what is marked.
    pub fn insert(&mut self, text: &str) {
        self.unmark();
        let characters: Vec<char> = text.chars().collect();
        let after = self.caret + characters.len();
        self.text.splice(self.caret..self.caret, characters);
        self.caret = after;
    }

    fn unmark(&mut self) {
        if std::mem::take(&mut self.marked) {
            self.text.clear();
            self.caret = 0;
        }
    }

    /// A key goes down.
    pub fn key(&mut self, symbol: u32, ctrl: bool, shift: bool) -> Did {
        if ctrl {
            return self.command(symbol);
        }
        match symbol {
            0xff63 if shift => return Did::WantsPaste,
            0xff0d | 0xff8d => self.insert("\n"),
            0xff09 => self.insert("\t"),
            0xff08 | 0xffff if self.marked => self.unmark(),
            0xff08 if self.caret > 0 => {
                self.caret -= 1;
                self.text.remove(self.caret);
            }
            0xffff if self.caret < self.text.len() => {
                self.text.remove(self.caret);
            }
            0xff50 => self.caret = 0,
            0xff57 => self.caret = self.text.len(),
            0xff51 => self.caret = self.caret.saturating_sub(1),
            0xff53 => self.caret = (self.caret + 1).min(self.text.len()),
            other => match keysym::to_char(other) {
                Some(c) => self.insert(c.encode_utf8(&mut [0; 4])),
                None => return Did::Nothing,
            },
        }
        if !matches!(symbol, 0xff08 | 0xffff) {
            self.marked = false;
        }
        Did::Changed
    }

    fn command(&mut self, symbol: u32) -> Did {
        match keysym::to_char(symbol).map(|c| c.to_ascii_lowercase()) {
            Some('a') => self.marked = true,
            Some('c') => return Did::Copied,
            Some('v') => return Did::WantsPaste,
            Some('s') => self.save(),
            Some('w' | 'q') => return Did::Closed,
            _ => return Did::Nothing,
        }
        Did::Changed
    }

    fn save(&self) {
        let text: String = self.text.iter().collect();
        if let Err(error) = std::fs::write(&self.file, text) {
            tracing::warn!(%error, file = %self.file.display(), "the toy editor cannot save");
        }
    }

    /// The wheel: so many lines down, or up.
    pub fn scroll(&mut self, lines: isize) {
        let last = self.lines().count().saturating_sub(1);
        self.first_line = self.first_line.saturating_add_signed(lines).min(last);
    }

    /// The caret goes to the cell at this pixel.
    pub fn click(&mut self, (x, y): (u16, u16)) {
        let page = self.page();
        let row = self.first_line + usize::from(y.saturating_sub(page.y) / glyph::HEIGHT);
        let column = usize::from(x.saturating_sub(page.x) / glyph::WIDTH);
        let before: usize = self.lines().take(row).map(|line| line.len() + 1).sum();
        let length = self.lines().nth(row).map_or(0, <[char]>::len);
        self.caret = (before + column.min(length)).min(self.text.len());
        self.marked = false;
    }

    fn lines(&self) -> impl Iterator<Item = &[char]> {
        self.text.split(|c| *c == '\n')
    }

    fn rows(&self) -> usize {
        usize::from(self.page().h / glyph::HEIGHT)
    }

    /// Draws it.
    pub fn paint(&self, picture: &mut Framebuffer, active: bool) {
        let bar = Rect { h: glyph::HEIGHT, ..self.place };
        let page = self.page();
        glyph::fill(picture, bar, if active { BAR_ACTIVE } else { BAR });
        glyph::fill(picture, page, if self.marked { MARKED } else { glyph::PAPER });
        let columns = usize::from(page.w / glyph::WIDTH);
        for (column, c) in (0..).zip(self.title.chars().take(columns)) {
            glyph::draw(picture, bar.x + column * glyph::WIDTH, bar.y, c);
        }
        let mut left = self.caret;
        for (index, line) in self.lines().enumerate() {
            let row = index.checked_sub(self.first_line).filter(|row| *row < self.rows());
            if let Some(row) = row.and_then(|row| u16::try_from(row).ok()) {
                let y = page.y + row * glyph::HEIGHT;
                for (column, c) in (0..).zip(line.iter().take(columns)) {
                    glyph::draw(picture, page.x + column * glyph::WIDTH, y, *c);
                }
                if active && left <= line.len() && left < columns {
                    let x = page.x + u16::try_from(left).unwrap_or_default() * glyph::WIDTH;
                    glyph::fill(picture, Rect { x, y: y + glyph::HEIGHT - 3, w: 8, h: 2 }, CARET);
                }
            }
            left = left.checked_sub(line.len() + 1).unwrap_or(usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(dir: &std::path::Path) -> Window {
        let place = Rect { x: 0, y: 0, w: 160, h: 96 };
        Window::new(1, "editor", "note".into(), place, dir.join("note.txt"))
    }

    #[test]
    fn keys_edit_as_they_do_in_an_editor_and_ctrl_s_saves() {
        let dir = tempfile::tempdir().unwrap();
        let mut window = window(dir.path());
        for c in "abx".chars() {
            window.key(keysym::from_char(c), false, false);
        }
        for symbol in [0xff08, 0xff50, 0xffff, 0xff57, 0xff0d] {
            window.key(symbol, false, false);
        }
        window.insert("漢");
        assert_eq!(window.key(0x73, true, false), Did::Changed);
        assert_eq!(std::fs::read_to_string(&window.file).unwrap(), "b\n漢");
        window.key(0x61, true, false);
        assert_eq!(window.selection().as_deref(), Some("b\n漢"));
        window.key(0x7a, false, false);
        assert_eq!(window.text, ['z'], "what was marked is replaced");
        assert_eq!(window.key(0xff63, false, true), Did::WantsPaste);
    }

    #[test]
    fn what_is_written_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let mut window = window(dir.path());
        window.insert("one\ntwo");
        let mut picture = Framebuffer::new(160, 96);
        window.paint(&mut picture, false);
        assert_eq!(glyph::read(&picture, window.page()), ["one", "two"]);
        window.scroll(1);
        window.paint(&mut picture, false);
        assert_eq!(glyph::read(&picture, window.page()), ["two", ""]);
    }
}
