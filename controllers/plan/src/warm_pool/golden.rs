//! The golden Snapshot: the home is prepared once, in the pool's first desktop, and every later one starts from that.
//!
//! The desktop that it is taken of is marked before it exists, and nobody takes it over until the Snapshot is there: nothing of a tenant
//! gets into it.

use a8s_crds::{Environment, Snapshot, conditions, conditions::ConditionType, labels, names};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{Member, Observed, desired, member, target};
use crate::{Op, Target};

/// A golden Snapshot of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Golden {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// The member that it is taken of.
    pub workspace: String,
    /// It can be started from.
    pub ready: bool,
    /// Why it never will.
    pub failed: Option<String>,
    /// It is on its way out.
    pub deleting: bool,
}

impl Golden {
    /// What a pool reads from a Snapshot, if it is one of its golden ones.
    pub fn of(snapshot: &Snapshot, pool_uid: &str) -> Option<Self> {
        let ours =
            snapshot.owner_references().iter().any(|r| r.controller == Some(true) && r.uid == pool_uid);
        let conditions = snapshot.status.as_ref().map_or(&[][..], |s| &s.conditions);
        let stalled = conditions::get(conditions, ConditionType::Stalled).filter(|c| c.status == "True");
        ours.then(|| Self {
            name: snapshot.name_any(),
            uid: snapshot.uid().unwrap_or_default(),
            workspace: snapshot.spec.workspace.clone(),
            ready: conditions::is_true(conditions, ConditionType::Ready),
            failed: stalled.map(|c| c.message.clone()),
            deleting: snapshot.metadata.deletion_timestamp.is_some(),
        })
    }
}

/// Where new members start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seed {
    /// From an empty home.
    Nothing,
    /// From an empty home, because no golden Snapshot can be had; why.
    Failed(String),
    /// One member is made for this Snapshot; the others wait for it.
    Plant(String),
    /// The Snapshot is on its way.
    Wait,
    /// From this Snapshot.
    From(String),
}

/// Sees to the golden Snapshot.
pub(super) fn settle(
    seen: &Observed,
    environment: &Environment,
    current: &str,
    waiting: &[&Member],
) -> (Seed, Vec<Op>) {
    let (pool, uid) = (seen.pool.name_any(), seen.pool.uid().unwrap_or_default());
    let wanted = environment.spec.storage.as_ref().is_some_and(|s| s.golden);
    let name = wanted.then(|| names::golden_snapshot(&pool, &uid, current));
    let mut ops = old(seen, name.as_deref());
    let Some(name) = name else {
        ops.extend(waiting.iter().filter(|m| m.seeds.is_some()).map(|m| release(m)));
        return (Seed::Nothing, ops);
    };
    let seed = waiting.iter().find(|m| m.seeds.as_deref() == Some(&*name));
    let found = seen.golden.iter().find(|g| g.name == name);
    let seed = match (found, seed) {
        (Some(golden), _) if golden.deleting => Seed::Wait,
        (Some(golden), seed) if golden.ready || golden.failed.is_some() => {
            ops.extend(seed.map(|m| release(m)));
            match &golden.failed {
                Some(text) if !golden.ready => Seed::Failed(text.clone()),
                _ => Seed::From(name),
            }
        }
        // What it was to be taken of is gone: once more, with another.
        (Some(golden), None) => {
            ops.push(delete(seen, golden));
            Seed::Wait
        }
        (Some(_), Some(_)) => Seed::Wait,
        (None, Some(member)) => {
            if member.ready {
                ops.push(Op::Create { object: snapshot(seen, &name, &member.name) });
            }
            Seed::Wait
        }
        (None, None) if desired(seen) == 0 => Seed::Wait,
        (None, None) => Seed::Plant(name),
    };
    (seed, ops)
}

/// Golden Snapshots of earlier Environments go once nobody's volume is still to be made from them.
fn old(seen: &Observed, current: Option<&str>) -> Vec<Op> {
    let needed = |g: &&Golden| seen.members.iter().any(|m| m.needs.as_deref() == Some(&*g.name));
    let old = seen.golden.iter().filter(|g| Some(g.name.as_str()) != current && !g.deleting);
    old.filter(|g| !needed(g)).map(|g| delete(seen, g)).collect()
}

fn delete(seen: &Observed, golden: &Golden) -> Op {
    let target = Target {
        api_version: "a8s.dev/v1alpha1".into(),
        kind: "Snapshot".into(),
        namespace: seen.pool.namespace().unwrap_or_default(),
        name: golden.name.clone(),
        uid: golden.uid.clone(),
    };
    Op::Delete { target, grace: None }
}

/// From now on it may be taken over.
fn release(member: &Member) -> Op {
    let patch = json!({"metadata": {"annotations": {labels::SEEDS: null}}});
    Op::Swap { target: target(member), version: member.version.clone(), patch }
}

fn snapshot(seen: &Observed, name: &str, workspace: &str) -> Value {
    json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Snapshot",
        "metadata": {
            "name": name, "namespace": seen.pool.namespace(),
            "labels": {labels::MANAGED_BY: labels::MANAGER, labels::TRIGGER: "Golden", labels::WORKSPACE: workspace},
            "ownerReferences": [member::reference(&seen.pool)],
        },
        "spec": {"workspace": workspace, "trigger": "Golden", "hold": true, "deletionPolicy": "Delete"},
    })
}
