//! What holds for desktops that waited in a pool.

use std::collections::{BTreeMap, BTreeSet};

use a8s_sim::Change;
use serde_json::Value;

use super::{
    Judge,
    facts::{going, owner, text, uid},
};

/// What was seen of pools so far.
#[derive(Default)]
pub(super) struct Pools {
    /// Desktop → Session that had it, by UID.
    had: BTreeMap<String, String>,
    /// UIDs of all that ever waited.
    waited: BTreeSet<String>,
    /// The most that may wait.
    most: Option<usize>,
}

fn kind(object: &Value) -> &str {
    text(&object["metadata"]["ownerReferences"][0]["kind"])
}

impl Judge {
    /// Never more than so many may wait, from now on.
    pub fn at_most_wait(&mut self, most: usize) {
        self.pools.most = Some(self.pools.most.unwrap_or_default().max(most));
    }

    /// UIDs of all desktops that ever waited, and of those that a Session got.
    pub fn pooled(&self) -> (usize, usize) {
        let taken = self.pools.had.keys().filter(|uid| self.pools.waited.contains(*uid)).count();
        (self.pools.waited.len(), taken)
    }

    /// Invariants 1 and 8 of pools: a desktop has one Session in all its life, a Session one desktop at a time, and no more wait than were
    /// ever asked for.
    pub(super) fn no_pooled_desktop_is_shared_or_used_twice(&mut self, change: &Change) {
        let Some(after) = change.after().filter(|_| change.key.kind == "Workspace") else { return };
        let before = change.before().map(owner).unwrap_or_default();
        if before == owner(after) && !change.deletes() {
            return;
        }
        let mine = uid(after).to_owned();
        match kind(after) {
            "WarmPool" => {
                if self.pools.had.contains_key(&mine) {
                    self.say(8, format!("{} came back to the pool", change.key));
                }
                let pool = owner(after);
                let all = change.view.iter().filter(|(key, _)| key.kind == "Workspace");
                let waiting = all.filter(|(_, o)| owner(o) == pool && !going(o)).count();
                if self.pools.most.is_some_and(|most| waiting > most) {
                    self.say(8, format!("{waiting} desktops wait, more than were ever asked for"));
                }
                self.pools.waited.insert(mine);
            }
            "Session" => {
                let session = owner(after).to_owned();
                let had = self.pools.had.entry(mine).or_insert_with(|| session.clone()).clone();
                if had != session {
                    self.say(1, format!("{} went from one Session to another", change.key));
                }
                let all = change.view.iter().filter(|(key, _)| key.kind == "Workspace");
                if all.filter(|(_, o)| owner(o) == session && !going(o)).count() > 1 {
                    self.say(1, format!("{} is the second desktop of its Session", change.key));
                }
            }
            _ => {}
        }
    }
}
