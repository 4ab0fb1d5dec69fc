//! Properties of the filter and the decoder over whole streams.

// clippy.toml allows this in test functions; these are their helpers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "../fuzz/checks.rs"]
#[allow(dead_code, reason = "the tests share it, and each needs a part")]
mod checks;

use std::time::Instant;

use a8s_rfb::{
    Decoder, Filter, Framebuffer, Policy, Role, SECURITY_NONE, ServerEvent, VERSION, Violation, encode,
    encodings, message::MAX_CUT_TEXT,
};
use proptest::prelude::*;

const ALL: Policy = Policy { paste: true, copy: true, resize: true, quality: None };

fn run(filter: &mut Filter, input: &[u8], role: Role, now: Instant) -> Result<Vec<u8>, Violation> {
    filter.push(input);
    let mut out = Vec::new();
    while let Some(bytes) = filter.next(role, now)? {
        out.extend(bytes);
    }
    Ok(out)
}

fn hello() -> Vec<u8> {
    let mut hello = VERSION.to_vec();
    hello.extend([SECURITY_NONE, 0]);
    hello
}

fn established(policy: Policy, role: Role) -> Filter {
    let mut filter = Filter::new(policy);
    run(&mut filter, &hello(), role, Instant::now()).unwrap();
    assert!(filter.established());
    filter
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(encode::set_pixel_format().to_vec()),
        prop::collection::vec(any::<i32>(), 0..20).prop_map(|e| encodings::write(&e).to_vec()),
        any::<bool>().prop_map(|i| encode::update_request(i, 100, 100).to_vec()),
        (any::<u32>(), any::<bool>()).prop_map(|(k, d)| encode::key(k, d).to_vec()),
        (any::<u16>(), any::<u16>()).prop_map(|(w, h)| encode::set_desktop_size(w, h).to_vec()),
        (any::<u8>(), any::<u16>(), any::<u16>()).prop_map(|(m, x, y)| encode::pointer(m, x, y).to_vec()),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|t| encode::cut_text(&t).to_vec()),
        prop::collection::vec(any::<u8>(), 0..64).prop_map(|p| encode::fence(1, &p).to_vec()),
        Just(vec![250, 0, 1, 2]),
        Just(vec![150; 10]),
        (0_usize..3).prop_map(|n| {
            let mut message = vec![251, 0, 4, 0, 3, 0, u8::try_from(n).unwrap(), 0];
            message.extend(vec![7; 16 * n]);
            message
        }),
        Just(vec![255, 0, 0, 1, 0, 0, 0, 65, 0, 0, 0, 30]),
        Just(vec![255, 1, 0, 2, 1, 1, 1, 1, 1, 1]),
    ]
}

