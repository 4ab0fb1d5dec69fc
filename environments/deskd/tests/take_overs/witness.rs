//! A program on the desktop that covers it, hears every key and button, and shows a colour: what really arrived, and what is really held.

use std::collections::{BTreeSet, HashMap};

use x11rb::{
    connection::Connection,
    protocol::{
        Event,
        xproto::{
            ChangeWindowAttributesAux, ConnectionExt, CreateWindowAux, EventMask, GrabMode, KeyButMask,
            Window, WindowClass,
        },
    },
    rust_connection::RustConnection,
    wrapper::ConnectionExt as _,
};

use crate::host::Host;

/// Where the colour is seen.
pub const BEACON: (u16, u16) = (470, 670);
const SIDE: u16 = 40;
const LETTERS: std::ops::RangeInclusive<u32> = 0x61..=0x7a;

/// Something that was done to the desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A letter's key went down.
    Letter(char),
    /// The pointer moved or a button went down, in this column of pixels.
    At(i16),
}

/// What X believes to be held down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub keys: BTreeSet<u8>,
    pub buttons: u8,
}

/// The program.
pub struct Witness {
    x: RustConnection,
    root: Window,
    beacon: Window,
    letters: HashMap<u8, char>,
}

impl Witness {
    /// Covers the desktop.
    pub fn cover(host: &Host) -> Self {
        let (x, root) = host.x();
        let cover = x.generate_id().unwrap();
        let heard = EventMask::KEY_PRESS | EventMask::BUTTON_PRESS | EventMask::POINTER_MOTION;
        let look = CreateWindowAux::new().override_redirect(1).background_pixel(0x20_20_20).event_mask(heard);
        let (width, height) = {
            let screen = &x.setup().roots[0];
            (screen.width_in_pixels, screen.height_in_pixels)
        };
        let class = WindowClass::INPUT_OUTPUT;
        x.create_window(0, cover, root, 0, 0, width, height, 0, class, 0, &look).unwrap().check().unwrap();
        let beacon = x.generate_id().unwrap();
        let place = |at: u16| i16::try_from(at - SIDE / 2).unwrap();
        let look = CreateWindowAux::new().background_pixel(0);
        let (left, top) = (place(BEACON.0), place(BEACON.1));
        x.create_window(0, beacon, cover, left, top, SIDE, SIDE, 0, class, 0, &look)
            .unwrap()
            .check()
            .unwrap();
        x.map_window(beacon).unwrap().check().unwrap();
        x.map_window(cover).unwrap().check().unwrap();
        // Whatever the window manager gives the focus to.
        let grab = x.grab_keyboard(false, cover, x11rb::CURRENT_TIME, GrabMode::ASYNC, GrabMode::ASYNC);
        assert_eq!(u8::from(grab.unwrap().reply().unwrap().status), 0, "somebody else has the keyboard");
        let letters = letters(&x);
        Self { x, root, beacon, letters }
    }

    /// What was done since this was last asked.
    pub fn deeds(&self) -> Vec<Deed> {
        // What happened before the answer comes before it.
        self.x.sync().unwrap();
        let mut deeds = Vec::new();
        while let Some(event) = self.x.poll_for_event().unwrap() {
            match event {
                Event::KeyPress(key) => {
                    deeds.extend(self.letters.get(&key.detail).copied().map(Deed::Letter));
                }
                Event::ButtonPress(button) => deeds.push(Deed::At(button.root_x)),
                Event::MotionNotify(motion) => deeds.push(Deed::At(motion.root_x)),
                _ => {}
            }
        }
        deeds
    }

    /// What is held down now.
    pub fn held(&self) -> Held {
        let keymap = self.x.query_keymap().unwrap().reply().unwrap().keys;
        let down = |code: &u8| keymap[usize::from(code / 8)] >> (code % 8) & 1 == 1;
        let mask = u16::from(self.x.query_pointer(self.root).unwrap().reply().unwrap().mask);
        let buttons = (mask / u16::from(KeyButMask::BUTTON1)) & 0x1f;
        Held { keys: (8..=255).filter(down).collect(), buttons: u8::try_from(buttons).unwrap() }
    }

    /// Where the pointer is.
    pub fn pointer(&self) -> (i16, i16) {
        let found = self.x.query_pointer(self.root).unwrap().reply().unwrap();
        (found.root_x, found.root_y)
    }

    /// Width and height of the desktop.
    pub fn size(&self) -> (u16, u16) {
        let root = self.x.get_geometry(self.root).unwrap().reply().unwrap();
        (root.width, root.height)
    }

    /// Shows a colour: red, green and blue in its lower 24 bits.
    pub fn show(&self, colour: u32) {
        let look = ChangeWindowAttributesAux::new().background_pixel(colour);
        self.x.change_window_attributes(self.beacon, &look).unwrap().check().unwrap();
        self.x.clear_area(false, self.beacon, 0, 0, 0, 0).unwrap().check().unwrap();
    }
}

/// Which key types which letter.
fn letters(x: &RustConnection) -> HashMap<u8, char> {
    let (least, most) = (x.setup().min_keycode, x.setup().max_keycode);
    let mapping = x.get_keyboard_mapping(least, most - least + 1).unwrap().reply().unwrap();
    let rows = mapping.keysyms.chunks(mapping.keysyms_per_keycode.into());
    let first = rows.zip(least..=most).filter(|(row, _)| LETTERS.contains(&row[0]));
    first.map(|(row, code)| (code, char::from_u32(row[0]).unwrap())).collect()
}
