//! Who sits before the desktop.

use std::collections::BTreeSet;

use a8s_vnc_proxy::access::Mode;

use crate::browser::Browser;

/// A window of a person, and what only it does.
pub struct Seat {
    pub user: &'static str,
    pub mode: Mode,
    /// Types the first two; holds the third.
    pub letters: [char; 3],
    /// Left edge of where it clicks, 200 pixels wide; a person's second window has no mouse.
    pub column: Option<u16>,
    pub modifier: u32,
    pub continuous: bool,
    pub browser: Option<Browser>,
    pub keys: BTreeSet<u32>,
    pub button: u8,
}

impl Seat {
    /// One that may control the desktop and is not open yet.
    pub fn new(user: &'static str, letters: [char; 3], column: Option<u16>, modifier: u32) -> Self {
        let keys = BTreeSet::new();
        let (mode, continuous) = (Mode::Control, false);
        Self { user, mode, letters, column, modifier, continuous, browser: None, keys, button: 0 }
    }

    /// What it held down was let go.
    pub fn forget(&mut self) {
        self.keys.clear();
        self.button = 0;
    }
}
