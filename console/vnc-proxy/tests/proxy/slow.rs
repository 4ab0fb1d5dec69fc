//! A browser that does not read.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::fake::{LIMIT, World};

const MANY: usize = 32 << 20;
/// Socket buffers of both connections, with what the kernel may make of them, and the proxy's own.
const HELD: usize = 24 << 20;

#[tokio::test]
async fn a_browser_that_does_not_read_holds_little_and_slows_nobody() {
    let world = World::new().await;
    world.desktop.flood.store(true, Ordering::SeqCst);
    let slow = world.open("jane", "view").await;
    let floods = || world.desktop.sent.lock().unwrap().len();
    wait(|| floods() == 1).await;
    let mut fast = world.open("viewer", "view").await;
    let mut seen = 0;
    fast.until_seen(MANY, &mut seen).await;
    let stuck = world.desktop.sent.lock().unwrap()[0].load(Ordering::SeqCst);
    assert!(stuck < HELD, "{stuck} bytes were taken for a browser that reads nothing");
    let buffered = world.metric("buffered_bytes");
    assert!(buffered > 0.0 && buffered <= 2.0 * 65_540.0, "the proxy itself holds {buffered}");
    drop(slow);
}

#[tokio::test]
async fn a_write_that_waits_too_long_ends_the_stream_with_1013() {
    let world = World::with(|timing| timing.stall = Duration::from_millis(100)).await;
    world.desktop.flood.store(true, Ordering::SeqCst);
    let mut slow = world.open("jane", "view").await;
    world.until_metric("closes_total{code=\"1013\"}", 1.0).await;
    assert!(world.metric("write_stall_seconds_count") >= 1.0);
    assert!(world.metric("buffered_bytes").abs() < 0.1);
    // What was on the way arrives whole, and the code after it.
    assert_eq!(slow.closed().await, 1013);
}

async fn wait(condition: impl Fn() -> bool) {
    let until = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < until, "not in time");
        tokio::task::yield_now().await;
    }
}
