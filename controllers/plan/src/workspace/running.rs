//! A Workspace that shall run.

use a8s_crds::{
    Environment, WorkspaceStatus,
    conditions::{self, ConditionType, Reason},
    names,
};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde::Serialize;
use serde_json::Value;

use super::{
    Binding, Hold, Observed, STALLED, STARTING, children, control, egress, keeping, placement, pod, receipt,
    removal,
    restore::{self, Step},
    status::Draft,
    trouble, volume,
};
use crate::{Effect, Env, Op, Plan, Target, Wake};

/// Nothing but time changes what is said of a start that no watch and no answer tells anything of, in milliseconds.
const UNTOLD: u64 = 1_000;
/// How soon it is looked again for what a restored desktop reports.
const RECEIPT: u64 = 500;
/// A pod that fails at once is tried again this much later, in seconds.
const AGAIN_AFTER: i64 = 10;
/// So many seconds a volume may take whose node was chosen without the scheduler.
const DECIDED: i64 = 15;
/// So many seconds a Workspace that is to be cloned may be silent.
const SILENT: i64 = 10;

pub(crate) fn plan(
    observed: &Observed,
    env: &Env,
    mut draft: Draft<'_>,
    mut ops: Vec<Op>,
) -> Plan<WorkspaceStatus> {
    start_clock(observed, &mut draft);
    if let Some(foreign) = observed.foreign() {
        let text = format!(
            "{foreign} belongs to somebody else; delete or rename it, or make the Workspace under another name."
        );
        draft.hold(Hold::stalled(Reason::NameTaken, text));
    }
    let mut lease = control::Outcome::default();
    if !draft.held() {
        removal::replaced(observed, &mut ops);
        let step = restore::plan(observed, env, &mut draft, &mut ops);
        let mut storage = surroundings(observed, env, &mut ops);
        if step == Step::Free {
            storage = storage.and_then(|()| claim(observed, env, &mut draft, &mut ops));
            volume_first(&mut ops);
        }
        match observed.own_pod() {
            _ if step == Step::Busy => {}
            Some(found) => existing(observed, env, found, &mut draft, &mut ops),
            None => match storage.and_then(|()| new_pod(observed, env)) {
                Ok(object) => ops.extend(object.map(|object| Op::Create { object })),
                Err(hold) => draft.hold(hold),
            },
        }
        lease = control::settle(observed);
        ops.extend(lease.op.take());
        if let Some(text) = lease.refused.take() {
            draft.hold(Hold::stalled(Reason::InvalidSpec, text));
        }
        if let Some(text) = keeping::wrong(observed) {
            draft.hold(Hold::stalled(Reason::InvalidSpec, text));
        }
    }
    let handed = ops.iter().any(|op| matches!(op, Op::Effect(Effect::SetControl { .. })));
    draft.control(lease.confirmed);
    receipt::settle(observed, &mut draft);
    draft.conditions();
    woken(observed, &mut draft);
    let wake = wake(&draft, observed, env, handed);
    draft.finish(ops, wake)
}

/// The driver makes the volume while the rest is written. What it is a copy of is flushed before.
fn volume_first(ops: &mut Vec<Op>) {
    let makes_volume =
        |op: &Op| matches!(op, Op::Create { object } if object["kind"] == "PersistentVolumeClaim");
    if let Some(at) = ops.iter().position(makes_volume) {
        let volume = ops.remove(at);
        let flush = |op: &Op| matches!(op, Op::Effect(Effect::Quiesce { .. }));
        let first = ops.iter().rposition(flush).map_or(0, |flush| flush + 1);
        ops.insert(first, volume);
    }
}

fn wake(draft: &Draft<'_>, observed: &Observed, env: &Env, handed: bool) -> Wake {
    match draft.status.state.as_deref() {
        _ if handed => Wake::AfterMillis(50),
        // Nobody tells when the first frame is drawn.
        Some("Running") if receipt::awaited(observed, draft, env) => Wake::AfterMillis(RECEIPT),
        // If one of them did not answer, its condition rests on the kubelet alone; whoever asks goes on asking and tells when it does.
        Some("Running") => Wake::OnChange,
        Some("Stalled") => Wake::AfterMillis(STALLED),
        // What is up and answers says the rest when it is asked again; everything before that is told by a watch, or by whoever asks.
        _ if observed.desk.is_some() || observed.runner.is_some() => Wake::AfterMillis(STARTING),
        _ => Wake::AfterMillis(UNTOLD),
    }
}

