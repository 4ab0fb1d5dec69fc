//! Who said which field, as the API server notes it in `managedFields`: whoever changes a field has it, several may have it by saying the
//! same, and what an applier no longer says goes unless somebody else has it. Lists are one value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// All writers that do not apply, as one: among each other they take nothing away.
const UPDATE: &str = "";

type Path = Vec<String>;

/// Who has which fields of one object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Managed {
    fields: BTreeMap<String, BTreeSet<Path>>,
    /// What each applier said last, as long as nobody has taken anything of it.
    said: BTreeMap<String, Value>,
}

impl Managed {
    /// Of an object that was just created.
    pub(crate) fn created(object: &Value) -> Self {
        let fields = BTreeMap::from([(UPDATE.to_owned(), leaves(object).into_keys().collect())]);
        Self { fields, said: BTreeMap::new() }
    }

    /// Of one that was created by applying it.
    pub(crate) fn applied(object: &Value, manager: &str) -> Self {
        let fields = BTreeMap::from([(manager.to_owned(), leaves(object).into_keys().collect())]);
        Self { fields, said: BTreeMap::from([(manager.to_owned(), object.clone())]) }
    }

    /// Whether applying this once more changes nothing.
    pub(crate) fn knows(&self, manager: &str, now: &Value) -> bool {
        self.said.get(manager) == Some(now)
    }

    /// Somebody wrote `after` over `before` without applying it.
    pub(crate) fn updated(&mut self, before: &Value, after: &Value) {
        let (before, after) = (leaves(before), leaves(after));
        let changed: Vec<Path> = after
            .iter()
            .filter(|(path, value)| before.get(*path) != Some(value))
            .map(|(p, _)| p.clone())
            .collect();
        let gone: Vec<Path> = before.into_keys().filter(|path| !after.contains_key(path)).collect();
        for path in changed.iter().chain(&gone) {
            self.take(path, UPDATE);
        }
        self.fields.entry(UPDATE.to_owned()).or_default().extend(changed);
    }

    /// `found` after `manager` applied `now`, and whether anything is another's from now on.
    pub(crate) fn apply(&mut self, found: &Value, now: &Value, manager: &str) -> (Value, bool) {
        let wanted = leaves(now);
        let before = self.fields.get(manager).cloned().unwrap_or_default();
        let set: BTreeSet<Path> = wanted.keys().cloned().collect();
        let mut result = found.clone();
        for path in before.difference(&set) {
            // Above a field that is said now there is nothing to take away.
            let said = set.iter().any(|other| other.starts_with(path));
            let others = self.fields.iter().filter(|(other, _)| *other != manager);
            let kept = others.flat_map(|(_, all)| all).any(|other| other.starts_with(path));
            if !said && !kept {
                remove(&mut result, path);
            }
        }
        let there = leaves(found);
        for (path, value) in &wanted {
            if there.get(path).is_some_and(|old| old != value) {
                self.take(path, manager);
            }
        }
        merge(&mut result, now);
        let moved = before != set;
        self.fields.insert(manager.to_owned(), set);
        self.said.insert(manager.to_owned(), now.clone());
        (result, moved)
    }

    /// Nobody but `manager` has the field any more.
    fn take(&mut self, path: &Path, manager: &str) {
        for (other, all) in &mut self.fields {
            if other != manager && all.remove(path) {
                self.said.remove(other);
            }
        }
    }
}

/// Every field with its value, without what names the object and without the status, which has managers of its own.
fn leaves(object: &Value) -> BTreeMap<Path, &Value> {
    let mut all = BTreeMap::new();
    for (key, value) in object.as_object().into_iter().flatten() {
        match key.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    if matches!(key.as_str(), "labels" | "annotations" | "ownerReferences") {
                        collect(value, &mut vec!["metadata".to_owned(), key.clone()], &mut all);
                    }
                }
            }
            _ => collect(value, &mut vec![key.clone()], &mut all),
        }
    }
    all
}

fn collect<'a>(value: &'a Value, path: &mut Path, all: &mut BTreeMap<Path, &'a Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                path.push(key.clone());
                collect(value, path, all);
                path.pop();
            }
        }
        _ => drop(all.insert(path.clone(), value)),
    }
}

/// Takes a field away, and what is empty without it.
fn remove(object: &mut Value, path: &[String]) {
    let (Some(map), Some((key, rest))) = (object.as_object_mut(), path.split_first()) else { return };
    if rest.is_empty() {
        map.remove(key);
        return;
    }
    let Some(inner) = map.get_mut(key) else { return };
    remove(inner, rest);
    if inner.as_object().is_some_and(Map::is_empty) {
        map.remove(key);
    }
}

fn merge(result: &mut Value, now: &Value) {
    match (result, now) {
        (Value::Object(result), Value::Object(now)) => {
            for (key, value) in now {
                merge(result.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (result, now) => *result = now.clone(),
    }
}

/// A merge patch, RFC 7396.
pub(crate) fn merge_patch(result: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *result = patch.clone();
        return;
    };
    if !result.is_object() {
        *result = Value::Object(Map::new());
    }
    let Value::Object(result) = result else { return };
    for (key, value) in patch {
        if value.is_null() {
            result.remove(key);
        } else {
            merge_patch(result.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_applier_no_longer_says_goes_unless_another_has_it() {
        let first = json!({"spec": {"a": 1, "b": 2, "c": {"d": 3, "e": 4}, "f": {"g": 5}}});
        let mut managed = Managed::applied(&first, "one");
        let (found, _) = managed.apply(&first, &json!({"spec": {"b": 2, "c": {"e": 4}}}), "two");
        assert_eq!(found, first);
        let (found, moved) = managed.apply(&found, &json!({"spec": {"a": 5}}), "one");
        assert_eq!((found, moved), (json!({"spec": {"a": 5, "b": 2, "c": {"e": 4}}}), true));
    }

    #[test]
    fn what_somebody_changed_is_theirs() {
        let first = json!({"spec": {"a": 1}});
        let mut managed = Managed::applied(&first, "one");
        let changed = json!({"spec": {"a": 2}});
        managed.updated(&first, &changed);
        assert!(!managed.knows("one", &first));
        assert_eq!(managed.apply(&changed, &json!({"spec": {}}), "one").0, changed);
    }

    #[test]
    fn what_its_creator_said_stays() {
        let first = json!({"spec": {"a": 1}});
        let mut managed = Managed::created(&first);
        let (found, moved) = managed.apply(&first, &first, "one");
        assert_eq!((&found, moved), (&first, true), "the same value, and two who have it");
        assert_eq!(managed.apply(&found, &json!({}), "one").0, first);
    }

    #[test]
    fn lists_are_one_value() {
        let first = json!({"l": [1, 2]});
        assert_eq!(Managed::created(&first).apply(&first, &json!({"l": [3]}), "m").0, json!({"l": [3]}));
    }
}