proptest! {
    #[test]
    fn any_split_of_a_stream_gives_what_the_unsplit_stream_gives(
        messages in prop::collection::vec(message(), 0..30),
        cuts in prop::collection::vec(1_usize..40, 1..50),
        control in any::<bool>(),
    ) {
        let role = if control { Role::Controller } else { Role::Viewer };
        let now = Instant::now();
        let mut stream = hello();
        stream.extend(messages.concat());
        let whole = run(&mut Filter::new(ALL), &stream, role, now).unwrap();
        let mut filter = Filter::new(ALL);
        let (mut rest, mut pieces) = (stream.as_slice(), Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, tail) = rest.split_at((*cut).min(rest.len()));
            pieces.extend(run(&mut filter, piece, role, now).unwrap());
            rest = tail;
        }
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_get_nothing_forbidden_through(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        checks::client(&bytes);
        checks::server(&bytes);
    }

    #[test]
    fn messages_with_a_few_wrong_bytes_never_panic_and_get_nothing_forbidden_through(
        choice in any::<[u8; 2]>(),
        messages in prop::collection::vec(message(), 0..20),
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut stream = messages.concat();
        for (at, byte) in wrong {
            if !stream.is_empty() {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
        }
        checks::client(&[&choice[..], &stream].concat());
    }

    #[test]
    fn a_viewer_never_gets_an_input_message_through(messages in prop::collection::vec(message(), 0..30)) {
        let mut filter = established(ALL, Role::Viewer);
        let now = Instant::now();
        for message in messages {
            let out = run(&mut filter, &message, Role::Viewer, now).unwrap();
            prop_assert!(matches!(out.first(), None | Some(0 | 2 | 3 | 150 | 248)), "passed {:?}", out.first());
        }
        prop_assert!(!filter.holds_input());
    }
}

#[test]
fn the_session_is_always_shared_and_only_version_3_8_without_security_is_spoken() {
    let now = Instant::now();
    let out = run(&mut Filter::new(ALL), &hello(), Role::Viewer, now).unwrap();
    assert_eq!(out, [VERSION.as_slice(), &[SECURITY_NONE, 1]].concat());
    let old = run(&mut Filter::new(ALL), b"RFB 003.003\n", Role::Viewer, now);
    assert_eq!(old, Err(Violation::Version));
    let vnc = run(&mut Filter::new(ALL), &[VERSION.as_slice(), &[2]].concat(), Role::Viewer, now);
    assert_eq!(vnc, Err(Violation::Security));
}

#[test]
fn a_controller_sends_keys_pointer_and_clipboard_but_never_power_control() {
    let mut filter =
        established(Policy { paste: true, copy: true, resize: false, quality: None }, Role::Controller);
    let now = Instant::now();
    let allowed = [
        encode::key(65, true).to_vec(),
        encode::pointer(1, 2, 3).to_vec(),
        encode::cut_text(b"hello").to_vec(),
    ]
    .concat();
    assert_eq!(run(&mut filter, &allowed, Role::Controller, now).unwrap(), allowed);
    let denied = [vec![250, 0, 1, 2], vec![251, 0, 4, 0, 3, 0, 0, 0]].concat();
    assert_eq!(run(&mut filter, &denied, Role::Controller, now).unwrap(), b"");
    assert_eq!(filter.dropped(), 2);
    assert!(filter.holds_input());
    assert_eq!(filter.release(), [encode::key(65, false).as_slice(), &encode::pointer(0, 2, 3)].concat());
}

#[test]
fn a_clipboard_that_is_too_long_is_skipped_and_the_stream_goes_on() {
    let mut filter = established(ALL, Role::Controller);
    let now = Instant::now();
    let mut stream = encode::cut_text(&vec![b'x'; MAX_CUT_TEXT as usize + 1]).to_vec();
    stream.extend(encode::key(65, true));
    let mut out = Vec::new();
    for piece in stream.chunks(65_536) {
        out.extend(run(&mut filter, piece, Role::Controller, now).unwrap());
    }
    assert_eq!(out, encode::key(65, true));
}

#[test]
fn the_sixth_full_update_in_a_row_becomes_an_incremental_one() {
    let mut filter = established(ALL, Role::Viewer);
    let now = Instant::now();
    let full = encode::update_request(false, 10, 10);
    for _ in 0..5 {
        assert_eq!(run(&mut filter, &full, Role::Viewer, now).unwrap(), full);
    }
    assert_eq!(run(&mut filter, &full, Role::Viewer, now).unwrap(), encode::update_request(true, 10, 10));
    let later = now + std::time::Duration::from_millis(600);
    assert_eq!(run(&mut filter, &full, Role::Viewer, later).unwrap(), full);
}

#[test]
fn the_decoder_draws_raw_and_copied_rectangles_and_follows_a_resize() {
    let mut picture = Framebuffer::new(4, 2);
    let mut decoder = Decoder::default();
    // two rectangles: one red pixel at (0,0), then a copy of it to (3,1)
    decoder.push(&[0, 0, 0, 2]);
    decoder.push(&[0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 255, 0]);
    assert_eq!(decoder.next(&mut picture), Ok(None));
    decoder.push(&[0, 3, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(decoder.next(&mut picture), Ok(Some(ServerEvent::Updated { pixels: 2 })));
    assert_eq!(picture.pixels[28..32], [0, 0, 255, 0]);
    // a resize, ended by LastRect
    decoder.push(&[0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 6, 0, 5, 0xff, 0xff, 0xff, 0x21]);
    decoder.push(&[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x20]);
    assert!(matches!(decoder.next(&mut picture), Ok(Some(ServerEvent::Updated { .. }))));
    assert_eq!((picture.width, picture.height, picture.pixels.len()), (6, 5, 120));
}
