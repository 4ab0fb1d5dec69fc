//! Decisions for the kind WarmPool: how many desktops wait, from what they are made, and which go.
//!
//! A member is a Workspace whose controller is the pool. It leaves by a compare-and-swap that makes a Session its controller; from then
//! on it is the Session's business and never comes back: what a tenant used is never given to another. Members are numbered upwards and
//! named after their number, so that a view that does not show the newest yet names the same object again, which is no new desktop.
//! Whatever goes is deleted only as it was seen: a member that a Session takes at the same moment stays.

mod golden;
mod member;
mod status;
mod template;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use a8s_crds::{Environment, WarmPool, WarmPoolStatus, conditions::Reason};
use kube::ResourceExt;

pub use golden::Golden;
pub use member::{Member, adoptable, is_member, ordinal, owner};
pub use template::{is_current, template};

use crate::{Env, Op, Plan, Target, Wake};
use golden::Seed;

/// So many members are made or removed in one pass at most.
const BATCH: usize = 64;
/// A view that is behind is looked at again when it changes; this is only for the case that nothing does.
const BEHIND: u64 = 500;
/// Numbers that change with every Session are written so often at most, in milliseconds.
const STATUS_PAUSE: u64 = 1_000;

/// While Sessions take desktops over, new ones wait so many milliseconds after the last: a person who is waiting goes before a desktop that
/// nobody waits for.
const REST: u64 = 500;
/// So many are made in one pass meanwhile, once fewer than a quarter are left.
const TRICKLE: usize = 4;

/// What was seen.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The pool.
    pub pool: WarmPool,
    /// Its Environment, if that exists.
    pub environment: Option<Environment>,
    /// All Workspaces that it ever made and that are there, those that Sessions took over included.
    pub members: Vec<Member>,
    /// Names that look like a member's and are not.
    pub taken: BTreeSet<String>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// Golden Snapshots that it made.
    pub golden: Vec<Golden>,
    /// The view is older than what was written for this pool: nothing can be concluded from it.
    pub behind: bool,
    /// Milliseconds since its status was written, if this process did that.
    pub status_age: Option<u64>,
    /// Milliseconds since a Session was seen to take a desktop over, if this process saw one.
    pub taken_age: Option<u64>,
}

/// A node, as far as pools care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its `Ready` is `True`.
    pub ready: bool,
    /// Nobody cordoned it.
    pub schedulable: bool,
}

/// What is to be done for a pool now.
pub fn plan(seen: &Observed, env: &Env) -> Plan<WarmPoolStatus> {
    let mut plan = Plan::default();
    if seen.pool.metadata.deletion_timestamp.is_some() {
        // Members go with their owner; those that Sessions took over have another.
        return plan;
    }
    if seen.behind {
        plan.wake = Wake::AfterMillis(BEHIND);
        return plan;
    }
    let waiting: Vec<&Member> = seen.members.iter().filter(|m| m.waiting).collect();
    let mut problem = None;
    let current = match &seen.environment {
        Some(environment) if environment.metadata.deletion_timestamp.is_none() => {
            Some(template(environment, &seen.pool.spec, env))
        }
        _ => {
            let name = &seen.pool.spec.environment;
            problem = Some((
                Reason::EnvironmentNotFound,
                format!("Environment {name} does not exist; create it, or delete the pool."),
            ));
            None
        }
    };
    let count = Count::of(seen, &waiting, current.as_deref());
    let mut resume = None;
    let surplus = waiting.len().saturating_sub(desired(seen));
    if surplus > 0 {
        plan.ops.extend(leaving(&waiting, current.as_deref(), &count).take(surplus.min(BATCH)).map(remove));
    } else if let (Some(environment), Some(current)) = (&seen.environment, &current) {
        plan.ops.extend(rolling(seen, &waiting, current, &count));
        let (seed, ops) = golden::settle(seen, environment, current, &waiting);
        plan.ops.extend(ops);
        let rest = rest(seen, &count);
        let batch = if rest.is_none() {
            BATCH
        } else if count.ready.len() * 4 < desired(seen) {
            TRICKLE
        } else {
            0
        };
        resume = rest.filter(|_| waiting.len() < desired(seen));
        plan.ops.extend(filling(seen, &waiting, current, &seed, batch));
        if let Seed::Failed(text) = seed {
            plan.notices.extend(status::without_golden(seen, &text));
        }
    }
    let (new, notices) = status::status(seen, &waiting, &count, current.as_deref(), problem, env);
    plan.notices.extend(notices);
    plan.wake = status::write(seen, new, &mut plan.status);
    if let Some(millis) = resume {
        plan.wake = match plan.wake {
            Wake::AfterMillis(earlier) => Wake::AfterMillis(earlier.min(millis)),
            Wake::OnChange => Wake::AfterMillis(millis),
        };
    }
    plan
}

