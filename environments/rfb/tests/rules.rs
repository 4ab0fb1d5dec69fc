//! Every message type that a client can send, in each role: the rule's name says what happens to it. Sections are those of RFC 6143; the
//! messages without one are described in the community's rfbproto.

// clippy.toml allows this in test functions; these are their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Instant;

use a8s_rfb::{
    Filter, Kind, Policy, Reason, Role, SECURITY_NONE, VERSION, Violation, clipboard, encode, encodings,
    message::MAX_CUT_TEXT,
};

use Outcome::{Becomes, Closes, Dropped, Passes};

const ALL: Policy = Policy { paste: true, copy: true, resize: true, quality: None };
const NONE: Policy = Policy { paste: false, copy: false, resize: false, quality: None };

#[derive(Debug, PartialEq)]
enum Outcome {
    /// Unchanged.
    Passes,
    Becomes(Vec<u8>),
    Dropped(Kind, Reason),
    Closes(Violation),
}

/// What becomes of one message after the handshake, and of the request for an update that follows: a message that is dropped or passed
/// must not take the next one's bytes for its own.
fn outcome(policy: Policy, role: Role, before: &[u8], message: &[u8]) -> Outcome {
    let mut filter = Filter::new(policy);
    filter.push(&[VERSION.as_slice(), &[SECURITY_NONE, 1], before].concat());
    while filter.next(role, Instant::now()).unwrap().is_some() {}
    filter.take_counts();
    let next = encode::update_request(true, 7, 7);
    filter.push(message);
    filter.push(&next);
    let mut out = Vec::new();
    loop {
        match filter.next(role, Instant::now()) {
            Ok(Some(bytes)) => out.extend(bytes),
            Ok(None) => break,
            Err(violation) => return Closes(violation),
        }
    }
    let passed = out.strip_suffix(next.as_slice()).expect("the message after it was lost").to_vec();
    let counts = filter.take_counts();
    match counts.dropped().next() {
        Some((kind, reason, 1)) if passed.is_empty() => Dropped(kind, reason),
        Some(more) => panic!("{more:?} and {passed:?}"),
        None if passed == message => Passes,
        None => Becomes(passed),
    }
}

/// What noVNC announces of those that matter here.
fn announced() -> Vec<u8> {
    let all = [7, 1, encodings::FENCE, encodings::CONTINUOUS_UPDATES, encodings::EXTENDED_DESKTOP_SIZE];
    encodings::write(&all).to_vec()
}

macro_rules! rules {
    ($($rule:ident: $message:expr => viewer $viewer:expr, controller $controller:expr;)*) => {
        $(#[test]
        fn $rule() {
            let message: Vec<u8> = $message.to_vec();
            assert_eq!(outcome(ALL, Role::Viewer, &announced(), &message), $viewer, "viewer");
            assert_eq!(outcome(ALL, Role::Controller, &announced(), &message), $controller, "controller");
        })*
    };
}

fn format(change: impl FnOnce(&mut [u8; 20])) -> [u8; 20] {
    let mut message = encode::set_pixel_format();
    change(&mut message);
    message
}

fn of_type(kind: u8) -> [u8; 64] {
    let mut message = [0; 64];
    message[0] = kind;
    message
}

fn resized(width: u16, height: u16) -> Vec<u8> {
    encode::set_desktop_size(width, height).to_vec()
}

