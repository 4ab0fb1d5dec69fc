//! What nobody reads goes before an object is kept.

use a8s_crds::Message;
use k8s_openapi::api::core::v1::{Node, NodeStatus, PersistentVolumeClaim, Pod};

/// What was said is asked for by whoever hands it over; here only counts whether, and when.
pub fn message(message: &mut Message) {
    message.spec.content = message.spec.content.take().map(|_| String::new());
}

/// What the kubelet alone reads.
pub fn pod(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    (spec.tolerations, spec.affinity) = (None, None);
    (spec.init_containers, spec.security_context) = (None, None);
    if let Some(volumes) = &mut spec.volumes {
        // Which claims it holds decides whether one may go.
        volumes.retain(|volume| volume.persistent_volume_claim.is_some());
    }
    for container in &mut spec.containers {
        (container.env, container.volume_mounts, container.command) = (None, None, None);
        (container.readiness_probe, container.security_context, container.ports) = (None, None, None);
        (container.liveness_probe, container.startup_probe, container.args) = (None, None, None);
    }
}

/// What of a claim is written for others.
pub fn claim(claim: &mut PersistentVolumeClaim) {
    if let Some(status) = &mut claim.status {
        (status.access_modes, status.allocated_resources) = (None, None);
    }
}

/// All but whether it is Ready, and cordoned.
pub fn node(node: &mut Node) {
    node.metadata.annotations = None;
    if let Some(status) = node.status.take() {
        let mut conditions = status.conditions.unwrap_or_default();
        conditions.retain(|c| c.type_ == "Ready");
        for condition in &mut conditions {
            condition.last_heartbeat_time = None;
        }
        node.status = Some(NodeStatus { conditions: Some(conditions), ..Default::default() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_pod_stays_which_claims_it_holds() {
        let object = json!({"metadata": {"name": "p"}, "spec": {"containers": [], "volumes": [
            {"name": "run", "emptyDir": {}}, {"name": "home", "persistentVolumeClaim": {"claimName": "home"}}]}});
        let mut kept: Pod = serde_json::from_value(object).unwrap();
        pod(&mut kept);
        let volumes = kept.spec.unwrap().volumes.unwrap();
        assert_eq!(volumes.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["home"]);
    }
}
