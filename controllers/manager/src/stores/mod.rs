//! One watch and one cache a kind, shared by all controllers. A cache may be behind; what may be concluded from it all the same is said
//! where it is used. It never holds what nobody reads: managed fields go, and of big kinds all but a few fields. What there is one of for
//! each desktop is packed.

mod cache;
mod index;
mod lean;
mod packed;
mod tally;
mod trim;

use std::{fmt::Debug, sync::Arc};

use a8s_crds::{
    Artifact, Connection, Environment, Message, Request, Session, Share, Snapshot, WarmPool, Workspace,
    conditions::{ConditionType, is_true},
    labels,
};
use a8s_plan::workspace as decide;
use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolumeClaim, Pod},
    networking::v1::NetworkPolicy,
    rbac::v1::{Role, RoleBinding},
    storage::v1::StorageClass,
};
use kube::{Api, Resource, ResourceExt, runtime::watcher};
use serde::{Serialize, de::DeserializeOwned};

use cache::Keep;
pub(crate) use cache::Kept;
pub use cache::{Cache, Change, version};
pub use index::Index;
pub use lean::Lean;
pub use tally::Tally;

use crate::{keeping, waiting::WaitingIndex};

/// Called with an object, how it is kept, and whether it is gone.
type Hook<K> = Box<dyn Fn(&Arc<K>, &Arc<Kept<K>>, bool) + Send + Sync>;

/// The caches of all kinds.
#[derive(Clone)]
pub struct Stores {
    /// Sessions.
    pub sessions: Arc<Cache<Session>>,
    /// Workspaces.
    pub workspaces: Arc<Cache<Workspace>>,
    /// The catalogue.
    pub environments: Arc<Cache<Environment>>,
    /// Snapshots.
    pub snapshots: Arc<Cache<Snapshot>>,
    /// Artifacts.
    pub artifacts: Arc<Cache<Artifact>>,
    /// Messages, without what they say.
    pub messages: Arc<Cache<Message>>,
    /// Requests.
    pub requests: Arc<Cache<Request>>,
    /// Connections; they hold no keys.
    pub connections: Arc<Cache<Connection>>,
    /// Shares.
    pub shares: Arc<Cache<Share>>,
    /// Our Roles: those of Shares.
    pub roles: Arc<Cache<Role>>,
    /// Our RoleBindings.
    pub bindings: Arc<Cache<RoleBinding>>,
    /// Pools.
    pub pools: Arc<Cache<WarmPool>>,
    /// StorageClasses.
    pub classes: Arc<Cache<StorageClass>>,
    /// Nodes: whether they are Ready, and cordoned.
    pub nodes: Arc<Cache<Node>>,
    /// Our pods, without what the kubelet alone reads.
    pub pods: Arc<Cache<Pod>>,
    /// Our claims.
    pub claims: Arc<Cache<PersistentVolumeClaim>>,
    /// Our NetworkPolicies.
    pub policies: Arc<Cache<NetworkPolicy>>,
    /// How many Workspaces each Environment has.
    pub tally: Arc<Tally>,
    /// Workspaces by the Connections that they are granted: `namespace/connection`.
    pub holders_of: Arc<Index<Workspace>>,
    /// Workspaces that are not ready, by what they wait for: see [`waits_for`].
    pub waiting_for: Arc<Index<Workspace>>,
    /// Workspaces by the Snapshots that their volumes are not made from yet: `namespace/snapshot`.
    pub needing: Arc<Index<Workspace>>,
    /// Workspaces by the Snapshot that their receipt is about: `namespace/snapshot`.
    pub checking: Arc<Index<Workspace>>,
    /// Which Workspaces wait in pools, and whose they are.
    pub waiting: Arc<WaitingIndex>,
    /// Claims by the UID of their Workspace.
    pub claims_of: Arc<Index<PersistentVolumeClaim>>,
    /// Snapshots by `namespace/workspace`.
    pub snapshots_of: Arc<Index<Snapshot>>,
    /// Artifacts by the UID of their Workspace.
    pub artifacts_of: Arc<Index<Artifact>>,
    /// Messages by `namespace/session`.
    pub messages_of: Arc<Index<Message>>,
    /// Requests by `namespace/session`.
    pub requests_of: Arc<Index<Request>>,
    /// Shares by `namespace/session`.
    pub shares_of: Arc<Index<Share>>,
    /// Connections by namespace.
    pub connections_of: Arc<Index<Connection>>,
}

