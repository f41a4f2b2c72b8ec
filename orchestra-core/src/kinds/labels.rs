//! Labels and label selectors inside a specification.

use serde_json::Value;

use super::frame::View;
use super::frame::check::{refuse, refuse_all, required_because};
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// A map of labels, such as a template's or a node selector.
pub(crate) fn validate(out: &mut Violations, labels: &View) {
    for (key, value) in labels.entries() {
        for message in name::is_qualified_name(key) {
            out.push(Violation::invalid(labels.path(), key, message));
        }
        for message in name::is_label_value(value.text()) {
            out.push(Violation::invalid(labels.path(), value.text(), message));
        }
    }
}

/// A `metav1.LabelSelector`, if there is one.
pub(crate) fn selector(out: &mut Violations, selector: &View) {
    validate(out, &selector.get("matchLabels"));
    for rule in selector.get("matchExpressions").items() {
        let (key, operator, values) = (rule.get("key"), rule.get("operator"), rule.get("values"));
        match operator.text() {
            "In" | "NotIn" => {
                required_because(out, &values, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                    out.push(Violation::forbidden(values.path(), detail));
                }
            }
            _ => refuse(out, &operator, "not a valid selector operator"),
        }
        refuse_all(out, &key, name::is_qualified_name(key.text()));
        for value in values.items() {
            refuse_all(out, &value, name::is_label_value(value.text()));
        }
    }
}

/// Whether a selector says anything; an empty one matches everything.
pub(crate) fn says_something(selector: &View) -> bool {
    !selector.get("matchLabels").is_empty() || !selector.get("matchExpressions").is_empty()
}

/// Whether the selector matches the labels.
pub(crate) fn matches(selector: &View, labels: &View) -> bool {
    let label = |key: &str| labels.value().and_then(|labels| labels.get(key)).and_then(Value::as_str);
    selector.get("matchLabels").entries().all(|(key, value)| label(key) == Some(value.text()))
        && selector.get("matchExpressions").items().all(|rule| {
            let held = label(rule.get("key").text());
            let listed = held.is_some_and(|held| rule.get("values").items().any(|value| value.text() == held));
            match rule.get("operator").text() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => held.is_some(),
                "DoesNotExist" => held.is_none(),
                _ => false,
            }
        })
}

/// A selector as `kubectl` prints it, `<none>` when it says nothing.
pub(crate) fn show_selector(selector: &Value) -> String {
    let view = View::root(selector);
    let mut parts: Vec<String> = Vec::new();
    for (key, value) in view.get("matchLabels").entries() {
        parts.push(format!("{key}={}", value.text()));
    }
    for rule in view.get("matchExpressions").items() {
        let key = rule.get("key").text();
        let values: Vec<&str> = rule.get("values").items().map(|value| value.text()).collect();
        parts.push(match rule.get("operator").text() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.sort();
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(",") }
}

/// A map of labels as `kubectl` prints it, `<none>` when it is empty.
pub(crate) fn show(labels: Option<&Value>) -> String {
    let mut parts: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    parts.sort();
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(",") }
}
