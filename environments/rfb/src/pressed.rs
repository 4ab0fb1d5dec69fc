//! Which keys and buttons one client holds down, so that they can be let go for it: the X server keeps a button pressed when its client
//! vanishes, and ignores everyone else's pointer as long as it does.

use bytes::{BufMut, Bytes, BytesMut};

use crate::message::{Kind, be16, be32};

/// More keys than a keyboard has; a client that "holds" more is making trouble.
const MAX_KEYS: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Symbol(u32),
    Qemu { symbol: u32, code: u32 },
}

/// The state of one client's keyboard and pointer, learned from the messages that were passed on.
#[derive(Clone, Debug, Default)]
pub struct Pressed {
    keys: Vec<Key>,
    buttons: u8,
    x: u16,
    y: u16,
}

impl Pressed {
    /// Learns from a whole message that is about to be passed on. False: the message must be dropped instead.
    ///
    /// A key that is held keeps the symbol with which it went down, whatever the client calls it later: the X server finds some keys by
    /// their code and some by their symbol, and would not find one that changed its name.
    pub fn observe(&mut self, kind: Kind, message: &mut [u8]) -> bool {
        match kind {
            Kind::Key => {
                let symbol = be32(message, 4).unwrap_or_default();
                self.key(Key::Symbol(symbol), message.get(1) != Some(&0))
            }
            Kind::QemuKey => {
                let symbol = be32(message, 4).unwrap_or_default();
                let code = be32(message, 8).unwrap_or_default();
                let named = self.named(code).unwrap_or(symbol);
                if let Some(field) = message.get_mut(4..8) {
                    field.copy_from_slice(&named.to_be_bytes());
                }
                self.key(Key::Qemu { symbol: named, code }, be16(message, 2) != Some(0))
            }
            Kind::Pointer => {
                self.buttons = message.get(1).copied().unwrap_or_default();
                self.x = be16(message, 2).unwrap_or_default();
                self.y = be16(message, 4).unwrap_or_default();
                true
            }
            _ => true,
        }
    }

    /// The symbol of the held key with this code. 0 is the code of no key.
    fn named(&self, code: u32) -> Option<u32> {
        self.keys.iter().find_map(|held| match held {
            Key::Qemu { symbol, code: held } if *held == code && code != 0 => Some(*symbol),
            _ => None,
        })
    }

    fn key(&mut self, key: Key, down: bool) -> bool {
        if !down {
            self.keys.retain(|held| *held != key);
        } else if !self.keys.contains(&key) {
            if self.keys.len() >= MAX_KEYS {
                return false;
            }
            self.keys.push(key);
        }
        true
    }

    /// Whether anything is held down.
    pub fn any(&self) -> bool {
        !self.keys.is_empty() || self.buttons != 0
    }

    /// Buttons held down, as a pointer event's mask.
    pub fn buttons(&self) -> u8 {
        self.buttons
    }

    /// The messages that let everything go, last pressed first; afterwards nothing is held.
    pub fn release(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        while let Some(key) = self.keys.pop() {
            match key {
                Key::Symbol(symbol) => out.put_slice(&crate::encode::key(symbol, false)),
                Key::Qemu { symbol, code } => {
                    out.put_slice(&[255, 0, 0, 0]);
                    out.put_u32(symbol);
                    out.put_u32(code);
                }
            }
        }
        if self.buttons != 0 {
            self.buttons = 0;
            out.put_slice(&crate::encode::pointer(0, self.x, self.y));
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode;

    #[test]
    fn what_is_held_is_let_go_in_reverse_order_and_only_once() {
        let mut pressed = Pressed::default();
        pressed.observe(Kind::Key, &mut encode::key(0xffe3, true));
        pressed.observe(Kind::Key, &mut encode::key(0x63, true));
        pressed.observe(Kind::Key, &mut encode::key(0x64, true));
        pressed.observe(Kind::Key, &mut encode::key(0x64, false));
        pressed.observe(Kind::Pointer, &mut encode::pointer(1, 30, 40));
        let mut expected = encode::key(0x63, false).to_vec();
        expected.extend(encode::key(0xffe3, false));
        expected.extend(encode::pointer(0, 30, 40));
        assert!(pressed.any());
        assert_eq!(pressed.release(), expected);
        assert!(!pressed.any());
        assert_eq!(pressed.release(), Bytes::new());
    }

    #[test]
    fn a_key_with_a_code_keeps_its_first_symbol_until_it_is_released() {
        let mut pressed = Pressed::default();
        pressed.observe(Kind::QemuKey, &mut encode::qemu_key(0x61, 30, true));
        let mut repeated = encode::qemu_key(0x41, 30, true);
        pressed.observe(Kind::QemuKey, &mut repeated);
        assert_eq!(repeated, encode::qemu_key(0x61, 30, true));
        assert_eq!(pressed.clone().release(), encode::qemu_key(0x61, 30, false).as_slice());
        let mut up = encode::qemu_key(0x41, 30, false);
        pressed.observe(Kind::QemuKey, &mut up);
        assert_eq!(up, encode::qemu_key(0x61, 30, false));
        assert!(!pressed.any());
    }

    #[test]
    fn keys_without_a_code_are_told_apart_by_their_symbols() {
        let mut pressed = Pressed::default();
        pressed.observe(Kind::QemuKey, &mut encode::qemu_key(0x61, 0, true));
        pressed.observe(Kind::QemuKey, &mut encode::qemu_key(0x62, 0, true));
        let up = [encode::qemu_key(0x62, 0, false), encode::qemu_key(0x61, 0, false)].concat();
        assert_eq!(pressed.release(), up);
    }

    #[test]
    fn nobody_holds_more_keys_than_a_keyboard_has() {
        let mut pressed = Pressed::default();
        let taken = (0..1000).filter(|n| pressed.observe(Kind::Key, &mut encode::key(*n, true))).count();
        assert_eq!(taken, MAX_KEYS);
    }
}