/// What was archived is back: the Archive is a Snapshot like any other from now on.
fn woken(observed: &Observed, draft: &mut Draft<'_>) {
    let ready = conditions::is_true(&draft.status.conditions, ConditionType::Ready);
    let back = volume::current(observed).is_some_and(|claim| volume::phase(claim) == "Bound");
    if ready && back {
        draft.status.archive = None;
    }
}

fn start_clock(observed: &Observed, draft: &mut Draft<'_>) {
    let started = draft.status.startup.as_ref();
    let resumed =
        matches!(draft.status.state.as_deref(), Some("Suspended" | "Suspending" | "Archived" | "Archiving"));
    let again = observed.pod.is_none() && started.is_some_and(|s| s.total.is_some());
    if started.is_none() || resumed || again {
        draft.begin_start(resumed);
    }
}

/// Certificate and NetworkPolicy; the pod must not run before its policy is there.
fn surroundings(observed: &Observed, env: &Env, ops: &mut Vec<Op>) -> Result<(), Hold> {
    if observed.secret.is_none() {
        let name = names::tls_secret(observed.name());
        ops.push(Op::Effect(Effect::ServingSecret { owner: observed.target(), name }));
    }
    let allowed = observed.environment.as_ref().and_then(|e| e.spec.egress.as_ref());
    let own = observed.workspace.spec.egress.as_ref();
    match egress::rules(allowed, own, &observed.protected) {
        // What an Environment allowed stays allowed to a running desktop when the Environment is gone.
        Ok(_) if observed.environment.is_none() && observed.network_policy.is_some() => {}
        Ok(rules) => {
            apply(ops, observed.network_policy.as_ref(), children::network_policy(observed, env, &rules));
        }
        Err(egress::Refused(text)) => return Err(Hold::stalled(Reason::InvalidSpec, text)),
    }
    Ok(())
}

fn apply<T: Serialize>(ops: &mut Vec<Op>, have: Option<&T>, want: Value) {
    let have = have.and_then(|h| serde_json::to_value(h).ok());
    if !have.is_some_and(|have| children::holds(&have, &want)) {
        ops.push(Op::Apply { object: want, manager: "workspace" });
    }
}

/// Sees to the claim; `Ok` once a pod may be made for it.
fn claim(observed: &Observed, env: &Env, draft: &mut Draft<'_>, ops: &mut Vec<Op>) -> Result<(), Hold> {
    if let Some(claim) = volume::current(observed) {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        if claim.metadata.deletion_timestamp.is_some() {
            let text = format!(
                "The claim {name} was deleted, and everything on it goes with its pod. Put the volume back to a Snapshot by spec.restore, or start another Workspace from one."
            );
            return Err(Hold::stalled(Reason::ClaimLost, text));
        }
        return match volume::phase(claim) {
            // Wanted again before its volume was given up: the Snapshot is no longer what stands for it.
            "Bound" if observed.own_pod().is_none() && volume::archived(observed, claim) => {
                draft.status.archive = None;
                Err(Hold::wait(
                    Reason::Progressing,
                    "The volume is kept, because the desktop is wanted again.",
                ))
            }
            "Bound" => Ok(()),
            "Lost" => {
                let text = format!(
                    "The volume of claim {name} is gone. Put it back to a Snapshot by spec.restore, or start another Workspace from one."
                );
                Err(Hold::stalled(Reason::ClaimLost, text))
            }
            _ if observed.binding == Binding::WaitForFirstConsumer && !soon(observed, claim, env) => Ok(()),
            _ => {
                let warning = observed.warning.as_deref().unwrap_or("its driver is making the volume");
                Err(Hold::wait(
                    Reason::ClaimPending,
                    format!("The claim {name} is not bound yet: {warning}."),
                ))
            }
        };
    }
    make(observed, env, ops)
}