rules! {
    // 7.5.1 SetPixelFormat
    a_true_colour_format_of_8_16_or_32_bits_passes: encode::set_pixel_format() => viewer Passes, controller Passes;
    a_format_of_16_bits_passes: format(|m| m[4..17].copy_from_slice(&[16, 16, 0, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0]))
        => viewer Passes, controller Passes;
    a_format_of_24_bits_closes: format(|m| m[4] = 24)
        => viewer Closes(Violation::Field(0)), controller Closes(Violation::Field(0));
    a_colour_map_closes: format(|m| m[7] = 0)
        => viewer Closes(Violation::Field(0)), controller Closes(Violation::Field(0));
    a_depth_beyond_the_bits_closes: format(|m| m[5] = 33)
        => viewer Closes(Violation::Field(0)), controller Closes(Violation::Field(0));
    a_colour_that_is_no_mask_closes: format(|m| m[9] = 254)
        => viewer Closes(Violation::Field(0)), controller Closes(Violation::Field(0));
    a_colour_shifted_out_of_the_pixel_closes: format(|m| m[14] = 25)
        => viewer Closes(Violation::Field(0)), controller Closes(Violation::Field(0));

    // Type 1 was FixColourMapEntries before RFC 6143.
    colour_map_entries_close: of_type(1) => viewer Closes(Violation::Type(1)), controller Closes(Violation::Type(1));

    // 7.5.2 SetEncodings
    encodings_are_rewritten_for_everybody: encodings::write(&[7, -309, -305, -316, -257, -259, 12345])
        => viewer Becomes(encodings::write(&[7, -223]).to_vec()), controller Becomes(encodings::write(&[7, -223]).to_vec());
    encodings_that_are_all_known_pass: encodings::write(&[1, 7, -223, -224, -239, -308])
        => viewer Passes, controller Passes;
    more_than_128_encodings_close: encodings::write(&[0; 129])
        => viewer Closes(Violation::Field(2)), controller Closes(Violation::Field(2));

    // 7.5.3 FramebufferUpdateRequest
    a_request_for_an_update_passes: encode::update_request(true, 10, 10) => viewer Passes, controller Passes;
    a_request_for_a_full_update_passes_while_there_is_ration: encode::update_request(false, 10, 10)
        => viewer Passes, controller Passes;

    // 7.5.4 KeyEvent
    a_key_is_the_controllers: encode::key(65, true)
        => viewer Dropped(Kind::Key, Reason::Role), controller Passes;
    a_key_that_goes_up_is_the_controllers: encode::key(65, false)
        => viewer Dropped(Kind::Key, Reason::Role), controller Passes;

    // 7.5.5 PointerEvent; six bytes whatever the mask says, since ExtendedMouseButtons is never announced
    the_pointer_is_the_controllers: encode::pointer(1, 2, 3)
        => viewer Dropped(Kind::Pointer, Reason::Role), controller Passes;
    a_pointer_with_the_eighth_button_is_six_bytes_long: encode::pointer(0x81, 2, 3)
        => viewer Dropped(Kind::Pointer, Reason::Role), controller Passes;

    // 7.5.6 ClientCutText, and "Extended Clipboard Pseudo-Encoding"
    clipboard_text_is_the_controllers: encode::cut_text(b"hello")
        => viewer Dropped(Kind::CutText, Reason::Role), controller Passes;
    the_extended_clipboard_is_the_controllers: clipboard::provide("héllo")
        => viewer Dropped(Kind::CutText, Reason::Role), controller Passes;
    the_longest_clipboard_passes: encode::cut_text(&vec![b'x'; MAX_CUT_TEXT as usize])
        => viewer Dropped(Kind::CutText, Reason::Role), controller Passes;
    a_longer_clipboard_is_skipped: encode::cut_text(&vec![b'x'; MAX_CUT_TEXT as usize + 1])
        => viewer Dropped(Kind::CutText, Reason::Size), controller Dropped(Kind::CutText, Reason::Size);
    an_extended_clipboard_without_flags_closes: [6, 0, 0, 0, 0xff, 0xff, 0xff, 0xfd, 0, 0, 0]
        => viewer Closes(Violation::Field(6)), controller Closes(Violation::Field(6));

    // Types 7 to 21: UltraVNC's file transfer, chat, scaling, single window and more, of unknown length
    ultravnc_7_closes: of_type(7) => viewer Closes(Violation::Type(7)), controller Closes(Violation::Type(7));
    ultravnc_8_closes: of_type(8) => viewer Closes(Violation::Type(8)), controller Closes(Violation::Type(8));
    keep_alive_13_closes: of_type(13) => viewer Closes(Violation::Type(13)), controller Closes(Violation::Type(13));
    ultravnc_21_closes: of_type(21) => viewer Closes(Violation::Type(21)), controller Closes(Violation::Type(21));
    // Others' extensions of unknown length
    plugin_streams_close: of_type(80) => viewer Closes(Violation::Type(80)), controller Closes(Violation::Type(80));
    vmware_127_closes: of_type(127) => viewer Closes(Violation::Type(127)), controller Closes(Violation::Type(127));
    car_connectivity_closes: of_type(128) => viewer Closes(Violation::Type(128)), controller Closes(Violation::Type(128));
    olive_closes: of_type(249) => viewer Closes(Violation::Type(249)), controller Closes(Violation::Type(249));
    tight_closes: of_type(252) => viewer Closes(Violation::Type(252)), controller Closes(Violation::Type(252));
    gii_closes: of_type(253) => viewer Closes(Violation::Type(253)), controller Closes(Violation::Type(253));
    vmware_254_closes: of_type(254) => viewer Closes(Violation::Type(254)), controller Closes(Violation::Type(254));

    // "EnableContinuousUpdates"
    continuous_updates_pass: encode::continuous_updates(true, 10, 10) => viewer Passes, controller Passes;

    // "ClientFence"
    a_fence_passes_untouched: encode::fence(encode::FENCE_REQUEST | 7, &[9; 64]) => viewer Passes, controller Passes;
    the_answer_to_a_fence_passes_untouched: encode::fence(7, b"") => viewer Passes, controller Passes;
    a_fence_of_more_than_64_bytes_closes: [248, 0, 0, 0, 0, 0, 0, 0, 65]
        => viewer Closes(Violation::Field(248)), controller Closes(Violation::Field(248));

    // "xvp Client Message"
    power_control_is_nobodys: [250, 0, 1, 2]
        => viewer Dropped(Kind::Xvp, Reason::Policy), controller Dropped(Kind::Xvp, Reason::Policy);

    // "SetDesktopSize"
    the_size_is_the_controllers: resized(1280, 800)
        => viewer Dropped(Kind::SetDesktopSize, Reason::Role), controller Passes;
    a_size_that_is_too_small_is_made_possible: resized(1, 1)
        => viewer Dropped(Kind::SetDesktopSize, Reason::Role), controller Becomes(resized(320, 200));
    a_size_that_is_too_large_is_made_possible: resized(65535, 65535)
        => viewer Dropped(Kind::SetDesktopSize, Reason::Role), controller Becomes(resized(3840, 2160));
    two_screens_are_refused: [&[251, 0, 4, 0, 3, 0, 2, 0][..], &[0; 32]].concat()
        => viewer Dropped(Kind::SetDesktopSize, Reason::Role), controller Dropped(Kind::SetDesktopSize, Reason::Size);
    no_screen_is_refused: [251, 0, 4, 0, 3, 0, 0, 0]
        => viewer Dropped(Kind::SetDesktopSize, Reason::Role), controller Dropped(Kind::SetDesktopSize, Reason::Size);
    more_screens_than_anybody_has_close: [251, 0, 4, 0, 3, 0, 17, 0]
        => viewer Closes(Violation::Field(251)), controller Closes(Violation::Field(251));

    // "QEMU Client Message"
    a_qemu_key_is_the_controllers: encode::qemu_key(65, 30, true)
        => viewer Dropped(Kind::QemuKey, Reason::Role), controller Passes;
    qemu_audio_is_nobodys: [255, 1, 0, 0]
        => viewer Dropped(Kind::QemuAudio, Reason::Policy), controller Dropped(Kind::QemuAudio, Reason::Policy);
    a_qemu_audio_format_is_ten_bytes_long: [255, 1, 0, 2, 1, 2, 0, 0, 172, 68]
        => viewer Dropped(Kind::QemuAudio, Reason::Policy), controller Dropped(Kind::QemuAudio, Reason::Policy);
    an_unknown_audio_operation_closes: [255, 1, 0, 3]
        => viewer Closes(Violation::Field(255)), controller Closes(Violation::Field(255));
    an_unknown_qemu_message_closes: [255, 2, 0, 0]
        => viewer Closes(Violation::Field(255)), controller Closes(Violation::Field(255));
}

