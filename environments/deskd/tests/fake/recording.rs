//! What is recorded, and what never is.

use std::{collections::BTreeSet, time::Instant};

use a8s_deskd::fake::glyph::{self, Rect};
use a8s_rfb::{encode, keysym};
use a8s_wire::{
    Holder, Scope, SetControl,
    recording::{GapReason, Note, Order},
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    host::{Agent, Host, eventually},
    person::Viewer,
    taker::{ORDER, Recording, messages, play},
};

const BOTH: [Scope; 2] = [Scope::View, Scope::Control];

fn privately(epoch: i64) -> SetControl {
    SetControl { holder: Holder::User, user: Some("jane".into()), private: true, epoch }
}

fn to_agent(epoch: i64) -> SetControl {
    SetControl { holder: Holder::Agent, user: None, private: false, epoch }
}

async fn editor(host: &Host) -> (Agent, Rect) {
    let agent = host.agent().await;
    agent.must("launch", json!({"program": "editor"})).await;
    let window = agent.must("wait_for_window", json!({"title_contains": "editor"})).await.json;
    let part = |name: &str| u16::try_from(window[name].as_u64().unwrap()).unwrap();
    let (y, h) = (part("y") + glyph::HEIGHT, part("height") - glyph::HEIGHT);
    (agent, Rect { x: part("x"), y, w: part("width"), h })
}

async fn types(agent: &Agent, text: &str) {
    agent.must("computer", json!({"action": "type", "text": text, "screenshot_after": false})).await;
}

/// Every text that any picture of the recording shows.
fn shown(recording: &Recording, page: Rect) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    for segment in &recording.segments {
        play(segment, |picture| {
            texts.insert(glyph::read(picture, page).join("\n").trim_end().to_owned());
        });
    }
    texts
}

/// What the person writes, and takes away again before she gives control back.
async fn writes_and_erases(jane: &mut Viewer, text: &str) {
    for c in text.chars() {
        jane.send(&encode::key(keysym::from_char(c), true)).await;
        jane.send(&encode::key(keysym::from_char(c), false)).await;
    }
    jane.barrier().await;
    for _ in text.chars() {
        jane.send(&encode::key(0xff08, true)).await;
        jane.send(&encode::key(0xff08, false)).await;
    }
    jane.barrier().await;
}

#[tokio::test]
async fn a_recording_shows_what_was_on_the_screen_and_tells_what_was_done() {
    let host = Host::fake().await;
    let (agent, page) = editor(&host).await;
    let mut taker = host.record(ORDER).await;
    taker.until("it rolls", |taken| !taken.segments.is_empty()).await;
    assert!(host.state().await.recording);
    agent.must("computer", json!({"action": "left_click", "coordinate": [400, 300]})).await;
    types(&agent, "hunter2").await;
    agent.must("clipboard", json!({"action": "set", "text": "hunter2"})).await;
    taker.until("the text", |taken| shown(taken, page).contains("hunter2")).await;
    let recording = taker.end().await;
    eventually("the recorder rests", async || !host.state().await.recording).await;
    assert_eq!(
        recording.actions(),
        ["Agent: click 400,300", "Agent: type (7 characters)", "Agent: copy (7 characters)"]
    );
    let notes = serde_json::to_string(&recording.notes).unwrap();
    assert!(!notes.contains("hunter2"), "{notes}");
    assert!(matches!(recording.notes.first(), Some(Note::Begin { width: 1000, height: 700, .. })));
    assert!(matches!(recording.notes.last(), Some(Note::End { changes: 1.., .. })), "{notes}");
}

#[tokio::test]
async fn each_segment_plays_alone() {
    let host = Host::fake().await;
    let (agent, page) = editor(&host).await;
    types(&agent, "first").await;
    let mut taker = host.record(Order { segment_seconds: 1, ..ORDER }).await;
    agent.must("launch", json!({"program": "animation", "args": ["60000"]})).await;
    taker.until("three segments", |taken| taken.segments.len() == 3).await;
    let recording = taker.end().await;
    for segment in &recording.segments {
        let mut pictures = 0;
        play(segment, |_| pictures += 1);
        assert!(pictures > 0);
    }
    let ends = recording.notes.iter().filter(|note| matches!(note, Note::End { millis: 0..20_000, .. }));
    assert_eq!(ends.count(), recording.segments.len());
    drop((agent, page));
}

