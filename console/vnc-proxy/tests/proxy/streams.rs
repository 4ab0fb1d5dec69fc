//! Open streams.

use std::{sync::atomic::Ordering, time::Duration};

use a8s_rfb::encode;
use a8s_wire::Scope;
use tokio_tungstenite::tungstenite::Message;

use crate::fake::{ORIGIN, World};

const SOON: Duration = Duration::from_millis(30);

#[tokio::test]
async fn the_desktop_is_told_who_comes_and_what_they_may() {
    let mut world = World::new().await;
    let _viewer = world.open("viewer", "view").await;
    world.desktop_received(&[]).await;
    let claims = world.desktop.claims.lock().unwrap()[0].clone();
    assert_eq!((claims.iss.as_str(), claims.sub.as_str()), ("vnc-proxy", "viewer"));
    assert_eq!(claims.scp, [Scope::View]);
    let _controller = world.open("jane", "control").await;
    assert_eq!(world.desktop.claims.lock().unwrap()[1].scp, [Scope::View, Scope::Control]);
}

#[tokio::test]
async fn a_view_stream_carries_no_input() {
    let mut world = World::new().await;
    let mut browser = world.open("jane", "view").await;
    browser.send(&encode::key(0x61, true)).await;
    browser.send(&encode::pointer(1, 10, 10)).await;
    browser.send(&[6, 0, 0, 0, 0, 0, 0, 1, 65]).await;
    let request = encode::update_request(true, 100, 100);
    browser.send(&request).await;
    world.desktop_received(&request).await;
}

#[tokio::test]
async fn a_control_stream_carries_input_and_adds_nothing_when_the_browser_leaves() {
    let mut world = World::new().await;
    let mut browser = world.open("jane", "control").await;
    let input = [encode::key(0x61, true).as_slice(), &encode::pointer(1, 10, 10)].concat();
    // RFB messages do not end where WebSocket messages do.
    browser.send(&input[..3]).await;
    browser.send(&input[3..]).await;
    world.desktop_received(&input).await;
    browser.close().await;
    // What is held down is let go by deskd, which knows what of it had an effect.
    world.desktop.closed.wait_for(|closed| *closed).await.unwrap();
    world.desktop_received(&input).await;
}

#[tokio::test]
async fn a_wish_for_another_size_is_passed_on_from_who_may_control_and_counted() {
    let mut world = World::new().await;
    let mut browser = world.open("jane", "control").await;
    let announced = encode::set_encodings(&[0, -223, -308]);
    let wish = encode::set_desktop_size(640, 480);
    browser.send(&announced).await;
    browser.send(&wish).await;
    world.desktop_received(&[&announced[..], &wish].concat()).await;
    world.until_metric("resize_total", 1.0).await;
}

#[tokio::test]
async fn the_limit_of_the_quality_is_for_those_who_may_only_watch() {
    for (mode, expected) in [("view", -28), ("control", -23)] {
        let mut world = World::new().await;
        let mut browser = world.open("jane", mode).await;
        browser.send(&encode::set_encodings(&[7, -23, -223])).await;
        world.desktop_received(&encode::set_encodings(&[7, expected, -223])).await;
    }
}

#[tokio::test]
async fn a_stream_that_breaks_the_protocol_is_closed() {
    let world = World::new().await;
    let mut unknown = world.open("jane", "control").await;
    unknown.send(&[7; 8]).await;
    assert_eq!(unknown.closed().await, 1008);
    let mut text = world.open("jane", "view").await;
    text.message(Message::Text("hello".into())).await;
    assert_eq!(text.closed().await, 1003);
}

#[tokio::test]
async fn withdrawn_access_ends_the_stream() {
    let world = World::with(|timing| timing.recheck = SOON).await;
    let mut browser = world.open("jane", "view").await;
    world.cluster.lock().unwrap().allowed.clear();
    assert_eq!(browser.closed().await, 4403);
}

