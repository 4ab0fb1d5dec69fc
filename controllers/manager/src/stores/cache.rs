//! All objects of a kind, a little late: a watch, what it showed, and who wants to hear of it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{Stream, StreamExt, channel::mpsc, stream, stream::BoxStream};
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::ObjectRef,
        watcher::{self, Event, watcher},
    },
};

use super::{
    Cached, Hook,
    lean::Lean,
    packed::{Packed, Packer},
};

/// Objects in one answer of a list: pods are big while they are read.
const PAGE: u32 = 100;

/// A change of one object, as far as the watch showed it.
#[derive(Debug)]
pub struct Change<K> {
    /// The object, or what was last known of it.
    pub object: Arc<K>,
    /// It is there no more.
    pub gone: bool,
}

/// How objects of a kind are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// As they are: few, or looked through as a whole.
    Whole,
    /// As few bytes: many, and looked at one by one.
    Packed,
}

/// An object in the cache.
pub enum Kept<K> {
    /// As it is.
    Whole(Arc<K>),
    /// As few bytes.
    Packed(Packed<K>),
}

impl<K: Cached> Kept<K> {
    /// The object.
    pub fn open(&self) -> Option<Arc<K>> {
        match self {
            Self::Whole(object) => Some(object.clone()),
            Self::Packed(packed) => packed.open().map(Arc::new),
        }
    }
}

/// What listeners are sent: objects of a list are opened by each when it comes to them, and not all at once.
type News<K> = (Arc<Kept<K>>, bool);
type Objects<K> = HashMap<Box<str>, Arc<Kept<K>>>;

/// All objects of a kind.
pub struct Cache<K> {
    objects: RwLock<Objects<K>>,
    keep: Keep,
    packer: Packer,
    seen: AtomicU64,
    /// Whether the first list is in.
    filled: tokio::sync::watch::Sender<bool>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<News<K>>>>,
    hooks: Vec<Hook<K>>,
}

/// The resource version as a number. Kubernetes says that it may be compared since 1.35, and it could be long before.
pub fn version(object: &impl ResourceExt) -> u64 {
    object.resource_version().and_then(|v| v.parse().ok()).unwrap_or_default()
}

/// Where an object is in its cache.
pub(super) fn key(namespace: Option<&str>, name: &str) -> Box<str> {
    super::within(namespace, name).into()
}

fn key_of(object: &impl kube::Resource) -> Box<str> {
    key(object.meta().namespace.as_deref(), object.meta().name.as_deref().unwrap_or_default())
}

