//! What is known of a Workspace's claims, and of everything that the next one may be made from.

use a8s_crds::{Snapshot, Workspace, labels};
use a8s_plan::workspace::{self as decide, Binding, CloneSource, NodeFact, Observed, Source};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::{CSINode, StorageClass},
};
use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    context::Context,
    errors::Error,
    execute,
    reading::{self, Reads},
    workspace::bound,
};

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// All claims of the Workspace, those that came back from a backup without an owner, and what has the name that its next one would have.
pub async fn claims(
    ctx: &Context,
    namespace: &str,
    workspace: &Workspace,
) -> Result<Vec<PersistentVolumeClaim>, Error> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), namespace);
    let (name, uid) = (workspace.name_any(), workspace.uid());
    let named = ListParams::default().labels(&format!("{}={name}", labels::WORKSPACE));
    let mut all = api.list(&named).await?.items;
    // Those of an earlier Workspace of the name go with it.
    all.retain(|claim| {
        claim.labels().get(labels::WORKSPACE_UID) == uid.as_ref() || claim.owner_references().is_empty()
    });
    if all.is_empty() {
        all.extend(api.get_opt(&decide::next_claim(workspace)).await?);
    }
    Ok(all)
}

/// A Snapshot as a source of a volume.
pub async fn source(
    ctx: &Context,
    reads: Reads,
    namespace: &str,
    name: Option<&str>,
) -> Result<Option<Source>, Error> {
    let Some(name) = name else { return Ok(None) };
    Ok(reading::one::<Snapshot>(ctx, &ctx.stores.snapshots, reads, namespace, name).await?.map(Source::of))
}

/// Looks up what a claim that is to be made depends on; nothing while none is to be made.
pub async fn for_the_next(ctx: &Context, observed: &mut Observed) -> Result<(), Error> {
    let restoring = observed.restore.is_some() || decide::restored_snapshot(&observed.workspace).is_some();
    let missing = observed.claim.is_none() || going(observed.claim.as_ref());
    if bound(observed.claim.as_ref()) && !missing && !restoring || observed.deleted_at().is_some() {
        return Ok(());
    }
    let archive = decide::archive_name(observed).map(str::to_owned);
    observed.archive = source(ctx, Reads::Server, observed.namespace(), archive.as_deref()).await?;
    if missing && let Some(name) = observed.workspace.spec.source.as_ref().and_then(|s| s.workspace.clone()) {
        observed.clone_source = clone_source(ctx, observed.namespace(), &name).await?;
    }
    let class = class(ctx, observed).await?;
    observed.driver = class.as_ref().map(|c| c.provisioner.clone());
    let Some(class) = class else { return Ok(()) };
    if class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer") {
        observed.binding = Binding::WaitForFirstConsumer;
        // Places that the class allows are for the scheduler to weigh.
        if class.allowed_topologies.is_none_or(|all| all.is_empty()) && (missing || restoring) {
            observed.nodes = nodes(ctx, &class.provisioner).await?;
        }
    }
    Ok(())
}

fn going(claim: Option<&PersistentVolumeClaim>) -> bool {
    claim.is_some_and(|c| c.metadata.deletion_timestamp.is_some())
}

/// The StorageClass of the claim, of the one that is to be made, or of the one that is to be cloned.
async fn class(ctx: &Context, observed: &Observed) -> Result<Option<StorageClass>, Error> {
    let classes: Api<StorageClass> = Api::all(ctx.client.clone());
    let given = observed.claim.as_ref().and_then(|c| c.spec.as_ref()?.storage_class_name.clone());
    let cloned = observed.clone_source.as_ref().and_then(|c| c.class.clone());
    let given = given.or_else(|| decide::storage_class(observed).map(str::to_owned)).or(cloned);
    if let Some(name) = given {
        // Nothing but its marks of a class can be changed; one that is not known may be new.
        return match ctx.stores.classes.get(None, &name) {
            Some(known) => Ok(Some(StorageClass::clone(&known))),
            None => Ok(classes.get_opt(&name).await?),
        };
    }
    let known = ctx.stores.classes.all();
    match the_default(known.iter().map(AsRef::as_ref)) {
        Some(class) => Ok(Some(class.clone())),
        None => Ok(the_default(&classes.list(&ListParams::default()).await?.items).cloned()),
    }
}

