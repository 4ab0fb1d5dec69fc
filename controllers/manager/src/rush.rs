//! Who goes first when there is more to do than processors: a person who waits for a desktop that is ready goes before everything that
//! nobody waits for.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// So much later than asked for is the latest.
const LATEST: Duration = Duration::from_millis(500);
/// When to ask again.
pub const AGAIN: Duration = Duration::from_millis(50);

/// So many Sessions within [`LATELY`] are many: they get all there is.
const MANY: usize = 8;
const LATELY: Duration = Duration::from_secs(1);
/// A rush is over when there were not so many for so long. An API server that stops for a second, to collect garbage, must not look like
/// the end of it: what was put off would begin at once, at the worst of times.
const STAYS: Duration = Duration::from_secs(5);

/// Sessions that take a desktop over just now, and what gives way to them.
#[derive(Debug, Default)]
pub struct Rush {
    taking_over: AtomicUsize,
    began: Mutex<Began>,
    /// Since when what gives way does so, by UID.
    since: Mutex<HashMap<String, Instant>>,
}

#[derive(Debug, Default)]
struct Began {
    /// When the last [`MANY`] began.
    last: VecDeque<Instant>,
    /// When they were within [`LATELY`] for the last time.
    many: Option<Instant>,
}

/// One Session that takes a desktop over.
#[derive(Debug)]
pub struct One<'a>(&'a Rush);

impl Rush {
    /// A Session begins to take a desktop over, until this is dropped.
    pub fn one(&self) -> One<'_> {
        self.taking_over.fetch_add(1, Ordering::Relaxed);
        let mut began = self.began();
        began.last.push_back(Instant::now());
        if began.last.len() > MANY {
            began.last.pop_front();
        }
        if began.last.len() == MANY && began.last.front().is_some_and(|at| at.elapsed() < LATELY) {
            began.many = Some(Instant::now());
        }
        One(self)
    }

    /// Whether many Sessions take desktops over, one after the other.
    pub fn is_on(&self) -> bool {
        self.began().many.is_some_and(|at| at.elapsed() < STAYS)
    }

    /// Whether somebody takes a desktop over this moment, or is about to.
    pub fn is_busy(&self) -> bool {
        self.taking_over.load(Ordering::Relaxed) > 0 || self.is_on()
    }

    /// Whether what is not urgent for this object has to wait: asked again [`AGAIN`] later it has not much longer.
    pub fn gives_way(&self, uid: &str) -> bool {
        let mut since = self.since();
        if self.taking_over.load(Ordering::Relaxed) > 0 {
            let began = since.entry(uid.to_owned()).or_insert_with(Instant::now);
            if began.elapsed() < LATEST {
                return true;
            }
        }
        since.remove(uid);
        false
    }

    /// The object is gone.
    pub fn forget(&self, uid: &str) {
        self.since().remove(uid);
    }

    fn began(&self) -> MutexGuard<'_, Began> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.taking_over.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rush_is_many_within_a_second_and_stays_for_a_while() {
        let rush = Rush::default();
        (1..MANY).for_each(|_| drop(rush.one()));
        assert!(!rush.is_on() && !rush.is_busy());
        drop(rush.one());
        assert!(rush.is_on() && rush.is_busy());
        let ago = |long: Duration| Instant::now().checked_sub(long).unwrap();
        rush.began().many = Some(ago(LATELY));
        assert!(rush.is_on(), "nobody came for a second, which may be the API server's fault");
        rush.began().many = Some(ago(STAYS));
        assert!(!rush.is_on());
        rush.began().last[1] = ago(LATELY);
        drop(rush.one());
        assert!(!rush.is_on(), "the last ones were not within a second");
        drop(rush.one());
        assert!(rush.is_on());
    }

    #[test]
    fn one_that_takes_a_desktop_over_is_no_rush_but_keeps_busy() {
        let rush = Rush::default();
        let one = rush.one();
        assert!(rush.is_busy() && !rush.is_on());
        drop(one);
        assert!(!rush.is_busy());
    }

    #[test]
    fn what_is_not_urgent_waits_while_somebody_takes_a_desktop_over_but_not_for_ever() {
        let rush = Rush::default();
        assert!(!rush.gives_way("a"));
        let (first, second) = (rush.one(), rush.one());
        assert!(rush.gives_way("a"));
        drop(first);
        assert!(rush.gives_way("a"), "there is another");
        drop(second);
        assert!(!rush.gives_way("a"));
        let _third = rush.one();
        assert!(rush.gives_way("a"));
        rush.since().insert("a".into(), Instant::now().checked_sub(LATEST).unwrap());
        assert!(!rush.gives_way("a"), "it has waited long enough");
        assert!(rush.gives_way("a"), "and may wait again");
    }
}
