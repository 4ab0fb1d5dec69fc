//! What deskd can vouch for: when a person last sent input with effect, and when the desktop first showed something. Both are facts that
//! the control plane decides by; deskd draws no conclusion from them.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use a8s_rfb::Framebuffer;
use a8s_wire::FirstFrame;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;

/// Share of the pixels that must differ from the first one: 1 / 1000. The pointer alone, which the X server draws into the picture, is less.
const DRAWN_SHARE: usize = 1000;
/// How long a panel has to show itself. A desktop whose last service is no panel is accepted after that.
const PANEL_LIMIT: Duration = Duration::from_secs(3);
/// A screen that changes sends word; this is for what makes no change of the picture.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Facts about this run of deskd.
#[derive(Debug)]
pub struct Evidence {
    began: Instant,
    last_input: AtomicI64,
    first_frame: OnceLock<FirstFrame>,
}

impl Evidence {
    /// Nothing is known yet; deskd began at `began`.
    pub fn new(began: Instant) -> Self {
        Self { began, last_input: AtomicI64::new(0), first_frame: OnceLock::new() }
    }

    /// A person's input reached the display just now.
    pub fn input(&self) {
        self.last_input.store(jiff::Timestamp::now().as_millisecond(), Ordering::Relaxed);
    }

    /// RFC 3339 time of the last such input.
    pub fn last_input(&self) -> Option<String> {
        let at = self.last_input.load(Ordering::Relaxed);
        let at = (at > 0).then(|| jiff::Timestamp::from_millisecond(at).ok()).flatten();
        at.map(|at| at.to_string())
    }

    /// The first picture that was really drawn.
    pub fn first_frame(&self) -> Option<FirstFrame> {
        self.first_frame.get().cloned()
    }
}

/// Waits for the first picture that was really drawn, and notes it.
pub async fn watch(desk: Arc<Desk>, stop: CancellationToken) {
    let found = async {
        while desk.not_ready().await.is_some() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let ready = Instant::now();
        while !(desk.screen.look(drawn) && (panel(&desk).await || ready.elapsed() > PANEL_LIMIT)) {
            desk.screen.change(LOOK_AGAIN).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => return,
        () = found => {}
    }
    let after = desk.evidence.began.elapsed();
    let after_millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    let frame = FirstFrame { at: jiff::Timestamp::now().to_string(), after_millis };
    tracing::info!(after_millis, "the first frame is drawn");
    // This is the only place that sets it.
    let _ = desk.evidence.first_frame.set(frame);
}

async fn panel(desk: &Desk) -> bool {
    !desk.config.has_panel() || matches!(desk.windows.docked().await, Ok(true))
}

fn drawn(picture: &Framebuffer) -> bool {
    let pixels = picture.pixels.len() / 4;
    let Some(first) = picture.pixels.get(..3) else { return false };
    let other =
        picture.pixels.chunks_exact(4).filter(|pixel| &pixel[..3] != first).take(pixels / DRAWN_SHARE + 1);
    other.count() > pixels / DRAWN_SHARE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_with_nothing_but_a_pointer_is_not_drawn() {
        let mut picture = Framebuffer::new(1280, 800);
        assert!(!drawn(&picture));
        picture.pixels[40_000..40_000 + 16 * 16 * 4].fill(0xff);
        assert!(!drawn(&picture), "a pointer");
        picture.pixels[..1280 * 30 * 4].fill(0x40);
        assert!(drawn(&picture), "a panel");
    }
}
