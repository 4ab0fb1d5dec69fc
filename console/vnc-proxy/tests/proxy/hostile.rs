//! Clients that mean harm: each is cut with the code that says why, and nothing of it reaches the desktop.

use std::time::Duration;

use a8s_rfb::{SECURITY_NONE, VERSION, clipboard, encode};
use a8s_vnc_proxy::rates::Rates;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};

use crate::{
    fake::{LIMIT, ORIGIN, World},
    raw::Raw,
};

const SOON: Duration = Duration::from_millis(300);

impl World {
    /// What reached the desktop, once its stream is closed.
    async fn reached(&mut self) -> Vec<u8> {
        let closed = self.desktop.closed.wait_for(|closed| *closed);
        tokio::time::timeout(LIMIT, closed).await.expect("the desktop's stream is open").unwrap();
        self.desktop.received.borrow().clone()
    }
}

#[tokio::test]
async fn malformed_frames_are_cut_with_1002_and_reach_nobody() {
    for (what, bytes) in [
        ("not masked", vec![0x82, 1, 0]),
        ("a reserved bit", vec![0xc2, 0x80, 0, 0, 0, 0]),
        ("a continuation of nothing", vec![0x80, 0x81, 0, 0, 0, 0, 0]),
        ("an unknown opcode", vec![0x83, 0x81, 0, 0, 0, 0, 0]),
        ("a ping of 200 bytes", vec![0x89, 0xfe, 0, 200, 0, 0, 0, 0]),
        ("a close in pieces", vec![0x08, 0x80, 0, 0, 0, 0]),
    ] {
        let mut world = World::new().await;
        let mut raw = Raw::upgraded(&world, &world.ticket("jane", "control").await).await;
        raw.write(&bytes).await;
        assert_eq!(raw.closed().await, 1002, "{what}");
        assert_eq!(world.reached().await, b"", "{what}");
    }
}

#[tokio::test]
async fn text_is_cut_with_1003_and_a_frame_that_is_too_long_with_1009() {
    let mut world = World::new().await;
    let mut raw = Raw::upgraded(&world, &world.ticket("jane", "control").await).await;
    raw.frame(0x81, VERSION).await;
    assert_eq!(raw.closed().await, 1003);
    assert_eq!(world.reached().await, b"");

    let mut world = World::new().await;
    let mut raw = Raw::upgraded(&world, &world.ticket("jane", "control").await).await;
    raw.write(&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]).await;
    // It says so although most of the frame was never read.
    raw.write_what_is_taken(&vec![0; 65_537]).await;
    assert_eq!(raw.closed().await, 1009);
    assert_eq!(world.reached().await, b"");
}

#[tokio::test]
async fn what_is_no_rfb_handshake_is_cut_with_1008() {
    for (what, bytes, reached) in [
        ("version", b"RFB 003.003\n".to_vec(), &b""[..]),
        ("version", b"GET / HTTP/1.1\r\n".to_vec(), b""),
        ("security", [VERSION.as_slice(), &[2]].concat(), VERSION),
    ] {
        let mut world = World::new().await;
        let mut browser = world.connect(&world.ticket("jane", "control").await, ORIGIN).await.unwrap();
        browser.send(&bytes).await;
        assert_eq!(browser.closed().await, 1008);
        assert_eq!(world.reached().await, reached);
        world.until_metric(&format!("violations_total{{type=\"{what}\"}}"), 1.0).await;
    }
}

