//! What operators see.

use std::time::Duration;

use a8s_rfb::encode;

use crate::fake::World;

#[tokio::test]
async fn a_stream_leaves_its_numbers() {
    let mut world = World::with(|timing| timing.ping = Duration::from_millis(20)).await;
    let mut browser = world.open("jane", "control").await;
    browser.until(|browser| browser.pings > 2).await;
    let request = encode::update_request(true, 10, 10);
    browser.send(&request).await;
    world.desktop_received(&request).await;
    world.until_metric("viewers{role=\"control\"}", 1.0).await;
    assert!(world.metric("round_trip_seconds_count") >= 1.0);
    for (line, value) in [
        ("viewers{role=\"view\"}", 0.0),
        ("tickets_total{result=\"ok\"}", 1.0),
        ("upgrades_total{result=\"ok\"}", 1.0),
        ("handshake_seconds_count", 1.0),
        ("upstream_connect_seconds_count", 1.0),
        ("messages_total{type=\"update_request\"}", 1.0),
        ("bytes_total{direction=\"to_browser\"}", 18.0),
        ("bytes_total{direction=\"to_desktop\"}", 24.0),
        ("buffered_bytes", 0.0),
    ] {
        assert!((world.metric(line) - value).abs() < 0.1, "{line} is {}", world.metric(line));
    }
    browser.close().await;
    world.until_metric("closes_total{code=\"0\"}", 1.0).await;
    world.until_metric("viewers{role=\"control\"}", 0.0).await;
}
