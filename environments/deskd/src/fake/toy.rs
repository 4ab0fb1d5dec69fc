//! What is on the fake display: a panel, toy windows, one pointer, one keyboard, one clipboard. It behaves as X does where deskd depends on
//! it: a button that is held down keeps everyone else's pointer out, and a keyboard runs out of spare keys.

use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
};

use a8s_rfb::{Framebuffer, keysym};

use super::{
    glyph::{self, Rect},
    window::{Did, Window},
};
use crate::windows::WindowInfo;

const DESK: glyph::Colour = [120, 90, 60, 0];
const PANEL: glyph::Colour = [60, 50, 45, 0];
const POINTER: glyph::Colour = [40, 40, 220, 0];
const POINTER_SIDE: u16 = 10;
const PANEL_HEIGHT: u16 = glyph::HEIGHT;
/// Characters beside ASCII that the keyboard can learn, as with Xvnc.
const SPARE_KEYS: usize = 20;
const WHEEL_LINES: isize = 3;
/// The program that writes down what it receives.
pub const EVENTS: &str = "events";

/// Who offers the clipboard's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Clipboard {
    /// Nobody.
    #[default]
    Empty,
    /// A toy program.
    Text(String),
    /// An RFB client, which is asked when the text is wanted.
    Client(u64),
}

/// What must follow from an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// This client is to be asked for its text.
    Ask(u64),
}

/// The display's content.
#[derive(Debug)]
pub struct Toy {
    /// What was last drawn.
    pub picture: Framebuffer,
    /// The clipboard.
    pub clipboard: Clipboard,
    home: PathBuf,
    windows: Vec<Window>,
    next: u32,
    pointer: (u16, u16),
    buttons: u8,
    presser: Option<u64>,
    dragged: Option<(i32, i32)>,
    keys: BTreeSet<u32>,
    learned: HashSet<char>,
    damage: Option<Rect>,
}

impl Toy {
    /// An empty desk.
    pub fn new(width: u16, height: u16, home: PathBuf) -> Self {
        Self {
            picture: Framebuffer::new(width, height),
            clipboard: Clipboard::default(),
            home,
            windows: Vec::new(),
            next: 1,
            pointer: (width / 2, height / 2),
            buttons: 0,
            presser: None,
            dragged: None,
            keys: BTreeSet::new(),
            learned: HashSet::new(),
            damage: Some(Rect { x: 0, y: 0, w: width, h: height }),
        }
    }

    /// Opens a window of `program`; the last argument names the file.
    pub fn open(&mut self, program: &str, arguments: &[String]) -> u32 {
        let id = self.next;
        self.next += 1;
        let named = arguments.last().map(PathBuf::from);
        let name =
            named.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
        let name =
            name.unwrap_or_else(|| if program == EVENTS { "events.txt" } else { "Untitled.txt" }.into());
        let file = named.filter(|path| path.starts_with(&self.home)).unwrap_or_else(|| self.home.join(&name));
        if program == EVENTS {
            // What an earlier one has seen is not what this one sees.
            let _ = std::fs::remove_file(&file);
        }
        let offset = u16::try_from(self.windows.len() % 8).unwrap_or(0) * glyph::HEIGHT;
        let (x, y) = (offset, PANEL_HEIGHT + offset);
        let (w, h) = (self.picture.width, self.picture.height);
        let place = Rect { x, y, w: w * 3 / 4, h: h * 3 / 4 }.inside(w, h);
        self.windows.push(Window::new(id, program, format!("{name} - {program}"), place, file));
        self.touch(Rect { x: 0, y: 0, w, h });
        id
    }

    /// Puts a line into a window; false if it is closed.
    pub fn write(&mut self, id: u32, text: &str) -> bool {
        let Some(window) = self.windows.iter_mut().find(|window| window.id == id) else { return false };
        window.insert(text);
        let page = window.page();
        self.touch(page);
        true
    }

