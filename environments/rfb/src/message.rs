//! Where one client-to-server message ends. RFB has no general length field: a message of unknown type cannot be skipped, so an
//! unknown type ends the connection. Nothing here looks at who sends. Types 0 to 6 are those of RFC 6143, section 7.5; the others are in
//! the community's rfbproto.

/// Largest clipboard text that is held and passed on; a longer one is skipped without being stored.
pub const MAX_CUT_TEXT: u32 = 1 << 20;
/// Largest number of encodings a client may announce.
pub const MAX_ENCODINGS: u16 = 128;
const MAX_FENCE: u8 = 64;
const MAX_SCREENS: u8 = 16;

/// A client-to-server message that has a known end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Type 0.
    SetPixelFormat,
    /// Type 2.
    SetEncodings,
    /// Type 3.
    UpdateRequest,
    /// Type 4.
    Key,
    /// Type 5.
    Pointer,
    /// Type 6, plain or extended.
    CutText,
    /// Type 150.
    ContinuousUpdates,
    /// Type 248.
    Fence,
    /// Type 250: power control.
    Xvp,
    /// Type 251.
    SetDesktopSize,
    /// Type 255, submessage 0.
    QemuKey,
    /// Type 255, submessage 1.
    QemuAudio,
}

impl Kind {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 12] = [
        Self::SetPixelFormat,
        Self::SetEncodings,
        Self::UpdateRequest,
        Self::Key,
        Self::Pointer,
        Self::CutText,
        Self::ContinuousUpdates,
        Self::Fence,
        Self::Xvp,
        Self::SetDesktopSize,
        Self::QemuKey,
        Self::QemuAudio,
    ];

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::SetPixelFormat => "set_pixel_format",
            Self::SetEncodings => "set_encodings",
            Self::UpdateRequest => "update_request",
            Self::Key => "key",
            Self::Pointer => "pointer",
            Self::CutText => "cut_text",
            Self::ContinuousUpdates => "continuous_updates",
            Self::Fence => "fence",
            Self::Xvp => "xvp",
            Self::SetDesktopSize => "set_desktop_size",
            Self::QemuKey => "qemu_key",
            Self::QemuAudio => "qemu_audio",
        }
    }
}

/// Why a client's connection must be closed. The text is safe to show to that client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Only 3.8 is spoken.
    #[error("the client must speak RFB 3.8")]
    Version,
    /// Only security type None is offered.
    #[error("the client chose a security type that was not offered")]
    Security,
    /// The end of this message cannot be known.
    #[error("message type {0} is not allowed")]
    Type(u8),
    /// A field has a value that no client sends.
    #[error("a message of type {0} has an invalid field")]
    Field(u8),
}

/// The extent of the message at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its type.
    pub kind: Kind,
    /// Its length in bytes, header included.
    pub len: usize,
    /// Too long to hold; to be skipped as it arrives.
    pub oversize: bool,
}

