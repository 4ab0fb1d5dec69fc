//! Defects that other controllers had, built into ours one at a time: the judge catches each of them. So a schedule without a violation
//! says something. Our own `check` is off here, since it would stop most of them before they do anything.

use std::sync::atomic::{AtomicU64, Ordering};

use a8s_crds::{SnapshotStatus, WorkspaceStatus, conditions::Reason};
use a8s_plan::{
    Op, Plan, Target, snapshot,
    workspace::{self, NodeState},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::Value;

use crate::{
    estate::{Estate, Wish},
    pools::Pools,
};

/// One defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Takes for its own what has the right name.
    AdoptsByName,
    /// Makes pods under new names, without looking whether there is one.
    CreatesWithoutLooking,
    /// The same for claims.
    MakesClaimsUnderNewNames,
    /// Lets the claim go as soon as the Snapshot is asked for.
    DeletesTheClaimTooEarly,
    /// Takes every Snapshot for finished.
    TrustsUnfinishedSnapshots,
    /// Does not tell one suspension from another.
    ArchivesWithAnOldSnapshot,
    /// Makes an empty volume where one was to be restored.
    StartsEmpty,
    /// Believes that a silent node is off.
    ForcesPodsOffSilentNodes,
    /// Says `Ready` for ever.
    StaysReady,
    /// Takes a Snapshot anew whose objects are gone.
    TakesAgain,
    /// Lets a Snapshot go before its data.
    LeaksInTheBackend,
    /// Takes an error of the driver for success.
    CallsTheLostReady,
    /// Counts its passes in the status.
    WritesEachTime,
    /// Does not see that somebody holds a Snapshot.
    ExpiresWhatIsHeld,
    /// The same, for `ttl`.
    ForgetsTheHold,
    /// Two Sessions get one desktop.
    SharesDesktops,
    /// Pool members get random names.
    MakesMembersUnderNewNames,
    /// A used desktop goes back to the pool.
    ReturnsDesktops,
}

/// A suffix that was never used before, as from a random number.
fn another(name: &Value) -> Value {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{}-x{}", name.as_str().unwrap_or_default(), COUNT.fetch_add(1, Ordering::Relaxed)).into()
}

fn created<'a, S>(plan: &'a mut Plan<S>, kind: &'a str) -> impl Iterator<Item = &'a mut Value> + use<'a, S> {
    plan.ops.iter_mut().filter_map(move |op| match op {
        Op::Create { object } if object["kind"] == kind => Some(object),
        _ => None,
    })
}

impl Mutant {
    /// What a pass for a Workspace does not see.
    pub fn blinds(self, seen: &mut workspace::Observed) {
        let own = seen.uid().to_owned();
        let adopt = |meta: &mut ObjectMeta| {
            meta.owner_references.iter_mut().flatten().for_each(|o| o.uid.clone_from(&own));
        };
        match self {
            Self::AdoptsByName => {
                seen.pod.iter_mut().for_each(|o| adopt(&mut o.metadata));
                seen.claim.iter_mut().for_each(|o| adopt(&mut o.metadata));
                seen.service.iter_mut().for_each(|o| adopt(&mut o.metadata));
                seen.network_policy.iter_mut().for_each(|o| adopt(&mut o.metadata));
                seen.secret.iter_mut().for_each(adopt);
            }
            Self::CreatesWithoutLooking => seen.pod = None,
            Self::MakesClaimsUnderNewNames => {
                seen.claim.take_if(|c| c.status.as_ref().is_none_or(|s| s.phase.is_none()));
            }
            Self::TrustsUnfinishedSnapshots => {
                seen.snapshots.iter_mut().for_each(|s| {
                    (s.ready, s.handle) = (true, true);
                    s.claim_uid = seen.claim.as_ref().and_then(|c| c.metadata.uid.clone());
                });
            }
            Self::ArchivesWithAnOldSnapshot => {
                let status = seen.workspace.status.as_mut();
                let quiet = status.and_then(|s| s.storage.as_mut()?.quiet_since.as_mut());
                if let Some(time) = quiet {
                    *time = Time(jiff::Timestamp::UNIX_EPOCH);
                }
            }
            Self::ForcesPodsOffSilentNodes if seen.node == NodeState::Silent => {
                seen.node = NodeState::OutOfService;
            }
            Self::ExpiresWhatIsHeld => seen.snapshots.iter_mut().for_each(|s| s.hold = false),
            _ => {}
        }
    }