    /// The windows, lowest first.
    pub fn list(&self) -> Vec<WindowInfo> {
        let last = self.windows.len();
        let info = |(index, window): (usize, &Window)| WindowInfo {
            id: window.id,
            title: window.title.clone(),
            class: window.program.clone(),
            x: window.place.x.cast_signed(),
            y: window.place.y.cast_signed(),
            width: window.place.w,
            height: window.place.h,
            active: index + 1 == last,
            hidden: false,
        };
        self.windows.iter().enumerate().map(info).collect()
    }

    /// Where the pointer is and which buttons are down.
    pub fn pointer(&self) -> ((u16, u16), u8) {
        (self.pointer, self.buttons)
    }

    /// Keys that are down.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// What is written in the active window.
    pub fn text(&self) -> String {
        self.windows.last().map(|window| window.text.iter().collect()).unwrap_or_default()
    }

    /// A key goes down or up.
    pub fn key(&mut self, symbol: u32, down: bool) -> Effect {
        if !self.possible(symbol) {
            return Effect::None;
        }
        if down {
            self.keys.insert(symbol);
        } else {
            self.keys.remove(&symbol);
        }
        self.note(|| format!("key {} {}", name(symbol), if down { "down" } else { "up" }));
        let held = |one: u32| self.keys.contains(&one) || self.keys.contains(&(one + 1));
        let (ctrl, shift) = (held(0xffe3), held(0xffe1));
        let Some(window) = self.windows.last_mut().filter(|window| down && window.program != EVENTS) else {
            return Effect::None;
        };
        let did = window.key(symbol, ctrl, shift);
        let place = window.place;
        match did {
            Did::Nothing => return Effect::None,
            Did::Copied => {
                let Some(text) = window.selection() else { return Effect::None };
                self.clipboard = Clipboard::Text(text);
                return Effect::None;
            }
            Did::WantsPaste => match self.clipboard.clone() {
                Clipboard::Client(client) => return Effect::Ask(client),
                Clipboard::Text(text) => window.insert(&text),
                Clipboard::Empty => return Effect::None,
            },
            Did::Closed => {
                self.windows.pop();
            }
            Did::Changed => {}
        }
        self.touch(place);
        Effect::None
    }

    /// A character that is on no key takes a spare one for ever; when there is none left, or the number is too high, it is lost.
    fn possible(&mut self, symbol: u32) -> bool {
        let Some(c) = keysym::to_char(symbol).filter(|c| !c.is_ascii()) else { return true };
        (c as u32) <= 0xffff
            && (self.learned.contains(&c) || self.learned.len() < SPARE_KEYS && self.learned.insert(c))
    }

    /// Text that was asked for has come.
    pub fn paste(&mut self, text: &str) {
        if let Some(window) = self.windows.last_mut() {
            window.insert(text);
            let place = window.place;
            self.touch(place);
        }
    }

    /// Pointer and buttons of `client`. As long as one client holds a button, nobody else moves the pointer.
    pub fn point(&mut self, client: u64, buttons: u8, at: (u16, u16)) {
        if self.presser.is_some_and(|presser| presser != client) {
            return;
        }
        self.presser = (buttons != 0).then_some(client);
        let at = (at.0.min(self.picture.width - 1), at.1.min(self.picture.height - 1));
        let (before, old) = (std::mem::replace(&mut self.buttons, buttons), self.pointer);
        if at != old {
            self.pointer = at;
            self.touch(pointer_at(old).union(pointer_at(at)));
            self.note(|| format!("move {} {}", at.0, at.1));
            self.drag(at);
        }
        let modifiers = self.modifiers();
        for bit in 0..8 {
            let (was, is) = (before >> bit & 1 == 1, buttons >> bit & 1 == 1);
            if is && !was {
                self.note(|| format!("{modifiers}button {} down {} {}", bit + 1, at.0, at.1));
                self.press(bit, at);
            } else if was && !is {
                self.note(|| format!("{modifiers}button {} up {} {}", bit + 1, at.0, at.1));
            }
        }
        if buttons & 1 == 0 {
            self.dragged = None;
        }
    }

