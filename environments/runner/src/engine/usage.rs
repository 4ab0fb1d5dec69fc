//! What the conversation uses, and where it must stop.
//!
//! Time counts while a turn runs and no person is waited for. A limit ends the running turn as an interrupt does; whatever is sent then
//! waits until the limit is raised. Nothing is ever killed for it.

use a8s_wire::{EventBody, Usage};
use tokio::time::{Duration, Instant};

use super::Engine;

/// Usage is told at most this often while a turn runs, and at its end.
const EVERY: Duration = Duration::from_secs(10);

/// Counts.
#[derive(Default)]
pub struct Meter {
    /// All but the time.
    counted: Usage,
    active: Duration,
    /// Since when time counts.
    since: Option<Instant>,
    told: Option<Instant>,
    /// What the harness said of its own session and was counted: tokens in its context, and the price.
    spent: (i64, i64),
    /// What it said in this turn.
    says: Option<(i64, Option<i64>)>,
    /// Calls that went through the gateway when the turn began.
    requests_before: i64,
}

impl Meter {
    /// Goes on from here.
    pub fn from(usage: Usage) -> Self {
        let active = Duration::from_secs(u64::try_from(usage.active_seconds).unwrap_or_default());
        Self { counted: usage, active, ..Self::default() }
    }

    /// So far.
    pub fn usage(&self) -> Usage {
        let active = self.active + self.since.map(|since| since.elapsed()).unwrap_or_default();
        Usage { active_seconds: i64::try_from(active.as_secs()).unwrap_or(i64::MAX), ..self.counted }
    }

    fn add(&mut self, usage: Usage) {
        let sum = &mut self.counted;
        sum.requests = sum.requests.saturating_add(usage.requests);
        sum.input_tokens = sum.input_tokens.saturating_add(usage.input_tokens);
        sum.output_tokens = sum.output_tokens.saturating_add(usage.output_tokens);
        sum.cost_micros = sum.cost_micros.saturating_add(usage.cost_micros);
    }

    fn run(&mut self, runs: bool) {
        match (runs, self.since) {
            (true, None) => self.since = Some(Instant::now()),
            (false, Some(since)) => {
                self.active += since.elapsed();
                self.since = None;
            }
            _ => {}
        }
    }
}

impl Engine {
    /// The gateway counted something.
    pub(super) fn used(&mut self, usage: Usage) {
        self.meter.add(usage);
    }

    /// The harness says what its session used so far.
    pub(super) fn spent(&mut self, context: i64, cost_micros: Option<i64>) {
        let cost = cost_micros.or_else(|| self.meter.says.and_then(|(_, cost)| cost));
        self.meter.says = Some((context, cost));
    }

    /// Counts what the harness said in a turn that ends. Where something went through the gateway it would count twice.
    pub(super) fn count_spent(&mut self) {
        let Some((context, cost)) = self.meter.says.take() else { return };
        let (context_before, cost_before) = self.meter.spent;
        let cost = cost.unwrap_or(cost_before);
        if self.meter.counted.requests == self.meter.requests_before {
            // A context that shrank was compacted: what it holds now was read again.
            let grown = if context >= context_before { context - context_before } else { context };
            let cost = (cost - cost_before).max(0);
            self.meter.add(Usage { input_tokens: grown, cost_micros: cost, ..Usage::default() });
        }
        self.meter.spent = (context, cost);
    }

    /// A new session of a harness counts from nothing.
    pub(super) fn new_session(&mut self) {
        self.meter.spent = (0, 0);
    }

    pub(super) fn turn_begins(&mut self) {
        self.meter.requests_before = self.meter.counted.requests;
    }

    /// Lets time run or stand still, tells what was used, and stops at limits. Called after whatever happened.
    pub(super) fn measure(&mut self) {
        let running = self.history.running.is_some();
        self.meter.run(running && !self.waits_for_person());
        if self.usage_due().is_some_and(|due| due <= Instant::now()) {
            self.tell_usage();
        }
        let Some(limit) = self.limit() else { return };
        if self.history.limit.as_deref() != Some(limit) {
            self.tell_usage();
            self.record(EventBody::LimitReached { limit: limit.to_owned() });
        }
        if let Some(turn) = self.history.running.as_ref().map(|turn| turn.number) {
            self.interrupt(turn);
        }
    }

    /// Records what was used if that is news.
    pub(super) fn tell_usage(&mut self) {
        let usage = self.meter.usage();
        if usage != self.history.usage {
            self.meter.told = Some(Instant::now());
            self.record(EventBody::Usage(usage));
        }
    }

    fn usage_due(&self) -> Option<Instant> {
        // Time alone is told at the end of the turn.
        let news = Usage { active_seconds: 0, ..self.meter.counted }
            != Usage { active_seconds: 0, ..self.history.usage };
        news.then(|| self.meter.told.map_or_else(Instant::now, |told| told + EVERY))
    }

    /// When [`Self::measure`] has something to do although nothing happens.
    pub(super) fn next_measure(&self) -> Option<Instant> {
        let most = u64::try_from(self.settings().max_active_seconds).unwrap_or_default();
        let end = match (most, self.meter.since, self.cancel_deadline) {
            (1.., Some(since), None) => {
                Some(since + Duration::from_secs(most).saturating_sub(self.meter.active))
            }
            _ => None,
        };
        end.into_iter().chain(self.usage_due().filter(|_| self.storage_failure.is_none())).min()
    }

    /// The limit that is reached. Turns are counted where the next one would begin.
    pub(super) fn limit(&self) -> Option<&'static str> {
        let (settings, usage) = (self.settings(), self.meter.usage());
        let reached = |most: i64, so_far: i64| most > 0 && so_far >= most;
        if reached(settings.max_tokens, usage.input_tokens.saturating_add(usage.output_tokens)) {
            Some("tokens")
        } else if reached(settings.max_active_seconds, usage.active_seconds) {
            Some("activeDuration")
        } else if self.history.running.is_none() && reached(settings.max_turns, self.history.turns) {
            Some("turns")
        } else {
            None
        }
    }
}
