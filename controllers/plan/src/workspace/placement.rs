//! On which node a volume is made when its StorageClass waits for a pod. The scheduler needs a second for that and asks once a second; where
//! its answer is known before, the claim gets it at once and the pod comes when the volume is there. Where only the scheduler can know, it
//! is left to decide: the pod is posted with the claim.
//!
//! The pod itself is never pinned. A driver without topology makes volumes that any node can use, and one with topology writes into the
//! volume where it can be used.

use std::collections::BTreeMap;

use a8s_crds::names;

use super::{Observed, volume};

/// The annotation that tells the provisioner where to begin; the scheduler writes the same.
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// What counts of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFact {
    /// Its name.
    pub name: String,
    /// Whether it is ready, not cordoned, and has no taint that keeps pods away.
    pub open: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Topology keys of the driver on this node (its CSINode); `None` if the driver is not there.
    pub topology: Option<Vec<String>>,
}

/// The node that may be chosen instead of the scheduler, if there is one.
pub(crate) fn choose<'a>(observed: &'a Observed, old: Option<&str>) -> Option<&'a str> {
    let settings = observed.environment.as_ref().and_then(|e| e.spec.pod.as_ref());
    let wanted = |node: &NodeFact| {
        settings.is_none_or(|s| s.node_selector.iter().all(|(k, v)| node.labels.get(k) == Some(v)))
    };
    let mut able: Vec<_> =
        observed.nodes.iter().filter(|n| n.open && n.topology.is_some() && wanted(n)).collect();
    able.sort_by(|a, b| a.name.cmp(&b.name));
    let first = able.first()?;
    // Where it is made decides where it can be used: with more than one such place, that is for the scheduler, who knows what is free.
    let place = |node: &'a NodeFact| -> Vec<Option<&String>> {
        let keys = able.iter().flat_map(|n| n.topology.iter().flatten());
        let mut keys: Vec<_> = keys.collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(|key| node.labels.get(key)).collect()
    };
    let here = place(first);
    if able.iter().any(|node| place(node) != here) {
        return None;
    }
    if let Some(same) = able.iter().find(|n| Some(n.name.as_str()) == old) {
        return Some(&same.name);
    }
    // Spread, and the same for the same Workspace.
    let hash = u32::from_str_radix(&names::short_hash(observed.uid()), 16).unwrap_or_default() as usize;
    able.get(hash % able.len()).map(|n| n.name.as_str())
}

/// Whether the claim was given to a node, so that the pod can wait for its volume instead of the other way round.
pub(crate) fn decided(observed: &Observed) -> bool {
    volume::current(observed).is_some_and(|claim| volume::note(claim, SELECTED_NODE).is_some())
}

#[cfg(test)]
mod tests {
    use a8s_crds::Workspace;
    use serde_json::json;

    use super::*;

    fn observed(nodes: Vec<NodeFact>) -> Observed {
        let workspace: Workspace = serde_json::from_value(json!({
            "metadata": {"name": "w", "namespace": "n", "uid": "u"}, "spec": {"environment": "desktop"},
        }))
        .unwrap();
        Observed { nodes, ..Observed::of(workspace) }
    }

    fn node(name: &str, keys: &[&str], zone: &str) -> NodeFact {
        NodeFact {
            name: name.into(),
            open: true,
            labels: BTreeMap::from([("zone".into(), zone.into()), ("kind".into(), format!("{name}-kind"))]),
            topology: Some(keys.iter().map(|k| (*k).to_owned()).collect()),
        }
    }

    #[test]
    fn without_topology_the_old_node_is_asked_again_and_without_one_any_that_is_open() {
        let mut seen = observed(vec![node("a", &[], "1"), node("b", &[], "2")]);
        assert_eq!(choose(&seen, Some("b")), Some("b"));
        let any = choose(&seen, None).unwrap().to_owned();
        assert_eq!(choose(&seen, Some("gone")), Some(&*any), "and the same one each time");
        seen.nodes.reverse();
        assert_eq!(choose(&seen, None), Some(&*any), "in whatever order nodes are listed");
    }

    #[test]
    fn with_topology_the_scheduler_decides_unless_all_nodes_are_in_one_place() {
        let two = observed(vec![node("a", &["zone"], "1"), node("b", &["zone"], "2")]);
        assert_eq!(choose(&two, Some("a")), None);
        let one = observed(vec![node("a", &["zone"], "1"), node("b", &["zone"], "1")]);
        assert_eq!(choose(&one, Some("b")), Some("b"));
        assert_eq!(choose(&observed(vec![node("a", &["zone"], "1")]), None), Some("a"));
    }

    #[test]
    fn a_node_that_takes_no_pods_or_has_no_driver_is_not_chosen() {
        let mut nodes = vec![node("a", &[], "1"), node("b", &[], "1"), node("c", &[], "1")];
        nodes[0].open = false;
        nodes[1].topology = None;
        assert_eq!(choose(&observed(nodes), Some("a")), Some("c"));
        assert_eq!(choose(&observed(Vec::new()), None), None);
    }

    #[test]
    fn only_nodes_that_the_environment_asks_for_are_chosen() {
        let mut seen = observed(vec![node("a", &[], "1"), node("b", &[], "1")]);
        let environment = json!({"metadata": {"name": "desktop"}, "spec": {"title": "t", "image": "i", "pod": {"nodeSelector": {"kind": "b-kind"}}}});
        seen.environment = Some(serde_json::from_value(environment).unwrap());
        assert_eq!(choose(&seen, Some("a")), Some("b"));
    }
}
