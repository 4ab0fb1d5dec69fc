//! Objects of a cache by what they say.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Cached, Hook,
    cache::{Kept, key},
};

/// By each of the keys that `keys` finds in an object. It follows its cache.
pub struct Index<K> {
    keys: fn(&K) -> Vec<String>,
    inner: Mutex<Indexed<K>>,
}

/// A key, and the name of an object that has it.
type Entry = (Arc<str>, Arc<str>);

struct Indexed<K> {
    /// By key and name, in one map: most keys have one object, and a map of its own would cost more than that.
    objects: BTreeMap<Entry, Arc<Kept<K>>>,
    /// The keys of each name that has any.
    keys: HashMap<Arc<str>, Box<[Arc<str>]>>,
}

impl<K> Indexed<K> {
    fn of(&self, key: &str) -> impl Iterator<Item = &Arc<Kept<K>>> {
        let key: Arc<str> = key.into();
        let from = (key.clone(), Arc::default());
        self.objects.range(from..).take_while(move |((of, _), _)| *of == key).map(|(_, kept)| kept)
    }
}

impl<K: Cached> Index<K> {
    pub(super) fn new(keys: fn(&K) -> Vec<String>) -> Arc<Self> {
        let inner = Mutex::new(Indexed { objects: BTreeMap::new(), keys: HashMap::new() });
        Arc::new(Self { keys, inner })
    }

    pub(super) fn hook(self: &Arc<Self>) -> Hook<K> {
        let index = self.clone();
        Box::new(move |object, kept, gone| index.update(object, kept, gone))
    }

    fn update(&self, object: &K, kept: &Arc<Kept<K>>, gone: bool) {
        let meta = object.meta();
        let name: Arc<str> = key(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default()).into();
        let now = if gone { Vec::new() } else { (self.keys)(object) };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for key in inner.keys.remove(&name).unwrap_or_default() {
            inner.objects.remove(&(key, name.clone()));
        }
        let now: Box<[Arc<str>]> = now.into_iter().map(Arc::from).collect();
        for key in &now {
            inner.objects.insert((key.clone(), name.clone()), kept.clone());
        }
        if !now.is_empty() {
            inner.keys.insert(name, now);
        }
    }

    /// All with this key.
    pub fn get(&self, key: &str) -> Vec<Arc<K>> {
        self.kept(key).iter().filter_map(|kept| kept.open()).collect()
    }

    /// How many have this key.
    pub fn count(&self, key: &str) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).of(key).count()
    }

    /// Outside of the lock they are opened.
    fn kept(&self, key: &str) -> Vec<Arc<Kept<K>>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).of(key).cloned().collect()
    }
}
