//! A Workspace that shall stop, for a while or for good. What the agent published is brought to safety first, because it is nowhere else.

use a8s_crds::{
    WorkspaceStatus,
    conditions::{self, ConditionType, Reason},
    labels,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{Hold, Observed, keeping, life, lost, resting, running::pod_target, status::Draft, trouble};
use crate::{Effect, Env, Op, Plan, Wake};

/// Longest wait for files, in seconds: a deleted Workspace must not stay for a store that is down.
const SAVING: i64 = 60;
/// Longest wait for a runner that says nothing.
const SILENT: i64 = 10;
/// How soon it is looked again whether files are stored, in milliseconds.
const POLL: u64 = 500;
/// The same for a runner that says nothing: whoever asks it tells at once when it does.
const UNTOLD: u64 = 2_000;
/// The same for a pod that is going, of which the watch tells; time alone shows that its node is lost.
const GOING: u64 = 5_000;

/// Plan for a Workspace with a deletion timestamp.
pub(crate) fn deleted(observed: &Observed, env: &Env) -> Plan<WorkspaceStatus> {
    if !observed.has_finalizer() {
        return Plan::default();
    }
    let since = observed.deleted_at().unwrap_or(env.now);
    let mut draft = Draft::new(observed, env);
    let mut ops = Vec::new();
    let Some(pod) = observed.own_pod() else {
        // The status is not worth a write any more.
        let finalizer = labels::WORKSPACE_FINALIZER;
        ops.push(Op::Finalizer { target: observed.target(), finalizer, present: false });
        return Plan { ops, ..Plan::default() };
    };
    match unsaved(observed, since, env.now) {
        Some(text) if !trouble::leaving(pod) => draft.hold(Hold::wait(Reason::SavingArtifacts, text)),
        _ if lost::clear(observed, &mut draft, &mut ops) => {}
        _ => {
            draft.hold(
                lost::hold(observed).unwrap_or_else(|| Hold::wait(Reason::Deleting, "The pod is going.")),
            );
            if !trouble::leaving(pod) {
                ops.push(Op::Delete { target: pod_target(observed, pod), grace: None });
            }
        }
    }
    draft.conditions();
    draft.finish(ops, wake(observed, pod))
}

fn wake(observed: &Observed, pod: &Pod) -> Wake {
    Wake::AfterMillis(match &observed.runner {
        _ if trouble::leaving(pod) => GOING,
        None => UNTOLD,
        Some(_) => POLL,
    })
}

/// Plan for a Workspace whose spec asks for suspension.
pub(crate) fn suspended(
    observed: &Observed,
    env: &Env,
    mut draft: Draft<'_>,
    mut ops: Vec<Op>,
) -> Plan<WorkspaceStatus> {
    let Some(pod) = observed.own_pod() else {
        let kept = resting::keep_volume(observed, env, &mut draft, &mut ops);
        let hold = kept.err().unwrap_or_else(|| life::rest(observed, life::wanted(observed, env)));
        let wake = hold.wake();
        draft.hold(hold);
        draft.control(None);
        draft.conditions();
        return draft.finish(ops, wake);
    };
    if trouble::leaving(pod) {
        draft.hold(
            lost::hold(observed).unwrap_or_else(|| Hold::wait(Reason::Progressing, "The pod is going.")),
        );
        draft.conditions();
        return draft.finish(ops, wake(observed, pod));
    }
    if observed.workspace.status.as_ref().and_then(|s| s.storage.as_ref()?.quiet_since.as_ref()).is_some() {
        // That was before this pod. It is crossed out before the pod goes, or else a Snapshot of then would pass for one of now.
        draft.hold(Hold::wait(Reason::Progressing, "The desktop is being suspended."));
        draft.conditions();
        return draft.finish(ops, Wake::AfterMillis(0));
    }
    if let Some(text) = unsaved(observed, since(&draft, env), env.now) {
        draft.hold(Hold::wait(Reason::SavingArtifacts, text));
    } else if let Err(hold) = keeping::before_suspend(observed, env, &mut ops) {
        draft.hold(hold);
    } else {
        draft.hold(Hold::wait(Reason::Progressing, "The desktop is being suspended."));
        // Only a runner that answers can be asked; one that does not must not keep the pod.
        if observed.runner.is_some() {
            ops.push(Op::Effect(Effect::Quiesce { workspace: observed.target() }));
        }
        ops.push(Op::Delete { target: pod_target(observed, pod), grace: None });
    }
    draft.conditions();
    draft.finish(ops, wake(observed, pod))
}

/// Since when the pod is to go. Ready fell when that began, or was never reached; then there is nothing to wait for long.
pub(crate) fn since(draft: &Draft<'_>, env: &Env) -> Timestamp {
    let ready = conditions::get(&draft.status.conditions, ConditionType::Ready);
    ready.map_or(env.now, |c| if c.status == "True" { env.now } else { c.last_transition_time.0 })
}

/// What keeps the pod: files that are on the volume and nowhere else.
pub(crate) fn unsaved(observed: &Observed, since: Timestamp, now: Timestamp) -> Option<String> {
    let waited = now.as_second() - since.as_second();
    let pod = observed.own_pod()?;
    if waited >= SAVING || !trouble::running(pod) {
        return None;
    }
    let runner = observed.runner.as_ref();
    if runner.is_none() && waited >= SILENT {
        return None;
    }
    let unsettled =
        observed.artifacts.iter().filter(|a| !a.settled).map(|a| format!("{} v{}", a.name, a.version));
    let known = |sha256: &str| observed.artifacts.iter().any(|a| a.sha256 == sha256);
    let unknown = runner.into_iter().flat_map(|r| &r.artifacts).filter(|a| !known(&a.sha256));
    let missing: Vec<_> = unsettled.chain(unknown.map(|a| format!("{} v{}", a.name, a.version))).collect();
    match runner {
        _ if !missing.is_empty() => Some(format!("Files are being stored: {}", missing.join(", "))),
        None => Some("The runner is asked for files that are not stored yet.".to_owned()),
        Some(_) => None,
    }
}