#[test]
fn all_types_that_have_no_rule_close_the_connection() {
    let ruled = [0, 2, 3, 4, 5, 6, 150, 248, 250, 251, 255];
    for kind in (0..=255).filter(|kind| !ruled.contains(kind)) {
        for role in [Role::Viewer, Role::Controller] {
            let outcome = outcome(ALL, role, &announced(), &of_type(kind));
            assert_eq!(outcome, Closes(Violation::Type(kind)));
        }
    }
}

#[test]
fn what_the_policy_does_not_grant_a_controller_does_not_send() {
    let outcome = |message: &[u8]| outcome(NONE, Role::Controller, &announced(), message);
    assert_eq!(outcome(&encode::cut_text(b"x")), Dropped(Kind::CutText, Reason::Policy));
    assert_eq!(outcome(&clipboard::notify()), Dropped(Kind::CutText, Reason::Policy));
    assert_eq!(outcome(&resized(800, 600)), Dropped(Kind::SetDesktopSize, Reason::Policy));
    let clipboard = encodings::write(&[encodings::EXTENDED_CLIPBOARD, 7]);
    assert_eq!(outcome(&clipboard), Becomes(encodings::write(&[7, -223]).to_vec()));
}

#[test]
fn the_clipboard_goes_only_the_way_that_it_may() {
    let way = |paste, copy, message: &[u8]| {
        let policy = Policy { paste, copy, resize: false, quality: None };
        outcome(policy, Role::Controller, &announced(), message) == Passes
    };
    let (gives, asks) =
        ([encode::cut_text(b"x"), clipboard::notify(), clipboard::provide("x")], clipboard::request());
    for message in &gives {
        assert!(way(true, false, message) && !way(false, true, message), "{message:?}");
    }
    assert!(way(false, true, &asks) && !way(true, false, &asks));
    // Neither moves a text; both begin with it.
    let clipboard = encodings::write(&[encodings::EXTENDED_CLIPBOARD, -223]);
    for (paste, copy) in [(true, false), (false, true)] {
        assert!(way(paste, copy, &clipboard::caps()) && way(paste, copy, &clipboard));
    }
}

