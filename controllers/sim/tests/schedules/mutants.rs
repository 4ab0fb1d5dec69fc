//! Defects that other controllers had, to be built into ours one at a time. Our own `check` is off then, since it would stop most of them
//! before they do anything.

use std::sync::atomic::{AtomicU64, Ordering};

use a8s_crds::{SessionStatus, SnapshotStatus, WarmPoolStatus, WorkspaceStatus, conditions::Reason};
use a8s_plan::{
    Op, Plan, Target, Wake, snapshot, warm_pool,
    workspace::{self, NodeState},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::Value;

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
    /// Counts every desktop of a pool as ready.
    CountsAllAsReady,
    /// Says that a Session is ready as soon as it has a desktop.
    IsReadyAtOnce,
    /// Throws away what nobody uses, whether or not somebody asked for that.
    ExpiresUnasked,
    /// Writes another handle down.
    ForgetsTheHandle,
    /// Says `SnapshotLost`, and that it is ready.
    IsLostAndReady,
    /// Waits for a change where only time changes anything.
    NeverWakes,
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
            Self::ExpiresUnasked if seen.workspace.metadata.name.as_deref() == Some("b") => {
                let asleep = seen.workspace.status.as_ref().is_some_and(|s| s.suspended_since.is_some());
                plan.ops.extend(asleep.then(|| Op::Delete { target: seen.target(), grace: None }));
            }
            Self::NeverWakes => plan.wake = Wake::OnChange,
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
        let known = seen.snapshot.status.clone().unwrap_or_default();
        if self == Self::ForgetsTheHandle && known.handle.is_some() {
            plan.status.get_or_insert(known).handle = another(&Value::Null).as_str().map(str::to_owned);
        } else if self == Self::IsLostAndReady
            && let Some(status) = &mut plan.status
        {
            let lost = status.conditions.iter_mut().filter(|c| c.reason == Reason::SnapshotLost.as_str());
            lost.for_each(|c| c.status = "True".into());
        }
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

    /// What it does to the plan of a pool.
    pub fn spoils_pool(self, seen: &warm_pool::Observed, plan: &mut Plan<WarmPoolStatus>) {
        if self == Self::CountsAllAsReady {
            let known = seen.pool.status.clone().unwrap_or_default();
            let status = plan.status.get_or_insert(known);
            status.ready_replicas = status.replicas;
        }
    }

    /// What it does to the plan of a Session.
    pub fn spoils_session(self, plan: &mut Plan<SessionStatus>) {
        if let (Self::IsReadyAtOnce, Some(status)) = (self, &mut plan.status) {
            let ready = status.conditions.iter_mut().filter(|c| c.type_ == "Ready");
            ready.for_each(|c| c.status = "True".into());
        }
    }

    /// What it does to plans of pools and Sessions alike.
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
