//! Server-side apply in a simple form: what a manager said before and does not say now goes, unless another manager says it; what it
//! says now wins. Lists are one value.

use serde_json::{Map, Value};

/// `found` after a manager that said `before` says `now`, while `others` say what they say.
pub(crate) fn merged(found: &Value, before: Option<&Value>, now: &Value, others: &[&Value]) -> Value {
    let mut result = found.clone();
    if let Some(before) = before {
        withdraw(&mut result, before, now, others);
    }
    merge(&mut result, now);
    result
}

/// Whether everything that `now` says is so: applying it would change nothing.
pub(crate) fn holds(found: &Value, now: &Value) -> bool {
    match (found, now) {
        (Value::Object(found), Value::Object(now)) => {
            now.iter().all(|(key, value)| found.get(key).is_some_and(|found| holds(found, value)))
        }
        (found, now) => found == now,
    }
}

fn withdraw(result: &mut Value, before: &Value, now: &Value, others: &[&Value]) {
    let (Value::Object(result), Value::Object(before)) = (result, before) else { return };
    for (key, old) in before {
        let still: Vec<&Value> = others.iter().filter_map(|o| o.get(key)).collect();
        match now.get(key) {
            Some(new) => {
                if let Some(value) = result.get_mut(key) {
                    withdraw(value, old, new, &still);
                }
            }
            None if still.is_empty() => {
                result.remove(key);
            }
            None => {
                if let Some(value) = result.get_mut(key) {
                    withdraw(value, old, &Value::Object(Map::new()), &still);
                }
            }
        }
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
    fn what_a_manager_no_longer_says_goes_unless_another_says_it() {
        let found = json!({"spec": {"a": 1, "b": 2, "c": {"d": 3, "e": 4}, "z": 9}});
        let before = json!({"spec": {"a": 1, "b": 2, "c": {"d": 3, "e": 4}}});
        let other = json!({"spec": {"b": 2, "c": {"e": 4}}});
        let now = json!({"spec": {"a": 5}});
        assert_eq!(
            merged(&found, Some(&before), &now, &[&other]),
            json!({"spec": {"a": 5, "b": 2, "c": {"e": 4}, "z": 9}})
        );
    }

    #[test]
    fn lists_are_one_value() {
        let found = json!({"l": [1, 2]});
        assert_eq!(merged(&found, None, &json!({"l": [3]}), &[]), json!({"l": [3]}));
    }
}
