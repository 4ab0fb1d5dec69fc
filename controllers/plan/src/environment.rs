//! Decisions for an entry of the catalogue: whether Workspaces can be made from it, and how many there are. The API server has checked
//! what it says; what it refers to may be missing.

use a8s_crds::{
    Environment, EnvironmentStatus,
    conditions::{self, ConditionType, Reason, Status},
};

use crate::{Env, Notice, Plan, Wake};

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The Environment.
    pub environment: Environment,
    /// Whether the RuntimeClass that it names exists; true if it names none.
    pub runtime_class: bool,
    /// Workspaces made from it.
    pub workspaces: i64,
    /// Those of them that are ready.
    pub ready_workspaces: i64,
}

/// Decides.
pub fn plan(observed: &Observed, env: &Env) -> Plan<EnvironmentStatus> {
    let (spec, meta) = (&observed.environment.spec, &observed.environment.metadata);
    let old = observed.environment.status.clone().unwrap_or_default();
    let (mut new, mut plan) = (old.clone(), Plan::default());
    new.observed_generation = meta.generation;
    let class = spec.pod.as_ref().and_then(|pod| pod.runtime_class_name.as_deref());
    let missing = class.filter(|_| !observed.runtime_class);
    let (status, reason, message) = match missing {
        None => (Status::True, Reason::Ready, String::new()),
        Some(class) => (
            Status::False,
            Reason::RuntimeClassNotFound,
            format!(
                "There is no RuntimeClass {class}; `kubectl get runtimeclasses` lists those that exist. Pods of this Environment are refused."
            ),
        ),
    };
    let before = conditions::get(&old.conditions, ConditionType::Ready).map(|c| c.status.clone());
    let mut set = |kind, status, message: &str| {
        conditions::set(&mut new.conditions, kind, status, reason, message, meta.generation, env.now);
    };
    set(ConditionType::Ready, status, &message);
    if missing.is_some() {
        set(ConditionType::Stalled, Status::True, &message);
        if before.as_deref() != Some("False") {
            plan.notices.push(Notice { warning: true, reason, note: message });
        }
        plan.wake = Wake::AfterMillis(10_000);
    } else {
        conditions::clear(&mut new.conditions, ConditionType::Stalled);
    }
    new.workspaces = Some(observed.workspaces);
    new.ready_workspaces = Some(observed.ready_workspaces);
    plan.status = (new != old).then_some(new);
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed() -> Observed {
        let environment = serde_json::from_value(serde_json::json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "e", "generation": 1},
            "spec": {"title": "E", "image": "i", "pod": {"runtimeClassName": "gvisor"}},
        }))
        .unwrap();
        Observed { environment, runtime_class: true, workspaces: 0, ready_workspaces: 0 }
    }

    fn env() -> Env {
        Env { now: jiff::Timestamp::UNIX_EPOCH, runner_image: "r".into(), system_namespace: "s".into() }
    }

    /// The plan, and the world after it.
    fn pass(observed: &mut Observed) -> Plan<EnvironmentStatus> {
        let plan = plan(observed, &env());
        if let Some(status) = &plan.status {
            observed.environment.status = Some(status.clone());
        }
        plan
    }

    #[test]
    fn an_entry_that_lacks_nothing_is_ready_and_then_costs_nothing() {
        let mut seen = observed();
        let status = pass(&mut seen).status.unwrap();
        assert!(conditions::is_true(&status.conditions, ConditionType::Ready));
        assert_eq!(pass(&mut seen), Plan::default());
    }

    #[test]
    fn a_missing_runtime_class_is_named_once_and_heals() {
        let mut seen = Observed { runtime_class: false, ..observed() };
        let first = pass(&mut seen);
        assert!(first.notices[0].note.contains("gvisor"));
        let status = first.status.unwrap();
        assert!(conditions::is_true(&status.conditions, ConditionType::Stalled));
        let again = pass(&mut seen);
        assert!(again.status.is_none() && again.notices.is_empty());
        seen.runtime_class = true;
        let healed = pass(&mut seen).status.unwrap();
        assert!(conditions::is_true(&healed.conditions, ConditionType::Ready));
        assert!(conditions::get(&healed.conditions, ConditionType::Stalled).is_none());
    }

    #[test]
    fn the_counts_are_those_of_the_last_look() {
        let mut seen = observed();
        pass(&mut seen);
        (seen.workspaces, seen.ready_workspaces) = (3, 2);
        let status = pass(&mut seen).status.unwrap();
        assert_eq!((status.workspaces, status.ready_workspaces), (Some(3), Some(2)));
    }
}
