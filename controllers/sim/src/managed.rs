//! Who said which field, as the API server notes it in `managedFields`: whoever changes a field has it, several may have it by saying the
//! same, and what an applier no longer says goes unless somebody else has it. This is what sigs.k8s.io/structured-merge-diff does, without a
//! schema: lists are one value, and maps are not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// All writers that do not apply, as one: among each other they take nothing away.
const UPDATE: &str = "";

type Path = Vec<String>;
type Fields = BTreeSet<Path>;

/// Who has which fields of one object. Who applies has what they said; who writes has also the maps that came into being by that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Managed {
    fields: BTreeMap<String, Fields>,
    /// What each applier said last, as long as nobody has taken anything of it.
    said: BTreeMap<String, Value>,
}

impl Managed {
    /// Of an object that was just created.
    pub(crate) fn created(object: &Value) -> Self {
        let fields = BTreeMap::from([(UPDATE.to_owned(), nodes(object).into_keys().collect())]);
        Self { fields, said: BTreeMap::new() }
    }

    /// Of one that was created by applying it.
    pub(crate) fn applied(object: &Value, manager: &str) -> Self {
        let fields = BTreeMap::from([(manager.to_owned(), leaves(object))]);
        Self { fields, said: BTreeMap::from([(manager.to_owned(), object.clone())]) }
    }

    /// Whether applying this once more changes nothing.
    pub(crate) fn knows(&self, manager: &str, now: &Value) -> bool {
        self.said.get(manager) == Some(now)
    }

    /// Somebody wrote `after` over `before` without applying it.
    pub(crate) fn updated(&mut self, before: &Value, after: &Value) {
        let change = Change::between(before, after);
        self.take(&change, UPDATE);
        let own = self.fields.entry(UPDATE.to_owned()).or_default();
        own.extend(change.set);
        own.retain(|path| !change.gone.contains(path));
    }

    /// `found` after `manager` applied `now`, and whether anything is another's from now on. Where a map lost all that was in it and
    /// somebody has the map itself, there is null.
    pub(crate) fn apply(&mut self, found: &Value, now: &Value, manager: &str) -> (Value, bool) {
        let set = leaves(now);
        let before = self.fields.insert(manager.to_owned(), set.clone()).unwrap_or_default();
        let mut merged = found.clone();
        merge(&mut merged, now);
        let result = self.pruned(merged, &before);
        self.take(&Change::between(found, &result), manager);
        self.said.insert(manager.to_owned(), now.clone());
        (result, before != set)
    }

    /// Without what `before` has and nobody has any more, and without what nobody has in the maps that go with it.
    fn pruned(&self, merged: Value, before: &Fields) -> Value {
        let there = with_maps(&leaves(&merged));
        let owned = with_maps(self.fields.values().flatten());
        if before.is_empty() || there.is_subset(&owned) {
            return merged;
        }
        let before = with_maps(before);
        // Everything of before goes, and what somebody has comes back; then what was not of before comes back.
        let left = |value: &Value| with_maps(&leaves(value));
        let bare = left(&without(&merged, &mut Path::new(), &before));
        let gone = there.difference(&bare).filter(|path| !owned.contains(*path)).cloned().collect();
        let kept = left(&without(&merged, &mut Path::new(), &gone));
        let gone = there.difference(&kept).filter(|path| before.contains(*path)).cloned().collect();
        without(&merged, &mut Path::new(), &gone)
    }

    /// Nobody but `manager` has what was changed any more.
    fn take(&mut self, change: &Change, manager: &str) {
        for (other, all) in &mut self.fields {
            let had = all.len();
            if other != manager {
                all.retain(|path| !change.set.contains(path) && !change.gone.contains(path));
            }
            if all.len() != had {
                self.said.remove(other);
            }
        }
    }
}

/// What differs between two states of an object.
struct Change {
    /// Has another value, or is new.
    set: Fields,
    gone: Fields,
}

impl Change {
    fn between(before: &Value, after: &Value) -> Self {
        let (before, after) = (nodes(before), nodes(after));
        // A map is not another one because something in it is.
        let same = |old: &Value, new: &Value| old == new || old.is_object() && new.is_object();
        let set = after
            .iter()
            .filter(|(path, new)| before.get(*path).is_none_or(|old| !same(old, new)))
            .map(|(path, _)| path.clone())
            .collect();
        Self { set, gone: before.into_keys().filter(|path| !after.contains_key(path)).collect() }
    }
}

/// Every field with its value, also the maps, without what names the object and without the status, which has managers of its own.
fn nodes(object: &Value) -> BTreeMap<Path, &Value> {
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
    all.insert(path.clone(), value);
    for (key, value) in value.as_object().into_iter().flatten() {
        path.push(key.clone());
        collect(value, path, all);
        path.pop();
    }
}

/// The fields that have a value of their own: all but maps with something in them.
fn leaves(object: &Value) -> Fields {
    let plain = |value: &Value| value.as_object().is_none_or(Map::is_empty);
    nodes(object).into_iter().filter(|(_, value)| plain(value)).map(|(path, _)| path).collect()
}

/// The same, and the maps that they are in. Metadata is never somebody's.
fn with_maps<'a>(fields: impl IntoIterator<Item = &'a Path>) -> Fields {
    let mut all = Fields::new();
    for path in fields {
        for end in (1..=path.len()).rev() {
            if path[..end] == ["metadata"] || !all.insert(path[..end].to_vec()) {
                break;
            }
        }
    }
    all
}

/// An object without some fields. A map that has nothing left is null.
fn without(value: &Value, at: &mut Path, gone: &Fields) -> Value {
    let Some(map) = value.as_object() else { return value.clone() };
    let mut left = Map::new();
    for (key, inner) in map {
        at.push(key.clone());
        if !gone.contains(at) {
            let below = gone.range(at.clone()..).next().is_some_and(|path| path.starts_with(at));
            left.insert(key.clone(), if below { without(inner, at, gone) } else { inner.clone() });
        }
        at.pop();
    }
    if left.is_empty() { Value::Null } else { left.into() }
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
    fn what_is_left_of_a_map_and_is_nobodys_goes_with_it() {
        let first = json!({"spec": {"a": {"b": {"c": 1}, "d": {"e": 2}}, "f": 1}});
        let mut managed = Managed::applied(&first, "one");
        let emptied = json!({"spec": {"a": {"b": {}, "d": {"e": 2}}, "f": 1}});
        managed.updated(&first, &emptied);
        let less = json!({"spec": {"f": 1}});
        assert_eq!(managed.apply(&emptied, &less, "one").0, less);
    }

    #[test]
    fn a_map_that_somebody_has_is_null_when_all_in_it_goes() {
        let first = json!({"spec": {"a": {}, "f": 1}});
        let mut managed = Managed::created(&first);
        let (more, _) = managed.apply(&first, &json!({"spec": {"a": {"b": 1}}}), "one");
        let (less, _) = managed.apply(&more, &json!({"spec": {"f": 1}}), "one");
        assert_eq!(less, json!({"spec": {"a": null, "f": 1}}));
    }

    #[test]
    fn lists_are_one_value() {
        let first = json!({"l": [1, 2]});
        assert_eq!(Managed::created(&first).apply(&first, &json!({"l": [3]}), "m").0, json!({"l": [3]}));
    }
}
