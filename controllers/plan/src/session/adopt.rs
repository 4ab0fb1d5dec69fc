//! Taking over a desktop that waits in a WarmPool. One compare-and-swap makes the Session its controller; whoever comes second finds it
//! changed and takes another. The swap succeeds only if the Workspace is as it was seen, its status included: that it was ready then is
//! the evidence for the Session's `Ready`, so swap and status are all that lies between a Session and its desktop.

use std::{cmp::Reverse, sync::Arc};

use a8s_crds::{Egress, Environment, Resources, Session, Storage, Workspace, labels, names};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{Choice, Observed, target};
use crate::{
    Env, Op,
    warm_pool::{adoptable, is_current},
    workspace::quantity::bytes,
};

/// A desktop that waits in a pool of the Session's namespace.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The Workspace.
    pub workspace: Arc<Workspace>,
    /// Its node is Ready and nobody drains it.
    pub serves: bool,
}

/// Whether the desktop is what the Session asks for. What the Session does not ask for may be as the pool has it.
pub fn fits(session: &Session, environment: &Environment, found: &Workspace) -> bool {
    if found.spec.environment != environment.name_any() || session.spec.source.is_some() {
        return false;
    }
    let Some(asked) = &session.spec.workspace else { return true };
    let offered = &environment.spec;
    let resources = found.spec.resources.as_ref().or(offered.pod.as_ref().and_then(|p| p.resources.as_ref()));
    let desktop = found.spec.desktop.as_ref().unwrap_or(&offered.desktop);
    asked.resources.as_ref().is_none_or(|asked| resources.is_some_and(|found| same_resources(asked, found)))
        && asked
            .storage
            .as_ref()
            .is_none_or(|asked| same_storage(asked, [&found.spec.storage, &offered.storage]))
        && asked.desktop.as_ref().is_none_or(|asked| asked == desktop)
        && asked.egress.as_ref().is_none_or(|asked| *asked == Egress::default())
}

fn same_resources(asked: &Resources, found: &Resources) -> bool {
    let same =
        |a: &std::collections::BTreeMap<_, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
         b: &std::collections::BTreeMap<String, _>| {
            a.len() == b.len() && a.iter().all(|(key, asked)| b.get(key).is_some_and(|found| asked == found))
        };
    same(&asked.requests, &found.requests) && same(&asked.limits, &found.limits)
}

/// Each thing that is asked for must be what the desktop has, from its own spec or else from the Environment.
fn same_storage(asked: &Storage, found: [&Option<Storage>; 2]) -> bool {
    let found = || found.into_iter().flatten();
    let size = found().find_map(|s| s.size.as_ref());
    let class = found().find_map(|s| s.storage_class_name.as_ref());
    asked
        .size
        .as_ref()
        .is_none_or(|asked| size.is_some_and(|found| asked == found || bytes(&asked.0) == bytes(&found.0)))
        && asked.storage_class_name.as_ref().is_none_or(|asked| Some(asked) == class)
}

/// The desktop to take, if one can be had: one of the Environment as it is now before an older one, and otherwise by chance, but always
/// the same for the same Session, so that many Sessions at once seldom want the same.
pub(super) fn choose<'a>(seen: &'a Observed, choice: &Choice, env: &Env) -> Option<&'a Workspace> {
    let environment = seen.environments.iter().find(|e| e.name_any() == choice.environment)?;
    let uid = seen.session.uid().unwrap_or_default();
    let may =
        |w: &&Waiting| w.serves && adoptable(&w.workspace) && fits(&seen.session, environment, &w.workspace);
    let rank = |w: &&Waiting| {
        let template = w.workspace.annotations().get(labels::TEMPLATE);
        let current = template.is_some_and(|t| is_current(t, environment, env));
        let lot =
            names::short_hash(&format!("{uid}/{}", w.workspace.metadata.uid.as_deref().unwrap_or_default()));
        (Reverse(current), lot)
    };
    seen.pool.iter().filter(may).min_by_key(rank).map(|w| w.workspace.as_ref())
}

/// From the pool to the Session. The rest of the Session's spec follows afterwards, as for any of its Workspaces.
pub(super) fn swap(session: &Session, workspace: &Workspace) -> Op {
    let patch = json!({"metadata": {
        "ownerReferences": [owner(session)],
        "labels": {labels::POOL: null, labels::SESSION: session.name_any()},
    }});
    Op::Swap { target: target(workspace), version: workspace.resource_version().unwrap_or_default(), patch }
}

/// The Session as the controller of its Workspace.
pub(super) fn owner(session: &Session) -> Value {
    json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "name": session.name_any(), "uid": session.uid(),
        "controller": true, "blockOwnerDeletion": true,
    })
}