impl Stores {
    /// Caches, and the watches that fill them.
    pub fn new(client: &kube::Client) -> (Self, Vec<BoxFuture<'static, ()>>) {
        let waiting = Arc::new(WaitingIndex::default());
        let (index, tally) = (waiting.clone(), Arc::new(Tally::default()));
        let counting = tally.clone();
        let holders_of = Index::new(|w: &Workspace| {
            w.spec.grants.iter().map(|grant| within(w.meta().namespace.as_deref(), grant)).collect()
        });
        let waiting_for = Index::new(waits_for);
        let needing = Index::new(|w: &Workspace| {
            let needs = keeping::needs(w).into_iter();
            needs.map(|snapshot| within(w.meta().namespace.as_deref(), &snapshot)).collect()
        });
        let checking = Index::new(|w: &Workspace| {
            let receipt = w.status.as_ref().and_then(|s| s.receipt.as_ref()).into_iter();
            receipt.map(|r| within(w.meta().namespace.as_deref(), &r.snapshot)).collect()
        });
        let claims_of = Index::new(|c: &PersistentVolumeClaim| {
            c.labels().get(labels::WORKSPACE_UID).cloned().into_iter().collect()
        });
        let snapshots_of =
            Index::new(|s: &Snapshot| vec![within(s.meta().namespace.as_deref(), &s.spec.workspace)]);
        let artifacts_of = Index::new(|a: &Artifact| vec![a.spec.workspace.uid.clone()]);
        let messages_of =
            Index::new(|m: &Message| vec![within(m.meta().namespace.as_deref(), &m.spec.session)]);
        let requests_of =
            Index::new(|r: &Request| vec![within(r.meta().namespace.as_deref(), &r.spec.session)]);
        let shares_of = Index::new(|s: &Share| vec![within(s.meta().namespace.as_deref(), &s.spec.session)]);
        let connections_of = Index::new(|c: &Connection| c.namespace().into_iter().collect());
        let mut watches = Watches { client: client.clone(), all: Vec::new() };
        let stores = Self {
            sessions: watches.every(|_| {}, Vec::new()),
            workspaces: watches.desks(
                watcher::Config::default(),
                |_| {},
                vec![
                    Box::new(move |object, kept, gone| index.update(object, kept, gone)),
                    Box::new(move |object, _, gone| counting.update(object, gone)),
                    holders_of.hook(),
                    waiting_for.hook(),
                    needing.hook(),
                    checking.hook(),
                ],
            ),
            environments: watches.every(|_| {}, Vec::new()),
            snapshots: watches.every(|_| {}, vec![snapshots_of.hook()]),
            artifacts: watches.every(|_| {}, vec![artifacts_of.hook()]),
            messages: watches.every(trim::message, vec![messages_of.hook()]),
            requests: watches.every(|_| {}, vec![requests_of.hook()]),
            connections: watches.every(|_| {}, vec![connections_of.hook()]),
            shares: watches.every(|_| {}, vec![shares_of.hook()]),
            roles: watches.ours(|_| {}, Vec::new()),
            bindings: watches.ours(|_| {}, Vec::new()),
            pools: watches.every(|_| {}, Vec::new()),
            classes: watches.every(|_| {}, Vec::new()),
            nodes: watches.every(trim::node, Vec::new()),
            pods: watches.desks(made_by_us(), trim::pod, Vec::new()),
            claims: watches.desks(made_by_us(), trim::claim, vec![claims_of.hook()]),
            policies: watches.desks(made_by_us(), |_| {}, Vec::new()),
            tally,
            holders_of,
            waiting_for,
            needing,
            checking,
            waiting,
            claims_of,
            snapshots_of,
            artifacts_of,
            messages_of,
            requests_of,
            shares_of,
            connections_of,
        };
        (stores, watches.all)
    }

