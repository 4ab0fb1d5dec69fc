//! What keeps a pod from running, read from its status.

use a8s_crds::conditions::Reason;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::Hold;

/// An autoscaler may need a moment; after that a person should know.
const UNSCHEDULABLE_AFTER: i64 = 15;

/// Whether the pod is on its way out.
pub(crate) fn leaving(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Why the pod is over and will not come back by itself.
pub(crate) fn ended(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let phase = status.phase.as_deref().filter(|p| matches!(*p, "Failed" | "Succeeded"))?;
    let why = [status.reason.as_deref(), status.message.as_deref()].into_iter().flatten();
    let why = why.collect::<Vec<_>>().join(": ");
    Some(if why.is_empty() { format!("The pod is {phase}.") } else { format!("The pod is {phase}: {why}") })
}

pub(crate) fn containers(pod: &Pod) -> &[ContainerStatus] {
    pod.status.as_ref().and_then(|s| s.container_statuses.as_deref()).unwrap_or_default()
}

/// Whether all containers run.
pub(crate) fn running(pod: &Pod) -> bool {
    let wanted = pod.spec.as_ref().map_or(0, |s| s.containers.len());
    let runs = |c: &&ContainerStatus| c.state.as_ref().is_some_and(|s| s.running.is_some());
    wanted > 0 && containers(pod).iter().filter(runs).count() >= wanted
}

/// Whether the kubelet's probe of this container succeeds.
pub(crate) fn probed(pod: &Pod, container: &str) -> bool {
    containers(pod).iter().any(|c| c.name == container && c.ready)
}

/// Why not all containers run.
pub(crate) fn diagnose(pod: &Pod, warning: Option<&str>, now: Timestamp) -> Hold {
    let status = pod.status.as_ref();
    let scheduled = status.and_then(|s| s.conditions.as_ref()?.iter().find(|c| c.type_ == "PodScheduled"));
    if let Some(condition) = scheduled.filter(|c| c.status == "False") {
        let since = condition.last_transition_time.as_ref().map_or(now, |t| t.0);
        let message = condition.message.clone().unwrap_or_default();
        let message = format!("No node can take the pod: {message}");
        let stalled = now.as_second() - since.as_second() >= UNSCHEDULABLE_AFTER;
        return Hold { reason: Reason::Unschedulable, message, stalled };
    }
    if let Some(hold) = containers(pod).iter().find_map(container) {
        return hold;
    }
    let message = warning.map_or_else(
        || "The containers of the pod are starting.".to_owned(),
        |warning| format!("The pod is not running yet: {warning}"),
    );
    Hold::wait(Reason::PodStarting, message)
}

fn container(status: &ContainerStatus) -> Option<Hold> {
    let (name, state) = (&status.name, status.state.as_ref()?);
    let last = status.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    let memory = last.or(state.terminated.as_ref()).is_some_and(|t| t.reason.as_deref() == Some("OOMKilled"));
    if let Some(waiting) = &state.waiting {
        let detail = waiting.message.as_deref().unwrap_or_default();
        return match waiting.reason.as_deref().unwrap_or_default() {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                let whose =
                    if name == "runner" { "the chart's runner.image" } else { "the Environment's image" };
                let text = format!(
                    "The image {} of container {name} cannot be pulled; correct {whose}, or give what it takes to pull it. {detail}",
                    status.image
                );
                Some(Hold::stalled(Reason::ImagePullFailed, text))
            }
            "CrashLoopBackOff" if memory => Some(Hold::stalled(Reason::OutOfMemory, out_of_memory(name))),
            "CrashLoopBackOff" => {
                let code = last.map_or(-1, |t| t.exit_code);
                let text = format!(
                    "Container {name} ends again and again, the last time with exit code {code}; its log says why."
                );
                Some(Hold::stalled(Reason::CrashLoop, text))
            }
            reason @ ("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => {
                Some(Hold::wait(
                    Reason::PodStarting,
                    format!("Container {name} cannot be started, {reason}: {detail}"),
                ))
            }
            _ => None,
        };
    }
    let ended = state.terminated.as_ref()?;
    Some(if memory {
        Hold::wait(Reason::OutOfMemory, out_of_memory(name))
    } else {
        let text = format!("Container {name} ended with exit code {} and is started again.", ended.exit_code);
        Hold::wait(Reason::PodStarting, text)
    })
}

fn out_of_memory(container: &str) -> String {
    format!(
        "Container {container} ran out of memory; raise spec.resources.limits.memory, it holds from the next start on."
    )
}
