//! One watch and one cache a kind, shared by all controllers. A cache may be behind; what may be concluded from it all the same is said
//! where it is used. It never holds what nobody reads: managed fields go, and of big kinds all but a few fields.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Debug,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use a8s_crds::{
    Artifact, Connection, Environment, Message, Request, Session, Share, Snapshot, WarmPool, Workspace,
    labels,
};
use futures::{FutureExt, Stream, StreamExt, channel::mpsc, future::BoxFuture, stream::BoxStream};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolumeClaim, Pod},
    networking::v1::NetworkPolicy,
    rbac::v1::{Role, RoleBinding},
    storage::v1::StorageClass,
};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use crate::waiting::WaitingIndex;

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
        let index = waiting.clone();
        let claims_of =
            Index::new(|c: &PersistentVolumeClaim| c.labels().get(labels::WORKSPACE_UID).cloned());
        let snapshots_of =
            Index::new(|s: &Snapshot| Some(within(s.meta().namespace.as_deref(), &s.spec.workspace)));
        let artifacts_of = Index::new(|a: &Artifact| Some(a.spec.workspace.uid.clone()));
        let messages_of =
            Index::new(|m: &Message| Some(within(m.meta().namespace.as_deref(), &m.spec.session)));
        let requests_of =
            Index::new(|r: &Request| Some(within(r.meta().namespace.as_deref(), &r.spec.session)));
        let shares_of = Index::new(|s: &Share| Some(within(s.meta().namespace.as_deref(), &s.spec.session)));
        let connections_of = Index::new(|c: &Connection| c.namespace());
        let mut watches = Watches { client: client.clone(), all: Vec::new() };
        let stores = Self {
            sessions: watches.every(|_| {}, Vec::new()),
            workspaces: watches.every(|_| {}, vec![Box::new(move |change| index.update(change))]),
            environments: watches.every(|_| {}, Vec::new()),
            snapshots: watches.every(|_| {}, vec![snapshots_of.hook()]),
            artifacts: watches.every(|_| {}, vec![artifacts_of.hook()]),
            messages: watches.every(trim_message, vec![messages_of.hook()]),
            requests: watches.every(|_| {}, vec![requests_of.hook()]),
            connections: watches.every(|_| {}, vec![connections_of.hook()]),
            shares: watches.every(|_| {}, vec![shares_of.hook()]),
            roles: watches.ours(|_| {}, Vec::new()),
            bindings: watches.ours(|_| {}, Vec::new()),
            pools: watches.every(|_| {}, Vec::new()),
            classes: watches.every(|_| {}, Vec::new()),
            nodes: watches.every(trim_node, Vec::new()),
            pods: watches.ours(trim_pod, Vec::new()),
            claims: watches.ours(|_| {}, vec![claims_of.hook()]),
            policies: watches.ours(|_| {}, Vec::new()),
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
        self.begin(watcher::Config::default(), trim, hooks)
    }

    /// Those that a8s made, of a kind that others use, too.
    fn ours<K: Cached>(&mut self, trim: fn(&mut K), hooks: Vec<Hook<K>>) -> Arc<Cache<K>> {
        let ours = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
        self.begin(watcher::Config::default().labels(&ours), trim, hooks)
    }

    fn begin<K: Cached>(
        &mut self,
        config: watcher::Config,
        trim: fn(&mut K),
        hooks: Vec<Hook<K>>,
    ) -> Arc<Cache<K>> {
        let (cache, watch) = Cache::new(Api::all(self.client.clone()), config, trim, hooks);
        self.all.push(watch.boxed());
        cache
    }
}

/// A kind that can be kept.
pub trait Cached:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
{
}

impl<K> Cached for K where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
{
}

/// What was said is asked for by whoever hands it over; here only counts whether, and when.
fn trim_message(message: &mut Message) {
    message.spec.content = message.spec.content.take().map(|_| String::new());
}

fn trim_pod(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    (spec.tolerations, spec.affinity) = (None, None);
    for container in &mut spec.containers {
        (container.env, container.volume_mounts, container.command) = (None, None, None);
        (container.readiness_probe, container.security_context, container.ports) = (None, None, None);
    }
}

fn trim_node(node: &mut Node) {
    node.metadata.annotations = None;
    if let Some(status) = node.status.take() {
        let mut conditions = status.conditions.unwrap_or_default();
        conditions.retain(|c| c.type_ == "Ready");
        for condition in &mut conditions {
            condition.last_heartbeat_time = None;
        }
        node.status = Some(k8s_openapi::api::core::v1::NodeStatus {
            conditions: Some(conditions),
            ..Default::default()
        });
    }
}

/// What pools want to know of a node.
pub fn node_facts(node: &Node) -> a8s_plan::warm_pool::Node {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    a8s_plan::warm_pool::Node {
        ready: conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"),
        schedulable: node.spec.as_ref().and_then(|s| s.unschedulable) != Some(true),
    }
}

/// A change of one object, as far as the watch showed it.
#[derive(Debug)]
pub struct Change<K> {
    /// The object, or what was last known of it.
    pub object: Arc<K>,
    /// It is there no more.
    pub gone: bool,
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), gone: self.gone }
    }
}

type Hook<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// All objects of a kind, a little late.
pub struct Cache<K: Resource<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    seen: AtomicU64,
    /// Whether the first list is in. The store's own way to wait wakes only one of several who wait.
    filled: tokio::sync::watch::Sender<bool>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<Change<K>>>>,
    hooks: Vec<Hook<K>>,
}

