//! `/approval`: what was decided about a request for a certificate, and when.

use serde_json::{Map, Value};

/// Dates the conditions of `new`: those without a time were seen now, and changed now unless they stood like this before.
pub(crate) fn date(new: &mut Value, old: &Value, now: &str) {
    let before = old.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(conditions) = new.pointer_mut("/status/conditions").and_then(Value::as_array_mut) else {
        return;
    };
    for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
        let same = before.iter().find(|old| {
            old.get("type") == condition.get("type") && old.get("status") == condition.get("status")
        });
        let changed = same.and_then(|old| old.get("lastTransitionTime")).cloned();
        if is_unset(condition, "lastUpdateTime") {
            condition.insert("lastUpdateTime".to_owned(), now.into());
        }
        if is_unset(condition, "lastTransitionTime") {
            let since = changed.filter(|time| !time.is_null()).unwrap_or_else(|| now.into());
            condition.insert("lastTransitionTime".to_owned(), since);
        }
    }
}

fn is_unset(condition: &Map<String, Value>, field: &str) -> bool {
    condition.get(field).and_then(Value::as_str).is_none_or(str::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_decision_is_dated_when_it_is_made() {
        let old = json!({"status": {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": "then"}]}});
        let mut new = json!({"status": {"conditions": [
            {"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True", "lastUpdateTime": "soon"}]}});
        date(&mut new, &old, "now");
        assert_eq!(
            new["status"]["conditions"],
            json!([
                {"type": "Approved", "status": "True", "lastUpdateTime": "now", "lastTransitionTime": "now"},
                {"type": "Failed", "status": "True", "lastUpdateTime": "soon", "lastTransitionTime": "then"},
            ])
        );
    }
}
