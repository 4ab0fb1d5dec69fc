//! Decides what to start, ask and restart, from what happened so far and the time. It does nothing itself.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::components::Component;

const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// A process that ran this long is healthy: its next end counts as the first.
const HEALTHY: Duration = Duration::from_secs(30);

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessState {
    /// Waits for another one.
    Waiting,
    /// Runs, not yet ready.
    Starting,
    /// Runs and answered.
    Ready,
    /// Ended; waits before its next start.
    BackingOff,
}

/// One line of `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Component.
    pub name: String,
    /// What it is doing.
    pub state: ProcessState,
    /// Process id inside the cluster.
    pub pid: Option<i32>,
    /// How often it ended unasked or was replaced.
    pub restarts: u32,
    /// The component's form, see [`Component::form`].
    pub form: String,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start it.
    Start(Component),
    /// Ask whether it is ready.
    Probe(Component),
}

/// A component's end, and the processes that must end with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub name: String,
    pub followers: Vec<i32>,
}

struct Entry {
    component: Component,
    running: Option<(i32, Instant)>,
    ready: bool,
    /// The running process is of an older form and was told to end.
    outdated: bool,
    not_before: Option<Instant>,
    failures: u32,
    restarts: u32,
}

impl Entry {
    fn new(component: Component) -> Self {
        Self {
            component,
            running: None,
            ready: false,
            outdated: false,
            not_before: None,
            failures: 0,
            restarts: 0,
        }
    }

    fn back_off(&mut self, now: Instant) {
        let delay = FIRST_DELAY.saturating_mul(1 << self.failures.min(10)).min(LONGEST_DELAY);
        self.failures += 1;
        self.restarts += 1;
        self.ready = false;
        self.outdated = false;
        self.not_before = Some(now + delay);
    }
}

/// All processes and what is known of them.
pub struct Table {
    entries: Vec<Entry>,
    /// Processes that run but are no longer wanted: their end is expected.
    leaving: Vec<i32>,
}

impl Table {
    pub fn new(components: Vec<Component>) -> Self {
        Self { entries: components.into_iter().map(Entry::new).collect(), leaving: Vec::new() }
    }