/// As the API server does: the newest of the classes that are marked as default.
fn the_default<'a>(all: impl IntoIterator<Item = &'a StorageClass>) -> Option<&'a StorageClass> {
    let marked = |c: &&StorageClass| c.annotations().get(DEFAULT_CLASS).is_some_and(|v| v == "true");
    all.into_iter().filter(marked).max_by_key(|c| c.creation_timestamp().map(|t| t.0))
}

/// The nodes, as far as the choice of one for a volume of this driver needs them.
async fn nodes(ctx: &Context, driver: &str) -> Result<Vec<NodeFact>, Error> {
    let (nodes, drivers): (Api<Node>, Api<CSINode>) =
        (Api::all(ctx.client.clone()), Api::all(ctx.client.clone()));
    let everything = ListParams::default();
    let (nodes, drivers) = tokio::try_join!(nodes.list(&everything), drivers.list(&everything))?;
    let keys = |node: &str| {
        let of_node = drivers.items.iter().find(|c| c.metadata.name.as_deref() == Some(node))?;
        let found = of_node.spec.drivers.iter().find(|d| d.name == driver)?;
        Some(found.topology_keys.clone().unwrap_or_default())
    };
    Ok(nodes
        .items
        .iter()
        .map(|node| NodeFact {
            name: node.name_any(),
            open: open(node),
            labels: node.labels().clone(),
            topology: keys(&node.name_any()),
        })
        .collect())
}

fn open(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    let cordoned = spec.and_then(|s| s.unschedulable).unwrap_or_default();
    let mut taints = spec.and_then(|s| s.taints.as_deref()).unwrap_or_default().iter();
    let tainted = taints.any(|t| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute"));
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    !cordoned && !tainted && conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

async fn clone_source(ctx: &Context, namespace: &str, name: &str) -> Result<Option<CloneSource>, Error> {
    let workspaces: Api<Workspace> = Api::namespaced(ctx.client.clone(), namespace);
    let Some(found) = workspaces.get_opt(name).await? else { return Ok(None) };
    if found.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let all = claims(ctx, namespace, &found).await?;
    let (claim, _) = decide::claims(&found, all);
    let uid = found.uid().unwrap_or_default();
    let ours = |c: &PersistentVolumeClaim| c.owner_references().iter().any(|o| o.uid == uid);
    let claim = claim.filter(|c| ours(c) && !going(Some(c)));
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    let pod = pods.get_opt(&a8s_crds::names::pod(name)).await?;
    let running =
        pod.as_ref().and_then(|p| p.status.as_ref()?.phase.as_deref()).is_some_and(|p| p == "Running");
    let target = a8s_plan::Target {
        api_version: "a8s.dev/v1alpha1".into(),
        kind: "Workspace".into(),
        namespace: namespace.into(),
        name: name.into(),
        uid: uid.clone(),
    };
    let answers = match execute::address(ctx, &target).await {
        Ok(at) if running => ctx.pods.runner_state(&at).await.is_ok(),
        _ => false,
    };
    let status = found.status.unwrap_or_default();
    let spec = claim.as_ref().and_then(|c| c.spec.clone()).unwrap_or_default();
    let driver = match &spec.volume_name {
        Some(volume) => {
            let volume: Option<PersistentVolume> = Api::all(ctx.client.clone()).get_opt(volume).await?;
            volume.and_then(|v| v.spec?.csi).map(|csi| csi.driver)
        }
        None => None,
    };
    Ok(Some(CloneSource {
        uid,
        bound: bound(claim.as_ref()),
        size: claim
            .as_ref()
            .and_then(|c| c.status.as_ref()?.capacity.as_ref()?.get("storage"))
            .map(|q| q.0.clone()),
        claim: claim.as_ref().map(ResourceExt::name_any),
        class: spec.storage_class_name,
        driver,
        node: pod.and_then(|p| p.spec?.node_name),
        epoch: status.epoch.unwrap_or_default(),
        archive: status.archive,
        running,
        answers,
    }))
}
