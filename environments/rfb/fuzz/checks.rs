// What must hold for any bytes at all. The fuzz targets call it with what the fuzzer makes up, `tests/corpus.rs` with what fuzzers found
// before, and `tests/streams.rs` with what proptest makes up.

use std::time::Instant;

use a8s_rfb::{
    Decoder, Filter, Framebuffer, Policy, Role, SECURITY_NONE, ServerEvent, VERSION, Violation, clipboard,
    encode, encodings, message::MAX_CUT_TEXT,
};

/// Larger pictures are not compared pixel by pixel.
const COMPARED: usize = 1 << 20;

/// A client's stream. The first byte chooses role and policy, and whether the handshake is put before; the second where the stream is cut
/// into pieces; the rest is the stream.
pub fn client(data: &[u8]) {
    let Some(([choice, cut], stream)) = data.split_at_checked(2).map(|(a, b)| ([a[0], a[1]], b)) else {
        return;
    };
    let role = if choice & 1 == 0 { Role::Viewer } else { Role::Controller };
    let policy =
        Policy { paste: choice & 2 != 0, copy: choice & 32 != 0, resize: choice & 4 != 0, quality: None };
    let mut whole = Vec::new();
    if choice & 8 == 0 {
        whole.extend([VERSION.as_slice(), &[SECURITY_NONE, 0]].concat());
    }
    if choice & 16 != 0 {
        let all = [encodings::FENCE, encodings::CONTINUOUS_UPDATES, encodings::EXTENDED_DESKTOP_SIZE];
        whole.extend(encodings::write(&all));
    }
    whole.extend(stream);
    let now = Instant::now();
    let unsplit = filtered(policy, role, now, [whole.as_slice()]);
    let split = filtered(policy, role, now, pieces(&whole, cut));
    assert!(unsplit == split, "cutting the stream changed what comes of it");
    only_what_may_pass(&unsplit.0, policy, role);
    let _ = clipboard::provided(stream);
}

/// A server's stream. The first byte says where it is cut, the rest is the stream.
pub fn server(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else { return };
    let unsplit = decoded([stream]);
    let split = decoded(pieces(stream, *cut));
    assert!(unsplit.0 == split.0, "cutting the stream changed what comes of it");
    let (a, b) = (&unsplit.1, &split.1);
    assert_eq!((a.width, a.height), (b.width, b.height));
    assert_eq!(a.pixels.len(), usize::from(a.width) * usize::from(a.height) * 4);
    assert!(a.pixels.len() > COMPARED || a.pixels == b.pixels, "cutting the stream changed the picture");
}

/// Pieces of many lengths, beginning with ones of a byte.
fn pieces(stream: &[u8], cut: u8) -> impl Iterator<Item = &[u8]> {
    let lengths = [1, 1, usize::from(cut >> 4) + 1, usize::from(cut & 15) + 1, usize::from(cut) * 64 + 1];
    let (mut rest, mut lengths) = (stream, lengths.into_iter().cycle());
    std::iter::from_fn(move || {
        let length = lengths.next().unwrap_or(1).min(rest.len());
        let (piece, tail) = rest.split_at(length);
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

fn filtered<'a>(
    policy: Policy,
    role: Role,
    now: Instant,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Option<Violation>, u64) {
    let mut filter = Filter::new(policy);
    let mut out = Vec::new();
    for piece in pieces {
        filter.push(piece);
        loop {
            match filter.next(role, now) {
                Ok(Some(message)) => out.extend_from_slice(&message),
                Ok(None) => break,
                Err(violation) => return (out, Some(violation), filter.dropped()),
            }
        }
        assert!(filter.held() < MAX_CUT_TEXT as usize + 9, "more is held than the longest message");
    }
    assert!(role == Role::Controller || !filter.holds_input(), "a viewer holds a key down");
    filter.release();
    assert!(!filter.holds_input());
    (out, None, filter.dropped())
}

/// Reads what was passed on with a table of its own: the server must find nothing in it but what this role may send.
fn only_what_may_pass(passed: &[u8], policy: Policy, role: Role) {
    let mut rest = passed;
    for part in [VERSION.as_slice(), &[SECURITY_NONE], &[1]] {
        if rest.is_empty() {
            return;
        }
        rest = rest.strip_prefix(part).expect("the handshake is always the same");
    }
    let controls = role == Role::Controller;
    while let Some(kind) = rest.first() {
        let number = |at: usize| usize::from(rest[at]) << 8 | usize::from(rest[at + 1]);
        let (length, allowed) = match kind {
            0 => (20, true),
            2 => {
                let named = rest[4..4 + 4 * number(2)].chunks_exact(4);
                let forbidden = [-309_i32, -305, -316, -257, -259].map(i32::to_be_bytes);
                (4 + 4 * number(2), !named.into_iter().any(|name| forbidden.iter().any(|f| f == name)))
            }
            3 | 150 => (10, true),
            4 => (8, controls),
            5 => (6, controls),
            6 => {
                let length = i32::from_be_bytes([rest[4], rest[5], rest[6], rest[7]]).unsigned_abs();
                (8 + length as usize, controls && (policy.paste || policy.copy) && length <= MAX_CUT_TEXT)
            }
            248 => (9 + usize::from(rest[8]), rest[8] <= 64),
            251 => (24, controls && policy.resize && rest[6] == 1),
            255 => (12, controls && rest[1] == 0),
            other => panic!("a message of type {other} was passed on"),
        };
        assert!(allowed, "a {role:?} with {policy:?} passed on a message of type {kind}");
        rest = rest.get(length..).expect("half a message was passed on");
    }
}

/// What came of a server's stream: the events, and whether it broke off, with the picture.
type Decoded = ((Vec<ServerEvent>, bool), Framebuffer);

fn decoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let (mut decoder, mut picture) = (Decoder::default(), Framebuffer::new(16, 16));
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next(&mut picture) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => return ((events, true), picture),
            }
        }
    }
    ((events, false), picture)
}

/// Streams to begin with: one of each message.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let each: Vec<(&'static str, Vec<u8>)> = vec![
        ("pixel-format", encode::set_pixel_format().to_vec()),
        ("encodings", encodings::write(&[7, 16, -223, -308, -312, -313, -316]).to_vec()),
        ("update", encode::update_request(false, 64, 64).to_vec()),
        ("key", encode::key(65, true).to_vec()),
        ("pointer", encode::pointer(1, 2, 3).to_vec()),
        ("cut-text", encode::cut_text(b"hello").to_vec()),
        ("extended-clipboard", clipboard::provide("hello").to_vec()),
        ("longest-negative-clipboard", vec![6, 0, 0, 0, 0x80, 0, 0, 0, 1, 2, 3]),
        ("continuous-updates", encode::continuous_updates(true, 64, 64).to_vec()),
        ("fence", encode::fence(encode::FENCE_REQUEST, b"12345678").to_vec()),
        ("xvp", vec![250, 0, 1, 2]),
        ("desktop-size", encode::set_desktop_size(1, 9999).to_vec()),
        ("two-screens", [&[251, 0, 4, 0, 3, 0, 2, 0][..], &[0; 32]].concat()),
        ("qemu-key", encode::qemu_key(65, 30, true).to_vec()),
        ("qemu-audio", vec![255, 1, 0, 2, 1, 1, 1, 1, 1, 1]),
        ("unknown", vec![7, 0, 0, 0]),
        ("gii", vec![253, 0x80, 0, 4, 1, 2, 3, 4]),
    ];
    let all = each.iter().take(15).flat_map(|(_, bytes)| bytes.clone()).collect();
    [each, vec![("all", all)]].concat()
}