/// Objects of a cache by something that many of them share.
pub struct Index<K> {
    key: fn(&K) -> Option<String>,
    inner: Mutex<Indexed<K>>,
}

/// Key of what belongs to an object of that name: `namespace/name`.
pub fn within(namespace: Option<&str>, name: &str) -> String {
    format!("{}/{name}", namespace.unwrap_or_default())
}

/// The objects of each key by UID, and the key of each UID.
type Indexed<K> = (HashMap<String, BTreeMap<String, Arc<K>>>, HashMap<String, String>);

impl<K: ResourceExt + Send + Sync + 'static> Index<K> {
    fn new(key: fn(&K) -> Option<String>) -> Arc<Self> {
        Arc::new(Self { key, inner: Mutex::default() })
    }

    fn hook(self: &Arc<Self>) -> Hook<K> {
        let index = self.clone();
        Box::new(move |change| index.update(change))
    }

    fn update(&self, change: &Change<K>) {
        let uid = change.object.uid().unwrap_or_default();
        let (objects, keys) = &mut *self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.remove(&uid)
            && let Some(all) = objects.get_mut(&key)
        {
            all.remove(&uid);
            if all.is_empty() {
                objects.remove(&key);
            }
        }
        if let Some(key) = (self.key)(&change.object).filter(|_| !change.gone) {
            objects.entry(key.clone()).or_default().insert(uid.clone(), change.object.clone());
            keys.insert(uid, key);
        }
    }

    /// All with this key.
    pub fn get(&self, key: &str) -> Vec<Arc<K>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0.get(key).map(|all| all.values().cloned().collect()).unwrap_or_default()
    }
}

/// The resource version as a number. Kubernetes says that it may be compared since 1.35, and it could be long before.
pub fn version(object: &impl ResourceExt) -> u64 {
    object.resource_version().and_then(|v| v.parse().ok()).unwrap_or_default()
}

impl<K: Cached> Cache<K> {
    /// A cache and the watch that fills it, which never ends by itself. `hooks` are called for each change, after the cache has it and
    /// before anybody else hears of it.
    pub fn new(
        api: Api<K>,
        config: watcher::Config,
        trim: fn(&mut K),
        hooks: Vec<Hook<K>>,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let (store, mut writer) = reflector::store();
        let (seen, filled) = (AtomicU64::new(0), tokio::sync::watch::Sender::new(false));
        let cache = Arc::new(Self { store, seen, filled, listeners: Mutex::default(), hooks });
        let filled = cache.clone();
        let task = async move {
            let events = watcher(api, config).default_backoff().modify(move |object| {
                object.managed_fields_mut().clear();
                trim(object);
            });
            let mut events = std::pin::pin!(events);
            let mut listed = 0;
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => filled.take(&mut writer, &event, &mut listed),
                    Err(error) => {
                        tracing::warn!(kind = %K::kind(&()), %error, "a watch was cut; it begins anew");
                    }
                }
            }
        };
        (cache, task)
    }

    fn take(&self, writer: &mut reflector::store::Writer<K>, event: &Event<K>, listed: &mut u64) {
        match event {
            Event::Init => *listed = 0,
            Event::InitApply(object) => *listed = (*listed).max(version(object)),
            Event::Apply(_) | Event::Delete(_) | Event::InitDone => {}
        }
        let before = if matches!(event, Event::InitDone) { self.store.state() } else { Vec::new() };
        writer.apply_watcher_event(event);
        match event {
            Event::Apply(object) => {
                let kept = self.store.get(&ObjectRef::from_obj(object));
                self.tell(kept.unwrap_or_else(|| Arc::new(object.clone())), false, version(object));
            }
            Event::Delete(object) => self.tell(Arc::new(object.clone()), true, version(object)),
            Event::InitDone => {
                let now = self.store.state();
                let there: HashSet<_> = now.iter().filter_map(|o| o.uid()).collect();
                for object in before.into_iter().filter(|o| o.uid().is_none_or(|uid| !there.contains(&uid))) {
                    self.tell(object, true, 0);
                }
                for object in now {
                    self.tell(object, false, *listed);
                }
                self.seen.fetch_max(*listed, Ordering::Release);
                self.filled.send_replace(true);
            }
            Event::Init | Event::InitApply(_) => {}
        }
    }

    fn tell(&self, object: Arc<K>, gone: bool, version: u64) {
        self.seen.fetch_max(version, Ordering::Release);
        let change = Change { object, gone };
        self.hooks.iter().for_each(|hook| hook(&change));
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.unbounded_send(change.clone()).is_ok());
    }

    /// Changes from now on, after everything that is there.
    pub fn changes(&self) -> BoxStream<'static, Change<K>> {
        let (sender, receiver) = mpsc::unbounded();
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender.clone());
        // What comes in between is told twice, which does no harm.
        for object in self.store.state() {
            drop(sender.unbounded_send(Change { object, gone: false }));
        }
        receiver.boxed()
    }

    /// Changes of objects that are there.
    pub fn touched(&self) -> impl Stream<Item = Arc<K>> + Send + use<K> {
        self.changes().map(|change| change.object)
    }

    /// Everything up to this resource version of the kind is in the cache.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// For controllers.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// One object; cluster-scoped kinds have no namespace.
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::new(name);
        self.store.get(&match namespace {
            Some(namespace) => key.within(namespace),
            None => key,
        })
    }

    /// All objects.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// Waits until the first list is in.
    pub async fn ready(&self) {
        // The sender lives as long as this cache.
        drop(self.filled.subscribe().wait_for(|filled| *filled).await);
    }
}
