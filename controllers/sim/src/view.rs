//! All objects at one moment. Cheap to copy: schedules keep many, and most objects are the same in all of them.

use std::{
    any::Any,
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Key;

/// All objects at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View(Arc<BTreeMap<Arc<Key>, Arc<Stored>>>);

/// An object as JSON, and by type once somebody asked: controllers read it far more often than anybody writes it.
#[derive(Debug)]
struct Stored {
    value: Value,
    typed: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// An object as it was at that moment, shared with the view.
#[derive(Clone, Debug)]
pub struct Object(Arc<Stored>);

impl Deref for Object {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0.value
    }
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl View {
    /// One object as JSON.
    pub fn value(&self, key: &Key) -> Option<&Value> {
        self.0.get(key).map(|stored| &stored.value)
    }

    /// One object by type. Panics if the object is not of that type: the test is wrong then.
    pub fn get<T: DeserializeOwned + Clone + Send + Sync + 'static>(&self, key: &Key) -> Option<T> {
        let stored = self.0.get(key)?;
        let parse = || match T::deserialize(&stored.value) {
            Ok(object) => object,
            Err(error) => panic!("{key} is of another type: {error}"),
        };
        let kept = stored.typed.get_or_init(|| Box::new(parse()));
        // Read by two types, it is kept by the first.
        Some(kept.downcast_ref::<T>().cloned().unwrap_or_else(parse))
    }

    /// All objects of a kind.
    pub fn list<T: DeserializeOwned + Clone + Send + Sync + 'static>(&self, kind: &str) -> Vec<T> {
        self.0.keys().filter(|key| key.kind == kind).filter_map(|key| self.get(key)).collect()
    }

    /// All objects of a kind, as they are now and at no cost.
    pub fn of_kind(&self, kind: &str) -> Vec<(Arc<Key>, Object)> {
        let of_kind = self.0.iter().filter(|(key, _)| key.kind == kind);
        of_kind.map(|(key, stored)| (key.clone(), Object(stored.clone()))).collect()
    }

    /// All objects.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.0.iter().map(|(key, stored)| (key.as_ref(), &stored.value))
    }

    /// Everything that says the same in two runs: UIDs become names; versions, times and counters of attempts go.
    pub fn canonical(&self) -> Value {
        let mut text =
            self.iter().map(|(key, o)| (key.to_string(), o.clone())).collect::<Value>().to_string();
        for (key, object) in self.iter() {
            if let Some(uid) = object["metadata"]["uid"].as_str() {
                text = text.replace(uid, &format!("uid of {key}"));
            }
        }
        let mut all = serde_json::from_str(&text).unwrap_or_default();
        forget(&mut all);
        all
    }

    pub(crate) fn insert(&mut self, key: Key, value: Value) {
        let stored = Arc::new(Stored { value, typed: OnceLock::new() });
        Arc::make_mut(&mut self.0).insert(Arc::new(key), stored);
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        Arc::make_mut(&mut self.0).remove(key);
    }
}

const FLEETING: [&str; 13] = [
    // A hash of what has UIDs in it.
    "a8s.dev/made-from",
    "resourceVersion",
    "generation",
    "observedGeneration",
    "creationTimestamp",
    "lastTransitionTime",
    "startup",
    "suspendedSince",
    "idleSince",
    "awake",
    "since",
    "deletionTimestamp",
    "lastActivity",
];

fn forget(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !FLEETING.contains(&key.as_str()));
            if let Some(lease) = map.get_mut("control").and_then(Value::as_object_mut) {
                // It counts how often the lease changed hands.
                lease.remove("epoch");
            }
            map.values_mut().for_each(forget);
        }
        Value::Array(list) => list.iter_mut().for_each(forget),
        _ => {}
    }
}
