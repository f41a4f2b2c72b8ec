//! Labels and label selectors inside a specification.

use serde_json::Value;

use super::frame::View;
use crate::meta;
use crate::selector::LabelSelector;
use crate::violation::Violations;

/// A map of labels, such as a template's or a node selector.
pub(crate) fn validate(out: &mut Violations, labels: &View) {
    out.extend(labels.value().into_iter().flat_map(|value| meta::validate_labels(value, labels.path())));
}

/// A `metav1.LabelSelector`, if there is one.
pub(crate) fn selector(out: &mut Violations, selector: &View) {
    let found =
        selector.value().into_iter().flat_map(|value| meta::validate_label_selector(value, selector.path()));
    out.extend(found);
}

/// Whether a selector says anything; an empty one matches everything.
pub(crate) fn says_something(selector: &View) -> bool {
    !selector.get("matchLabels").is_empty() || !selector.get("matchExpressions").is_empty()
}

/// Whether the selector matches the labels; one that cannot be read matches nothing.
pub(crate) fn matches(selector: &View, labels: &View) -> bool {
    let none = Value::Null;
    selector.value().is_some_and(|selector| {
        LabelSelector::from_json(selector)
            .is_ok_and(|selector| selector.matches(labels.value().unwrap_or(&none)))
    })
}

/// A selector as `kubectl` prints it, `<none>` when it says nothing.
pub(crate) fn show_selector(selector: Option<&Value>) -> String {
    let text = selector.and_then(|selector| LabelSelector::from_json(selector).ok());
    text.map(|selector| selector.to_string())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "<none>".to_owned())
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