    /// What it does to the plan of a Workspace.
    pub fn spoils(self, seen: &workspace::Observed, plan: &mut Plan<WorkspaceStatus>) {
        match self {
            Self::CreatesWithoutLooking => {
                created(plan, "Pod").for_each(|o| o["metadata"]["name"] = another(&o["metadata"]["name"]));
            }
            Self::MakesClaimsUnderNewNames => {
                let all = created(plan, "PersistentVolumeClaim");
                all.for_each(|o| o["metadata"]["name"] = another(&o["metadata"]["name"]));
            }
            Self::DeletesTheClaimTooEarly => {
                let asked = created(plan, "Snapshot").any(|o| o["spec"]["trigger"] == "Archive");
                let claim = seen.claim.as_ref().filter(|_| asked).map(|c| &c.metadata);
                plan.ops.extend(claim.map(|meta| Op::Delete {
                    target: Target {
                        api_version: "v1".into(),
                        kind: "PersistentVolumeClaim".into(),
                        namespace: seen.namespace().into(),
                        name: meta.name.clone().unwrap_or_default(),
                        uid: meta.uid.clone().unwrap_or_default(),
                    },
                    grace: None,
                }));
            }
            Self::StartsEmpty => created(plan, "PersistentVolumeClaim").for_each(|o| {
                o["spec"].as_object_mut().into_iter().for_each(|spec| drop(spec.remove("dataSource")));
            }),
            Self::StaysReady => {
                let before = seen.workspace.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
                let Some(status) = &mut plan.status else { return };
                for condition in &mut status.conditions {
                    let was = before.iter().find(|c| c.type_ == condition.type_);
                    if was.is_some_and(|c| c.status == "True") {
                        condition.status = "True".into();
                    }
                }
            }
            Self::WritesEachTime => {
                let status =
                    plan.status.get_or_insert_with(|| seen.workspace.status.clone().unwrap_or_default());
                status.awake = another(&Value::Null).as_str().map(str::to_owned);
            }
            _ => {}
        }
    }

    /// What a pass for a Snapshot does not see.
    pub fn blinds_snapshot(self, seen: &mut snapshot::Observed) {
        match self {
            Self::TakesAgain if seen.volume_snapshot.is_none() => {
                seen.snapshot.status.iter_mut().for_each(|s| s.handle = None);
            }
            Self::CallsTheLostReady => {
                let found = seen.volume_snapshot.iter_mut();
                found.for_each(|v| (v.ready, v.error) = (v.ready || v.error.is_some(), None));
            }
            Self::ForgetsTheHold => seen.snapshot.spec.hold = false,
            _ => {}
        }
    }

    /// What it does to the plan of a Snapshot.
    pub fn spoils_snapshot(self, seen: &snapshot::Observed, plan: &mut Plan<SnapshotStatus>) {
        if self == Self::LeaksInTheBackend && seen.snapshot.metadata.deletion_timestamp.is_some() {
            let target = Target {
                api_version: "a8s.dev/v1alpha1".into(),
                kind: "Snapshot".into(),
                namespace: seen.snapshot.metadata.namespace.clone().unwrap_or_default(),
                name: seen.snapshot.metadata.name.clone().unwrap_or_default(),
                uid: seen.snapshot.metadata.uid.clone().unwrap_or_default(),
            };
            let finalizer = a8s_crds::labels::SNAPSHOT_FINALIZER;
            plan.ops = vec![Op::Finalizer { target, finalizer, present: false }];
        }
    }

    /// What it does to plans of pools and Sessions.
    pub fn spoils_pools<S>(self, plan: &mut Plan<S>) {
        match self {
            Self::SharesDesktops => {
                for op in &mut plan.ops {
                    if let Op::Swap { target, patch, .. } = op {
                        *op = Op::Merge { target: target.clone(), patch: patch.clone() };
                    }
                }
            }
            Self::MakesMembersUnderNewNames => {
                created(plan, "Workspace")
                    .for_each(|o| o["metadata"]["name"] = another(&o["metadata"]["name"]));
            }
            _ => {}
        }
    }
}

/// Some schedule among the first few hundred shows it.
fn caught(mutant: Mutant, wishes: &[Wish], invariant: u8) {
    for seed in 0..300 {
        let mut estate = Estate::random(seed);
        estate.only(wishes);
        estate.mutant = Some(mutant);
        for _ in 0..3 {
            estate.upheaval(50);
            estate.comes_to_rest();
            estate.judge_rest();
            if estate.judge.found.iter().any(|v| v.invariant == invariant) {
                return;
            }
            estate.judge.found.clear();
        }
    }
    panic!("{mutant:?} got away");
}

