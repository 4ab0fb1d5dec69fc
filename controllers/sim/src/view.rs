//! All objects at one moment. Cheap to copy: schedules keep many.

use std::{collections::BTreeMap, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Key;

/// All objects at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View(BTreeMap<Key, Arc<Value>>);

impl View {
    /// One object as JSON.
    pub fn value(&self, key: &Key) -> Option<&Value> {
        self.0.get(key).map(AsRef::as_ref)
    }

    /// One object by type. Panics if the object is not of that type: the test is wrong then.
    pub fn get<T: DeserializeOwned>(&self, key: &Key) -> Option<T> {
        self.value(key).map(|value| match serde_json::from_value(value.clone()) {
            Ok(object) => object,
            Err(error) => panic!("{key} is of another type: {error}"),
        })
    }

    /// All objects of a kind.
    pub fn list<T: DeserializeOwned>(&self, kind: &str) -> Vec<T> {
        self.0.keys().filter(|key| key.kind == kind).filter_map(|key| self.get(key)).collect()
    }

    /// All objects.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.0.iter().map(|(key, value)| (key, value.as_ref()))
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

    pub(crate) fn insert(&mut self, key: Key, object: Arc<Value>) {
        self.0.insert(key, object);
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

const FLEETING: [&str; 9] = [
    "resourceVersion",
    "generation",
    "observedGeneration",
    "creationTimestamp",
    "lastTransitionTime",
    "startup",
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
