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

/// Sessions that take a desktop over just now, and what gives way to them.
#[derive(Debug, Default)]
pub struct Rush {
    taking_over: AtomicUsize,
    /// When the last [`MANY`] began.
    last: Mutex<VecDeque<Instant>>,
    /// Since when what gives way does so, by UID.
    since: Mutex<HashMap<String, Instant>>,
}

/// One Session that takes a desktop over.
#[derive(Debug)]
pub struct One<'a>(&'a Rush);

impl Rush {
    /// A Session begins to take a desktop over, until this is dropped.
    pub fn one(&self) -> One<'_> {
        self.taking_over.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.push_back(Instant::now());
        if last.len() > MANY {
            last.pop_front();
        }
        One(self)
    }

    /// Whether many Sessions take desktops over, one after the other.
    pub fn is_on(&self) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.len() >= MANY && last.front().is_some_and(|at| at.elapsed() < LATELY)
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
    fn a_rush_is_many_within_a_second() {
        let rush = Rush::default();
        (1..MANY).for_each(|_| drop(rush.one()));
        assert!(!rush.is_on());
        drop(rush.one());
        assert!(rush.is_on());
        let first = Instant::now().checked_sub(LATELY).unwrap();
        rush.last.lock().unwrap()[0] = first;
        assert!(!rush.is_on());
        drop(rush.one());
        assert!(rush.is_on(), "the first does not count any more");
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
