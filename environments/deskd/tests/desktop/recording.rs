//! Recordings of a real display.

use a8s_deskd::record::updates::{TIGHT, tight};
use a8s_rfb::encodings;
use a8s_wire::{
    Holder, SetControl,
    recording::{GapReason, Order},
};
use serde_json::json;

use crate::{
    host::{Agent, Host},
    taker::{ORDER, messages},
};

/// A rectangle of an update: width, height, encoding, data.
type Rectangle<'a> = (usize, usize, i32, &'a [u8]);

/// The rectangles of one update of a recording.
fn rectangles(update: &[u8]) -> Vec<Rectangle<'_>> {
    let number = |at: usize| usize::from(u16::from_be_bytes([update[at], update[at + 1]]));
    assert_eq!(update[0], 0, "a recording holds nothing but pictures");
    let (mut found, mut at) = (Vec::new(), 4);
    for _ in 0..number(2) {
        let (w, h) = (number(at + 4), number(at + 6));
        let encoding = i32::from_be_bytes(update[at + 8..at + 12].try_into().unwrap());
        at += 12;
        let length = match encoding {
            TIGHT => tight(&update[at..], w, h).unwrap(),
            encodings::COPY_RECT => 4,
            encodings::RAW => w * h * 4,
            encodings::LAST_RECT => break,
            other => panic!("encoding {other}"),
        };
        found.push((w, h, encoding, &update[at..at + length]));
        at += length;
    }
    assert_eq!(at, update.len(), "something follows the update");
    found
}

/// Which of Tight's four streams a rectangle goes on with, and the first bytes that it adds.
fn compressed<'a>((w, h, encoding, data): &Rectangle<'a>) -> Option<(u8, &'a [u8])> {
    let control = *data.first()?;
    if *encoding != TIGHT || control & 0x80 != 0 {
        return None;
    }
    let explicit = control & 0x40 != 0;
    let (head, length) = match explicit.then(|| data[1]) {
        Some(1) => {
            let colours = usize::from(data[2]) + 1;
            (3 + colours * 3, if colours <= 2 { w.div_ceil(8) * h } else { w * h })
        }
        Some(_) => (2, w * h * 3),
        None => (1, w * h * 3),
    };
    if length < 12 {
        return None;
    }
    let rest = &data[head..];
    let size = 1 + rest.iter().take(2).take_while(|byte| **byte & 0x80 != 0).count();
    Some((control >> 4 & 3, &rest[size..]))
}

/// Checks that a segment needs nothing that came before it.
fn plays_alone(segment: &[u8]) -> usize {
    let ((width, height), updates) = messages(segment);
    let whole: usize = rectangles(&updates[0]).iter().map(|(w, h, ..)| w * h).sum();
    assert!(whole >= usize::from(width) * usize::from(height), "the first picture is not whole");
    let mut begun = [false; 4];
    for rectangle in updates.iter().flat_map(|update| rectangles(update)) {
        if let Some((stream, data)) = compressed(&rectangle)
            && !std::mem::replace(&mut begun[usize::from(stream)], true)
        {
            // RFC 1950: deflate with a window of 32 KiB. What goes on from before has no such beginning.
            assert_eq!(data[0] & 0x0f, 8, "stream {stream} does not begin in its segment");
            assert_eq!((u16::from(data[0]) << 8 | u16::from(data[1])) % 31, 0, "no zlib header");
        }
    }
    assert!(begun.contains(&true), "nothing is compressed; the test proves nothing");
    updates.len()
}

/// A terminal whose content never stands still.
async fn animated(agent: &Agent) {
    let script = "while :; do date +%N; sleep 0.02; done";
    let args = json!(["-title", "animated", "-e", "sh", "-c", script]);
    agent.must("launch", json!({"program": "terminal", "args": args})).await;
    agent.must("wait_for_window", json!({"title_contains": "animated"})).await;
}

#[tokio::test]
async fn each_segment_of_an_animated_terminal_plays_alone() {
    let host = Host::start().await;
    let agent = host.agent().await;
    let mut taker = host.record(Order { segment_seconds: 1, ..ORDER }).await;
    animated(&agent).await;
    taker.until("three segments", |taken| taken.segments.len() == 3).await;
    let recording = taker.end().await;
    let pictures: Vec<usize> = recording.segments.iter().map(|segment| plays_alone(segment)).collect();
    // The first whole one is 1000x700 pixels of an almost empty desktop: far less than the 2.8 MB that it has uncompressed.
    assert!(recording.segments[0].len() < 1 << 20, "{} bytes", recording.segments[0].len());
    assert!(pictures[1] > 2, "{pictures:?}");
    println!("{pictures:?} pictures, {} bytes", recording.bytes());
}

#[tokio::test]
async fn the_order_sets_the_pace_of_xvnc() {
    let host = Host::start().await;
    let agent = host.agent().await;
    animated(&agent).await;
    let mut taker = host.record(Order { rate: 5, segment_seconds: 2, ..ORDER }).await;
    taker.until("two segments", |taken| taken.segments.len() == 2).await;
    let recording = taker.end().await;
    let (_, updates) = messages(&recording.segments[0]);
    // Two seconds at five a second, the first whole one, and one on the way.
    assert!((3..=13).contains(&updates.len()), "{} pictures", updates.len());
}

#[tokio::test]
async fn the_display_is_not_recorded_while_a_person_holds_it_in_private() {
    let host = Host::start().await;
    let agent = host.agent().await;
    animated(&agent).await;
    let mut taker = host.record(ORDER).await;
    taker.until("it rolls", |taken| !taken.segments.is_empty()).await;
    let private = SetControl { holder: Holder::User, user: Some("jane".into()), private: true, epoch: 1 };
    assert_eq!(host.set_control(&private).await.0, 200);
    let from = jiff::Timestamp::now();
    let mut jane = host.viewer("jane", &[a8s_wire::Scope::View, a8s_wire::Scope::Control]).await;
    for _ in 0..5 {
        jane.barrier().await;
    }
    let to = jiff::Timestamp::now();
    let back = SetControl { holder: Holder::Agent, user: None, private: false, epoch: 2 };
    assert_eq!(host.set_control(&back).await.0, 200);
    taker.until("it rolls again", |taken| taken.segments.len() == 2).await;
    let recording = taker.end().await;
    recording.segments.iter().for_each(|segment| assert!(plays_alone(segment) > 0));
    let gaps = recording.gaps();
    let [gap] = &gaps[..] else { panic!("{gaps:?}") };
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    assert_eq!(gap.why, GapReason::Private);
    assert!(time(&gap.from) <= from && to <= time(&gap.to), "{gap:?} is not all from {from} to {to}");
}
