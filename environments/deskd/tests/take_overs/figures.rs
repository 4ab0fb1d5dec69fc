//! What a run did, and how long people waited.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// Waiting times of one kind.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// It took from then until now.
    pub fn since(&mut self, began: Instant) {
        self.0.push(began.elapsed());
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |share: usize| sorted.get((sorted.len() * share / 100).min(sorted.len().saturating_sub(1)));
        let millis = |share| at(share).map_or(0.0, |time| time.as_secs_f64() * 1000.0);
        write!(f, "p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms", millis(50), millis(99), millis(100))
    }
}

/// Everything that is told at the end.
#[derive(Debug, Default)]
pub struct Figures {
    pub steps: usize,
    pub transfers: usize,
    pub in_private: usize,
    pub vanished_holding: usize,
    pub connections: usize,
    pub refused_private: usize,
    pub resized: usize,
    pub typed: usize,
    pub intruded: usize,
    pub agent_did: usize,
    pub agent_refused: usize,
    /// A change of the lease, as whoever asks for it waits.
    pub transfer: Times,
    /// Until nothing was held down that nobody holds.
    pub released: Times,
    /// Until a viewer saw a change of the screen.
    pub fresh: Times,
}

impl Figures {
    /// Everything that is to be shown did happen.
    pub fn prove_something(&self) {
        for (what, count) in [
            ("transfer", self.transfers),
            ("key typed", self.typed),
            ("intrusion", self.intruded),
            ("action of the agent", self.agent_did),
            ("action of the agent refused", self.agent_refused),
        ] {
            assert!(count > 0, "no {what}: the test proves nothing");
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} steps: {} transfers ({} to private), {} other sizes, {} connections ({} refused in private), {} broke off with something held",
            self.steps,
            self.transfers,
            self.in_private,
            self.resized,
            self.connections,
            self.refused_private,
            self.vanished_holding
        )?;
        writeln!(
            f,
            "{} keys typed by holders and all arrived, {} intrusions and none arrived, {} actions of the agent, {} refused",
            self.typed, self.intruded, self.agent_did, self.agent_refused
        )?;
        writeln!(f, "transfer: {}", self.transfer)?;
        writeln!(f, "released: {}", self.released)?;
        write!(f, "fresh picture: {} ({} times)", self.fresh, self.fresh.0.len())
    }
}
