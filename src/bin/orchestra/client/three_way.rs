//! What must change so that an object says what a file says, without touching what others wrote.

use serde_json::{Map, Value};

/// A merge patch (RFC 7386) that turns `live` into `wanted`, and removes what `last` had asked for and `wanted` no longer
/// does. Lists are replaced as a whole.
pub(super) fn three_way(last: &Value, live: &Value, wanted: &Value) -> Value {
    let empty = Map::new();
    let (last, live) = (last.as_object().unwrap_or(&empty), live.as_object().unwrap_or(&empty));
    let wanted = wanted.as_object().unwrap_or(&empty);
    let mut patch = Map::new();
    for (key, value) in wanted {
        let before = live.get(key).unwrap_or(&Value::Null);
        if value.is_object() && before.is_object() {
            let inner = three_way(last.get(key).unwrap_or(&Value::Null), before, value);
            if inner.as_object().is_some_and(|inner| !inner.is_empty()) {
                patch.insert(key.clone(), inner);
            }
        } else if value != before {
            patch.insert(key.clone(), value.clone());
        }
    }
    for key in last.keys().filter(|key| !wanted.contains_key(*key) && live.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_the_file_changed_or_dropped_is_patched() {
        let last = json!({"spec": {"replicas": 2, "paused": true}});
        let live =
            json!({"spec": {"replicas": 5, "paused": true, "revisionHistoryLimit": 10}, "status": {"x": 1}});
        let wanted = json!({"spec": {"replicas": 2}});
        assert_eq!(three_way(&last, &live, &wanted), json!({"spec": {"replicas": 2, "paused": null}}));
    }

    #[test]
    fn an_object_that_already_says_so_needs_no_patch() {
        let object = json!({"data": {"a": "b"}});
        assert_eq!(three_way(&object, &object, &object), json!({}));
    }

    #[test]
    fn what_is_gone_already_is_not_removed_again() {
        assert_eq!(three_way(&json!({"a": 1}), &json!({}), &json!({})), json!({}));
    }
}
