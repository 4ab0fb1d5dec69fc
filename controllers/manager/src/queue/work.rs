//! Which object has its pass next: a work queue as client-go has it. An object stands in it once, however often it is named; it has one
//! pass at a time; and what names it meanwhile gives it one more pass afterwards.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::Hash,
    time::Instant,
};

/// A queue of objects' names.
#[derive(Debug)]
pub struct WorkQueue<T> {
    /// To have a pass, in this order, unless they have one.
    ready: VecDeque<T>,
    /// To have a pass, whether they have one now or not.
    wanted: HashSet<T>,
    /// Have a pass now.
    busy: HashSet<T>,
    /// To have a pass later; names of the same moment are told apart by a number.
    later: BTreeMap<(Instant, u64), T>,
    times: HashMap<T, (Instant, u64)>,
    number: u64,
}

impl<T> Default for WorkQueue<T> {
    fn default() -> Self {
        let (ready, later) = (VecDeque::new(), BTreeMap::new());
        Self { ready, wanted: HashSet::new(), busy: HashSet::new(), later, times: HashMap::new(), number: 0 }
    }
}

impl<T: Clone + Eq + Hash> WorkQueue<T> {
    /// It is to have a pass now, which says itself when it wants the next.
    pub fn add(&mut self, object: T) {
        if let Some(time) = self.times.remove(&object) {
            self.later.remove(&time);
        }
        if self.wanted.contains(&object) {
            return;
        }
        if !self.busy.contains(&object) {
            self.ready.push_back(object.clone());
        }
        self.wanted.insert(object);
    }

    /// It is to have a pass then, if it has none sooner.
    pub fn add_at(&mut self, object: T, at: Instant) {
        if self.wanted.contains(&object) || self.times.get(&object).is_some_and(|(sooner, _)| *sooner <= at) {
            return;
        }
        if let Some(time) = self.times.remove(&object) {
            self.later.remove(&time);
        }
        self.number += 1;
        self.later.insert((at, self.number), object.clone());
        self.times.insert(object, (at, self.number));
    }

    /// What has its pass now; [`Self::done`] is to be told of its end.
    pub fn next(&mut self, now: Instant) -> Option<T> {
        while self.due().is_some_and(|at| at <= now) {
            let Some((_, object)) = self.later.pop_first() else { break };
            self.times.remove(&object);
            self.add(object);
        }
        let object = self.ready.pop_front()?;
        self.wanted.remove(&object);
        self.busy.insert(object.clone());
        Some(object)
    }

    /// Its pass is over.
    pub fn done(&mut self, object: &T) {
        if self.busy.remove(object) && self.wanted.contains(object) {
            self.ready.push_back(object.clone());
        }
    }

    /// When the first of those is due that wait for a time.
    pub fn due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn an_object_named_often_has_one_pass_and_one_more_for_what_came_meanwhile() {
        let (mut queue, now) = (WorkQueue::default(), Instant::now());
        queue.add("a");
        queue.add("b");
        queue.add("a");
        assert_eq!((queue.next(now), queue.next(now), queue.next(now)), (Some("a"), Some("b"), None));
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.next(now), None, "it has its pass");
        queue.done(&"a");
        assert_eq!((queue.next(now), queue.next(now)), (Some("a"), None));
        queue.done(&"a");
        queue.done(&"b");
        assert_eq!(queue.next(now), None);
    }

    #[test]
    fn the_sooner_of_two_times_counts_and_now_is_sooner_than_any() {
        let (mut queue, start) = (WorkQueue::default(), Instant::now());
        queue.add_at("a", at(start, 50));
        queue.add_at("a", at(start, 20));
        queue.add_at("a", at(start, 90));
        assert_eq!(queue.due(), Some(at(start, 20)));
        assert_eq!(queue.next(start), None);
        assert_eq!(queue.next(at(start, 20)), Some("a"));
        queue.done(&"a");
        assert_eq!((queue.due(), queue.next(at(start, 100))), (None, None));
        queue.add_at("a", at(start, 200));
        queue.add("a");
        assert_eq!((queue.due(), queue.next(start)), (None, Some("a")));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(u8),
        AddAt(u8, u64),
        Next,
        Done(usize),
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..4_u8).prop_map(Step::Add),
            (0..4_u8, 0..100_u64).prop_map(|(object, millis)| Step::AddAt(object, millis)),
            Just(Step::Next),
            (0..4_usize).prop_map(Step::Done),
            (0..60_u64).prop_map(Step::Pass),
        ];
        proptest::collection::vec(step, 0..80)
    }

    proptest! {
        #[test]
        fn whoever_was_named_has_a_pass_and_never_two_at_once(steps in steps()) {
            let (mut queue, start) = (WorkQueue::default(), Instant::now());
            let (mut now, mut running, mut owed) = (0, Vec::new(), HashSet::new());
            for step in steps {
                match step {
                    Step::Add(object) => { queue.add(object); owed.insert(object); }
                    Step::AddAt(object, millis) => { queue.add_at(object, at(start, now + millis)); owed.insert(object); }
                    Step::Next => if let Some(object) = queue.next(at(start, now)) {
                        prop_assert!(!running.contains(&object), "two passes of {object}");
                        prop_assert!(owed.remove(&object), "nobody named {object}");
                        running.push(object);
                    },
                    Step::Done(which) => if which < running.len() { queue.done(&running.remove(which)); },
                    Step::Pass(millis) => now += millis,
                }
            }
            for object in running.drain(..) { queue.done(&object); }
            while let Some(object) = queue.next(at(start, now + 1000)) { owed.remove(&object); queue.done(&object); }
            prop_assert!(owed.is_empty(), "forgotten: {owed:?}");
            prop_assert_eq!(queue.due(), None);
        }
    }
}
