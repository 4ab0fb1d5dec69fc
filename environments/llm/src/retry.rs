//! How often and how long is waited. Decisions only; the waiting is done by the client.

use std::time::Duration;

use rand::Rng;

use crate::LlmError;

/// Bounds of patience with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Tries in all.
    pub attempts: u32,
    /// Wait before the second try; it doubles.
    pub first_delay: Duration,
    /// Longest single wait. A server that asks for more is not asked again.
    pub longest_delay: Duration,
    /// For a connection.
    pub connect: Duration,
    /// Until the answer begins: a local server may have to load its model.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_mins(1),
            connect: Duration::from_secs(10),
            first_byte: Duration::from_mins(5),
            idle: Duration::from_mins(2),
        }
    }
}

impl Patience {
    /// How long to wait before try number `attempt` (the first is 0) is repeated; `None`: give up.
    pub fn delay(&self, attempt: u32, error: &LlmError) -> Option<Duration> {
        // Silence was waited for once already.
        if attempt + 1 >= self.attempts || !error.is_transient() || matches!(error, LlmError::Timeout { .. })
        {
            return None;
        }
        let asked = error.retry_after();
        if asked.is_some_and(|asked| asked > self.longest_delay) {
            return None;
        }
        let backoff = self.first_delay.saturating_mul(2u32.saturating_pow(attempt)).min(self.longest_delay);
        // Many agents of one account must not come back at the same moment.
        let spread = backoff.mul_f64(rand::rng().random_range(0.5..1.0));
        Some(asked.map_or(spread, |asked| asked + spread / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_bounded_and_never_shorter_than_the_server_asked_for() {
        let patience = Patience::default();
        let overloaded = LlmError::Overloaded { status: 529, detail: String::new() };
        for attempt in 0..4 {
            let delay = patience.delay(attempt, &overloaded).unwrap();
            let most = patience.first_delay * 2u32.pow(attempt);
            assert!(delay >= most / 2 && delay <= most, "{attempt}: {delay:?}");
        }
        assert_eq!(patience.delay(4, &overloaded), None);
        let limited = |seconds| LlmError::RateLimited { retry_after: Some(Duration::from_secs(seconds)) };
        assert!(patience.delay(0, &limited(20)).unwrap() >= Duration::from_secs(20));
        assert_eq!(patience.delay(0, &limited(3600)), None);
        assert_eq!(patience.delay(0, &LlmError::Key { detail: String::new() }), None);
    }
}
