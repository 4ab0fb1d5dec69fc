//! Which encodings a client may announce to the server. What a client announces decides which messages both sides may send later, so
//! anything unknown is struck out: the filter could not find the end of a message that an unknown extension adds.

use bytes::{BufMut, Bytes, BytesMut};

use crate::rules::Policy;

/// The server may send rectangles as they are.
pub const RAW: i32 = 0;
/// The server may copy rectangles within the picture.
pub const COPY_RECT: i32 = 1;
/// The size of the desktop may change.
pub const DESKTOP_SIZE: i32 = -223;
/// An update may end early.
pub const LAST_RECT: i32 = -224;
/// Fence messages.
pub const FENCE: i32 = -312;
/// Updates without requests.
pub const CONTINUOUS_UPDATES: i32 = -313;
/// Extended clipboard: UTF-8, announced before it is sent.
pub const EXTENDED_CLIPBOARD: i32 = 0xc0a1_e5ce_u32.cast_signed();

/// The size of the desktop may change, and the client may ask for it.
pub const EXTENDED_DESKTOP_SIZE: i32 = -308;

/// JPEG of quality 0 to 9.
const QUALITY: std::ops::RangeInclusive<i32> = -32..=-23;

/// What a client has announced that decides which of its later messages the server takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Fences and continuous updates.
    pub continuous: bool,
    /// Answers to `SetDesktopSize`.
    pub resize: bool,
}

fn allowed(encoding: i32, clipboard: bool) -> bool {
    match encoding {
        EXTENDED_CLIPBOARD => clipboard,
        quality if QUALITY.contains(&quality) => true,
        // RRE, Hextile, ZLib, Tight, ZRLE, JPEG, H.264, TightPNG; JPEG quality and compression level; cursors, QEMU keys, LED state, desktop
        // name
        other => matches!(
            other,
            RAW | COPY_RECT | DESKTOP_SIZE | EXTENDED_DESKTOP_SIZE | LAST_RECT | FENCE | CONTINUOUS_UPDATES
                | 2 | 5..=7 | 16 | 21 | 50 | -260
                | -256..=-247
                | -239 | 0x574d_5664 | -258 | -261 | -307
        ),
    }
}

/// Rewrites a whole `SetEncodings` message (RFC 6143, 7.5.2): unknown encodings go, `DesktopSize` is added (else a resize ends the connection;
/// the extended one is not, since a client that does not know it could not read on), fences and continuous updates stay together or go
/// together (the server fails on one without the other).
///
/// Where the quality has a limit, a better one becomes that, and who names none gets it: without one the server compresses without loss.
pub fn rewrite(message: &[u8], policy: Policy) -> (Bytes, Announced) {
    let clipboard = policy.paste || policy.copy;
    let best = policy.quality.map(|level| QUALITY.start() + i32::from(level.min(9)));
    let mut kept: Vec<i32> = Vec::new();
    for chunk in message.get(4..).unwrap_or_default().chunks_exact(4) {
        let mut encoding = i32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        if QUALITY.contains(&encoding) {
            encoding = best.map_or(encoding, |best| encoding.min(best));
        }
        if allowed(encoding, clipboard) && !kept.contains(&encoding) {
            kept.push(encoding);
        }
    }
    if !(kept.contains(&FENCE) && kept.contains(&CONTINUOUS_UPDATES)) {
        kept.retain(|encoding| !matches!(*encoding, FENCE | CONTINUOUS_UPDATES));
    }
    if let Some(best) = best
        && !kept.iter().any(|encoding| QUALITY.contains(encoding))
    {
        kept.push(best);
    }
    if !kept.contains(&DESKTOP_SIZE) {
        kept.push(DESKTOP_SIZE);
    }
    let announced = Announced {
        continuous: kept.contains(&CONTINUOUS_UPDATES),
        resize: kept.contains(&EXTENDED_DESKTOP_SIZE),
    };
    (write(&kept), announced)
}

/// A `SetEncodings` message.
pub fn write(encodings: &[i32]) -> Bytes {
    let mut out = BytesMut::with_capacity(4 + 4 * encodings.len());
    out.put_slice(&[2, 0]);
    out.put_u16(u16::try_from(encodings.len()).unwrap_or(u16::MAX));
    for encoding in encodings.iter().take(usize::from(u16::MAX)) {
        out.put_i32(*encoding);
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Policy = Policy { paste: true, copy: true, resize: true, quality: None };

    #[test]
    fn a_limit_of_the_quality_holds_for_who_asks_for_more_and_for_who_asks_for_none() {
        let limited = |asked: &[i32]| {
            let policy = Policy { quality: Some(4), ..ALL };
            rewrite(&write(asked), policy).0
        };
        assert_eq!(limited(&[7, -23, -254, -223]), write(&[7, -28, -254, -223]));
        assert_eq!(limited(&[7, -30, -223]), write(&[7, -30, -223]), "less is allowed");
        assert_eq!(limited(&[7, -223]), write(&[7, -223, -28]));
    }

    #[test]
    fn unknown_encodings_and_extended_mouse_buttons_are_struck_out() {
        let message = write(&[7, -316, 16, -309, -305, -257, -259, 0x1234_5678, -223, 7]);
        assert_eq!(rewrite(&message, ALL).0, write(&[7, 16, -223]));
    }

    #[test]
    fn fences_and_continuous_updates_stay_together() {
        assert_eq!(rewrite(&write(&[FENCE, 0, -223]), ALL).0, write(&[0, -223]));
        let both = write(&[FENCE, CONTINUOUS_UPDATES, -223]);
        let announced = Announced { continuous: true, resize: false };
        assert_eq!(rewrite(&both, ALL), (both, announced));
    }

    #[test]
    fn a_role_without_clipboard_cannot_announce_the_extended_clipboard() {
        let message = write(&[EXTENDED_CLIPBOARD, 0]);
        assert_eq!(rewrite(&message, Policy::default()).0, write(&[0, DESKTOP_SIZE]));
        assert_eq!(rewrite(&message, ALL).0, write(&[EXTENDED_CLIPBOARD, 0, DESKTOP_SIZE]));
    }
}
