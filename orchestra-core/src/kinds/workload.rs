//! What kinds that make pods share: template, selector, replicas, and the columns that show them.

use serde_json::Value;

use super::frame::cells::{Show, column, list, number, text};
use super::frame::check::{not_negative, refuse};
use super::frame::{Fill, Object, View};
use super::labels;
use super::pod_spec::{self, Holder};
use crate::violation::{Violation, Violations};

/// Defaults of the template under `field` of a specification.
pub(crate) fn default_template(spec: &mut Object, field: &str) {
    let template = spec.object(field);
    template.object("metadata");
    pod_spec::default(template.object("spec"));
}

/// A template by itself: its labels and its pods' specification.
pub(crate) fn template(out: &mut Violations, template: &View) {
    template_metadata(out, template);
    pod_spec::validate(out, &template.get("spec"), Holder::Template);
}

/// The labels and annotations of a template.
pub(crate) fn template_metadata(out: &mut Violations, template: &View) {
    let metadata = template.get("metadata");
    // Upstream leaves `metadata` out of these paths.
    labels::validate(out, &View::at(metadata.get("labels").value(), template.path().child("labels")));
    annotations(out, &metadata.get("annotations"), &template.get("annotations"));
}

fn annotations(out: &mut Violations, annotations: &View, place: &View) {
    for (key, _) in annotations.entries() {
        // The rule is that of label keys, but upper case is fine before the slash too.
        for message in crate::meta::name::is_qualified_name(&key.to_lowercase()) {
            out.push(Violation::invalid(place.path(), key, message));
        }
    }
}

/// Pods of a workload that keeps them running: always restarted, without a deadline. `owner` is its kind.
pub(crate) fn long_running(out: &mut Violations, template: &View, owner: &str) {
    let spec = template.get("spec");
    let policy = spec.get("restartPolicy");
    if policy.text() != "Always" && !policy.is_empty() {
        out.push(Violation::not_supported(policy.path(), policy.text(), &["Always"]));
    }
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.is_set() {
        let detail = format!("activeDeadlineSeconds in {owner} is not Supported");
        out.push(Violation::forbidden(deadline.path(), detail));
    }
}

/// The selector must be there, say something, and match the template. `owner` is the kind in lower case.
pub(crate) fn selector(out: &mut Violations, spec: &View, owner: &str) {
    let selector = spec.get("selector");
    if !selector.is_set() {
        out.push(Violation::required(selector.path(), ""));
        return;
    }
    labels::selector(out, &selector);
    if !labels::says_something(&selector) {
        refuse(out, &selector, format!("empty selector is invalid for {owner}"));
    }
}

/// The template must have the labels that the selector asks for.
pub(crate) fn selected(out: &mut Violations, spec: &View) {
    let selector = spec.get("selector");
    let held = spec.get("template").get("metadata").get("labels");
    // A selector that is not there matches nothing, one that is empty everything.
    if !labels::matches(&selector, &held) {
        refuse_labels(out, &held);
    }
}

/// Says that labels do not match.
pub(crate) fn refuse_labels(out: &mut Violations, held: &View) {
    let shown = if held.is_set() { held.json() } else { Value::Null };
    out.push(Violation::invalid(held.path(), shown, "`selector` does not match template `labels`"));
}

/// Numbers of a specification that must not be below zero.
pub(crate) fn counts(out: &mut Violations, spec: &View, fields: &[&'static str]) {
    for field in fields {
        not_negative(out, &spec.get(field));
    }
}

/// `Containers` and `Images` of a template at a JSON pointer; the pointers must be fixed, so there is a pair for each
/// place a template can stand.
pub(crate) fn wide_columns() -> Vec<Show> {
    vec![
        column("Containers", "string", "The names of the template's containers.", |object, _| {
            containers(object, "/spec/template", "/name").into()
        })
        .wide(),
        column("Images", "string", "The images of the template's containers.", |object, _| {
            containers(object, "/spec/template", "/image").into()
        })
        .wide(),
    ]
}

/// `Selector`, shown only when asked for.
pub(crate) fn selector_column() -> Show {
    column("Selector", "string", "The labels of the pods that are managed.", |object, _| {
        labels::show_selector(object.pointer("/spec/selector")).into()
    })
    .wide()
}

/// A text of each container of a template, joined by commas.
pub(crate) fn containers(object: &Value, template: &str, field: &str) -> String {
    let containers = list(object, &format!("{template}/spec/containers"));
    containers.iter().map(|container| text(container, field)).collect::<Vec<_>>().join(",")
}

/// A column that shows a number.
pub(crate) fn count(name: &'static str, description: &'static str, cell: fn(&Value, i64) -> Value) -> Show {
    column(name, "integer", description, cell)
}

/// `ready/wanted`.
pub(crate) fn ready_of_wanted(object: &Value) -> Value {
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or_default();
    format!("{}/{wanted}", number(object, "/status/readyReplicas")).into()
}