fn desired(seen: &Observed) -> usize {
    usize::try_from(seen.pool.spec.replicas).unwrap_or_default()
}

/// How the waiting members stand.
pub(crate) struct Count {
    /// Could be taken over this moment.
    pub ready: BTreeSet<String>,
    /// Made from the Environment as it is now.
    pub updated: usize,
}

impl Count {
    fn of(seen: &Observed, waiting: &[&Member], current: Option<&str>) -> Self {
        let serves =
            |m: &&&Member| m.ready && m.seeds.is_none() && node(seen, m).ready && node(seen, m).schedulable;
        Self {
            ready: waiting.iter().filter(serves).map(|m| m.name.clone()).collect(),
            updated: waiting.iter().filter(|m| Some(m.template.as_str()) == current).count(),
        }
    }
}

/// Its node. One that is gone takes its pods with it; one that is not known yet is no reason to doubt the Workspace.
fn node(seen: &Observed, member: &Member) -> Node {
    let Some(name) = &member.node else { return Node { ready: true, schedulable: true } };
    seen.nodes.get(name).copied().unwrap_or(Node { ready: false, schedulable: true })
}

/// Members in the order in which they may go: those that cannot serve first, then those of an old Environment, then the newest.
fn leaving<'a>(
    waiting: &[&'a Member],
    current: Option<&str>,
    count: &Count,
) -> impl Iterator<Item = &'a Member> + use<'a> {
    let mut order = waiting.to_vec();
    let old = |m: &Member| current.is_some_and(|current| m.template != current);
    order.sort_by_key(|m| (count.ready.contains(&m.name), !old(m), std::cmp::Reverse(m.ordinal)));
    order.into_iter()
}

/// Members that give way to new ones. Their places are filled once they are seen to be leaving, so that there is never one too many.
fn rolling(seen: &Observed, waiting: &[&Member], current: &str, count: &Count) -> Vec<Op> {
    let elsewhere = seen.nodes.values().any(|n| n.ready && n.schedulable);
    let mut ops = Vec::new();
    let mut serving = Vec::new();
    for member in waiting {
        if count.ready.contains(&member.name) {
            serving.extend((member.template != current).then_some(*member));
        } else if member.template != current || (elsewhere && !node(seen, member).schedulable) {
            // An old one that does not serve costs nobody anything; one on a node that is being drained will not serve again.
            ops.push(remove(member));
        }
    }
    let floor = desired(seen).saturating_sub(max_unavailable(seen));
    let may = count.ready.len().saturating_sub(floor);
    serving.sort_by_key(|m| m.ordinal);
    ops.extend(serving.into_iter().take(may).map(remove));
    ops.truncate(BATCH);
    ops
}

fn max_unavailable(seen: &Observed) -> usize {
    let given = seen.pool.spec.max_unavailable.and_then(|n| usize::try_from(n).ok());
    given.unwrap_or_else(|| desired(seen) / 4).max(1)
}

/// How long filling rests, in milliseconds, because Sessions are taking desktops over just now.
fn rest(seen: &Observed, count: &Count) -> Option<u64> {
    // With nothing left that could be taken there is nobody to step aside for.
    let left = REST.checked_sub(seen.taken_age?)?;
    (!count.ready.is_empty() && left > 0).then_some(left)
}

/// New members for the places that are free.
fn filling(seen: &Observed, waiting: &[&Member], current: &str, seed: &Seed, batch: usize) -> Vec<Op> {
    let missing = desired(seen).saturating_sub(waiting.len());
    let (many, seeds) = match seed {
        // The others start from what the first one prepares.
        Seed::Plant(name) => (missing.min(1), Some(name.as_str())),
        Seed::Wait => (0, None),
        Seed::Nothing | Seed::Failed(_) | Seed::From(_) => (missing, None),
    };
    let source = if let Seed::From(name) = seed { Some(name.as_str()) } else { None };
    let (name, uid) = (seen.pool.name_any(), seen.pool.uid().unwrap_or_default());
    let first = seen.members.iter().map(|m| m.ordinal + 1).max().unwrap_or_default();
    let names = (first..).map(|n| (n, a8s_crds::names::pool_member(&name, &uid, n)));
    names
        .filter(|(_, name)| !seen.taken.contains(name))
        .take(many.min(batch))
        .map(|(n, name)| Op::Create { object: member::object(&seen.pool, &name, n, current, seeds, source) })
        .collect()
}

fn remove(member: &Member) -> Op {
    Op::DeleteUnchanged { target: target(member), version: member.version.clone() }
}

fn target(member: &Member) -> Target {
    Target {
        api_version: "a8s.dev/v1alpha1".into(),
        kind: "Workspace".into(),
        namespace: member.namespace.clone(),
        name: member.name.clone(),
        uid: member.uid.clone(),
    }
}