#[tokio::test]
async fn every_unknown_type_is_cut_with_1008_and_counted_by_its_type() {
    let known = [0, 2, 3, 4, 5, 6, 150, 248, 250, 251, 255];
    let world = World::new().await;
    let unknown: Vec<u8> = (0..=255).filter(|kind| !known.contains(kind)).collect();
    for kind in &unknown {
        let mut browser = world.open("jane", "control").await;
        browser.send(&[*kind; 64]).await;
        assert_eq!(browser.closed().await, 1008, "type {kind}");
        assert!((world.metric(&format!("violations_total{{type=\"{kind}\"}}")) - 1.0).abs() < 0.1);
    }
    let hellos = [VERSION.as_slice(), &[SECURITY_NONE, 1]].concat().len() * unknown.len();
    // Each stream's own bytes are in order, but not those of all; a single one more would be seen.
    world.until_received(hellos).await;
    assert!((world.metric("bytes_total{direction=\"to_desktop\"}") - number(hellos)).abs() < 0.1);
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

#[tokio::test]
async fn what_came_before_a_violation_passes_however_the_bytes_are_cut() {
    let key = encode::key(0x61, true);
    let stream = [key.as_slice(), &[7; 9]].concat();
    for size in [1, 5, stream.len()] {
        let mut world = World::new().await;
        let mut browser = world.open("jane", "control").await;
        let sent: Vec<_> = stream.chunks(size).take_while(|piece| piece[0] != 7).collect();
        for piece in stream.chunks(size).take(sent.len() + 1) {
            browser.send(piece).await;
        }
        assert_eq!(browser.closed().await, 1008);
        let hello = [VERSION.as_slice(), &[SECURITY_NONE, 1]].concat();
        assert_eq!(world.reached().await, [hello, key.into()].concat());
    }
}

#[tokio::test]
async fn forbidden_messages_are_dropped_counted_and_do_not_reach_the_desktop() {
    let mut world = World::new().await;
    let mut browser = world.open("viewer", "view").await;
    let forbidden = [
        encode::key(0x61, true).to_vec(),
        encode::pointer(1, 2, 3).to_vec(),
        encode::qemu_key(0x61, 30, true).to_vec(),
        encode::cut_text(b"secret").to_vec(),
        clipboard::provide("secret").to_vec(),
        encode::set_desktop_size(640, 480).to_vec(),
        vec![250, 0, 1, 2],
        vec![255, 1, 0, 0],
    ];
    for message in &forbidden {
        browser.send(message).await;
    }
    let request = encode::update_request(true, 100, 100);
    browser.send(&request).await;
    world.desktop_received(&request).await;
    for (line, count) in [
        ("dropped_total{type=\"key\",reason=\"role\"}", 1.0),
        ("dropped_total{type=\"pointer\",reason=\"role\"}", 1.0),
        ("dropped_total{type=\"qemu_key\",reason=\"role\"}", 1.0),
        ("dropped_total{type=\"cut_text\",reason=\"role\"}", 2.0),
        ("dropped_total{type=\"set_desktop_size\",reason=\"role\"}", 1.0),
        ("dropped_total{type=\"xvp\",reason=\"policy\"}", 1.0),
        ("dropped_total{type=\"qemu_audio\",reason=\"policy\"}", 1.0),
        ("messages_total{type=\"update_request\"}", 1.0),
    ] {
        assert!((world.metric(line) - count).abs() < 0.1, "{line} is {}", world.metric(line));
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_holds_no_place() {
    let mut world = World::with(|timing| timing.handshake = SOON).await;
    let ticket = world.ticket("jane", "control").await;
    let mut silent = world.connect(&ticket, ORIGIN).await.unwrap();
    silent.send(&VERSION[..11]).await;
    assert_eq!(silent.closed().await, 4408);
    assert_eq!(world.reached().await, b"");
    assert_eq!(world.viewers(), 0);
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut() {
    let world = World::with(|timing| timing.handshake = SOON).await;
    for begun in [
        "",
        "GET /vnc/stream HTTP/1.1\r\nhost: proxy\r\n",
        "POST /vnc/ticket HTTP/1.1\r\ncontent-length: 9\r\n\r\n{",
    ] {
        let mut raw = Raw::connect(&world).await;
        raw.write(begun.as_bytes()).await;
        let answer = String::from_utf8(raw.rest().await).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    let mut raw = Raw::connect(&world).await;
    raw.write_what_is_taken(&[b"GET /".to_vec(), vec![b'a'; 100_000]].concat()).await;
    let answer = String::from_utf8(raw.rest().await).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn a_wrong_or_missing_origin_opens_nothing_and_spends_no_ticket() {
    let world = World::new().await;
    let ticket = world.ticket("jane", "view").await;
    let asked = |origin: Option<&str>| {
        let mut request = format!("ws://{}/vnc/stream", world.address).into_client_request().unwrap();
        let protocols = format!("binary, a8s.ticket.{ticket}");
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        request
    };
    for origin in
        [None, Some("null"), Some("http://a8s.example.com"), Some("https://a8s.example.com.evil.net")]
    {
        let refused = World::browser(asked(origin)).await;
        assert!(matches!(refused, Err(tungstenite::Error::Http(r)) if r.status() == 403), "{origin:?}");
    }
    assert!((world.metric("upgrades_total{result=\"origin\"}") - 4.0).abs() < 0.1);
    assert!(world.desktop.claims.lock().unwrap().is_empty(), "the desktop was contacted");
    World::browser(asked(Some(ORIGIN))).await.unwrap();
}

#[tokio::test]
async fn a_ticket_that_is_no_good_says_why_to_the_operator_only() {
    let world = World::new().await;
    let ticket = world.ticket("jane", "view").await;
    world.connect(&ticket, ORIGIN).await.unwrap();
    for (ticket, reason) in [(ticket.as_str(), "unknown"), ("", "missing"), ("AAAA", "unknown")] {
        let before = world.metric(&format!("ticket_rejections_total{{reason=\"{reason}\"}}"));
        assert_eq!(world.connect(ticket, ORIGIN).await.unwrap().closed().await, 4401);
        let after = world.metric(&format!("ticket_rejections_total{{reason=\"{reason}\"}}"));
        assert!((after - before - 1.0).abs() < 0.1, "{reason}");
    }
    assert_eq!(world.desktop.claims.lock().unwrap().len(), 1, "the desktop was contacted");
}

#[tokio::test]
async fn an_address_that_opens_streams_in_a_loop_is_slowed_down() {
    let world = World::limited(|_| {}, Rates::new(1)).await;
    for _ in 0..4 {
        assert_eq!(world.connect("forged", ORIGIN).await.unwrap().closed().await, 4401);
    }
    let refused = world.connect(&world.ticket("jane", "view").await, ORIGIN).await;
    assert!(matches!(refused, Err(tungstenite::Error::Http(r)) if r.status() == 429));
    assert!((world.metric("upgrades_total{result=\"rate\"}") - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn each_viewer_has_a_connection_of_its_own_and_only_that_one_ends() {
    let mut world = World::new().await;
    let mut first = world.open("jane", "control").await;
    let _second = world.open("viewer", "view").await;
    assert_eq!(world.desktop.claims.lock().unwrap().len(), 2);
    first.send(&encode::key(0x61, true)).await;
    first.send(&[7; 8]).await;
    assert_eq!(first.closed().await, 1008);
    // deskd lets go of what was held down as soon as the connection ends.
    let ended = world.desktop.closed.wait_for(|closed| *closed);
    tokio::time::timeout(LIMIT, ended).await.expect("the desktop hears nothing of the end").unwrap();
    assert_eq!(world.viewers(), 1);
}
