//! Statuses that nobody would read before the next one comes are not written: each costs the API server more than the whole pass that made
//! it. A desktop that waits in a pool is looked at when it is ready, when it needs help, or when it takes long; one that goes, when it takes long.

use a8s_crds::{
    WorkspaceStatus,
    conditions::{self, ConditionType, Reason},
    labels,
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::Observed;
use crate::{Env, Plan, Wake};

/// What takes longer than this many milliseconds is worth a status.
const LONG: i64 = 4_000;

/// Leaves out of the plan what can wait.
pub(super) fn spare(observed: &Observed, env: &Env, plan: &mut Plan<WorkspaceStatus>) {
    if waits(observed) {
        // Nobody follows the Events of something that is nobody's yet.
        plan.notices.retain(|notice| notice.warning);
    }
    let Some(new) = &plan.status else { return };
    let old = observed.workspace.status.as_ref();
    let is = |status: &WorkspaceStatus, kind| conditions::is_true(&status.conditions, kind);
    let news = is(new, ConditionType::Ready)
        || is(new, ConditionType::Stalled)
        || old.is_some_and(|old| is(old, ConditionType::Stalled));
    let since = match observed.deleted_at() {
        // What it waits for before it goes is worth knowing at once.
        Some(deleted) => {
            let ready = conditions::get(&new.conditions, ConditionType::Ready);
            ready.is_some_and(|c| c.reason == Reason::Deleting.as_str()).then_some(deleted)
        }
        None if waits(observed) => began(old),
        None => None,
    };
    let left = since.map_or(0, |since| LONG - (env.now.as_millisecond() - since.as_millisecond()));
    if news || left <= 0 {
        return;
    }
    plan.status = None;
    plan.notices.retain(|notice| notice.warning);
    if let Ok(left) = u64::try_from(left) {
        plan.wake = match plan.wake {
            Wake::AfterMillis(millis) => Wake::AfterMillis(millis.min(left)),
            Wake::OnChange => Wake::AfterMillis(left),
        };
    }
}

fn waits(observed: &Observed) -> bool {
    observed.workspace.labels().contains_key(labels::POOL)
}

/// When its start began, if that is written down already: the first status of a start says it, and the timings rest on it.
fn began(old: Option<&WorkspaceStatus>) -> Option<Timestamp> {
    old?.startup.as_ref().filter(|s| s.total.is_none())?.began.as_ref().map(|t| t.0)
}
