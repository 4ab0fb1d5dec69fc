//! `--backend fake`: a display without X. It is an RFB server with toy programs behind it, so that everything above it is what runs in a
//! pod: the same connections, seats, filter, lease, tools and HTTPS calls. What is typed is seen as pixels, can be read back from them
//! ([`glyph::read`]) and can be saved by the toy programs. It starts no process and needs no file but a socket; for tests and demonstrations.

pub mod glyph;
mod server;
mod toy;
mod window;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use a8s_rfb::{Kind, clipboard};
use anyhow::Context;
use bytes::BytesMut;
use tokio::net::UnixListener;

use self::{
    server::Client,
    toy::{Clipboard, Effect, Toy},
};
use crate::{boot::home, windows::WindowInfo};

/// A window that changes this often never settles.
const ANIMATION: Duration = Duration::from_millis(40);
const ANIMATED_FOR: u64 = 3_000;

/// The toy programs, by the short names that `launch` takes. `events` writes what it receives into `events.txt` in the home; `animation`
/// changes all the time, for as many milliseconds as its argument says.
pub const PROGRAMS: [&str; 6] = ["animation", "browser", "editor", "events", "files", "terminal"];

/// The fake display.
#[derive(Debug)]
pub struct Desktop {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    toy: Toy,
    clients: BTreeMap<u64, Client>,
    next: u64,
}

impl Desktop {
    /// Listens on `socket`. Programs keep their files in `home`.
    pub fn start(size: (u16, u16), socket: &Path, home: PathBuf) -> anyhow::Result<Arc<Self>> {
        home::remove(socket);
        let listener =
            UnixListener::bind(socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
        let toy = Toy::new(size.0, size.1, home);
        let state = State { toy, clients: BTreeMap::new(), next: 1 };
        let desktop = Arc::new(Self { state: Mutex::new(state) });
        tokio::spawn(server::serve(desktop.clone(), listener));
        Ok(desktop)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn size(&self) -> (u16, u16) {
        let state = self.state();
        (state.toy.picture.width, state.toy.picture.height)
    }

    fn join(&self, client: Client) -> u64 {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        state.clients.insert(id, client);
        id
    }

    fn leave(&self, id: u64) {
        let mut state = self.state();
        state.clients.remove(&id);
        if state.toy.clipboard == Clipboard::Client(id) {
            state.toy.clipboard = Clipboard::Empty;
        }
    }

    fn hear(&self, id: u64, buffer: &mut BytesMut) -> anyhow::Result<()> {
        let mut state = self.state();
        while let Some((kind, message)) = server::next_message(buffer)? {
            state.handle(id, kind, &message)?;
        }
        state.flush();
        Ok(())
    }

    /// Opens one of [`PROGRAMS`]; `None` if it is none of them.
    pub fn open(self: &Arc<Self>, program: &str, arguments: &[String]) -> Option<u32> {
        if !PROGRAMS.contains(&program) {
            return None;
        }
        let id = {
            let mut state = self.state();
            let id = state.toy.open(program, arguments);
            state.flush();
            id
        };
        if program == "animation" {
            let time = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(ANIMATED_FOR);
            tokio::spawn(animate(self.clone(), id, Duration::from_millis(time)));
        }
        Some(id)
    }

    /// Windows, lowest first.
    pub fn windows(&self) -> Vec<WindowInfo> {
        self.state().toy.list()
    }

    /// Where the pointer is, and which buttons are down.
    pub fn pointer(&self) -> ((u16, u16), u8) {
        self.state().toy.pointer()
    }

    /// Number of keys that are down.
    pub fn keys(&self) -> usize {
        self.state().toy.keys()
    }

    /// What is written in the active window.
    pub fn text(&self) -> String {
        self.state().toy.text()
    }

    /// The clipboard's text, if a program offers it.
    pub fn clipboard(&self) -> Option<String> {
        match &self.state().toy.clipboard {
            Clipboard::Text(text) => Some(text.clone()),
            Clipboard::Empty | Clipboard::Client(_) => None,
        }
    }
}

impl State {
    fn handle(&mut self, id: u64, kind: Kind, message: &[u8]) -> anyhow::Result<()> {
        let pair = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
        let effect = match kind {
            Kind::Key | Kind::QemuKey => {
                let symbol = u32::from(pair(4)) << 16 | u32::from(pair(6));
                let down = if kind == Kind::Key { message[1] != 0 } else { pair(2) != 0 };
                self.toy.key(symbol, down)
            }
            Kind::Pointer => {
                self.toy.point(id, message[1], (pair(2), pair(4)));
                Effect::None
            }
            Kind::CutText => {
                self.cut_text(id, message);
                Effect::None
            }
            _ => {
                // Whoever waits for a fence also sees what came before it.
                self.flush();
                let size = (self.toy.picture.width, self.toy.picture.height);
                if let Some(client) = self.clients.get_mut(&id) {
                    server::settle(client, kind, message, size)?;
                }
                Effect::None
            }
        };
        if let Effect::Ask(owner) = effect
            && let Some(client) = self.clients.get(&owner)
        {
            server::ask(client);
        }
        Ok(())
    }

    fn cut_text(&mut self, id: u64, message: &[u8]) {
        let body = &message[8..];
        if message[4] & 0x80 == 0 {
            self.toy.clipboard = Clipboard::Text(body.iter().map(|byte| char::from(*byte)).collect());
        } else if clipboard::is_notify(body) {
            self.toy.clipboard = Clipboard::Client(id);
        } else if let Some(text) = clipboard::provided(body) {
            self.toy.paste(&text);
        }
    }

    fn flush(&mut self) {
        if let Some(rect) = self.toy.paint() {
            self.clients.values_mut().for_each(|client| client.damage(rect));
        }
        for client in self.clients.values_mut() {
            client.update(&self.toy.picture);
        }
    }
}

async fn animate(desktop: Arc<Desktop>, id: u32, time: Duration) {
    let until = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < until {
        {
            let mut state = desktop.state();
            if !state.toy.write(id, "moving ") {
                return;
            }
            state.flush();
        }
        tokio::time::sleep(ANIMATION).await;
    }
}
