//! How many Workspaces each Environment has, kept up to date by their cache.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use a8s_crds::{
    Workspace,
    conditions::{ConditionType, is_true},
};

use super::cache::key;

/// The counts.
#[derive(Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    /// Of each Environment: all, and those that are ready.
    of: HashMap<Arc<str>, (i64, i64)>,
    /// Of each Workspace: where it is counted, and whether as ready.
    at: HashMap<Box<str>, (Arc<str>, bool)>,
}

impl Tally {
    /// Takes in a change of the cache.
    pub(super) fn update(&self, workspace: &Workspace, gone: bool) {
        let meta = &workspace.metadata;
        let name = key(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default());
        let ready = workspace.status.as_ref().is_some_and(|s| is_true(&s.conditions, ConditionType::Ready));
        let counts = &mut *self.counts();
        if let Some((environment, ready)) = counts.at.remove(&name)
            && let Some(count) = counts.of.get_mut(&environment)
        {
            *count = (count.0 - 1, count.1 - i64::from(ready));
            if count.0 == 0 {
                counts.of.remove(&environment);
            }
        }
        if gone {
            return;
        }
        let known = counts.of.get_key_value(&*workspace.spec.environment).map(|(known, _)| known.clone());
        let environment = known.unwrap_or_else(|| workspace.spec.environment.as_str().into());
        let count = counts.of.entry(environment.clone()).or_default();
        *count = (count.0 + 1, count.1 + i64::from(ready));
        counts.at.insert(name, (environment, ready));
    }

    /// How many Workspaces the Environment has, and how many of them are ready.
    pub fn of(&self, environment: &str) -> (i64, i64) {
        self.counts().of.get(environment).copied().unwrap_or_default()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workspace(name: &str, environment: &str, ready: bool) -> Workspace {
        let status = if ready { "True" } else { "False" };
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"environment": environment},
            "status": {"conditions": [{"type": "Ready", "status": status, "reason": "Ready", "message": "", "lastTransitionTime": "2026-11-22T08:00:00Z"}]}}))
        .unwrap()
    }

    #[test]
    fn every_workspace_counts_once_where_it_is_now() {
        let tally = Tally::default();
        tally.update(&workspace("a", "desktop", false), false);
        tally.update(&workspace("a", "desktop", true), false);
        tally.update(&workspace("b", "desktop", false), false);
        assert_eq!((tally.of("desktop"), tally.of("code")), ((2, 1), (0, 0)));
        tally.update(&workspace("b", "code", true), false);
        assert_eq!((tally.of("desktop"), tally.of("code")), ((1, 1), (1, 1)));
        tally.update(&workspace("a", "desktop", true), true);
        tally.update(&workspace("a", "desktop", true), true);
        assert_eq!(tally.of("desktop"), (0, 0));
    }
}
