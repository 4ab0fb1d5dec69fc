//! Claim, Service and NetworkPolicy as they shall be.

use std::collections::BTreeMap;

use a8s_crds::{labels, names};
use a8s_wire::paths;
use serde_json::{Value, json};

use super::{EPOCH, Observed, RESTORED_FROM, quantity};
use crate::Env;

const DEFAULT_SIZE: &str = "5Gi";

/// Labels of everything that belongs to a Workspace.
pub(crate) fn labels_of(observed: &Observed) -> BTreeMap<&'static str, String> {
    let mut all = BTreeMap::from([
        (labels::MANAGED_BY, labels::MANAGER.to_owned()),
        (labels::WORKSPACE, observed.name().to_owned()),
        (labels::WORKSPACE_UID, observed.uid().to_owned()),
    ]);
    if !observed.session().is_empty() {
        all.insert(labels::SESSION, observed.session().to_owned());
    }
    all
}

pub(crate) fn metadata(observed: &Observed, name: &str) -> Value {
    json!({
        "name": name,
        "namespace": observed.namespace(),
        "labels": labels_of(observed),
        "ownerReferences": [observed.owner_reference()],
    })
}

/// Conversation epoch: the claim knows it, whatever became of the status.
pub(crate) fn epoch(observed: &Observed) -> i64 {
    let noted = observed.own_claim().and_then(|c| c.metadata.annotations.as_ref()?.get(EPOCH)?.parse().ok());
    let known = noted.or_else(|| observed.workspace.status.as_ref()?.epoch);
    // A Session that had a desktop before says where its conversation goes on.
    let annotations = observed.workspace.metadata.annotations.as_ref();
    let least = annotations.and_then(|a| a.get(EPOCH)?.parse().ok()).unwrap_or(0);
    known.unwrap_or_else(|| observed.source.as_ref().map_or(0, |s| s.epoch + 1).max(least))
}

/// StorageClass that is asked for; without one the cluster's default is.
pub fn storage_class(observed: &Observed) -> Option<&str> {
    let own = observed.workspace.spec.storage.as_ref();
    let environment = observed.environment.as_ref().and_then(|e| e.spec.storage.as_ref());
    [own, environment].into_iter().flatten().find_map(|s| s.storage_class_name.as_deref())
}

/// The claim. If it is restored, the VolumeSnapshot is known.
pub(crate) fn claim(observed: &Observed) -> Value {
    let own = observed.workspace.spec.storage.as_ref();
    let environment = observed.environment.as_ref().and_then(|e| e.spec.storage.as_ref());
    let size = [own, environment].into_iter().flatten().find_map(|s| s.size.as_ref());
    let mut size = size.map_or(DEFAULT_SIZE, |q| q.0.as_str());
    let source = observed.source.as_ref().filter(|_| observed.workspace.spec.source.is_some());
    if let Some(least) = source.and_then(|s| s.restore_size.as_deref()) {
        size = quantity::greater(size, least);
    }
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(observed, &names::claim(observed.name())),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
        },
    });
    claim["metadata"]["annotations"] = json!({EPOCH: epoch(observed).to_string()});
    if let Some(class) = storage_class(observed) {
        claim["spec"]["storageClassName"] = class.into();
    }
    let wanted = observed.workspace.spec.source.as_ref().and_then(|s| s.snapshot.as_deref());
    if let (Some(wanted), Some(volume)) = (wanted, source.and_then(|s| s.volume_snapshot.as_deref())) {
        claim["metadata"]["annotations"][RESTORED_FROM] = wanted.into();
        claim["spec"]["dataSource"] =
            json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": volume});
    }
    claim
}

fn selector(observed: &Observed) -> Value {
    json!({labels::WORKSPACE_UID: observed.uid()})
}

/// The Service: its address stays while pods come and go. The processes say themselves when they are ready.
pub(crate) fn service(observed: &Observed) -> Value {
    let port =
        |name: &str, port: u16| json!({"name": name, "port": port, "targetPort": port, "protocol": "TCP"});
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(observed, &names::service(observed.name())),
        "spec": {
            "type": "ClusterIP",
            "publishNotReadyAddresses": true,
            "selector": selector(observed),
            "ports": [port("deskd", paths::DESKD_PORT), port("runner", paths::RUNNER_PORT)],
        },
    })
}

/// The NetworkPolicy: only the control plane gets in, and only to the two HTTPS ports. What the agent may reach is left to the
/// policies of the cluster's administrators.
pub(crate) fn network_policy(observed: &Observed, env: &Env) -> Value {
    let port = |port: u16| json!({"port": port, "protocol": "TCP"});
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(observed, &names::network_policy(observed.name())),
        "spec": {
            "podSelector": {"matchLabels": selector(observed)},
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": env.system_namespace}}}],
                "ports": [port(paths::DESKD_PORT), port(paths::RUNNER_PORT)],
            }],
        },
    })
}

/// Whether `have` holds everything that `want` says; what the API server filled in besides does not count.
pub(crate) fn holds(have: &Value, want: &Value) -> bool {
    match (have, want) {
        (Value::Object(have), Value::Object(want)) => {
            want.iter().all(|(key, value)| have.get(key).is_some_and(|h| holds(h, value)))
        }
        (Value::Array(have), Value::Array(want)) => {
            have.len() == want.len() && have.iter().zip(want).all(|(h, w)| holds(h, w))
        }
        (have, want) => have == want,
    }
}