/// Finds the extent of the first message. `None` means that more bytes are needed to tell; the whole message need not be there yet.
pub fn measure(buffer: &[u8]) -> Result<Option<Extent>, Violation> {
    let Some(&kind) = buffer.first() else { return Ok(None) };
    let extent = |kind, len| Ok(Some(Extent { kind, len, oversize: false }));
    match kind {
        0 => {
            if buffer.len() < 20 {
                return Ok(None);
            }
            if possible_format(&buffer[4..17]) {
                extent(Kind::SetPixelFormat, 20)
            } else {
                Err(Violation::Field(0))
            }
        }
        2 => match be16(buffer, 2) {
            None => Ok(None),
            Some(count) if count > MAX_ENCODINGS => Err(Violation::Field(2)),
            Some(count) => extent(Kind::SetEncodings, 4 + 4 * usize::from(count)),
        },
        3 => extent(Kind::UpdateRequest, 10),
        4 => extent(Kind::Key, 8),
        // Seven bytes long once ExtendedMouseButtons was negotiated; `encodings` never lets that happen.
        5 => extent(Kind::Pointer, 6),
        6 => match be32(buffer, 4) {
            None => Ok(None),
            Some(length) => {
                // A negative length announces the extended form, which begins with four bytes of flags.
                let (extended, length) = (length.cast_signed() < 0, length.cast_signed().unsigned_abs());
                if extended && length < 4 {
                    return Err(Violation::Field(6));
                }
                let len = 8 + length as usize;
                Ok(Some(Extent { kind: Kind::CutText, len, oversize: length > MAX_CUT_TEXT }))
            }
        },
        150 => extent(Kind::ContinuousUpdates, 10),
        248 => match buffer.get(8) {
            None => Ok(None),
            Some(&length) if length > MAX_FENCE => Err(Violation::Field(248)),
            Some(&length) => extent(Kind::Fence, 9 + usize::from(length)),
        },
        250 => extent(Kind::Xvp, 4),
        251 => match buffer.get(6) {
            None => Ok(None),
            Some(&screens) if screens > MAX_SCREENS => Err(Violation::Field(251)),
            Some(&screens) => extent(Kind::SetDesktopSize, 8 + 16 * usize::from(screens)),
        },
        255 => match buffer.get(1) {
            None => Ok(None),
            Some(0) => extent(Kind::QemuKey, 12),
            Some(1) => match be16(buffer, 2) {
                None => Ok(None),
                Some(0 | 1) => extent(Kind::QemuAudio, 4),
                Some(2) => extent(Kind::QemuAudio, 10),
                Some(_) => Err(Violation::Field(255)),
            },
            Some(_) => Err(Violation::Field(255)),
        },
        other => Err(Violation::Type(other)),
    }
}

/// Whether a pixel format (RFC 6143, 7.4) can exist: a server closes the connection of a client that asks for an impossible one, and colour
/// maps, which nobody has used for decades, bring messages that nothing here knows.
fn possible_format(format: &[u8]) -> bool {
    let (bits, depth, true_colour) = (format[0], format[1], format[3]);
    let max = |at| be16(format, at).unwrap_or_default();
    let bits_of = |max: u16| u16::BITS - max.leading_zeros();
    let maxima = [max(4), max(6), max(8)];
    let shifts = &format[10..13];
    let fits = maxima.iter().zip(shifts).all(|(max, shift)| {
        max.count_ones() == bits_of(*max) && u32::from(*shift) + bits_of(*max) <= u32::from(bits)
    });
    matches!(bits, 8 | 16 | 32) && depth <= bits && true_colour != 0 && fits
}

pub(crate) fn be16(buffer: &[u8], at: usize) -> Option<u16> {
    buffer.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]))
}

pub(crate) fn be32(buffer: &[u8], at: usize) -> Option<u32> {
    buffer.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_possible_clipboard_length_does_not_overflow() {
        let mut message = vec![6, 0, 0, 0];
        message.extend(i32::MIN.to_be_bytes());
        let extent = measure(&message).unwrap().unwrap();
        assert_eq!((extent.kind, extent.len, extent.oversize), (Kind::CutText, (1 << 31) + 8, true));
    }

    #[test]
    fn types_whose_end_is_unknown_close_the_connection() {
        for kind in [1, 7, 13, 21, 80, 127, 128, 249, 252, 253, 254] {
            assert_eq!(measure(&[kind; 32]), Err(Violation::Type(kind)));
        }
    }

    #[test]
    fn a_message_is_measured_as_soon_as_its_length_is_known() {
        assert_eq!(measure(&[2, 0, 0]), Ok(None));
        let extent = measure(&[2, 0, 0, 3]).unwrap().unwrap();
        assert_eq!((extent.kind, extent.len), (Kind::SetEncodings, 16));
        assert_eq!(measure(&[2, 0, 1, 0]), Err(Violation::Field(2)));
        assert_eq!(measure(&[248, 0, 0, 0, 0, 0, 0, 0, 65]), Err(Violation::Field(248)));
    }
}
