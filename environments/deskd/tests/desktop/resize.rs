//! Who may change the size of the desktop, and what everybody else notices of it.

use a8s_rfb::encode::{self, set_desktop_size};
use a8s_wire::{Holder, Scope, SetControl, recording::Order};
use serde_json::json;

use crate::{
    host::{Host, eventually},
    person::Viewer,
    taker::ORDER,
};

const BOTH: [Scope; 2] = [Scope::View, Scope::Control];
/// What a client announces that asks for sizes.
const RESIZING: [i32; 3] = [0, -223, -308];

fn lease(user: Option<&str>, epoch: i64) -> SetControl {
    let holder = if user.is_some() { Holder::User } else { Holder::Agent };
    SetControl { holder, user: user.map(Into::into), private: false, epoch }
}

async fn resizing(host: &Host, user: &str, scopes: &[Scope]) -> Viewer {
    let mut viewer = host.viewer(user, scopes).await;
    viewer.send(&encode::set_encodings(&RESIZING)).await;
    viewer.barrier().await;
    viewer
}

async fn has(host: &Host, size: (u16, u16)) {
    eventually("deskd knows the size", async || {
        let state = host.state().await;
        (state.width, state.height) == size
    })
    .await;
}

#[tokio::test]
async fn the_holder_resizes_the_desktop_and_every_viewer_stays() {
    let host = Host::start().await;
    host.set_control(&lease(Some("jane"), 1)).await;
    let mut jane = resizing(&host, "jane", &BOTH).await;
    let mut joe = host.viewer("joe", &[Scope::View]).await;
    // He announces nothing of sizes.
    joe.send(&encode::set_encodings(&[0])).await;
    joe.barrier().await;
    // TigerVNC 1.12 loses its place in a message that comes in pieces.
    let message = set_desktop_size(800, 600);
    for piece in [&message[..5], &message[5..13], &message[13..]] {
        jane.send(piece).await;
    }
    jane.until_wide(800).await;
    joe.until_wide(800).await;
    has(&host, (800, 600)).await;
    jane.barrier().await;
    joe.barrier().await;
}

#[tokio::test]
async fn nobody_else_resizes_the_desktop_and_nobody_at_all_while_the_agent_works() {
    let host = Host::start().await;
    let mut jane = resizing(&host, "jane", &BOTH).await;
    // What he may not do he may not while he holds control, either.
    let mut joe = resizing(&host, "joe", &[Scope::View]).await;
    for (epoch, holder) in [(1, None), (2, Some("joe"))] {
        host.set_control(&lease(holder, epoch)).await;
        for viewer in [&mut jane, &mut joe] {
            viewer.send(&set_desktop_size(800, 600)).await;
            viewer.barrier().await;
            assert_eq!((viewer.picture.width, viewer.picture.height), (1000, 700), "{holder:?} has control");
        }
    }
    has(&host, (1000, 700)).await;
}

#[tokio::test]
async fn a_size_is_never_too_small_or_too_large_to_work_on() {
    let host = Host::start().await;
    host.set_control(&lease(Some("jane"), 1)).await;
    let mut jane = resizing(&host, "jane", &BOTH).await;
    jane.send(&set_desktop_size(10, 10)).await;
    jane.until_wide(320).await;
    has(&host, (320, 200)).await;
    jane.send(&set_desktop_size(60_000, 60_000)).await;
    jane.until_wide(3840).await;
    has(&host, (3840, 2160)).await;
}

#[tokio::test]
async fn the_agent_is_told_of_another_size_and_works_in_it() {
    let host = Host::start().await;
    let agent = host.agent().await;
    agent.must("computer", json!({"action": "screenshot"})).await;
    host.set_control(&lease(Some("jane"), 1)).await;
    let mut jane = resizing(&host, "jane", &BOTH).await;
    jane.send(&set_desktop_size(1200, 900)).await;
    jane.until_wide(1200).await;
    has(&host, (1200, 900)).await;
    host.set_control(&lease(None, 2)).await;
    let movement = json!({"action": "mouse_move", "coordinate": [1150, 850]});
    let back = agent.call("computer", movement.clone()).await;
    assert_eq!(back.json["error"], "control_handed_back");
    assert!(
        back.jpeg.is_some() && back.text.contains("1200x900 pixels now; it had 1000x700"),
        "{}",
        back.text
    );
    let moved = agent.must("computer", movement).await;
    assert_eq!((&moved.json["size"], &moved.json["note"]), (&json!([1200, 900]), &json!(null)), "told once");
    assert_eq!(host.pointer().0, (1150, 850));
}

#[tokio::test]
async fn a_recording_follows_another_size() {
    let host = Host::start().await;
    host.set_control(&lease(Some("jane"), 1)).await;
    let mut jane = resizing(&host, "jane", &BOTH).await;
    let mut taker = host.record(Order { segment_seconds: 60, ..ORDER }).await;
    taker.until("the first picture", |recording| recording.bytes() > 0).await;
    jane.send(&set_desktop_size(800, 600)).await;
    jane.until_wide(800).await;
    // A rectangle that says a size and has no content: RFC 6143, 7.8.2.
    let told = [&[0, 0, 0, 0], &800_u16.to_be_bytes()[..], &600_u16.to_be_bytes(), &(-223_i32).to_be_bytes()]
        .concat();
    taker
        .until("the other size", |recording| {
            recording.segments.concat().windows(told.len()).any(|bytes| bytes == told)
        })
        .await;
    taker.end().await;
}
