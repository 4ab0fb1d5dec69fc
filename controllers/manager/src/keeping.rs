//! What the Snapshots that Workspaces take of themselves depend on besides the Workspace: how far the Session is, and who starts from a
//! Snapshot at this moment. All of it comes from caches. A turn that a cache does not show yet has its Snapshot a little later; and one who
//! names a Snapshot in the same moment in which it goes finds it gone, as after any other deletion.

use std::{collections::BTreeSet, sync::Arc};

use a8s_crds::{
    Request, RequestState, RequestType, Session, Workspace, conditions::ConditionType, conditions::is_true,
};
use a8s_plan::workspace::Conversation;
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use crate::{
    context::Context,
    stores::{Stores, within},
};

/// The Workspace that looks at this Session's turns.
pub fn follower(stores: &Stores, session: &Session) -> Option<ObjectRef<Workspace>> {
    let name = &session.status.as_ref()?.workspace.as_ref()?.name;
    let key = ObjectRef::new(name).within(&session.namespace()?);
    let workspace = stores.workspaces.find(&key)?;
    follows(&workspace).then_some(key)
}

fn follows(workspace: &Workspace) -> bool {
    workspace.spec.snapshots.as_ref().is_some_and(|policy| policy.each_turn || policy.before_requests)
}

/// The Workspace that takes a Snapshot when this is asked.
pub fn asked(stores: &Stores, request: &Request) -> Option<ObjectRef<Workspace>> {
    let key = ObjectRef::<Session>::new(&request.spec.session).within(&request.namespace()?);
    number(request).and_then(|_| follower(stores, stores.sessions.find(&key)?.as_ref()))
}

/// Epoch and number of a permission that somebody waits for.
fn number(request: &Request) -> Option<(i64, i64)> {
    let open = request.status.as_ref().and_then(|s| s.state).is_none_or(|state| state == RequestState::Open);
    let asks = open && request.spec.kind == RequestType::Permission;
    let (epoch, number) = request.spec.id.as_deref().filter(|_| asks)?.split_once('-')?;
    Some((epoch.parse().ok()?, number.parse().ok()?))
}

/// Where the conversation is, if the policy wants to know.
pub fn conversation(ctx: &Context, workspace: &Workspace) -> Option<Conversation> {
    if !follows(workspace) {
        return None;
    }
    let owners = workspace.owner_references();
    let owner = owners.iter().find(|o| o.controller == Some(true) && o.kind == "Session")?;
    let key = ObjectRef::<Session>::new(&owner.name).within(&workspace.namespace()?);
    let session = ctx.stores.sessions.find(&key).filter(|s| s.uid().as_deref() == Some(&owner.uid))?;
    let status = session.status.as_ref()?;
    let theirs = within(session.metadata.namespace.as_deref(), &session.name_any());
    let requests = ctx.stores.requests_of.get(&theirs);
    Some(Conversation {
        epoch: status.epoch.unwrap_or_default(),
        turn: status.turn.unwrap_or_default(),
        idle: matches!(status.state.as_deref(), Some("Waiting" | "Finished"))
            && status.queued.unwrap_or(0) == 0,
        asks: requests.iter().filter_map(|request| number(request)).max(),
    })
}

/// Those of `names` that another object of the namespace starts from.
pub fn in_use(ctx: &Context, namespace: &str, names: &[String]) -> BTreeSet<String> {
    let stores = &ctx.stores;
    let here = |n: Option<String>| n.as_deref() == Some(namespace);
    let of_workspaces =
        names.iter().filter(|name| stores.needing.count(&within(Some(namespace), name)) > 0).cloned();
    let sessions = stores.sessions.all();
    let waiting = |s: &&Arc<Session>| s.status.as_ref().is_none_or(|s| s.workspace.is_none());
    let of_sessions = sessions.iter().filter(|s| here(s.namespace())).filter(waiting);
    let of_sessions = of_sessions.filter_map(|s| s.spec.source.as_ref()?.snapshot.clone());
    let pools = stores.pools.all();
    let of_pools =
        pools.iter().filter(|p| here(p.namespace())).filter_map(|p| p.status.as_ref()?.golden.clone());
    let all: BTreeSet<_> = of_workspaces.chain(of_sessions).chain(of_pools).collect();
    names.iter().filter(|name| all.contains(*name)).cloned().collect()
}

/// Snapshots that this Workspace has not made its volume from yet.
pub fn needs(workspace: &Workspace) -> Vec<String> {
    let (spec, status) = (&workspace.spec, workspace.status.as_ref());
    let mut all = Vec::new();
    if !status.is_some_and(|s| is_true(&s.conditions, ConditionType::StorageReady)) {
        all.extend(spec.source.as_ref().and_then(|s| s.snapshot.clone()));
    }
    all.extend(status.and_then(|s| s.archive.clone()));
    let order = spec.restore.as_ref();
    let done = |id: &str| {
        let restored = status.and_then(|s| s.restore.as_ref());
        restored.is_some_and(|r| r.id == id && matches!(r.phase.as_str(), "Done" | "Refused"))
    };
    all.extend(order.filter(|o| !done(&o.id)).map(|o| o.snapshot.clone()));
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn workspace(spec: &Value, status: &Value) -> Workspace {
        let mut object = json!({"metadata": {"name": "w", "namespace": "n"}, "spec": {"environment": "desktop"}, "status": status});
        for (key, value) in spec.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_permission_counts_while_somebody_waits_for_it() {
        let request = |kind: &str, id: &Value, status: &Value| -> Option<(i64, i64)> {
            let object = json!({"metadata": {"name": "r"}, "spec": {"session": "s", "type": kind, "title": "t", "id": id}, "status": status});
            number(&serde_json::from_value(object).unwrap())
        };
        let (new, open) = (json!(null), json!({"state": "Open"}));
        assert_eq!(request("Permission", &json!("2-14"), &new), Some((2, 14)));
        assert_eq!(request("Permission", &json!("2-14"), &open), Some((2, 14)));
        assert_eq!(request("Permission", &json!("2-14"), &json!({"state": "Granted"})), None);
        assert_eq!(request("Question", &json!("2-14"), &open), None);
        assert_eq!(request("Permission", &json!(null), &open), None, "a8s itself asks no permission");
    }

    #[test]
    fn a_workspace_needs_its_snapshot_until_its_volume_is_there() {
        let source = json!({"source": {"snapshot": "s"}});
        assert_eq!(needs(&workspace(&source, &json!({}))), ["s"]);
        let condition = json!([{"type": "StorageReady", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-11-22T08:00:00Z"}]);
        assert_eq!(needs(&workspace(&source, &json!({"conditions": condition}))), [""; 0]);
        assert_eq!(needs(&workspace(&json!({}), &json!({"archive": "a"}))), ["a"]);
    }

    #[test]
    fn an_order_to_restore_needs_its_snapshot_until_it_is_carried_out() {
        let order = json!({"restore": {"snapshot": "s", "id": "2"}});
        let ready = json!([{"type": "StorageReady", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-11-22T08:00:00Z"}]);
        for (restore, expected) in [
            (json!({"id": "1", "snapshot": "s", "phase": "Done"}), 1),
            (json!({"id": "2", "snapshot": "s", "phase": "Replacing"}), 1),
            (json!({"id": "2", "snapshot": "s", "phase": "Done"}), 0),
        ] {
            let workspace = workspace(&order, &json!({"conditions": ready, "restore": restore}));
            assert_eq!(needs(&workspace).len(), expected);
        }
    }
}
