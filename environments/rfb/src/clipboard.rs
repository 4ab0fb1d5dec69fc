//! The extended clipboard (pseudo-encoding 0xC0A1E5CE): how a client offers UTF-8 text. The protocol wants zlib; a stream of stored
//! blocks is valid zlib, and on a local socket there is nothing to gain from compressing.

use bytes::{BufMut, Bytes, BytesMut};

use crate::rules::Policy;

const TEXT: u32 = 1;
const CAPS: u32 = 1 << 24;
const REQUEST: u32 = 1 << 25;
const PEEK: u32 = 1 << 26;
const NOTIFY: u32 = 1 << 27;
const PROVIDE: u32 = 1 << 28;

/// Tells the server what this client understands; it wants no text that it did not ask for.
pub fn caps() -> Bytes {
    let mut body = BytesMut::new();
    body.put_u32(CAPS | REQUEST | NOTIFY | PROVIDE | TEXT);
    body.put_u32(0);
    message(&body)
}

/// Tells the server that this client has text to offer.
pub fn notify() -> Bytes {
    message(&(NOTIFY | TEXT).to_be_bytes())
}

/// The text, in answer to a request.
pub fn provide(text: &str) -> Bytes {
    let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
    let mut plain = BytesMut::with_capacity(text.len() + 5);
    plain.put_u32(u32::try_from(text.len() + 1).unwrap_or(u32::MAX));
    plain.put_slice(text.as_bytes());
    plain.put_u8(0);
    let mut body = BytesMut::new();
    body.put_u32(PROVIDE | TEXT);
    body.put_slice(&stored_zlib(&plain));
    message(&body)
}

/// Whether the body of an extended server message asks for our text.
pub fn is_request(body: &[u8]) -> bool {
    crate::message::be32(body, 0).is_some_and(|flags| flags & REQUEST != 0 && flags & CAPS == 0)
}

/// Whether the body of an extended client message says that the client has text to offer.
pub fn is_notify(body: &[u8]) -> bool {
    crate::message::be32(body, 0)
        .is_some_and(|flags| flags & NOTIFY != 0 && flags & CAPS == 0 && flags & TEXT != 0)
}

/// Whether a whole client message moves text only in ways that are allowed.
pub(crate) fn may_pass(message: &[u8], policy: Policy) -> bool {
    let extended = message.get(4).is_some_and(|byte| byte & 0x80 != 0);
    let flags = if extended { crate::message::be32(message, 8).unwrap_or_default() } else { PROVIDE };
    if flags & CAPS != 0 {
        return true;
    }
    (policy.paste || flags & (NOTIFY | PROVIDE) == 0) && (policy.copy || flags & (REQUEST | PEEK) == 0)
}

/// What a client says to get the server's text.
pub fn request() -> Bytes {
    message(&(REQUEST | TEXT).to_be_bytes())
}

/// What a server says to get a client's text.
pub fn ask() -> Bytes {
    let mut out = BytesMut::from(&[3, 0, 0, 0][..]);
    out.put_i32(-4);
    out.put_u32(REQUEST | TEXT);
    out.freeze()
}

/// The text in the body of an extended client message that [`provide`] wrote. Compressed ones are not understood: `None`.
pub fn provided(body: &[u8]) -> Option<String> {
    let flags = crate::message::be32(body, 0)?;
    if flags & PROVIDE == 0 || flags & TEXT == 0 || flags & CAPS != 0 {
        return None;
    }
    let mut blocks = body.get(6..)?;
    let mut plain = Vec::new();
    loop {
        let head = blocks.get(..5)?;
        let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
        if head[0] > 1 || plain.len() + length > crate::message::MAX_CUT_TEXT as usize {
            return None;
        }
        plain.extend_from_slice(blocks.get(5..5 + length)?);
        if head[0] == 1 {
            break;
        }
        blocks = blocks.get(5 + length..)?;
    }
    let text = String::from_utf8(plain.get(4..)?.to_vec()).ok()?;
    Some(text.trim_end_matches('\0').replace("\r\n", "\n"))
}

fn message(body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + body.len());
    out.put_slice(&[6, 0, 0, 0]);
    out.put_i32(-i32::try_from(body.len()).unwrap_or(i32::MAX));
    out.put_slice(body);
    out.freeze()
}

fn stored_zlib(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let last = data.chunks(0xffff).count().saturating_sub(1);
    for (at, chunk) in data.chunks(0xffff).enumerate() {
        let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        out.push(u8::from(at == last));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(chunk);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in data {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.extend(((b << 16) | a).to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_blocks_carry_the_adler_checksum() {
        assert_eq!(
            stored_zlib(b"abc"),
            [0x78, 1, 1, 3, 0, 0xfc, 0xff, b'a', b'b', b'c', 0x02, 0x4d, 0x01, 0x27]
        );
    }

    #[test]
    fn a_text_of_several_blocks_is_read_as_it_was_written() {
        let text = "漢字 😀\n".repeat(10_000);
        let message = provide(&text);
        assert_eq!(provided(&message[8..]), Some(text));
        assert_eq!(provided(&message[8..40]), None, "cut off");
        assert!(is_notify(&notify()[8..]) && !is_notify(&caps()[8..]));
        assert!(is_request(&ask()[8..]));
    }

    #[test]
    fn the_length_of_an_extended_message_is_negative() {
        assert_eq!(notify(), [6, 0, 0, 0, 0xff, 0xff, 0xff, 0xfc, 8, 0, 0, 1].as_slice());
        assert!(is_request(&(REQUEST | TEXT).to_be_bytes()));
        assert!(!is_request(&(CAPS | REQUEST).to_be_bytes()));
    }
}
