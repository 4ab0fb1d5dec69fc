//! What the definitions of our kinds say to null. Everything else in them is for the real API server.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::Value;

use crate::Key;

/// The schema of each kind of ours.
static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let schema = |definition: &_| {
        let definition = serde_json::to_value(definition).unwrap_or_default();
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
        (kind, definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
    };
    a8s_crds::definitions::all().iter().map(schema).collect()
});

/// Takes out the nulls that the server leaves out; false if one of the others is none that a definition allows. The server's own types,
/// and the metadata of every object, have no null.
pub(crate) fn nulls(key: &Key, object: &mut Value) -> bool {
    drop_nulls(&mut object["metadata"]);
    if !key.is_ours() {
        drop_nulls(object);
        return true;
    }
    !any_null(object) || SCHEMAS.get(&key.kind).is_some_and(|schema| allowed(object, schema))
}

fn any_null(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(|map| map.values().any(any_null))
}

fn allowed(value: &Value, schema: &Value) -> bool {
    let Some(map) = value.as_object() else { return !value.is_null() || schema["nullable"] == true };
    let below = |key: &String| schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
    map.iter().all(|(key, value)| allowed(value, below(key)))
}

fn drop_nulls(value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    map.retain(|_, value| !value.is_null());
    map.values_mut().for_each(drop_nulls);
}
