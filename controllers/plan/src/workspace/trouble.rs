//! What keeps a pod from running, read from its status, and what people can do about it.

use a8s_crds::conditions::Reason;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use super::Hold;

/// An autoscaler may need a moment; after that a person should know.
const UNSCHEDULABLE_AFTER: i64 = 15;
/// A volume that is still attached elsewhere mostly comes free by itself.
const ATTACHED_AFTER: i64 = 60;

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
    if why.is_empty() {
        return Some(format!("The pod is {phase}."));
    }
    let low = why.to_lowercase();
    let advice = if low.contains("resource: memory") {
        " Raise spec.resources.requests.memory, so that it gets a node with room."
    } else if low.contains("ephemeral") || low.contains("emptydir") {
        " Large files belong into the home, not into /tmp."
    } else {
        ""
    };
    let stop = if why.ends_with('.') { "" } else { "." };
    Some(format!("The pod is {phase}: {}{stop}{advice}", why.trim()))
}

/// Who takes the pod away, as far as the pod knows.
pub(crate) fn going(pod: &Pod) -> String {
    let all = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let target = all.iter().find(|c| c.type_ == "DisruptionTarget" && c.status == "True");
    let why = target.and_then(|c| c.message.clone().or(c.reason.clone()));
    match why {
        Some(why) => format!(
            "The old pod is going ({}); another takes its place on the same volume.",
            why.trim_end_matches('.')
        ),
        None => "The old pod is going; another takes its place on the same volume.".to_owned(),
    }
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

/// What a container that runs again ran out of, with the time; said as long as the pod remembers it.
pub(crate) fn ran_out(pod: &Pod) -> Option<String> {
    let died = |c: &ContainerStatus| {
        let last = c.last_state.as_ref()?.terminated.as_ref().filter(|t| out_of_memory(t))?;
        let at = last.finished_at.as_ref().map(|t| t.0.strftime("%H:%M:%S UTC").to_string());
        Some((last.finished_at.as_ref().map(|t| t.0), c.name.clone(), at))
    };
    let (_, name, at) = containers(pod).iter().filter_map(died).max_by_key(|(at, ..)| *at)?;
    let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
    Some(format!("{}{at} and was started again. {}", memory(pod, &name), raise(&name)))
}

/// Why not all containers run.
pub(crate) fn diagnose(pod: &Pod, warning: Option<&str>, now: Timestamp) -> Hold {
    let status = pod.status.as_ref();
    let scheduled = status.and_then(|s| s.conditions.as_ref()?.iter().find(|c| c.type_ == "PodScheduled"));
    if let Some(condition) = scheduled.filter(|c| c.status == "False") {
        let since = condition.last_transition_time.as_ref().map_or(now, |t| t.0);
        let message = condition.message.clone().unwrap_or_default();
        let message = format!("No node can take the pod: {message}{}", room(&message));
        let stalled = now.as_second() - since.as_second() >= UNSCHEDULABLE_AFTER;
        return Hold { reason: Reason::Unschedulable, message, stalled };
    }
    if let Some(hold) = containers(pod).iter().find_map(|status| container(pod, status)) {
        return hold;
    }
    let Some(warning) = warning else {
        return Hold::wait(Reason::PodStarting, "The containers of the pod are starting.");
    };
    if warning.contains("Multi-Attach") {
        let made = pod.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
        let stalled = now.as_second() - made.as_second() >= ATTACHED_AFTER;
        let message = format!(
            "The volume is still attached to another node. It comes free within minutes after the last pod that uses it there is gone; \
             if that node is lost for good, {}. {warning}",
            super::lost::GIVE_UP
        );
        return Hold { reason: Reason::MultiAttach, message, stalled };
    }
    Hold::wait(Reason::PodStarting, format!("The pod is not running yet: {warning}"))
}

/// What gives a pod room that no node has.
fn room(message: &str) -> &'static str {
    let low = message.to_lowercase();
    if low.contains("volume node affinity") {
        " The volume can be used on certain nodes only, and none of these is free; make one available."
    } else if low.contains("insufficient") || low.contains("too many pods") {
        " Suspend other Workspaces, add a node, or lower spec.resources.requests."
    } else if low.contains("taint") || low.contains("unschedulable") {
        " Uncordon a node, take the taint away, or add a node."
    } else if low.contains("selector") || low.contains("affinity") {
        " Label a node as the Environment's nodeSelector asks, or change that."
    } else {
        ""
    }
}

