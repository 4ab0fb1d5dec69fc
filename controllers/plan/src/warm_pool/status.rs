//! What the status of a pool says, and how often.

use a8s_crds::{
    WarmPoolStatus,
    conditions::{self, ConditionType, Reason, Status},
    labels,
};
use kube::ResourceExt;

use super::{Count, Member, Observed, STATUS_PAUSE, desired};
use crate::{Env, Notice, Wake};

type Problem = Option<(Reason, String)>;

pub(super) fn status(
    seen: &Observed,
    waiting: &[&Member],
    count: &Count,
    current: Option<&str>,
    problem: Problem,
    env: &Env,
) -> (WarmPoolStatus, Vec<Notice>) {
    let before = seen.pool.status.clone().unwrap_or_default();
    let mut new = before.clone();
    let generation = seen.pool.metadata.generation;
    let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    new.observed_generation = generation;
    new.replicas = number(waiting.len());
    new.ready_replicas = number(count.ready.len());
    new.updated_replicas = number(count.updated);
    new.selector = Some(format!("{}={}", labels::POOL, seen.pool.name_any()));
    let golden = seen.golden.iter().find(|g| g.ready && !g.deleting);
    new.golden = golden.map(|g| g.name.clone());

    let stalled = problem.clone().or_else(|| stalled(waiting, current));
    let (value, reason, text) = match problem {
        Some((reason, text)) => (Status::False, reason, text),
        None => words(seen, waiting, count),
    };
    let mut notices = Vec::new();
    if value == Status::True && is_reason(&before, Reason::Rolling) {
        let note = "All desktops are made from the Environment as it is now.";
        notices.push(Notice { warning: false, reason, note: note.into() });
    }
    conditions::set(&mut new.conditions, ConditionType::Ready, value, reason, text, generation, env.now);
    match stalled {
        Some((reason, text)) => {
            let known = conditions::get(&before.conditions, ConditionType::Stalled);
            if known.is_none_or(|c| c.reason != reason.as_str()) {
                notices.push(Notice { warning: true, reason, note: text.clone() });
            }
            let kind = ConditionType::Stalled;
            conditions::set(&mut new.conditions, kind, Status::True, reason, text, generation, env.now);
        }
        None => conditions::clear(&mut new.conditions, ConditionType::Stalled),
    }
    (new, notices)
}

fn is_reason(status: &WarmPoolStatus, reason: Reason) -> bool {
    conditions::get(&status.conditions, ConditionType::Ready).is_some_and(|c| c.reason == reason.as_str())
}

fn words(seen: &Observed, waiting: &[&Member], count: &Count) -> (Status, Reason, String) {
    let (wanted, ready) = (desired(seen), count.ready.len());
    if count.updated < waiting.len() {
        let text =
            format!("{} of {wanted} desktops are made from the Environment as it is now.", count.updated);
        return (Status::False, Reason::Rolling, text);
    }
    if waiting.len() != wanted || ready < wanted {
        return (Status::False, Reason::Scaling, format!("{ready} of {wanted} desktops are ready."));
    }
    let text = match wanted {
        0 => "No desktops are asked for.".to_owned(),
        1 => "One desktop is ready.".to_owned(),
        _ => format!("{wanted} desktops are ready."),
    };
    (Status::True, Reason::Filled, text)
}

/// The first member that cannot go on without help; what ails old ones ends with them.
fn stalled(waiting: &[&Member], current: Option<&str>) -> Problem {
    let ill = waiting.iter().filter(|m| current.is_none_or(|c| m.template == c));
    let ill = ill.filter_map(|m| Some((m.ordinal, m.name.as_str(), m.stalled.as_deref()?)));
    let (_, name, text) = ill.min()?;
    Some((Reason::Progressing, format!("Workspace {name}: {text}")))
}

/// Said once: while the golden Snapshot cannot be had.
pub(super) fn without_golden(seen: &Observed, text: &str) -> Option<Notice> {
    // Only when members are made without it for the first time.
    let first = seen.members.iter().all(|m| m.seeds.is_some());
    let note = format!("Desktops start from an empty home, because there is no golden Snapshot: {text}");
    first.then_some(Notice { warning: true, reason: Reason::SnapshotFailed, note })
}

/// Puts the new status into the plan, unless it only counts what comes and goes and was written a moment ago.
pub(super) fn write(seen: &Observed, new: WarmPoolStatus, slot: &mut Option<WarmPoolStatus>) -> Wake {
    let Some(before) = &seen.pool.status else {
        *slot = Some(new);
        return Wake::OnChange;
    };
    if *before == new {
        return Wake::OnChange;
    }
    let told = |s: &WarmPoolStatus| {
        let stalled = conditions::get(&s.conditions, ConditionType::Stalled).map(|c| c.message.clone());
        let rolling = is_reason(s, Reason::Rolling);
        (s.observed_generation, rolling, stalled, s.golden.clone())
    };
    match seen.status_age {
        Some(age) if age < STATUS_PAUSE && told(before) == told(&new) => {
            Wake::AfterMillis(STATUS_PAUSE - age)
        }
        _ => {
            *slot = Some(new);
            Wake::OnChange
        }
    }
}
