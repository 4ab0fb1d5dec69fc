//! What passes have written, so that no pass decides on a view that is older than its own object's last writes. Kubernetes' own
//! controllers do the same (KEP-5647). Nothing here has to outlive the process: the first list of a new one shows everything.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A cache that has not caught up by then never will: what was written has lost the label that the cache asks for.
const LONGEST: Duration = Duration::from_secs(30);

/// Highest resource versions written.
#[derive(Debug, Default)]
pub struct Written(Mutex<Versions>);

#[derive(Debug, Default)]
struct Versions {
    /// For an object, by its UID and the kind that was written.
    of: HashMap<(String, String), (u64, Instant)>,
    /// For any.
    newest: HashMap<String, u64>,
}

impl Written {
    /// A pass for the object with this UID wrote an object of this kind.
    pub fn note(&self, uid: &str, kind: &str, version: u64) {
        if version > 0 {
            let mut all = self.all();
            let known = all.of.entry((uid.to_owned(), kind.to_owned())).or_insert((0, Instant::now()));
            *known = (version.max(known.0), Instant::now());
            all.wrote(kind, version);
        }
    }

    /// An object of this kind was written, for whomever.
    pub fn wrote(&self, kind: &str, version: u64) {
        self.all().wrote(kind, version);
    }

    /// The newest version of this kind that this process wrote.
    pub fn newest(&self, kind: &str) -> u64 {
        self.all().newest.get(kind).copied().unwrap_or_default()
    }

    /// Whether a cache that has `seen` so much does not show everything that passes for this object wrote.
    pub fn behind(&self, uid: &str, kind: &str, seen: u64) -> bool {
        let mut all = self.all();
        let key = (uid.to_owned(), kind.to_owned());
        let behind = all.of.get(&key).is_some_and(|(written, at)| *written > seen && at.elapsed() < LONGEST);
        if !behind {
            all.of.remove(&key);
        }
        behind
    }

    /// The object is gone.
    pub fn forget(&self, uid: &str) {
        self.all().of.retain(|(of, _), _| of != uid);
    }

    fn all(&self) -> MutexGuard<'_, Versions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Versions {
    fn wrote(&mut self, kind: &str, version: u64) {
        match self.newest.get_mut(kind) {
            Some(newest) => *newest = version.max(*newest),
            None => drop(self.newest.insert(kind.to_owned(), version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_behind_until_it_shows_the_last_write_for_the_object() {
        let written = Written::default();
        assert!(!written.behind("a", "Workspace", 0));
        written.note("a", "Workspace", 7);
        written.note("a", "Workspace", 5);
        assert!(written.behind("a", "Workspace", 6));
        assert!(!written.behind("b", "Workspace", 6), "another object's writes do not matter");
        assert!(!written.behind("a", "Pod", 6), "nor do other kinds");
        assert!(!written.behind("a", "Workspace", 7));
        assert!(!written.behind("a", "Workspace", 1), "it is forgotten then");
    }

    #[test]
    fn the_newest_of_a_kind_is_that_of_whomever_it_was_written_for() {
        let written = Written::default();
        written.note("a", "Message", 7);
        written.wrote("Message", 9);
        written.note("b", "Message", 8);
        assert_eq!((written.newest("Message"), written.newest("Request")), (9, 0));
    }
}
