//! One caller at a time for each id: the orchestrator may repeat a call while the first one still runs.

use std::{
    collections::HashSet,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::naming::Id;

/// The ids that are being worked on.
#[derive(Debug, Default)]
pub struct Locks {
    held: Mutex<HashSet<Id>>,
    freed: Condvar,
}

impl Locks {
    /// Waits until nobody works on `id`, then holds it until the guard is dropped.
    pub fn lock(&self, id: &Id) -> Guard<'_> {
        let mut held = self
            .freed
            .wait_while(self.held(), |held| held.contains(id))
            .unwrap_or_else(PoisonError::into_inner);
        held.insert(id.clone());
        Guard { locks: self, id: id.clone() }
    }

    // A panic elsewhere cannot leave the set half changed, so a poisoned lock is as good as any.
    fn held(&self) -> MutexGuard<'_, HashSet<Id>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds one id.
#[derive(Debug)]
pub struct Guard<'a> {
    locks: &'a Locks,
    id: Id,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.locks.held().remove(&self.id);
        self.locks.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::naming::Kind;

    #[test]
    fn two_callers_never_hold_one_id_at_the_same_time() {
        let (locks, inside, most) = (Locks::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let id = Id::of_name(Kind::Volume, "a");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _guard = locks.lock(&id);
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn another_id_is_not_held_up() {
        let locks = Locks::default();
        let _first = locks.lock(&Id::of_name(Kind::Volume, "a"));
        let _second = locks.lock(&Id::of_name(Kind::Volume, "b"));
    }
}