fn container(pod: &Pod, status: &ContainerStatus) -> Option<Hold> {
    let (name, state) = (&status.name, status.state.as_ref()?);
    let last = status.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    let died = last.or(state.terminated.as_ref()).is_some_and(out_of_memory);
    if let Some(waiting) = &state.waiting {
        let detail = waiting.message.as_deref().unwrap_or_default();
        return match waiting.reason.as_deref().unwrap_or_default() {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => {
                let whose =
                    if name == "runner" { "the chart's runner.image" } else { "the Environment's image" };
                let text = format!(
                    "The image {} of container {name} cannot be pulled; correct {whose}, or give what it takes to pull it. {detail}",
                    status.image
                );
                Some(Hold::stalled(Reason::ImagePullFailed, text))
            }
            "CrashLoopBackOff" if died => {
                let text = format!("{} again and again. {}", memory(pod, name), raise(name));
                Some(Hold::stalled(Reason::OutOfMemory, text))
            }
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
    Some(if died {
        Hold::wait(
            Reason::OutOfMemory,
            format!("{}; it is started again. {}", memory(pod, name), raise(name)),
        )
    } else {
        let text = format!("Container {name} ended with exit code {} and is started again.", ended.exit_code);
        Hold::wait(Reason::PodStarting, text)
    })
}

fn out_of_memory(ended: &ContainerStateTerminated) -> bool {
    ended.reason.as_deref() == Some("OOMKilled")
}

fn memory(pod: &Pod, name: &str) -> String {
    let all = pod.spec.as_ref().map(|s| &s.containers[..]).unwrap_or_default();
    let limits = all.iter().find(|c| c.name == name).and_then(|c| c.resources.as_ref()?.limits.as_ref());
    match limits.and_then(|l| l.get("memory")) {
        Some(limit) => format!("Container {name} ran out of memory (its limit is {})", limit.0),
        None => format!("Container {name} ran out of memory, as did its node"),
    }
}

fn raise(container: &str) -> &'static str {
    if container == "runner" {
        "Its limit is fixed; please report this with the runner's log."
    } else {
        "Raise spec.resources.limits.memory; it holds from the next start on."
    }
}

/// What it means that the API server refused an object, in its own words and with what to do.
pub(crate) fn refused(text: &str) -> Hold {
    let (reason, advice) = if text.contains("exceeded quota") {
        (
            Reason::QuotaExceeded,
            "Suspend or delete other Workspaces, lower resources or storage, or have an administrator raise the ResourceQuota.",
        )
    } else if text.contains("violates PodSecurity") {
        (
            Reason::Forbidden,
            "The desktop needs what the namespace's pod-security.kubernetes.io/enforce label forbids; change the Environment, or use another namespace.",
        )
    } else if text.contains("RuntimeClass") && text.contains("not found") {
        (
            Reason::RuntimeClassNotFound,
            "Install the RuntimeClass, or correct the Environment's pod.runtimeClassName.",
        )
    } else if text.contains("per Container is")
        || text.contains("per Pod is")
        || text.contains("per PersistentVolumeClaim is")
    {
        (Reason::Forbidden, "Change resources or storage so that the namespace's LimitRange allows them.")
    } else if text.contains("not found") && text.contains("namespace") {
        (Reason::Forbidden, "The namespace is going.")
    } else {
        (Reason::Forbidden, "")
    };
    let stop = if advice.is_empty() || text.ends_with('.') { "" } else { "." };
    Hold::stalled(reason, format!("{text}{stop} {advice}").trim_end())
}
