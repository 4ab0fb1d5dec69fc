//! A node that went away with a desktop on it. Nobody can tell a dead node from one that cannot be reached, and on the latter the pod goes
//! on writing to the volume. So nothing takes its place until the node is back, or somebody who knows says that it is off: by deleting
//! the Node, or by marking it out of service.

use a8s_crds::conditions::{self, ConditionType, Reason};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::{Hold, Observed, running::pod_target, status::Draft, trouble};
use crate::Op;

/// What people do with a node that will not come back.
pub(super) const GIVE_UP: &str = "delete it (`kubectl delete node`) or mark it out of service (`kubectl taint node NAME node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`)";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// A pod that is on its node this long and was not touched by a kubelet is worth a look at the node, in seconds.
const UNTOUCHED: i64 = 10;

/// The node of the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeState {
    /// Nobody had a reason to look.
    #[default]
    NotAsked,
    /// It works.
    Ready,
    /// Its kubelet does not report; what runs there may go on running.
    Silent,
    /// Somebody said that it is off.
    OutOfService,
    /// The Node was deleted.
    Gone,
}

impl NodeState {
    /// What the Node says.
    pub fn of(node: Option<&Node>) -> Self {
        let Some(node) = node else { return Self::Gone };
        let taints = node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default();
        if taints.iter().any(|t| t.key == OUT_OF_SERVICE) {
            return Self::OutOfService;
        }
        let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let ready = conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        if ready { Self::Ready } else { Self::Silent }
    }

    /// Whether nothing that ran there runs any more.
    pub(super) fn is_off(self) -> bool {
        matches!(self, Self::OutOfService | Self::Gone)
    }
}

/// The node to look at, if the pod gives a reason: it should be gone and is not, nobody has started it, or its node's health is doubted.
pub fn suspect(pod: &Pod, now: Timestamp) -> Option<&str> {
    let node = pod.spec.as_ref()?.node_name.as_deref()?;
    let status = pod.status.as_ref();
    let overdue = pod.metadata.deletion_timestamp.as_ref().is_some_and(|t| now > t.0);
    let made = pod.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
    let untouched = trouble::containers(pod).is_empty() && now.as_second() - made.as_second() >= UNTOUCHED;
    let conditions = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let unready = conditions.iter().any(|c| c.type_ == "Ready" && c.status != "True");
    // The node controller doubts the pod, the kubelet's last word on its containers did not.
    let doubted = unready && trouble::running(pod) && trouble::containers(pod).iter().all(|c| c.ready);
    let lost = status
        .is_some_and(|s| s.reason.as_deref() == Some("NodeLost") || s.phase.as_deref() == Some("Unknown"));
    (overdue || untouched || doubted || lost).then_some(node)
}

/// Why the pod cannot be counted on, if its node is the reason.
pub(super) fn hold(observed: &Observed) -> Option<Hold> {
    let pod = observed.own_pod()?;
    let node = pod.spec.as_ref()?.node_name.as_deref().unwrap_or_default();
    match observed.node {
        NodeState::NotAsked | NodeState::Ready => None,
        NodeState::Silent => {
            let text = format!(
                "Node {node} does not answer, and the desktop with it. If the node comes back, so does the desktop. If it is off for good, \
                 {GIVE_UP}: then the desktop starts elsewhere on the same volume. Until then no second one is started, since the first \
                 may still write."
            );
            Some(Hold::stalled(Reason::NodeLost, text))
        }
        NodeState::OutOfService => {
            let text =
                format!("Node {node} is out of service; the desktop starts elsewhere on the same volume.");
            Some(Hold::wait(Reason::NodeLost, text))
        }
        NodeState::Gone => {
            let text = format!("Node {node} was deleted; the desktop starts elsewhere on the same volume.");
            Some(Hold::wait(Reason::NodeLost, text))
        }
    }
}

/// Removes the pod of a node that is off for certain: no kubelet will ever confirm its end. Whether there was such a pod.
pub(super) fn clear(observed: &Observed, draft: &mut Draft<'_>, ops: &mut Vec<Op>) -> bool {
    let Some(pod) = observed.own_pod().filter(|_| observed.node.is_off()) else { return false };
    if let Some(hold) = hold(observed) {
        let ready = conditions::get(&draft.status.conditions, ConditionType::Ready);
        if ready.is_none_or(|c| c.message != hold.message) {
            draft.notice(true, hold.reason, hold.message);
        }
    }
    ops.push(Op::Delete { target: pod_target(observed, pod), grace: Some(0) });
    true
}
