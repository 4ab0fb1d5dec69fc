//! Where the server's messages end. A recording keeps whole picture updates and nothing else: the X server also sends each client the text
//! that somebody copied, which may be a password.
//!
//! Nothing is decompressed. Tight says how long its parts are (RFB specification of the community, "Tight Encoding").

use bytes::{Buf, Bytes, BytesMut};

use a8s_rfb::encodings;

/// The encoding that a recording is made of.
pub const TIGHT: i32 = 7;
/// A single update of a large screen has less.
const MAX_UPDATE: usize = 48 << 20;
const MAX_SKIPPED: usize = 4 << 20;
const MAX_SIDE: u16 = 8192;
/// Bytes of a pixel, and of one in Tight.
const PIXEL: usize = 4;
const TIGHT_PIXEL: usize = 3;
/// Shorter data is not compressed, and its length is not said.
const LEAST_COMPRESSED: usize = 12;

/// The server sent what it was not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Unknown message type.
    #[error("unexpected message type {0}")]
    Message(u8),
    /// Unknown rectangle encoding.
    #[error("unexpected encoding {0}")]
    Encoding(i32),
    /// Larger than anything sensible.
    #[error("a message is too large")]
    Size,
}

/// Cuts the server's stream into updates.
#[derive(Debug)]
pub struct Updates {
    buffer: BytesMut,
    /// End of what is known of the update at the beginning of the buffer.
    at: usize,
    left: Option<u16>,
    size: (u16, u16),
}

impl Updates {
    /// For a desktop of this size.
    pub fn new(size: (u16, u16)) -> Self {
        Self { buffer: BytesMut::new(), at: 0, left: None, size }
    }

    /// Where more bytes go.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Size of the desktop, as of the last update.
    pub fn size(&self) -> (u16, u16) {
        self.size
    }