fn plain<K>(event: Event<Lean<K>>) -> Event<K> {
    match event {
        Event::Apply(Lean(object)) => Event::Apply(object),
        Event::Delete(Lean(object)) => Event::Delete(object),
        Event::InitApply(Lean(object)) => Event::InitApply(object),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

/// A list that is coming in.
struct List<K> {
    objects: Objects<K>,
    /// The newest resource version in it.
    version: u64,
}

impl<K: Cached> Cache<K> {
    /// A cache and the watch that fills it, which never ends by itself. `hooks` are called for each change, after the cache has it and
    /// before anybody else hears of it.
    pub fn new(
        api: Api<Lean<K>>,
        config: watcher::Config,
        keep: Keep,
        trim: fn(&mut K),
        hooks: Vec<Hook<K>>,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let cache = Arc::new(Self::empty(keep, hooks));
        let filled = cache.clone();
        let task = async move {
            let events = watcher(api, config.page_size(PAGE))
                .default_backoff()
                .modify(move |object| trim(&mut object.0));
            let mut events = std::pin::pin!(events);
            let mut list = List { objects: HashMap::new(), version: 0 };
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => filled.take(plain(event), &mut list),
                    Err(error) => {
                        tracing::warn!(kind = %K::kind(&()), %error, "a watch was cut; it begins anew");
                    }
                }
            }
        };
        (cache, task)
    }

    fn empty(keep: Keep, hooks: Vec<Hook<K>>) -> Self {
        Self {
            objects: RwLock::default(),
            keep,
            packer: Packer::default(),
            seen: AtomicU64::new(0),
            filled: tokio::sync::watch::Sender::new(false),
            listeners: Mutex::default(),
            hooks,
        }
    }

    /// A cache without a watch, to which a test shows objects.
    #[cfg(test)]
    pub(crate) fn shown() -> Self {
        Self::empty(Keep::Packed, Vec::new())
    }

    #[cfg(test)]
    pub(crate) fn show(&self, object: K) {
        self.take(Event::Apply(object), &mut List { objects: HashMap::new(), version: 0 });
    }

    fn take(&self, event: Event<K>, list: &mut List<K>) {
        match event {
            Event::Init => *list = List { objects: HashMap::new(), version: 0 },
            Event::InitApply(object) => {
                list.version = list.version.max(version(&object));
                list.objects.insert(key_of(&object), self.kept(Arc::new(object)));
            }
            Event::InitDone => self.replace(list),
            Event::Apply(object) => {
                let (key, version, object) = (key_of(&object), version(&object), Arc::new(object));
                let kept = self.kept(object.clone());
                self.objects_mut().insert(key, kept.clone());
                self.tell(&object, &kept, false, version);
            }
            Event::Delete(object) => {
                let (version, object) = (version(&object), Arc::new(object));
                self.objects_mut().remove(&key_of(&*object));
                self.tell(&object, &Arc::new(Kept::Whole(object.clone())), true, version);
            }
        }
    }

    /// A list takes the place of everything. What is in it no more is gone, and so is what has another's name now.
    fn replace(&self, list: &mut List<K>) {
        let now = std::mem::take(&mut list.objects);
        let before = {
            let mut objects = self.objects_mut();
            let copy = now.iter().map(|(key, kept)| (key.clone(), kept.clone())).collect();
            std::mem::replace(&mut *objects, copy)
        };
        for (key, kept) in before {
            let Some(object) = kept.open() else { continue };
            let follower = now.get(&key).and_then(|kept| kept.open());
            if follower.is_none_or(|follower| follower.meta().uid != object.meta().uid) {
                self.tell(&object, &kept, true, 0);
            }
        }
        for kept in now.values() {
            if let Some(object) = kept.open() {
                self.hooks.iter().for_each(|hook| hook(&object, kept, false));
                self.announce(kept, false);
            }
        }
        self.seen.fetch_max(list.version, Ordering::Release);
        self.filled.send_replace(true);
    }

    fn kept(&self, object: Arc<K>) -> Arc<Kept<K>> {
        if self.keep == Keep::Whole {
            return Arc::new(Kept::Whole(object));
        }
        match self.packer.pack(&*object) {
            Ok(packed) => Arc::new(Kept::Packed(packed)),
            Err(error) => {
                tracing::error!(kind = %K::kind(&()), %error, "an object cannot be packed");
                Arc::new(Kept::Whole(object))
            }
        }
    }

    /// Of one object, which is at hand as it is.
    fn tell(&self, object: &Arc<K>, kept: &Arc<Kept<K>>, gone: bool, version: u64) {
        self.hooks.iter().for_each(|hook| hook(object, kept, gone));
        self.seen.fetch_max(version, Ordering::Release);
        match &**kept {
            Kept::Whole(_) => self.announce(kept, gone),
            Kept::Packed(_) => self.announce(&Arc::new(Kept::Whole(object.clone())), gone),
        }
    }

    fn announce(&self, kept: &Arc<Kept<K>>, gone: bool) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.unbounded_send((kept.clone(), gone)).is_ok());
    }

    /// Changes from now on, after everything that is there.
    pub fn changes(self: &Arc<Self>) -> BoxStream<'static, Change<K>> {
        let (sender, receiver) = mpsc::unbounded();
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        // What comes in between is told twice, which does no harm.
        let there: Vec<News<K>> = self.objects().values().map(|kept| (kept.clone(), false)).collect();
        let open =
            |(kept, gone): News<K>| std::future::ready(kept.open().map(|object| Change { object, gone }));
        stream::iter(there).chain(receiver).filter_map(open).boxed()
    }

    /// Changes of objects that are there.
    pub fn touched(self: &Arc<Self>) -> impl Stream<Item = Arc<K>> + Send + use<K> {
        self.changes().map(|change| change.object)
    }

    /// Everything up to this resource version of the kind is in the cache.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// One object; cluster-scoped kinds have no namespace.
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Option<Arc<K>> {
        let kept = self.objects().get(&*key(namespace, name)).cloned();
        kept?.open()
    }

    /// The object of that name.
    pub fn find(&self, object: &ObjectRef<K>) -> Option<Arc<K>> {
        self.get(object.namespace.as_deref(), &object.name)
    }

    /// Whether it is there.
    pub fn has(&self, object: &ObjectRef<K>) -> bool {
        self.objects().contains_key(&*key(object.namespace.as_deref(), &object.name))
    }

    /// All objects.
    pub fn all(&self) -> Vec<Arc<K>> {
        let kept: Vec<_> = self.objects().values().cloned().collect();
        kept.iter().filter_map(|kept| kept.open()).collect()
    }

    /// Waits until the first list is in.
    pub async fn ready(&self) {
        // The sender lives as long as this cache.
        drop(self.filled.subscribe().wait_for(|filled| *filled).await);
    }

    fn objects(&self) -> RwLockReadGuard<'_, Objects<K>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects_mut(&self) -> RwLockWriteGuard<'_, Objects<K>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::{super::Index, *};

    fn object(name: &str, uid: &str, version: u64) -> ConfigMap {
        let meta =
            json!({"name": name, "namespace": "n", "uid": uid, "resourceVersion": version.to_string()});
        serde_json::from_value(json!({"metadata": meta, "data": {"of": format!("{uid}-owner")}})).unwrap()
    }

    fn list(cache: &Cache<ConfigMap>, objects: &[ConfigMap]) {
        let mut list = List { objects: HashMap::new(), version: 0 };
        cache.take(Event::Init, &mut list);
        for object in objects {
            cache.take(Event::InitApply(object.clone()), &mut list);
        }
        cache.take(Event::InitDone, &mut list);
    }

    fn change(cache: &Cache<ConfigMap>, event: Event<ConfigMap>) {
        cache.take(event, &mut List { objects: HashMap::new(), version: 0 });
    }

    fn heard(changes: &mut BoxStream<'static, Change<ConfigMap>>) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(Some(change)) = changes.next().now_or_never() {
            let uid = change.object.uid().unwrap_or_default();
            all.push(if change.gone { format!("-{uid}") } else { uid });
        }
        all.sort();
        all
    }

    fn both(check: impl Fn(&Arc<Cache<ConfigMap>>, &Index<ConfigMap>)) {
        for keep in [Keep::Whole, Keep::Packed] {
            let index =
                Index::new(|map: &ConfigMap| map.data.iter().filter_map(|d| d.get("of").cloned()).collect());
            check(&Arc::new(Cache::empty(keep, vec![index.hook()])), &index);
        }
    }

    #[test]
    fn a_change_is_in_the_cache_and_the_index_when_somebody_hears_of_it() {
        both(|cache, index| {
            list(cache, &[object("a", "a1", 3)]);
            let mut changes = cache.changes();
            assert_eq!((heard(&mut changes), cache.seen()), (vec!["a1".to_owned()], 3));
            change(cache, Event::Apply(object("b", "b1", 5)));
            assert_eq!((heard(&mut changes), cache.seen()), (vec!["b1".to_owned()], 5));
            assert_eq!(cache.get(Some("n"), "b").as_deref(), Some(&object("b", "b1", 5)));
            assert_eq!(index.get("b1-owner").len(), 1);
            change(cache, Event::Delete(object("b", "b1", 6)));
            assert_eq!((heard(&mut changes), cache.seen()), (vec!["-b1".to_owned()], 6));
            assert!(cache.get(Some("n"), "b").is_none() && index.get("b1-owner").is_empty());
            assert_eq!(cache.all().len(), 1);
        });
    }

    #[test]
    fn what_went_or_changed_owners_while_nobody_watched_is_told_after_the_next_list() {
        both(|cache, index| {
            list(cache, &[object("a", "a1", 1), object("b", "b1", 2), object("c", "c1", 3)]);
            let mut changes = cache.changes();
            heard(&mut changes);
            list(cache, &[object("a", "a1", 1), object("c", "c2", 9)]);
            assert_eq!(heard(&mut changes), ["-b1", "-c1", "a1", "c2"]);
            assert_eq!(cache.seen(), 9);
            assert!(index.get("b1-owner").is_empty() && index.get("c1-owner").is_empty());
            assert_eq!(index.get("c2-owner").len(), 1);
        });
    }
}
