//! What measurements add: kwok, which plays the kubelet of nodes that are objects only, and an audit log, in which all writers can be told
//! apart.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::files::config;
use super::{Audit, Component, Inputs, Login, Ready, flags, kubeconfig};
use crate::certs::{Authority, Subject};

/// Label of the nodes that kwok plays.
pub const FLEET_NODE: &str = "kwok.x-k8s.io/node";
/// Addresses of their pods. Nobody has them.
pub const FLEET_CIDR: &str = "10.245.0.0/16";

pub(super) fn render(inputs: &Inputs<'_>, authority: &Authority) -> Result<Vec<Component>> {
    let Some(kwok) = inputs.kwok else { return Ok(Vec::new()) };
    let login = inputs.config_file("kwok.kubeconfig");
    let server = inputs.net.api_url();
    let subject = Subject::client("kwok", Some("system:masters"));
    kubeconfig(
        authority,
        &Login { server: &server, file: "kwok", subject, context: &inputs.paths.name },
        &login,
    )?;
    let file = inputs.config_file("kwok.yaml");
    let hash = config(&file, include_str!("../manifests/kwok.yaml"))?;
    let command = flags(
        kwok.display().to_string(),
        [
            format!("--kubeconfig={}", login.display()),
            format!("--config={}", file.display()),
            format!("--manage-nodes-with-label-selector={FLEET_NODE}=fake"),
            format!("--cidr={FLEET_CIDR}"),
            format!("--node-ip={}", inputs.net.node()),
            // A lease is all that says that a node lives; twenty nodes cost one write a second.
            "--node-lease-duration-seconds=80".to_owned(),
        ],
    );
    let mut component = Component::new("kwok", command, &["kube-apiserver"], Ready::Running);
    component.stamp = hash;
    Ok(vec![component])
}

pub(super) fn audit(inputs: &Inputs<'_>) -> Result<Option<Audit>> {
    if inputs.kwok.is_none() {
        return Ok(None);
    }
    changes_and_lists(inputs.config_file("audit.json"), inputs.paths.audit_log()).map(Some)
}

/// Who changed or listed what, without contents. What every node and lease holder writes all the time is left out.
pub fn changes_and_lists(policy: PathBuf, log: PathBuf) -> Result<Audit> {
    let reviews = ["authentication.k8s.io", "authorization.k8s.io"].map(|group| json!({"group": group}));
    let rules = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [
            {"level": "None", "verbs": ["get", "watch"]},
            {"level": "None", "nonResourceURLs": ["*"]},
            {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
            {"level": "None", "resources": [{"group": "", "resources": ["nodes", "nodes/status"]}]},
            {"level": "None", "resources": reviews},
            {"level": "Metadata"},
        ],
    });
    config(&policy, &rules.to_string())?;
    Ok(Audit { policy, log })
}