#[tokio::test]
async fn nothing_of_a_private_time_is_recorded_however_often_control_changes() {
    let host = Host::fake().await;
    let (agent, page) = editor(&host).await;
    types(&agent, "public").await;
    let mut taker = host.record(ORDER).await;
    taker.until("it rolls", |taken| !taken.segments.is_empty()).await;
    let mut epoch = 0;
    for _ in 0..8 {
        assert_eq!(host.set_control(&privately(epoch + 1)).await.0, 200);
        let mut jane = host.viewer("jane", &BOTH).await;
        writes_and_erases(&mut jane, "SECRET").await;
        epoch += 2;
        assert_eq!(host.set_control(&to_agent(epoch)).await.0, 200);
        let rounds = usize::try_from(epoch / 2).unwrap();
        taker.until("it rolls again", |taken| taken.segments.len() == rounds + 1).await;
    }
    agent.must("computer", json!({"action": "screenshot"})).await;
    types(&agent, " again").await;
    taker.until("the text", |taken| shown(taken, page).iter().any(|text| text.ends_with("again"))).await;
    let recording = taker.end().await;
    let texts = shown(&recording, page);
    assert!(texts.contains("public") && texts.contains("public again"), "{texts:?}");
    assert!(texts.iter().all(|text| !text.contains('S')), "{texts:?}");
    let gaps = recording.gaps();
    assert_eq!(gaps.iter().filter(|gap| gap.why == GapReason::Private).count(), 8, "{gaps:?}");
    let told = recording.actions();
    assert!(
        told.starts_with(&["Person: took control in private".into(), "Person: gave control back".into()])
    );
}

#[tokio::test]
async fn a_recording_that_begins_in_private_or_after_a_crash_in_private_is_dark() {
    let mut host = Host::fake().await;
    host.set_control(&privately(1)).await;
    let taker = host.record(ORDER).await;
    assert!(host.state().await.recording);
    let mut jane = host.viewer("jane", &BOTH).await;
    writes_and_erases(&mut jane, "x").await;
    let recording = taker.end().await;
    assert_eq!((recording.segments.len(), recording.gaps().len()), (0, 1));
    host.restart().await;
    let mut taker = host.record(ORDER).await;
    let mut jane = host.viewer("jane", &BOTH).await;
    writes_and_erases(&mut jane, "x").await;
    host.set_control(&to_agent(2)).await;
    taker.until("it rolls", |taken| !taken.segments.is_empty()).await;
    let reasons: Vec<_> = taker.end().await.gaps().into_iter().map(|gap| gap.why).collect();
    assert_eq!(reasons, [GapReason::Private]);
}

#[tokio::test]
async fn a_recording_stays_within_its_order_and_says_that_it_is_full() {
    let host = Host::fake().await;
    let agent = host.agent().await;
    agent.must("launch", json!({"program": "animation", "args": ["60000"]})).await;
    // Plain rectangles: one whole picture has 2.8 MB.
    let order = Order { max_bytes: 6_000_000, ..ORDER };
    let mut taker = host.record(order).await;
    taker.until("it is full", |taken| taken.notes.iter().any(|note| matches!(note, Note::End { .. }))).await;
    // The agent does not notice.
    agent.must("computer", json!({"action": "screenshot"})).await;
    let recording = taker.end().await;
    assert!(recording.bytes() <= 6_000_000, "{}", recording.bytes());
    assert_eq!(recording.segments.len(), 1);
    assert!(!messages(&recording.segments[0]).1.is_empty());
    assert_eq!(recording.gaps().iter().map(|gap| gap.why).collect::<Vec<_>>(), [GapReason::Limit]);
}

#[tokio::test]
async fn a_taker_that_takes_nothing_holds_up_nobody() {
    let host = Host::fake().await;
    let (agent, _) = editor(&host).await;
    let taker = host.record(ORDER).await;
    eventually("it is there", async || host.state().await.recording).await;
    agent.must("launch", json!({"program": "animation", "args": ["60000"]})).await;
    for round in 0..5 {
        agent.must("computer", json!({"action": "screenshot"})).await;
        let began = Instant::now();
        assert_eq!(host.set_control(&privately(round * 2 + 1)).await.0, 200);
        assert!(began.elapsed().as_secs() < 3, "control took {:?}", began.elapsed());
        assert_eq!(host.set_control(&to_agent(round * 2 + 2)).await.0, 200);
        agent.must("computer", json!({"action": "screenshot"})).await;
    }
    drop(taker);
    eventually("the recorder rests", async || !host.state().await.recording).await;
}

#[tokio::test]
async fn a_new_taker_takes_over_and_the_old_one_keeps_what_it_has() {
    let host = Host::fake().await;
    let mut first = host.record(ORDER).await;
    first.until("it rolls", |taken| !taken.segments.is_empty()).await;
    let mut second = host.record(ORDER).await;
    let first = first.rest().await;
    assert!(matches!(first.notes.last(), Some(Note::End { .. })), "{:?}", first.notes);
    second.until("it rolls", |taken| !taken.segments.is_empty()).await;
    assert_eq!(second.end().await.segments.len(), 1);
}

#[tokio::test]
async fn who_orders_nonsense_is_turned_away() {
    let host = Host::fake().await;
    let mut stream = tokio::net::UnixStream::connect(host.path("recorder.sock")).await.unwrap();
    stream.write_all(b"{\"rate\":\"many\"}\n").await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(!host.state().await.recording);
}
