//! Client-to-server messages, written.

use bytes::{BufMut, Bytes, BytesMut};

pub use crate::encodings::write as set_encodings;

/// Fence flag: the other side processes everything before the fence first.
pub const FENCE_BLOCK_BEFORE: u32 = 1;
/// Fence flag: an answer is wanted.
pub const FENCE_REQUEST: u32 = 1 << 31;

/// A key goes down or up.
pub fn key(symbol: u32, down: bool) -> [u8; 8] {
    let s = symbol.to_be_bytes();
    [4, u8::from(down), 0, 0, s[0], s[1], s[2], s[3]]
}

/// The pointer is at `x`, `y` with the buttons of `mask` held down (1 left, 2 middle, 4 right, 8 up, 16 down, 32 left, 64 right).
pub fn pointer(mask: u8, x: u16, y: u16) -> [u8; 6] {
    let (x, y) = (x.to_be_bytes(), y.to_be_bytes());
    [5, mask, x[0], x[1], y[0], y[1]]
}

/// Asks for an update of the whole picture.
pub fn update_request(incremental: bool, width: u16, height: u16) -> [u8; 10] {
    let (w, h) = (width.to_be_bytes(), height.to_be_bytes());
    [3, u8::from(incremental), 0, 0, 0, 0, w[0], w[1], h[0], h[1]]
}

/// Asks for 32-bit pixels whose bytes are blue, green, red, unused: the format of [`crate::Framebuffer`].
pub fn set_pixel_format() -> [u8; 20] {
    [0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]
}

/// A fence with up to 64 bytes of payload.
pub fn fence(flags: u32, payload: &[u8]) -> Bytes {
    let payload = &payload[..payload.len().min(64)];
    let mut out = BytesMut::with_capacity(9 + payload.len());
    out.put_slice(&[248, 0, 0, 0]);
    out.put_u32(flags);
    out.put_u8(u8::try_from(payload.len()).unwrap_or(64));
    out.put_slice(payload);
    out.freeze()
}

/// Asks for another size of the desktop, with one screen that covers it.
pub fn set_desktop_size(width: u16, height: u16) -> [u8; 24] {
    let mut out = [0; 24];
    let (w, h) = (width.to_be_bytes(), height.to_be_bytes());
    out[0] = 251;
    out[2..4].copy_from_slice(&w);
    out[4..6].copy_from_slice(&h);
    out[6] = 1;
    out[16..18].copy_from_slice(&w);
    out[18..20].copy_from_slice(&h);
    out
}

/// Clipboard text in Latin-1.
pub fn cut_text(text: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + text.len());
    out.put_slice(&[6, 0, 0, 0]);
    out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.put_slice(text);
    out.freeze()
}

/// A key by its keysym and its scan code.
pub fn qemu_key(symbol: u32, code: u32, down: bool) -> [u8; 12] {
    let (s, c) = (symbol.to_be_bytes(), code.to_be_bytes());
    [255, 0, 0, u8::from(down), s[0], s[1], s[2], s[3], c[0], c[1], c[2], c[3]]
}

/// Turns continuous updates of an area on or off.
pub fn continuous_updates(on: bool, width: u16, height: u16) -> [u8; 10] {
    let (w, h) = (width.to_be_bytes(), height.to_be_bytes());
    [150, u8::from(on), 0, 0, 0, 0, w[0], w[1], h[0], h[1]]
}