#[test]
fn what_a_client_did_not_announce_the_server_would_close_on_and_never_sees() {
    let unannounced = |message: &[u8]| outcome(ALL, Role::Controller, &[], message);
    let dropped = |kind| Dropped(kind, Reason::Unannounced);
    assert_eq!(unannounced(&encode::continuous_updates(true, 9, 9)), dropped(Kind::ContinuousUpdates));
    assert_eq!(unannounced(&encode::fence(encode::FENCE_REQUEST, b"x")), dropped(Kind::Fence));
    assert_eq!(unannounced(&encode::fence(0, b"x")), Passes, "an answer asks for nothing");
    assert_eq!(unannounced(&resized(800, 600)), dropped(Kind::SetDesktopSize));
    // Fences alone are struck out of what is announced, so they are not there either; and what is announced last counts.
    let alone = encodings::write(&[encodings::FENCE, 7]);
    for before in [alone.to_vec(), [announced(), encodings::write(&[7]).to_vec()].concat()] {
        let outcome = outcome(ALL, Role::Viewer, &before, &encode::continuous_updates(true, 9, 9));
        assert_eq!(outcome, dropped(Kind::ContinuousUpdates));
    }
}

#[test]
fn a_client_holds_no_more_keys_than_a_keyboard_has() {
    let held: Vec<u8> = (0..128).flat_map(|key| encode::key(key, true)).collect();
    let before = [announced(), held].concat();
    let one_more = encode::key(999, true);
    let outcome = outcome(ALL, Role::Controller, &before, &one_more);
    assert_eq!(outcome, Dropped(Kind::Key, Reason::Excess));
}

#[test]
fn only_what_the_allow_list_names_is_announced() {
    let kept = [
        0,
        1,
        2,
        5,
        6,
        7,
        16,
        21,
        50,
        -223,
        -224,
        -239,
        -258,
        -260,
        -261,
        -307,
        -308,
        encodings::FENCE,
        encodings::CONTINUOUS_UPDATES,
        encodings::EXTENDED_CLIPBOARD,
        0x574d_5664,
    ];
    let quality = (-32..=-23).chain(-256..=-247);
    let kept: Vec<i32> = kept.into_iter().chain(quality).collect();
    for encoding in (-1000..1000).chain(kept.clone()) {
        let (rewritten, _) = encodings::rewrite(
            &encodings::write(&[encoding, encodings::FENCE, encodings::CONTINUOUS_UPDATES]),
            ALL,
        );
        let named = rewritten[4..].chunks_exact(4).any(|chunk| chunk == encoding.to_be_bytes());
        assert_eq!(named, kept.contains(&encoding), "{encoding}");
    }
}