/// Makes the next claim; `Ok` if a pod has to ask for its volume.
pub(super) fn make(observed: &Observed, env: &Env, ops: &mut Vec<Op>) -> Result<(), Hold> {
    let next = volume::next(observed)?;
    environment(observed)?;
    if !flushed(observed, &next, env, ops) {
        return Err(Hold::wait(
            Reason::Progressing,
            "The Workspace that is cloned is asked to write everything down.",
        ));
    }
    let object = children::claim(observed, &next);
    let decided = object["metadata"]["annotations"][placement::SELECTED_NODE].is_string();
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    ops.push(Op::Create { object });
    if observed.binding == Binding::WaitForFirstConsumer && !decided {
        return Ok(());
    }
    Err(Hold::wait(Reason::ClaimPending, format!("The claim {name} is being made.")))
}

/// Whether the volume comes before a pod asks for it. Its driver may change its mind about the node; then the scheduler has to be asked.
fn soon(observed: &Observed, claim: &PersistentVolumeClaim, env: &Env) -> bool {
    let made = claim.metadata.creation_timestamp.as_ref().map_or(0, |t| t.0.as_second());
    placement::decided(observed) && env.now.as_second() - made < DECIDED
}

/// Whether what is cloned was written down, as far as anybody can be asked. A silent runner is not waited for long.
fn flushed(observed: &Observed, next: &volume::Next<'_>, env: &Env, ops: &mut Vec<Op>) -> bool {
    let volume::Origin::Clone { name, live } = next.origin else { return true };
    if live.answers {
        let workspace = Target { name: name.to_owned(), uid: live.uid.clone(), ..observed.target() };
        ops.push(Op::Effect(Effect::Quiesce { workspace }));
        return true;
    }
    let made = observed.workspace.metadata.creation_timestamp.as_ref().map_or(0, |t| t.0.as_second());
    !live.running || env.now.as_second() - made >= SILENT
}

fn environment(observed: &Observed) -> Result<&Environment, Hold> {
    observed.environment.as_ref().ok_or_else(|| {
        let name = &observed.workspace.spec.environment;
        let text =
            format!("There is no Environment {name}; `kubectl get environments` lists those that exist.");
        Hold::stalled(Reason::EnvironmentNotFound, text)
    })
}

/// The pod to create; nothing while another pod has its name.
fn new_pod(observed: &Observed, env: &Env) -> Result<Option<Value>, Hold> {
    let environment = environment(observed)?;
    if observed.pod.is_some() {
        return Ok(None);
    }
    Ok(Some(pod::pod(observed, environment, env)))
}

/// A pod that is over is removed, so that another can be made on the same volume.
fn existing(
    observed: &Observed,
    env: &Env,
    found: &k8s_openapi::api::core::v1::Pod,
    draft: &mut Draft<'_>,
    ops: &mut Vec<Op>,
) {
    if trouble::leaving(found) {
        return;
    }
    let Some(why) = trouble::ended(found) else { return renew(observed, env, found, draft, ops) };
    let made = found.metadata.creation_timestamp.as_ref().map_or(0, |t| t.0.as_second());
    if env.now.as_second() - made >= AGAIN_AFTER {
        draft.notice(
            true,
            Reason::PodFailed,
            format!("{why} Another pod takes its place, on the same volume."),
        );
        ops.push(Op::Delete { target: pod_target(observed, found), grace: None });
    }
}

/// A pod that cannot start without somebody's help is made anew once it would be made in another way: that was the help.
fn renew(
    observed: &Observed,
    env: &Env,
    found: &k8s_openapi::api::core::v1::Pod,
    draft: &mut Draft<'_>,
    ops: &mut Vec<Op>,
) {
    let stuck = !trouble::running(found) && trouble::diagnose(found, None, env.now).stalled;
    let environment = observed.environment.as_ref().filter(|_| stuck);
    if environment.is_some_and(|environment| pod::outdated(found, observed, environment, env)) {
        let text = "What the pod is made from has changed since it could not start; it is made anew.";
        draft.notice(false, Reason::PodStarting, text);
        ops.push(Op::Delete { target: pod_target(observed, found), grace: None });
    }
}

/// The pod, for deletion.
pub(crate) fn pod_target(observed: &Observed, found: &k8s_openapi::api::core::v1::Pod) -> Target {
    Target {
        api_version: "v1".into(),
        kind: "Pod".into(),
        namespace: observed.namespace().into(),
        name: names::pod(observed.name()),
        uid: found.metadata.uid.clone().unwrap_or_default(),
    }
}