    fn entry(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|e| e.component.name == name)
    }

    /// What to do at `now`.
    pub fn actions(&self, now: Instant) -> Vec<Action> {
        let ready = |name: &String| self.entries.iter().any(|e| &e.component.name == name && e.ready);
        let mut actions = Vec::new();
        for entry in &self.entries {
            let waits = entry.not_before.is_some_and(|t| t > now);
            if entry.running.is_none() && !waits && entry.component.after.iter().all(ready) {
                actions.push(Action::Start(entry.component.clone()));
            } else if entry.running.is_some() && !entry.ready && !entry.outdated {
                actions.push(Action::Probe(entry.component.clone()));
            }
        }
        actions
    }

    pub fn started(&mut self, name: &str, pid: i32, now: Instant) {
        if let Some(entry) = self.entry(name) {
            entry.running = Some((pid, now));
            entry.ready = false;
        }
    }

    /// It could not even be started.
    pub fn failed(&mut self, name: &str, now: Instant) {
        if let Some(entry) = self.entry(name) {
            entry.back_off(now);
        }
    }

    pub fn ready(&mut self, name: &str) {
        if let Some(entry) = self.entry(name) {
            entry.ready = true;
        }
    }

    /// A process ended. `None` for one that is not a component: an orphan, or one that was replaced.
    pub fn exited(&mut self, pid: i32, now: Instant) -> Option<Ended> {
        self.leaving.retain(|p| *p != pid);
        let entry = self.entries.iter_mut().find(|e| e.running.is_some_and(|(p, _)| p == pid))?;
        if entry.running.take().is_some_and(|(_, since)| now.duration_since(since) >= HEALTHY) {
            entry.failures = 0;
        }
        entry.back_off(now);
        let name = entry.component.name.clone();
        let follows = |e: &&Entry| e.component.follows.as_ref() == Some(&name);
        let followers =
            self.entries.iter().filter(follows).filter_map(|e| e.running).map(|(p, _)| p).collect();
        Some(Ended { name, followers })
    }

    /// Takes a new list: what is unchanged goes on, the processes returned must end.
    pub fn replace(&mut self, components: Vec<Component>) -> Vec<i32> {
        let mut ending = Vec::new();
        let mut old = std::mem::take(&mut self.entries);
        for component in components {
            let known = old.iter().position(|e| e.component.name == component.name);
            let mut entry = Entry::new(component);
            if let Some(before) = known.map(|at| old.remove(at)) {
                if before.component == entry.component {
                    entry = before;
                } else {
                    entry.restarts = before.restarts;
                    // Its successor must not meet it: wait for the end of the old one.
                    entry.running = before.running;
                    entry.outdated = before.running.is_some();
                    ending.extend(before.running.map(|(p, _)| p));
                }
            }
            self.entries.push(entry);
        }
        let gone: Vec<_> = old.into_iter().filter_map(|e| e.running).map(|(p, _)| p).collect();
        self.leaving.extend(&gone);
        ending.extend(gone);
        ending
    }

    /// Components that run, with their process ids; also those that were told to end and have not yet.
    pub fn running(&self) -> Vec<(String, i32)> {
        let named = self.entries.iter().filter_map(|e| e.running.map(|(p, _)| (e.component.name.clone(), p)));
        named.chain(self.leaving.iter().map(|p| (String::from("(leaving)"), *p))).collect()
    }

    pub fn status(&self) -> Vec<Status> {
        let state = |e: &Entry| match (e.running, e.ready) {
            (Some(_), true) => ProcessState::Ready,
            (Some(_), false) => ProcessState::Starting,
            (None, _) if e.not_before.is_some() => ProcessState::BackingOff,
            (None, _) => ProcessState::Waiting,
        };
        let one = |e: &Entry| Status {
            name: e.component.name.clone(),
            state: state(e),
            pid: e.running.map(|(p, _)| p),
            restarts: e.restarts,
            form: e.component.form(),
        };
        self.entries.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::Ready;

    fn component(name: &str, after: &[&str], follows: Option<&str>) -> Component {
        Component {
            name: name.to_owned(),
            command: vec![format!("/bin/{name}")],
            env: Vec::new(),
            after: after.iter().map(|&a| a.to_owned()).collect(),
            follows: follows.map(str::to_owned),
            ready: Ready::Running,
            stamp: String::new(),
        }
    }

    fn starts(table: &Table, now: Instant) -> Vec<String> {
        let name = |a| match a {
            Action::Start(c) => Some(c.name),
            Action::Probe(_) => None,
        };
        table.actions(now).into_iter().filter_map(name).collect()
    }

    #[test]
    fn nothing_starts_before_what_it_waits_for_has_answered() {
        let now = Instant::now();
        let mut table = Table::new(vec![component("a", &[], None), component("b", &["a"], None)]);
        assert_eq!(starts(&table, now), ["a"]);
        table.started("a", 10, now);
        assert!(starts(&table, now).is_empty());
        table.ready("a");
        assert_eq!(starts(&table, now), ["b"]);
    }

    #[test]
    fn a_process_that_keeps_ending_is_restarted_ever_later_but_never_given_up() {
        let mut now = Instant::now();
        let mut table = Table::new(vec![component("a", &[], None)]);
        let mut delays = Vec::new();
        for pid in 1..12 {
            table.started("a", pid, now);
            table.exited(pid, now).unwrap();
            let until = table.entries[0].not_before.unwrap();
            assert!(starts(&table, now).is_empty());
            delays.push(until - now);
            now = until;
            assert_eq!(starts(&table, now), ["a"]);
        }
        assert!(delays.windows(2).all(|w| w[0] <= w[1]));
        assert_eq!(delays.last(), Some(&LONGEST_DELAY));
    }

    #[test]
    fn a_long_healthy_run_forgets_earlier_failures() {
        let now = Instant::now();
        let mut table = Table::new(vec![component("a", &[], None)]);
        table.entries[0].failures = 9;
        table.started("a", 1, now);
        table.exited(1, now + HEALTHY).unwrap();
        assert_eq!(table.entries[0].not_before, Some(now + HEALTHY + FIRST_DELAY));
    }

    #[test]
    fn sidecars_end_with_the_process_they_follow_and_orphans_are_nobodys() {
        let now = Instant::now();
        let mut table =
            Table::new(vec![component("driver", &[], None), component("side", &[], Some("driver"))]);
        table.started("driver", 1, now);
        table.started("side", 2, now);
        assert_eq!(table.exited(99, now), None);
        let ended = table.exited(1, now).unwrap();
        assert_eq!(ended, Ended { name: "driver".to_owned(), followers: vec![2] });
    }

    #[test]
    fn a_new_list_ends_only_what_changed_and_starts_it_after_the_old_one_ended() {
        let now = Instant::now();
        let mut table = Table::new(vec![component("a", &[], None), component("b", &[], None)]);
        table.started("a", 1, now);
        table.started("b", 2, now);
        let changed = Component { stamp: "new".to_owned(), ..component("b", &[], None) };
        assert_eq!(table.replace(vec![component("a", &[], None), changed]), [2]);
        assert!(starts(&table, now).is_empty());
        table.exited(2, now);
        assert_eq!(starts(&table, now + FIRST_DELAY), ["b"]);
        assert_eq!(table.replace(vec![component("b", &[], None)]), [1]);
    }
}
