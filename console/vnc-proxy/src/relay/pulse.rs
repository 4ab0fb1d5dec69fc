//! Whether the browser is still there, and how far away. Each ping carries its number; only the answer to the last one counts, so that a
//! client that answers nothing cannot seem alive.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

/// The pings of one stream, in both directions.
#[derive(Debug)]
pub struct Pulse {
    state: Mutex<State>,
    asked: Notify,
}

#[derive(Debug)]
struct State {
    number: u32,
    pinged: Option<Instant>,
    answered: Instant,
    question: Option<Bytes>,
}

impl Pulse {
    /// A browser that was there just now.
    pub fn new(now: Instant) -> Self {
        let state = State { number: 0, pinged: None, answered: now, question: None };
        Self { state: Mutex::new(state), asked: Notify::new() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The payload of the next ping.
    pub fn ping(&self, now: Instant) -> [u8; 4] {
        let mut state = self.state();
        state.number = state.number.wrapping_add(1);
        state.pinged = Some(now);
        state.number.to_be_bytes()
    }

    /// The time since the ping that this answers, if it answers the last one and is the first that does.
    pub fn pong(&self, payload: &[u8], now: Instant) -> Option<Duration> {
        let mut state = self.state();
        if payload != state.number.to_be_bytes() {
            return None;
        }
        state.answered = now;
        state.pinged.take().map(|pinged| now.saturating_duration_since(pinged))
    }

    /// How long the browser has answered nothing.
    pub fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.state().answered)
    }

    /// The browser pings. Only its last ping is answered (RFC 6455, 5.5.3), so that nothing piles up.
    pub fn question(&self, payload: Bytes) {
        self.state().question = Some(payload);
        self.asked.notify_one();
    }

    /// Resolves with what the browser wants to have back.
    pub async fn asked(&self) -> Bytes {
        loop {
            if let Some(payload) = self.state().question.take() {
                return payload;
            }
            self.asked.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_last_ping_counts_and_only_once() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let pulse = Pulse::new(began);
        let first = pulse.ping(began);
        let second = pulse.ping(after(20));
        assert_eq!(pulse.pong(&first, after(23)), None);
        assert_eq!(pulse.pong(b"", after(23)), None);
        assert_eq!(pulse.silent(after(23)), Duration::from_secs(23));
        assert_eq!(pulse.pong(&second, after(23)), Some(Duration::from_secs(3)));
        assert_eq!(pulse.silent(after(23)), Duration::ZERO);
        assert_eq!(pulse.pong(&second, after(24)), None);
    }

    #[tokio::test]
    async fn of_many_questions_the_last_is_answered() {
        let pulse = Pulse::new(Instant::now());
        pulse.question(Bytes::from_static(b"a"));
        pulse.question(Bytes::from_static(b"b"));
        assert_eq!(pulse.asked().await, "b");
        assert!(futures::FutureExt::now_or_never(pulse.asked()).is_none());
    }
}