    /// Waits until all of them have been filled once.
    pub async fn ready(&self) {
        self.sessions.ready().await;
        self.workspaces.ready().await;
        self.environments.ready().await;
        self.snapshots.ready().await;
        self.artifacts.ready().await;
        self.messages.ready().await;
        self.requests.ready().await;
        self.connections.ready().await;
        self.shares.ready().await;
        self.roles.ready().await;
        self.bindings.ready().await;
        self.pools.ready().await;
        self.classes.ready().await;
        self.nodes.ready().await;
        self.pods.ready().await;
        self.claims.ready().await;
        self.policies.ready().await;
    }
}

/// The watches that are begun.
struct Watches {
    client: kube::Client,
    all: Vec<BoxFuture<'static, ()>>,
}

impl Watches {
    /// All objects of a kind.
    fn every<K: Cached>(&mut self, trim: fn(&mut K), hooks: Vec<Hook<K>>) -> Arc<Cache<K>> {
        self.begin(watcher::Config::default(), Keep::Whole, trim, hooks)
    }

    /// Those that a8s made, of a kind that others use, too.
    fn ours<K: Cached>(&mut self, trim: fn(&mut K), hooks: Vec<Hook<K>>) -> Arc<Cache<K>> {
        self.begin(made_by_us(), Keep::Whole, trim, hooks)
    }

    /// A kind that every desktop has one of.
    fn desks<K: Cached>(
        &mut self,
        config: watcher::Config,
        trim: fn(&mut K),
        hooks: Vec<Hook<K>>,
    ) -> Arc<Cache<K>> {
        self.begin(config, Keep::Packed, trim, hooks)
    }

    fn begin<K: Cached>(
        &mut self,
        config: watcher::Config,
        keep: Keep,
        trim: fn(&mut K),
        hooks: Vec<Hook<K>>,
    ) -> Arc<Cache<K>> {
        let (cache, watch) = Cache::new(Api::all(self.client.clone()), config, keep, trim, hooks);
        self.all.push(watch.boxed());
        cache
    }
}

fn made_by_us() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::MANAGER))
}

/// What a Workspace that is not ready waits for: `environment/name`, and `snapshot/namespace/name`. Running ones read Environment and
/// Snapshot at their start only, but for an order to restore.
fn waits_for(workspace: &Workspace) -> Vec<String> {
    let snapshot = |name: &str| {
        let name = within(workspace.meta().namespace.as_deref(), name);
        format!("snapshot/{name}")
    };
    let mut all: Vec<_> = decide::restored_snapshot(workspace).map(snapshot).into_iter().collect();
    if !workspace.status.as_ref().is_some_and(|s| is_true(&s.conditions, ConditionType::Ready)) {
        all.push(format!("environment/{}", workspace.spec.environment));
        let source = workspace.spec.source.as_ref().and_then(|s| s.snapshot.as_deref());
        all.extend(source.map(snapshot));
    }
    all.dedup();
    all
}

/// A kind that can be kept.
pub trait Cached:
    Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug + Send + Sync + 'static
{
}

impl<K> Cached for K where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug + Send + Sync + 'static
{
}

/// Key of what belongs to an object of that name: `namespace/name`.
pub fn within(namespace: Option<&str>, name: &str) -> String {
    format!("{}/{name}", namespace.unwrap_or_default())
}

/// What pools want to know of a node.
pub fn node_facts(node: &Node) -> a8s_plan::warm_pool::Node {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    a8s_plan::warm_pool::Node {
        ready: conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"),
        schedulable: node.spec.as_ref().and_then(|s| s.unschedulable) != Some(true),
    }
}