#[tokio::test]
async fn a_workspace_that_is_deleted_or_stopped_ends_the_stream() {
    let world = World::with(|timing| timing.recheck = SOON).await;
    let mut browser = world.open("jane", "view").await;
    world.cluster.lock().unwrap().running = false;
    assert_eq!(browser.closed().await, 4410);
    world.cluster.lock().unwrap().running = true;
    let mut browser = world.open("jane", "view").await;
    world.cluster.lock().unwrap().uid = Some("99999999-2222-3333-4444-555555555555".into());
    assert_eq!(browser.closed().await, 4404);
}

#[tokio::test]
async fn an_api_server_that_is_away_ends_a_stream_only_after_a_while() {
    let world = World::with(|timing| (timing.recheck, timing.unchecked) = (SOON, SOON * 10)).await;
    let mut browser = world.open("jane", "view").await;
    let began = std::time::Instant::now();
    world.cluster.lock().unwrap().broken = true;
    assert_eq!(browser.closed().await, 1011);
    assert!(began.elapsed() >= SOON * 9, "closed after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_stopping_proxy_sends_its_browsers_elsewhere() {
    let world = World::with(|timing| timing.drain = SOON).await;
    let mut browser = world.open("jane", "view").await;
    world.proxy.stop.cancel();
    assert_eq!(browser.closed().await, 1012);
    world.proxy.streams.close();
    world.proxy.streams.wait().await;
}

#[tokio::test]
async fn the_third_viewer_of_a_desktop_for_two_is_refused() {
    let world = World::new().await;
    let (mut first, _second) = (world.open("jane", "view").await, world.open("jane", "view").await);
    let ticket = world.ticket("viewer", "view").await;
    assert_eq!(world.connect(&ticket, ORIGIN).await.unwrap().closed().await, 4429);
    first.close().await;
    // The place is free once the proxy has seen the goodbye.
    while world.viewers() == 2 {
        tokio::task::yield_now().await;
    }
    world.open("viewer", "view").await;
}

#[tokio::test]
async fn a_window_too_many_takes_the_place_of_the_same_persons_oldest() {
    let world = World::new().await;
    let mut first = world.open("jane", "view").await;
    let mut other = world.open("viewer", "view").await;
    let second = world.open("jane", "view").await;
    assert_eq!(first.closed().await, 4409);
    drop(second);
    other.send(&encode::update_request(true, 100, 100)).await;
    while world.viewers() != 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn of_many_browsers_a_stopping_proxy_sends_each_away_at_another_time() {
    let drain = SOON * 20;
    let world = World::roomy(|timing| timing.drain = drain).await;
    let mut browsers = Vec::new();
    for _ in 0..12 {
        browsers.push(world.open("jane", "view").await);
    }
    let began = std::time::Instant::now();
    world.proxy.stop.cancel();
    let ends = browsers.iter_mut().map(async |browser| (browser.closed().await, began.elapsed()));
    let ends = futures::future::join_all(ends).await;
    assert!(ends.iter().all(|(code, _)| *code == 1012), "{ends:?}");
    let (first, last) = (ends.iter().map(|end| end.1).min(), ends.iter().map(|end| end.1).max());
    // Twelve times at random within one part in six of the time: once in 35 million runs.
    assert!(last.unwrap() > first.unwrap() + drain / 6, "all at once: {ends:?}");
}

#[tokio::test]
async fn a_desktop_held_in_private_says_so() {
    let world = World::new().await;
    world.desktop.private.store(true, Ordering::SeqCst);
    let ticket = world.ticket("jane", "view").await;
    assert_eq!(world.connect(&ticket, ORIGIN).await.unwrap().closed().await, 4423);
}

#[tokio::test]
async fn the_proxy_pings_and_gives_up_on_a_silent_browser() {
    let world = World::with(|timing| (timing.ping, timing.silence) = (SOON, SOON * 4)).await;
    let mut browser = world.open("jane", "view").await;
    // Reading answers the pings, so the stream outlives the limit for silence.
    browser.until(|browser| browser.pings > 10).await;
    // Not reading answers nothing.
    while !world.proxy.metrics.encode().contains("a8s_vnc_proxy_closes_total{code=\"4408\"} 1") {
        tokio::task::yield_now().await;
    }
}
