//! What the toy programs received.

use a8s_deskd::fake::glyph::{self, Rect};
use a8s_rfb::Framebuffer;
use a8s_wire::Scope;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::host::{Agent, Host};

impl Host {
    /// What the editor has saved.
    pub fn saved(&self, name: &str) -> String {
        std::fs::read_to_string(self.path("home").join(name)).unwrap_or_default()
    }

    /// Lines that the program `events` has received.
    pub fn events(&self) -> Vec<String> {
        self.saved("events.txt").lines().map(str::to_owned).collect()
    }

    /// Keys and buttons that are down, as `events` saw them.
    pub fn held(&self) -> Vec<String> {
        let mut held: Vec<String> = Vec::new();
        for line in self.events() {
            let words: Vec<&str> = line.split(' ').collect();
            let [kind, what, way, ..] = words[..] else { continue };
            let name = format!("{} {what}", kind.rsplit('+').next().unwrap());
            match way {
                "down" if !held.contains(&name) => held.push(name),
                "up" => held.retain(|one| *one != name),
                _ => {}
            }
        }
        held
    }

    /// The text in a window's page, read from pixels that a viewer got.
    pub async fn seen(&self, agent: &Agent, title: &str) -> String {
        let window = agent.must("wait_for_window", json!({"title_contains": title})).await.json;
        let part = |name: &str| u16::try_from(window[name].as_u64().unwrap()).unwrap();
        let page = Rect {
            x: part("x"),
            y: part("y") + glyph::HEIGHT,
            w: part("width"),
            h: part("height") - glyph::HEIGHT,
        };
        let mut viewer = self.viewer("jane", &[Scope::View]).await;
        viewer.barrier().await;
        read(&viewer.picture, page)
    }
}

fn read(picture: &Framebuffer, page: Rect) -> String {
    glyph::read(picture, page).join("\n").trim_end_matches('\n').to_owned()
}

/// Width and height of a JPEG.
pub fn size(jpeg: &str) -> (u16, u16) {
    let bytes = STANDARD.decode(jpeg).unwrap();
    assert!(bytes.len() <= 150 * 1024, "{} bytes", bytes.len());
    // Segments: 0xff, kind, length; a frame header has the size.
    let mut at = 2;
    loop {
        let number = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        if matches!(bytes[at + 1], 0xc0..=0xc2) {
            return (number(at + 7), number(at + 5));
        }
        at += 2 + usize::from(number(at + 2));
    }
}
