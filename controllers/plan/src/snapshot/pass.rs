//! One pass over a Snapshot: the status that comes out of it, and the few steps that several situations share.

use a8s_crds::{
    Snapshot, SnapshotStatus,
    conditions::{self, ConditionType, Reason, Status},
    labels,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use crate::{Env, Notice, Op, Plan, Target, Wake};

/// A plan under construction.
pub(super) struct Pass {
    /// The status as it was found.
    pub old: SnapshotStatus,
    /// The status as it will be.
    pub status: SnapshotStatus,
    /// The time.
    pub now: Timestamp,
    /// The plan.
    pub plan: Plan<SnapshotStatus>,
    /// Whether the status is left as it is.
    pub keep_status: bool,
    generation: Option<i64>,
    created: Option<Timestamp>,
}

impl Pass {
    pub fn new(snapshot: &Snapshot, env: &Env) -> Self {
        let old = snapshot.status.clone().unwrap_or_default();
        let mut status = old.clone();
        status.observed_generation = snapshot.metadata.generation;
        status.uid = snapshot.uid();
        Self {
            old,
            status,
            generation: snapshot.metadata.generation,
            created: snapshot.metadata.creation_timestamp.as_ref().map(|t| t.0),
            now: env.now,
            keep_status: false,
            plan: Plan::default(),
        }
    }

    /// Seconds since the Snapshot was made.
    pub fn age_seconds(&self) -> i64 {
        self.created.map_or(i64::MAX, |t| self.now.as_second() - t.as_second())
    }

    /// Sets `Ready` and clears `Stalled`; says whether the reason is new.
    pub fn condition(&mut self, reason: Reason, message: &str, ready: bool) -> bool {
        let all: &mut Vec<Condition> = &mut self.status.conditions;
        conditions::clear(all, ConditionType::Stalled);
        let (kind, status) = (ConditionType::Ready, Status::from(ready));
        conditions::set(all, kind, status, reason, message, self.generation, self.now);
        conditions::get(&self.old.conditions, ConditionType::Ready)
            .is_none_or(|c| c.reason != reason.as_str())
    }

    pub fn waiting(&mut self, reason: Reason, message: &str, millis: u64) {
        self.condition(reason, message, false);
        self.plan.wake = Wake::AfterMillis(millis);
    }

    pub fn stalled(&mut self, reason: Reason, message: &str) {
        let stalled_before = conditions::get(&self.old.conditions, ConditionType::Stalled).cloned();
        let new = self.condition(reason, message, false);
        self.status.conditions.extend(stalled_before);
        let all = &mut self.status.conditions;
        let (kind, status) = (ConditionType::Stalled, Status::True);
        conditions::set(all, kind, status, reason, message, self.generation, self.now);
        if new {
            self.notice(true, reason, message.to_owned());
        }
    }

    /// Any other condition.
    pub fn set(&mut self, kind: ConditionType, status: Status, reason: Reason, message: &str) {
        let all = &mut self.status.conditions;
        conditions::set(all, kind, status, reason, message, self.generation, self.now);
    }

    pub fn notice(&mut self, warning: bool, reason: Reason, note: String) {
        self.plan.notices.push(Notice { warning, reason, note });
    }

    pub fn changed(&self) -> bool {
        self.status != self.old
    }

    pub fn finish(mut self) -> Plan<SnapshotStatus> {
        if self.changed() && !self.keep_status {
            self.plan.status = Some(self.status);
        }
        self.plan
    }
}

/// The Snapshot itself.
pub(super) fn target(snapshot: &Snapshot) -> Target {
    Target {
        api_version: "a8s.dev/v1alpha1".into(),
        kind: "Snapshot".into(),
        namespace: snapshot.namespace().unwrap_or_default(),
        name: snapshot.name_any(),
        uid: snapshot.uid().unwrap_or_default(),
    }
}

/// Adds or removes the finalizer.
pub(super) fn finalizer(snapshot: &Snapshot, present: bool) -> Op {
    Op::Finalizer { target: target(snapshot), finalizer: labels::SNAPSHOT_FINALIZER, present }
}
