//! The server's side of the stream, for a client that announced only what is decoded here: Raw, CopyRect, `DesktopSize` in both forms,
//! `LastRect`, fences and the clipboard. deskd keeps its picture of the desktop with it.

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    encodings,
    message::{be16, be32},
};

const MAX_SIDE: u16 = 8192;
const MAX_CUT_TEXT: u32 = 4 << 20;
const MAX_NAME: u32 = 4096;
/// Bytes that describe one screen of a desktop.
const SCREEN: usize = 16;

/// The server sent something that this client never asked for, or that cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Unknown message type.
    #[error("unexpected server message type {0}")]
    Message(u8),
    /// Unknown rectangle encoding.
    #[error("unexpected encoding {0}")]
    Encoding(i32),
    /// Outside the picture, or too large.
    #[error("a rectangle or size is out of range")]
    Range,
}

/// The picture: rows from the top, four bytes a pixel (blue, green, red, unused).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Framebuffer {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// `width * height * 4` bytes.
    pub pixels: Vec<u8>,
}

impl Framebuffer {
    /// A black picture.
    pub fn new(width: u16, height: u16) -> Self {
        Self { width, height, pixels: vec![0; usize::from(width) * usize::from(height) * 4] }
    }

    /// Takes another size. What both have in common stays, so that nobody who looks before the next update sees nothing.
    fn resize(&mut self, width: u16, height: u16) {
        let mut resized = Self::new(width, height);
        let common = usize::from(width.min(self.width)) * 4;
        let (old, new) = (usize::from(self.width) * 4, usize::from(width) * 4);
        if common > 0 {
            for (to, from) in resized.pixels.chunks_mut(new).zip(self.pixels.chunks(old)) {
                to[..common].copy_from_slice(&from[..common]);
            }
        }
        *self = resized;
    }

    fn holds(&self, rect: Rect) -> bool {
        u32::from(rect.x) + u32::from(rect.w) <= u32::from(self.width)
            && u32::from(rect.y) + u32::from(rect.h) <= u32::from(self.height)
    }

    fn row(&self, rect: Rect, row: u16) -> std::ops::Range<usize> {
        let start = (usize::from(rect.y + row) * usize::from(self.width) + usize::from(rect.x)) * 4;
        start..start + usize::from(rect.w) * 4
    }

    fn put(&mut self, rect: Rect, data: &[u8]) {
        let stride = usize::from(rect.w) * 4;
        for row in 0..rect.h {
            let range = self.row(rect, row);
            let from = usize::from(row) * stride;
            self.pixels[range].copy_from_slice(&data[from..from + stride]);
        }
    }

    fn copy(&mut self, from: Rect, to: Rect) {
        // Rows are copied towards the side from which the data does not come, as the rectangles may overlap.
        let move_row = |picture: &mut Self, row| {
            let source = picture.row(from, row);
            let target = picture.row(to, row).start;
            picture.pixels.copy_within(source, target);
        };
        if to.y > from.y {
            (0..to.h).rev().for_each(|row| move_row(self, row));
        } else {
            (0..to.h).for_each(|row| move_row(self, row));
        }
    }
}

/// What the server says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInit {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Length in bytes of the name that follows.
    pub name_length: usize,
}

impl ServerInit {
    /// Length of the part before the name.
    pub const LENGTH: usize = 24;

    /// Reads the part before the name.
    pub fn parse(bytes: &[u8; Self::LENGTH]) -> Result<Self, DecodeError> {
        let width = u16::from_be_bytes([bytes[0], bytes[1]]);
        let height = u16::from_be_bytes([bytes[2], bytes[3]]);
        let name = u32::from_be_bytes([bytes[20], bytes[21], bytes[22], bytes[23]]);
        if width > MAX_SIDE || height > MAX_SIDE || name > MAX_NAME {
            return Err(DecodeError::Range);
        }
        Ok(Self { width, height, name_length: name as usize })
    }
}

/// Something that the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// An update is complete; this many pixels were sent.
    Updated {
        /// Sum of the areas of its rectangles.
        pixels: u64,
    },
    /// A fence to be answered, or the answer to ours.
    Fence {
        /// Its flags.
        flags: u32,
        /// Its payload.
        payload: Bytes,
    },
    /// An extended clipboard message.
    Clipboard(Bytes),
    /// Bell, plain clipboard text, end of continuous updates: nothing that matters here.
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Rect {
    x: u16,
    y: u16,
    w: u16,
    h: u16,
}

/// Reads the server's messages after `ServerInit`.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    left: Option<u16>,
    pixels: u64,
}

impl Decoder {
    /// Adds bytes from the server.
    pub fn push(&mut self, input: &[u8]) {
        self.buffer.extend_from_slice(input);
    }