    fn press(&mut self, bit: u8, at: (u16, u16)) {
        let Some(index) = self.windows.iter().rposition(|window| window.place.holds(at)) else { return };
        let mut window = self.windows.remove(index);
        match bit {
            0 if window.on_bar(at) => {
                let part = |a: u16, b: u16| i32::from(a) - i32::from(b);
                self.dragged = Some((part(at.0, window.place.x), part(at.1, window.place.y)));
            }
            0 => window.click(at),
            3 => window.scroll(-WHEEL_LINES),
            4 => window.scroll(WHEEL_LINES),
            _ => {}
        }
        self.windows.push(window);
        self.touch_all();
    }

    fn drag(&mut self, at: (u16, u16)) {
        let (Some((x, y)), Some(window)) = (self.dragged, self.windows.last_mut()) else { return };
        let place = |value: u16, offset: i32| u16::try_from(i32::from(value) - offset).unwrap_or(0);
        window.place.x = place(at.0, x).min(self.picture.width);
        window.place.y = place(at.1, y).min(self.picture.height);
        self.touch_all();
    }

    fn modifiers(&self) -> String {
        let named = [(0xffe1, "shift+"), (0xffe3, "ctrl+"), (0xffe9, "alt+"), (0xffeb, "super+")];
        named.iter().filter(|(symbol, _)| self.keys.contains(symbol)).map(|(_, name)| *name).collect()
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(window) = self.windows.last_mut().filter(|window| window.program == EVENTS) {
            window.note(&line());
            let page = window.page();
            self.touch(page);
        }
    }

    fn touch_all(&mut self) {
        self.touch(Rect { x: 0, y: 0, w: self.picture.width, h: self.picture.height });
    }

    fn touch(&mut self, rect: Rect) {
        let rect = rect.inside(self.picture.width, self.picture.height);
        self.damage = Some(self.damage.map_or(rect, |old| old.union(rect)));
    }

    /// Draws what has changed; where that is, if anywhere.
    pub fn paint(&mut self) -> Option<Rect> {
        let damage = self.damage.take()?;
        let (w, h) = (self.picture.width, self.picture.height);
        glyph::fill(&mut self.picture, Rect { x: 0, y: 0, w, h }, DESK);
        glyph::fill(&mut self.picture, Rect { x: 0, y: 0, w, h: PANEL_HEIGHT }, PANEL);
        let last = self.windows.len();
        for (index, window) in self.windows.iter().enumerate() {
            window.paint(&mut self.picture, index + 1 == last);
        }
        glyph::fill(&mut self.picture, pointer_at(self.pointer), POINTER);
        Some(damage)
    }
}

fn pointer_at((x, y): (u16, u16)) -> Rect {
    Rect { x, y, w: POINTER_SIDE, h: POINTER_SIDE }
}

fn name(symbol: u32) -> String {
    keysym::to_char(symbol).map_or_else(|| format!("{symbol:#x}"), |c| c.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_that_one_client_holds_keeps_the_others_out() {
        let mut toy = Toy::new(640, 480, PathBuf::from("nowhere"));
        toy.point(1, 1, (10, 10));
        toy.point(2, 0, (50, 50));
        assert_eq!(toy.pointer(), ((10, 10), 1));
        toy.point(1, 0, (10, 10));
        toy.point(2, 0, (50, 50));
        assert_eq!(toy.pointer(), ((50, 50), 0));
    }

    #[test]
    fn a_keyboard_runs_out_of_spare_keys() {
        let dir = tempfile::tempdir().unwrap();
        let mut toy = Toy::new(640, 480, dir.path().to_owned());
        toy.open("editor", &[]);
        for c in "a😀".chars().chain('\u{4e00}'..'\u{4e40}') {
            toy.key(keysym::from_char(c), true);
            toy.key(keysym::from_char(c), false);
        }
        assert_eq!(toy.text().chars().count(), 1 + SPARE_KEYS);
        assert_eq!(toy.keys(), 0);
    }
}
