//! What a client may make of the desktop's size ("SetDesktopSize" in rfbproto): one screen, neither too small to work on nor too large to
//! draw.

use crate::{message::be16, rules::Reason};

/// Least width and height in pixels.
pub const LEAST: (u16, u16) = (320, 200);
/// Most width and height in pixels.
pub const MOST: (u16, u16) = (3840, 2160);

/// Where the only screen's layout begins: id, x, y, width, height, flags.
const SCREEN: usize = 8;

/// Brings a whole message into the limits: its one screen covers all of the desktop. Several screens are refused, since there is one.
pub(crate) fn clamp(message: &mut [u8]) -> Result<(), Reason> {
    if message.get(6) != Some(&1) || message.len() != SCREEN + 16 {
        return Err(Reason::Size);
    }
    let side = |at, least, most| be16(message, at).unwrap_or_default().clamp(least, most).to_be_bytes();
    let (width, height) = (side(2, LEAST.0, MOST.0), side(4, LEAST.1, MOST.1));
    message[2..4].copy_from_slice(&width);
    message[4..6].copy_from_slice(&height);
    message[SCREEN + 4..SCREEN + 8].fill(0);
    message[SCREEN + 8..SCREEN + 10].copy_from_slice(&width);
    message[SCREEN + 10..SCREEN + 12].copy_from_slice(&height);
    Ok(())
}