    /// The next whole update; `None` if more bytes are needed.
    pub fn update(&mut self) -> Result<Option<Bytes>, StreamError> {
        loop {
            match self.left {
                Some(0) => {
                    self.left = None;
                    let length = std::mem::take(&mut self.at);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
                Some(left) => {
                    let Some((length, last)) = self.rectangle()? else {
                        let limit = MAX_UPDATE < self.buffer.len();
                        return if limit { Err(StreamError::Size) } else { Ok(None) };
                    };
                    self.at += length;
                    self.left = Some(if last { 0 } else { left - 1 });
                }
                None => {
                    if !self.message()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Begins an update, or skips another message; false if more bytes are needed.
    fn message(&mut self) -> Result<bool, StreamError> {
        let Some(&kind) = self.buffer.first() else { return Ok(false) };
        let length = match kind {
            0 => {
                let Some(count) = be16(&self.buffer, 2) else { return Ok(false) };
                (self.at, self.left) = (4, Some(count));
                return Ok(true);
            }
            1 => be16(&self.buffer, 4).map(|colours| 6 + 6 * usize::from(colours)),
            2 => Some(1),
            3 => be32(&self.buffer, 4).map(|length| 8 + length.cast_signed().unsigned_abs() as usize),
            other => return Err(StreamError::Message(other)),
        };
        match length {
            Some(length) if length > MAX_SKIPPED => Err(StreamError::Size),
            Some(length) if length <= self.buffer.len() => {
                self.buffer.advance(length);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Length of the rectangle that begins at `at`, and whether no more follow.
    fn rectangle(&mut self) -> Result<Option<(usize, bool)>, StreamError> {
        const HEAD: usize = 12;
        let here = &self.buffer[self.at..];
        let (Some(w), Some(h), Some(encoding)) = (be16(here, 4), be16(here, 6), be32(here, 8)) else {
            return Ok(None);
        };
        if w > MAX_SIDE || h > MAX_SIDE {
            return Err(StreamError::Size);
        }
        let length = match encoding.cast_signed() {
            encodings::RAW => Some(usize::from(w) * usize::from(h) * PIXEL),
            encodings::COPY_RECT => Some(4),
            TIGHT => tight(&here[HEAD..], usize::from(w), usize::from(h)),
            encodings::DESKTOP_SIZE => {
                self.size = (w, h);
                Some(0)
            }
            encodings::LAST_RECT => return Ok(Some((HEAD, true))),
            other => return Err(StreamError::Encoding(other)),
        };
        Ok(length.map(|length| HEAD + length).filter(|length| *length <= here.len()).map(|l| (l, false)))
    }
}

/// Length of the data of a rectangle in Tight of this width and height, if its beginning says it already.
pub fn tight(data: &[u8], w: usize, h: usize) -> Option<usize> {
    let control = *data.first()?;
    match control >> 4 {
        8 => Some(1 + TIGHT_PIXEL),
        // 10 is PNG, which is not asked for; it has the same form.
        9 | 10 => compact(data, 1),
        _ => {
            let explicit = control & 0x40 != 0;
            let filter = if explicit { *data.get(1)? } else { 0 };
            let at = if explicit { 2 } else { 1 };
            let (at, length) = match filter {
                1 => {
                    let colours = usize::from(*data.get(at)?) + 1;
                    let row = if colours <= 2 { w.div_ceil(8) } else { w };
                    (at + 1 + colours * TIGHT_PIXEL, row * h)
                }
                _ => (at, w * h * TIGHT_PIXEL),
            };
            if length < LEAST_COMPRESSED { Some(at + length) } else { compact(data, at) }
        }
    }
}

/// End of data whose length is written at `at` in one to three bytes of seven bits.
fn compact(data: &[u8], at: usize) -> Option<usize> {
    let mut length = 0;
    for (index, shift) in [0, 7, 14].into_iter().enumerate() {
        let byte = *data.get(at + index)?;
        let bits = if index == 2 { usize::from(byte) } else { usize::from(byte & 0x7f) };
        length |= bits << shift;
        if byte & 0x80 == 0 || index == 2 {
            return Some(at + index + 1 + length);
        }
    }
    None
}

fn be16(buffer: &[u8], at: usize) -> Option<u16> {
    buffer.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]))
}

fn be32(buffer: &[u8], at: usize) -> Option<u32> {
    buffer.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rect(w: u16, h: u16, encoding: i32, data: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 4];
        out.extend([w, h].iter().flat_map(|side| side.to_be_bytes()));
        out.extend(encoding.to_be_bytes());
        out.extend(data);
        out
    }

    fn update(count: u16, rects: &[Vec<u8>]) -> Vec<u8> {
        let mut out = vec![0, 0];
        out.extend(count.to_be_bytes());
        out.extend(rects.concat());
        out
    }

    fn long(head: &[u8], length: usize) -> Vec<u8> {
        let mut out = head.to_vec();
        let bits = |shift: usize, mask: usize| u8::try_from(length >> shift & mask).unwrap();
        out.extend([bits(0, 0x7f) | 0x80, bits(7, 0x7f) | 0x80, bits(14, 0xff)]);
        out.resize(out.len() + length, 7);
        out
    }

    fn every_kind() -> Vec<Vec<u8>> {
        vec![
            update(2, &[rect(2, 2, 0, &[9; 16]), rect(4, 4, 1, &[0; 4])]),
            update(1, &[rect(5, 5, TIGHT, &[0x80, 1, 2, 3])]),
            update(1, &[rect(64, 64, TIGHT, &long(&[0x90], 70_000))]),
            update(1, &[rect(64, 64, TIGHT, &long(&[0x00], 300))]),
            update(1, &[rect(9, 6, TIGHT, &long(&[0x40, 1, 1, 0, 0, 0, 9, 9, 9], 12))]),
            // Three colours: a byte a pixel, too few to be compressed.
            update(1, &[rect(2, 2, TIGHT, &[0x40, 1, 2, 0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 1, 2, 0])]),
            update(1, &[rect(1, 3, TIGHT, &[0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0])]),
            update(0xffff, &[rect(5, 5, TIGHT, &[0x80, 1, 2, 3]), rect(0, 0, -224, &[])]),
            update(1, &[rect(640, 480, -223, &[])]),
            update(0, &[]),
        ]
    }

    #[test]
    fn every_cut_of_the_stream_gives_the_same_updates_and_nothing_that_was_copied() {
        let mut stream = Vec::new();
        for update in every_kind() {
            stream.extend([2, 3, 0, 0, 0, 0, 0, 0, 6]);
            stream.extend(b"secret");
            stream.extend(update);
        }
        for step in [1, 2, 3, 7, 1000, stream.len()] {
            let mut updates = Updates::new((1, 1));
            let mut found = Vec::new();
            for chunk in stream.chunks(step) {
                updates.buffer().extend_from_slice(chunk);
                while let Some(update) = updates.update().unwrap() {
                    found.push(update.to_vec());
                }
            }
            assert_eq!(found, every_kind(), "in steps of {step}");
            assert_eq!(updates.size(), (640, 480));
        }
    }

    #[test]
    fn what_was_not_asked_for_is_an_error() {
        for (bytes, error) in [
            (vec![150], StreamError::Message(150)),
            (update(1, &[rect(1, 1, 16, &[])]), StreamError::Encoding(16)),
            (update(1, &[rect(9999, 1, 0, &[])]), StreamError::Size),
            (vec![3, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff], StreamError::Size),
        ] {
            let mut updates = Updates::new((1, 1));
            updates.buffer().extend_from_slice(&bytes);
            assert_eq!(updates.update(), Err(error));
        }
    }
}
