//! A browser's frames (RFC 6455, 5.2), bytes in, events out. Messages do not matter, since RFB's do not end where they do: each frame's
//! payload is passed on by itself.

use bytes::{Buf, BufMut, Bytes, BytesMut, buf::Limit};

use crate::close::Close;

/// Longest payload of a frame. RFB messages of a browser are small; only a clipboard is not, and noVNC sends that in pieces of 10 KiB.
pub const MAX_FRAME: u64 = 64 * 1024;
/// 5.5: longest payload of a control frame.
const MAX_CONTROL: u64 = 125;

/// What the browser said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A piece of the stream.
    Data(Bytes),
    /// To be answered with the same payload.
    Ping(Bytes),
    /// The answer to ours.
    Pong(Bytes),
    /// It leaves.
    Close,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    last: bool,
    opcode: u8,
    mask: [u8; 4],
    length: usize,
}

/// The frames of one connection.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: BytesMut,
    head: Option<Head>,
    fragmented: bool,
}

impl Frames {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Room for bytes, at least one and at most so many.
    pub fn room(&mut self, most: usize) -> Limit<&mut BytesMut> {
        self.buffer.reserve(most);
        (&mut self.buffer).limit(most)
    }

    /// The next frame that is complete. The error is how to close.
    pub fn event(&mut self) -> Result<Option<Event>, Close> {
        let head = match self.head {
            Some(head) => head,
            None => match self.head()? {
                Some(head) => head,
                None => return Ok(self.wait()),
            },
        };
        if self.buffer.len() < head.length {
            return Ok(self.wait());
        }
        self.head = None;
        let mut payload = self.buffer.split_to(head.length);
        unmask(&mut payload, head.mask);
        Ok(Some(match head.opcode {
            CLOSE => Event::Close,
            PING => Event::Ping(payload.freeze()),
            PONG => Event::Pong(payload.freeze()),
            _ => {
                self.fragmented = !head.last;
                Event::Data(payload.freeze())
            }
        }))
    }

    /// Nothing more for now: an empty buffer is given back.
    fn wait(&mut self) -> Option<Event> {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        None
    }

    fn head(&mut self) -> Result<Option<Head>, Close> {
        let Some(&[first, second]) = self.buffer.first_chunk() else { return Ok(None) };
        let (last, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
        let (masked, short) = (second & 0x80 != 0, u64::from(second & 0x7f));
        // 5.1: a browser masks. 5.2: nothing that gives the reserved bits a meaning was negotiated.
        if !masked || reserved != 0 {
            return Err(Close::Protocol);
        }
        let control = opcode >= CLOSE;
        match opcode {
            TEXT => return Err(Close::NotBinary),
            // 5.4: a message goes on exactly if one has begun.
            CONTINUATION | BINARY if self.fragmented == (opcode == CONTINUATION) => {}
            // 5.5: control frames are whole and short.
            CLOSE | PING | PONG if last && short <= MAX_CONTROL => {}
            _ => return Err(Close::Protocol),
        }
        let (at, length) = match short {
            126 => match self.buffer.get(2..4) {
                Some(bytes) => (4, bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
                None => return Ok(None),
            },
            127 => match self.buffer.get(2..10) {
                Some(bytes) => (10, bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
                None => return Ok(None),
            },
            short => (2, short),
        };
        if length > MAX_FRAME {
            return Err(Close::TooLarge);
        }
        debug_assert!(!control || length <= MAX_CONTROL);
        let Some(&mask) = self.buffer.get(at..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
        self.buffer.advance(at + 4);
        // Not more than MAX_FRAME.
        let length = usize::try_from(length).map_err(|_| Close::TooLarge)?;
        let head = Head { last, opcode, mask, length };
        self.head = Some(head);
        Ok(Some(head))
    }
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    // Word by word, so that the compiler uses wide registers.
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 250];
        let mut out = vec![first];
        match payload.len() {
            short @ 0..126 => out.push(0x80 | u8::try_from(short).unwrap()),
            length @ 126..65536 => {
                out.push(0xfe);
                out.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                out.push(0xff);
                out.extend((length as u64).to_be_bytes());
            }
        }
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    fn all(frames: &mut Frames) -> Result<Vec<Event>, Close> {
        let mut events = Vec::new();
        while let Some(event) = frames.event()? {
            events.push(event);
        }
        Ok(events)
    }

    #[test]
    fn frames_come_out_as_they_went_in_wherever_they_are_cut() {
        let long = vec![7; 300];
        let longest = vec![9; 65536];
        let stream = [
            frame(0x82, b"RFB"),
            frame(0x02, &long),
            frame(0x89, b"ping"),
            frame(0x80, &longest),
            frame(0x8a, b""),
            frame(0x88, &[3, 232]),
        ]
        .concat();
        let expected = [
            Event::Data(Bytes::from_static(b"RFB")),
            Event::Data(long.into()),
            Event::Ping(Bytes::from_static(b"ping")),
            Event::Data(longest.into()),
            Event::Pong(Bytes::new()),
            Event::Close,
        ];
        for size in [1, 2, 3, 7, 4096, 100_000] {
            let (mut frames, mut events) = (Frames::default(), Vec::new());
            for piece in stream.chunks(size) {
                frames.push(piece);
                events.extend(all(&mut frames).unwrap());
            }
            assert_eq!(events, expected, "cut every {size}");
            assert_eq!(frames.buffer.capacity(), 0, "an idle connection holds a buffer");
        }
    }

    #[test]
    fn what_no_browser_sends_closes() {
        let outcome = |bytes: &[u8]| {
            let mut frames = Frames::default();
            frames.push(bytes);
            all(&mut frames)
        };
        assert_eq!(outcome(&frame(0x81, b"text")), Err(Close::NotBinary));
        assert_eq!(outcome(&[0x82, 1, 0]), Err(Close::Protocol), "not masked");
        assert_eq!(outcome(&frame(0xc2, b"")), Err(Close::Protocol), "a reserved bit");
        assert_eq!(outcome(&frame(0x80, b"")), Err(Close::Protocol), "continues nothing");
        assert_eq!(
            outcome(&[frame(2, b"a"), frame(0x82, b"b")].concat()),
            Err(Close::Protocol),
            "interleaved"
        );
        assert_eq!(outcome(&frame(0x09, b"")), Err(Close::Protocol), "a ping in pieces");
        assert_eq!(outcome(&frame(0x89, &[0; 126])), Err(Close::Protocol), "a long ping");
        for opcode in (3..8).chain(11..16) {
            assert_eq!(outcome(&frame(0x80 | opcode, b"")), Err(Close::Protocol), "opcode {opcode}");
        }
    }

    #[test]
    fn a_frame_that_is_too_long_closes_before_it_is_held() {
        for length in [MAX_FRAME + 1, 1 << 40, u64::MAX] {
            let mut frames = Frames::default();
            frames.push(&[&[0x82, 0xff][..], &length.to_be_bytes()].concat());
            assert_eq!(frames.event(), Err(Close::TooLarge));
        }
    }
}
