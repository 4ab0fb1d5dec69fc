//! How many streams are open, per desktop and per person. A person who has too many loses the oldest that shows the same desktop: it may
//! well be one that is dead and not known to be. Nobody ever takes the place of somebody else.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Counts streams.
#[derive(Clone, Debug)]
pub struct Limits {
    per_desktop: usize,
    per_user: usize,
    /// In the order in which they were opened.
    open: Arc<Mutex<Vec<Stream>>>,
}

#[derive(Debug)]
struct Stream {
    uid: String,
    user: String,
    replaced: CancellationToken,
    /// Known to its place, and to nobody else.
    key: Arc<()>,
}

/// One open stream; dropping it makes room.
#[derive(Debug)]
pub struct Place {
    limits: Limits,
    key: Arc<()>,
    /// Cancelled when the same person needs the place for another stream.
    pub replaced: CancellationToken,
}

impl Limits {
    /// At most so many.
    pub fn new(per_desktop: usize, per_user: usize) -> Self {
        Self { per_desktop, per_user, open: Arc::default() }
    }

    /// Room for one more, if there is any or this person's oldest stream to the same desktop makes some.
    pub fn take(&self, uid: &str, user: &str) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_desktop = open.iter().filter(|stream| stream.uid == uid).count();
        let of_user = open.iter().filter(|stream| stream.user == user).count();
        if of_desktop >= self.per_desktop || of_user >= self.per_user {
            let oldest = open.iter().position(|stream| stream.uid == uid && stream.user == user)?;
            open.remove(oldest).replaced.cancel();
        }
        let (key, replaced) = (Arc::new(()), CancellationToken::new());
        open.push(Stream {
            uid: uid.into(),
            user: user.into(),
            replaced: replaced.clone(),
            key: key.clone(),
        });
        Some(Place { limits: self.clone(), key, replaced })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.limits.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|stream| !Arc::ptr_eq(&stream.key, &self.key));
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

    #[test]
    fn who_has_too_many_loses_the_oldest_of_the_same_desktop_and_nobody_elses() {
        let limits = Limits::new(3, 4);
        let joe = limits.take("a", "joe").unwrap();
        let janes: Vec<_> = (0..2).map(|_| limits.take("a", "jane").unwrap()).collect();
        let third = limits.take("a", "jane").unwrap();
        let replaced = |place: &Place| place.replaced.is_cancelled();
        assert!(replaced(&janes[0]) && !replaced(&janes[1]) && !replaced(&joe) && !replaced(&third));
        // Its place is another's already.
        drop(janes);
        let _fourth = limits.take("a", "jane").unwrap();
        assert!(!replaced(&third) && !replaced(&joe));
        let _elsewhere: Vec<_> = ["b", "c"].map(|uid| limits.take(uid, "jane").unwrap()).into();
        assert!(limits.take("d", "jane").is_none(), "none of hers shows that desktop");
        assert!(limits.take("b", "jane").is_some());
    }
}
