//! How many streams are open, per desktop and per person.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts streams.
#[derive(Clone, Debug)]
pub struct Limits {
    per_desktop: usize,
    per_user: usize,
    counts: Arc<Mutex<HashMap<String, usize>>>,
}

/// One open stream; dropping it makes room.
#[derive(Debug)]
pub struct Place {
    limits: Limits,
    keys: [String; 2],
}

impl Limits {
    /// At most so many.
    pub fn new(per_desktop: usize, per_user: usize) -> Self {
        Self { per_desktop, per_user, counts: Arc::default() }
    }

    /// Room for one more, if there is any.
    pub fn take(&self, uid: &str, user: &str) -> Option<Place> {
        let keys = [format!("desktop {uid}"), format!("user {user}")];
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |key: &String| counts.get(key).copied().unwrap_or_default();
        if count(&keys[0]) >= self.per_desktop || count(&keys[1]) >= self.per_user {
            return None;
        }
        for key in &keys {
            *counts.entry(key.clone()).or_default() += 1;
        }
        Some(Place { limits: self.clone(), keys })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.limits.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            if let Some(count) = counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_stream_makes_room_for_another() {
        let limits = Limits::new(2, 3);
        let first = limits.take("a", "jane").unwrap();
        let _second = limits.take("a", "joe").unwrap();
        assert!(limits.take("a", "ann").is_none());
        drop(first);
        assert!(limits.take("a", "ann").is_some());
        let _janes: Vec<_> = ["b", "c", "d"].map(|uid| limits.take(uid, "jane").unwrap()).into();
        assert!(limits.take("e", "jane").is_none());
    }
}
