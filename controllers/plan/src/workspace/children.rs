//! Claim and NetworkPolicy as they shall be.

use std::collections::BTreeMap;

use a8s_crds::{labels, names};
use a8s_wire::paths;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    Binding, EPOCH, Observed, RESTORED_FROM, placement, quantity,
    volume::{self, Next, Origin, RESTORE_ID, SAFETY},
};
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
    let mut labels = labels_of(observed);
    // What was made before there was a Session stays as it is when one takes it over: a new label would cost a write for each child.
    if observed.workspace.annotations().contains_key(labels::ORDINAL) {
        labels.remove(labels::SESSION);
    }
    json!({
        "name": name,
        "namespace": observed.namespace(),
        "labels": labels,
        "ownerReferences": [observed.owner_reference()],
    })
}

/// Conversation epoch of the volume: the claim knows it, whatever became of the status.
pub(crate) fn epoch(observed: &Observed) -> i64 {
    let noted = volume::current(observed).and_then(|claim| volume::note(claim, EPOCH)?.parse().ok());
    let next = || volume::next(observed).ok().map(|next| next.epoch);
    noted.or_else(next).or_else(|| known_epoch(observed)).unwrap_or(0)
}

/// The highest epoch that anybody has heard of.
pub(crate) fn known_epoch(observed: &Observed) -> Option<i64> {
    let noted = observed.own_claim().and_then(|claim| volume::note(claim, EPOCH)?.parse().ok());
    let told = observed.workspace.status.as_ref().and_then(|s| s.epoch);
    let lived = observed.runner.as_ref().map(|r| r.epoch);
    [noted, told, lived].into_iter().flatten().max()
}

/// StorageClass that is asked for; without one the cluster's default is.
pub fn storage_class(observed: &Observed) -> Option<&str> {
    let own = observed.workspace.spec.storage.as_ref();
    let environment = observed.environment.as_ref().and_then(|e| e.spec.storage.as_ref());
    [own, environment].into_iter().flatten().find_map(|s| s.storage_class_name.as_deref())
}

/// The claim for the next volume.
pub(crate) fn claim(observed: &Observed, next: &Next<'_>) -> Value {
    let own = observed.workspace.spec.storage.as_ref();
    let environment = observed.environment.as_ref().and_then(|e| e.spec.storage.as_ref());
    let size = [own, environment].into_iter().flatten().find_map(|s| s.size.as_ref());
    let mut size = size.map_or(DEFAULT_SIZE, |q| q.0.as_str());
    let old = observed.own_claim();
    for least in [next.least(), old.and_then(size_of)].into_iter().flatten() {
        size = quantity::greater(size, least);
    }
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(observed, &names::claim(observed.name(), next.generation)),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
        },
    });
    claim["metadata"]["labels"][labels::GENERATION] = next.generation.to_string().into();
    let notes = &mut claim["metadata"]["annotations"];
    *notes = json!({EPOCH: next.epoch.to_string()});
    if let Some(from) = next.restored_from() {
        notes[RESTORED_FROM] = from.into();
    }
    if let Some(order) = next.order {
        notes[RESTORE_ID] = order.id.clone().into();
        if let Some(safety) = &order.safety {
            notes[SAFETY] = safety.clone().into();
        }
    }
    if observed.binding == Binding::WaitForFirstConsumer {
        let old = old.and_then(|claim| volume::note(claim, placement::SELECTED_NODE));
        let cloned = if let Origin::Clone { live, .. } = next.origin { live.node.as_deref() } else { None };
        if let Some(node) = placement::choose(observed, old.or(cloned)) {
            notes[placement::SELECTED_NODE] = node.into();
        }
    }
    let cloned = match next.origin {
        Origin::Clone { live, .. } => live.class.as_deref(),
        _ => None,
    };
    // What takes the place of a claim is of its class, whatever the Environment says by now.
    let kept = old.and_then(|c| c.spec.as_ref()?.storage_class_name.as_deref());
    if let Some(class) = kept.or_else(|| storage_class(observed)).or(cloned) {
        claim["spec"]["storageClassName"] = class.into();
    }
    let data = match next.origin {
        Origin::Empty => return claim,
        Origin::Snapshot { source, .. } => json!({
            "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": source.volume_snapshot,
        }),
        Origin::Clone { live, .. } => json!({"kind": "PersistentVolumeClaim", "name": live.claim}),
    };
    claim["spec"]["dataSource"] = data;
    claim
}

/// What a claim has, or asked for.
fn size_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    let has = claim.status.as_ref().and_then(|s| s.capacity.as_ref()?.get("storage"));
    let asked = || claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage");
    has.or_else(asked).map(|q| q.0.as_str())
}

fn selector(observed: &Observed) -> Value {
    json!({labels::WORKSPACE_UID: observed.uid()})
}

/// The NetworkPolicy: only the control plane gets in, and only to the two HTTPS ports; `egress` says what gets out.
pub(crate) fn network_policy(observed: &Observed, env: &Env, egress: &[Value]) -> Value {
    let port = |port: u16| json!({"port": port, "protocol": "TCP"});
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(observed, &names::network_policy(observed.name())),
        "spec": {
            "podSelector": {"matchLabels": selector(observed)},
            "policyTypes": ["Ingress", "Egress"],
            "egress": egress,
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
