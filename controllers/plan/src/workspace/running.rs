//! A Workspace that shall run.

use a8s_crds::{Environment, WorkspaceStatus, conditions::Reason, names};
use serde::Serialize;
use serde_json::Value;

use super::{Binding, Hold, Observed, STALLED, STARTING, children, control, pod, status::Draft, trouble};
use crate::{Effect, Env, Op, Plan, Target, Wake};

/// A pod that fails at once is tried again this much later, in seconds.
const AGAIN_AFTER: i64 = 10;

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
        surroundings(observed, env, &mut ops);
        let storage = claim(observed, &mut ops);
        match observed.own_pod() {
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
    }
    let handed = ops.iter().any(|op| matches!(op, Op::Effect(Effect::SetControl { .. })));
    draft.control(lease.confirmed);
    draft.conditions();
    let wake = wake(&draft, observed, handed);
    draft.finish(ops, wake)
}

fn wake(draft: &Draft<'_>, observed: &Observed, handed: bool) -> Wake {
    match draft.status.state.as_deref() {
        _ if handed => Wake::AfterMillis(50),
        // One of them did not answer; its condition rests on the kubelet alone.
        Some("Running") if observed.desk.is_none() || observed.runner.is_none() => Wake::AfterMillis(1_000),
        Some("Running") => Wake::OnChange,
        Some("Stalled") => Wake::AfterMillis(STALLED),
        _ => Wake::AfterMillis(STARTING),
    }
}

fn start_clock(observed: &Observed, draft: &mut Draft<'_>) {
    let started = draft.status.startup.as_ref();
    let resumed = matches!(draft.status.state.as_deref(), Some("Suspended" | "Suspending"));
    let again = observed.pod.is_none() && started.is_some_and(|s| s.total.is_some());
    if started.is_none() || resumed || again {
        draft.begin_start();
    }
}

/// Certificate, Service and NetworkPolicy; the pod must not run before its policy is there.
fn surroundings(observed: &Observed, env: &Env, ops: &mut Vec<Op>) {
    if observed.secret.is_none() {
        let name = names::tls_secret(observed.name());
        ops.push(Op::Effect(Effect::ServingSecret { owner: observed.target(), name }));
    }
    apply(ops, observed.network_policy.as_ref(), children::network_policy(observed, env));
    apply(ops, observed.service.as_ref(), children::service(observed));
}

fn apply<T: Serialize>(ops: &mut Vec<Op>, have: Option<&T>, want: Value) {
    let have = have.and_then(|h| serde_json::to_value(h).ok());
    if !have.is_some_and(|have| children::holds(&have, &want)) {
        ops.push(Op::Apply { object: want, manager: "workspace" });
    }
}

/// Sees to the claim; `Ok` once a pod may be made for it.
fn claim(observed: &Observed, ops: &mut Vec<Op>) -> Result<(), Hold> {
    let name = names::claim(observed.name());
    if let Some(claim) = observed.own_claim() {
        if claim.metadata.deletion_timestamp.is_some() {
            let text = format!(
                "The claim {name} was deleted; the Workspace cannot start again. Start another one from a Snapshot."
            );
            return Err(Hold::stalled(Reason::ClaimLost, text));
        }
        return match claim.status.as_ref().and_then(|s| s.phase.as_deref()) {
            Some("Bound") => Ok(()),
            Some("Lost") => {
                let text =
                    format!("The volume of claim {name} is gone. Start another Workspace from a Snapshot.");
                Err(Hold::stalled(Reason::ClaimLost, text))
            }
            _ if observed.binding == Binding::WaitForFirstConsumer => Ok(()),
            _ => {
                let warning = observed.warning.as_deref().unwrap_or("its driver is making the volume");
                Err(Hold::wait(
                    Reason::ClaimPending,
                    format!("The claim {name} is not bound yet: {warning}."),
                ))
            }
        };
    }
    // A new claim would look as if the desktop had come back, with an empty home.
    if observed.workspace.status.as_ref().is_some_and(|s| s.storage.is_some()) {
        let text = format!(
            "The claim {name} is gone and everything on it. Start another Workspace from a Snapshot."
        );
        return Err(Hold::stalled(Reason::ClaimLost, text));
    }
    environment(observed)?;
    source(observed)?;
    ops.push(Op::Create { object: children::claim(observed) });
    if observed.binding == Binding::WaitForFirstConsumer {
        return Ok(());
    }
    Err(Hold::wait(Reason::ClaimPending, format!("The claim {name} is being made.")))
}

fn environment(observed: &Observed) -> Result<&Environment, Hold> {
    observed.environment.as_ref().ok_or_else(|| {
        let name = &observed.workspace.spec.environment;
        let text =
            format!("There is no Environment {name}; `kubectl get environments` lists those that exist.");
        Hold::stalled(Reason::EnvironmentNotFound, text)
    })
}

fn source(observed: &Observed) -> Result<(), Hold> {
    let Some(wanted) = observed.workspace.spec.source.as_ref().and_then(|s| s.snapshot.as_ref()) else {
        return Ok(());
    };
    match &observed.source {
        None => Err(Hold::stalled(
            Reason::SnapshotNotFound,
            format!("There is no Snapshot {wanted} in this namespace."),
        )),
        Some(source) if !source.ready || source.volume_snapshot.is_none() => {
            Err(Hold::wait(Reason::SnapshotNotReady, format!("The Snapshot {wanted} is not ready yet.")))
        }
        Some(_) => Ok(()),
    }
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