    /// Applies what is complete to `picture`, up to the next event.
    pub fn next(&mut self, picture: &mut Framebuffer) -> Result<Option<ServerEvent>, DecodeError> {
        loop {
            match self.left {
                Some(0) => {
                    self.left = None;
                    return Ok(Some(ServerEvent::Updated { pixels: std::mem::take(&mut self.pixels) }));
                }
                Some(left) => match self.rectangle(picture)? {
                    None => return Ok(None),
                    Some(last) => self.left = Some(if last { 0 } else { left.saturating_sub(1) }),
                },
                None => {
                    let event = self.message()?;
                    if event.is_some() || self.left.is_none() {
                        return Ok(event);
                    }
                }
            }
        }
    }

    fn message(&mut self) -> Result<Option<ServerEvent>, DecodeError> {
        let Some(&kind) = self.buffer.first() else { return Ok(None) };
        let length = match kind {
            0 => 4,
            1 => match be16(&self.buffer, 4) {
                None => return Ok(None),
                Some(colours) => 6 + 6 * usize::from(colours),
            },
            2 | 150 => 1,
            3 => match be32(&self.buffer, 4).map(|length| length.cast_signed().unsigned_abs()) {
                None => return Ok(None),
                Some(length) if length > MAX_CUT_TEXT => return Err(DecodeError::Range),
                Some(length) => 8 + length as usize,
            },
            248 => match self.buffer.get(8) {
                None => return Ok(None),
                Some(length) => 9 + usize::from(*length),
            },
            other => return Err(DecodeError::Message(other)),
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        let message = self.buffer.split_to(length).freeze();
        Ok(match kind {
            0 => {
                self.left = be16(&message, 2);
                None
            }
            3 if message[4] & 0x80 != 0 => Some(ServerEvent::Clipboard(message.slice(8..))),
            248 => Some(ServerEvent::Fence {
                flags: be32(&message, 4).unwrap_or_default(),
                payload: message.slice(9..),
            }),
            _ => Some(ServerEvent::Other),
        })
    }

    /// Applies one rectangle; `Some(true)` if it says that no more follow.
    fn rectangle(&mut self, picture: &mut Framebuffer) -> Result<Option<bool>, DecodeError> {
        const HEAD: usize = 12;
        if self.buffer.len() < HEAD {
            return Ok(None);
        }
        let at = |index| be16(&self.buffer, index).unwrap_or_default();
        let rect = Rect { x: at(0), y: at(2), w: at(4), h: at(6) };
        let encoding = be32(&self.buffer, 8).unwrap_or_default().cast_signed();
        match encoding {
            encodings::RAW => {
                if !picture.holds(rect) {
                    return Err(DecodeError::Range);
                }
                let length = usize::from(rect.w) * usize::from(rect.h) * 4;
                if self.buffer.len() < HEAD + length {
                    self.buffer.reserve(HEAD + length - self.buffer.len());
                    return Ok(None);
                }
                picture.put(rect, &self.buffer[HEAD..HEAD + length]);
                self.buffer.advance(HEAD + length);
            }
            encodings::COPY_RECT => {
                if self.buffer.len() < HEAD + 4 {
                    return Ok(None);
                }
                let from = Rect { x: at(12), y: at(14), ..rect };
                if !picture.holds(rect) || !picture.holds(from) {
                    return Err(DecodeError::Range);
                }
                picture.copy(from, rect);
                self.buffer.advance(HEAD + 4);
            }
            encodings::DESKTOP_SIZE => {
                if rect.w > MAX_SIDE || rect.h > MAX_SIDE {
                    return Err(DecodeError::Range);
                }
                picture.resize(rect.w, rect.h);
                self.buffer.advance(HEAD);
            }
            encodings::EXTENDED_DESKTOP_SIZE => {
                let Some(screens) = self.buffer.get(HEAD) else { return Ok(None) };
                let length = HEAD + 4 + SCREEN * usize::from(*screens);
                if self.buffer.len() < length {
                    return Ok(None);
                }
                if rect.w > MAX_SIDE || rect.h > MAX_SIDE {
                    return Err(DecodeError::Range);
                }
                self.buffer.advance(length);
                // x says who asked for it, y whether it was refused; a size that did not change is told, too.
                if rect.y != 0 || (rect.w, rect.h) == (picture.width, picture.height) {
                    return Ok(Some(false));
                }
                picture.resize(rect.w, rect.h);
            }
            encodings::LAST_RECT => {
                self.buffer.advance(HEAD);
                return Ok(Some(true));
            }
            other => return Err(DecodeError::Encoding(other)),
        }
        self.pixels += u64::from(rect.w) * u64::from(rect.h);
        Ok(Some(false))
    }
}