fn caught_in_pools(mutant: Mutant, invariant: u8) {
    for seed in 0..400 {
        let mut pools = Pools::new(seed, 3);
        pools.mutant = Some(mutant);
        for _ in 0..120 {
            pools.anything();
        }
        if pools.judge.found.iter().any(|v| v.invariant == invariant) {
            return;
        }
    }
    panic!("{mutant:?} got away");
}

#[test]
fn the_judge_catches_a_pod_that_is_adopted_by_its_name() {
    caught(Mutant::AdoptsByName, &[Wish::Again, Wish::State], 9);
}

#[test]
fn the_judge_catches_pods_that_are_created_without_looking() {
    caught(Mutant::CreatesWithoutLooking, &[Wish::Pod], 1);
}

#[test]
fn the_judge_catches_claims_under_names_that_change() {
    caught(Mutant::MakesClaimsUnderNewNames, &[Wish::State], 8);
}

#[test]
fn the_judge_catches_a_claim_that_goes_before_its_snapshot_is_ready() {
    caught(Mutant::DeletesTheClaimTooEarly, &[Wish::State], 2);
}

#[test]
fn the_judge_catches_trust_in_a_snapshot_that_is_not_finished() {
    caught(Mutant::TrustsUnfinishedSnapshots, &[Wish::State, Wish::Take], 2);
}

#[test]
fn the_judge_catches_an_archive_of_an_earlier_stay() {
    caught(Mutant::ArchivesWithAnOldSnapshot, &[Wish::State], 2);
}

#[test]
fn the_judge_catches_an_empty_volume_in_place_of_a_restored_one() {
    caught(Mutant::StartsEmpty, &[Wish::State], 2);
}

#[test]
fn the_judge_catches_a_second_writer_after_a_node_fell_silent() {
    caught(Mutant::ForcesPodsOffSilentNodes, &[Wish::Node, Wish::Pod], 1);
}

#[test]
fn the_judge_catches_a_ready_that_never_falls() {
    caught(Mutant::StaysReady, &[Wish::State], 9);
}

#[test]
fn the_judge_catches_a_snapshot_that_is_taken_again() {
    caught(Mutant::TakesAgain, &[Wish::Take, Wish::Objects], 3);
}

#[test]
fn the_judge_catches_a_leak_in_the_backend() {
    caught(Mutant::LeaksInTheBackend, &[Wish::Take, Wish::Discard, Wish::Objects], 8);
}

#[test]
fn the_judge_catches_a_lost_snapshot_that_is_called_ready() {
    for seed in 0..50 {
        let mut estate = Estate::new(seed, workspace::Binding::Immediate);
        estate.mutant = Some(Mutant::CallsTheLostReady);
        estate.settle();
        estate.takes("m", "Delete");
        estate.settle();
        estate.loses_objects();
        estate.truth.backend.clear();
        estate.settle();
        assert!(estate.judge.found.iter().any(|v| v.invariant == 9), "seed {seed}");
    }
}

#[test]
fn the_judge_catches_writes_without_a_change() {
    caught(Mutant::WritesEachTime, &[Wish::State], 7);
}

#[test]
fn the_judge_catches_retention_that_takes_what_is_held() {
    caught(Mutant::ExpiresWhatIsHeld, &[Wish::Policy, Wish::Hold], 2);
}

#[test]
fn the_judge_catches_a_ttl_that_takes_what_is_held() {
    caught(Mutant::ForgetsTheHold, &[Wish::Take, Wish::Hold], 2);
}

#[test]
fn the_judge_catches_two_sessions_with_one_desktop() {
    caught_in_pools(Mutant::SharesDesktops, 1);
}

#[test]
fn the_judge_catches_a_pool_that_makes_too_many() {
    caught_in_pools(Mutant::MakesMembersUnderNewNames, 8);
}

#[test]
fn the_judge_catches_a_desktop_that_goes_back_to_the_pool() {
    caught_in_pools(Mutant::ReturnsDesktops, 8);
}

/// The words of the real thing: a Snapshot whose data is gone says so, and is not ready.
#[test]
fn a_snapshot_whose_data_is_gone_says_so_in_the_whole_world_too() {
    let mut estate = Estate::new(3, workspace::Binding::Immediate);
    estate.settle();
    estate.takes("m", "Delete");
    estate.settle();
    estate.loses_objects();
    estate.truth.backend.clear();
    estate.settle();
    estate.judge.is_content(3);
    let found = estate.sim.get(&crate::estate::ours("Snapshot", "m")).unwrap();
    let reasons: Vec<_> =
        found["status"]["conditions"].as_array().unwrap().iter().map(|c| &c["reason"]).collect();
    assert!(reasons.iter().all(|r| *r == Reason::SnapshotLost.as_str()), "{reasons:?}");
}
