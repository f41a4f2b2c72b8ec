//! Validation of `metadata`, and of label selectors in objects.
//!
//! Works on JSON trees that have passed the schema, so that types are right; what is absent reads as empty. Rules and
//! wording are those of `k8s.io/apimachinery/pkg/api/validation/objectmeta.go`.

use serde_json::{Map, Value};

use super::labels::{FINALIZER_FOREGROUND, FINALIZER_ORPHAN};
use super::name::{self, Messages};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{FieldPath, Violation, Violations};

const MAX_ANNOTATIONS: usize = 256 * 1024;
const MAX_MANAGER: usize = 128;
const MAX_SUBRESOURCE: usize = 256;
const IMMUTABLE: &str = "field is immutable";

/// What names of a kind may look like: one of the checks of [`name`].
pub type NameRule = fn(&str) -> Messages;

struct Meta<'m>(Option<&'m Map<String, Value>>);

impl<'m> Meta<'m> {
    fn of(object: &'m Value) -> Self {
        Self(object.get("metadata").and_then(Value::as_object))
    }

    fn get(&self, field: &str) -> &'m Value {
        self.0.and_then(|meta| meta.get(field)).unwrap_or(&Value::Null)
    }

    fn text(&self, field: &str) -> &'m str {
        self.get(field).as_str().unwrap_or_default()
    }

    fn items(&self, field: &str) -> &'m [Value] {
        self.get(field).as_array().map(Vec::as_slice).unwrap_or_default()
    }
}

/// What is wrong with the metadata of an object to be created. Names have been generated already. `path` leads to
/// the metadata.
pub fn validate_object_meta(object: &Value, scope: Scope, rule: NameRule, path: &FieldPath) -> Violations {
    let meta = Meta::of(object);
    let mut found = Violations::new();
    let prefix = meta.text("generateName");
    if !prefix.is_empty() {
        let messages = rule(&mask_trailing_dash(prefix));
        found.extend(invalid(&path.child("generateName"), prefix, messages));
    }
    let own_name = meta.text("name");
    if own_name.is_empty() {
        found.push(Violation::required(&path.child("name"), "name or generateName is required"));
    } else {
        found.extend(invalid(&path.child("name"), own_name, rule(own_name)));
    }
    found.extend(namespace(meta.text("namespace"), scope, &path.child("namespace")));
    let generation = meta.get("generation").as_i64().unwrap_or_default();
    if generation < 0 {
        let detail = "must be greater than or equal to 0";
        found.push(Violation::invalid(&path.child("generation"), generation, detail));
    }
    found.extend(validate_labels(meta.get("labels"), &path.child("labels")));
    found.extend(validate_annotations(meta.get("annotations"), &path.child("annotations")));
    found.extend(owners(meta.items("ownerReferences"), &path.child("ownerReferences")));
    found.extend(finalizers(meta.items("finalizers"), &path.child("finalizers")));
    found.extend(managed_fields(meta.items("managedFields"), &path.child("managedFields")));
    found
}

/// What is wrong with the metadata of a changed object, over what may not change too. `path` leads to the metadata.
pub fn validate_object_meta_update(new: &Value, old: &Value, path: &FieldPath) -> Violations {
    let (new, old) = (Meta::of(new), Meta::of(old));
    let mut found = Violations::new();
    if !old.get("deletionTimestamp").is_null() {
        found.extend(no_new_finalizers(&new, &old, &path.child("finalizers")));
    }
    if new.text("resourceVersion").is_empty() {
        found.push(Violation::invalid(&path.child("resourceVersion"), "", "must be specified for an update"));
    }
    let generation = |meta: &Meta<'_>| meta.get("generation").as_i64().unwrap_or_default();
    if generation(&new) < 0 {
        let detail = "must be greater than or equal to 0";
        found.push(Violation::invalid(&path.child("generation"), generation(&new), detail));
    }
    if generation(&new) < generation(&old) {
        found.push(Violation::invalid(
            &path.child("generation"),
            generation(&new),
            "must not be decremented",
        ));
    }
    for field in ["name", "namespace", "uid"] {
        if new.text(field) != old.text(field) {
            found.push(Violation::invalid(&path.child(field), new.text(field), IMMUTABLE));
        }
    }
    for field in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if new.get(field) != old.get(field) {
            found.push(Violation::invalid(&path.child(field), new.get(field).clone(), IMMUTABLE));
        }
    }
    found.extend(validate_labels(new.get("labels"), &path.child("labels")));
    found.extend(validate_annotations(new.get("annotations"), &path.child("annotations")));
    found.extend(owners(new.items("ownerReferences"), &path.child("ownerReferences")));
    found.extend(managed_fields(new.items("managedFields"), &path.child("managedFields")));
    found
}

fn invalid(path: &FieldPath, value: &str, messages: Messages) -> impl Iterator<Item = Violation> {
    messages
        .into_iter()
        .map(move |message| Violation::invalid(path, value, message))
        .collect::<Vec<_>>()
        .into_iter()
}

// Something will stand behind a generated name's dash, so that it does not end in one. Upstream puts the `a` in the
// place of the last two characters.
fn mask_trailing_dash(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let mut rest = rest.to_owned();
            rest.pop();
            rest + "a"
        }
        _ => prefix.to_owned(),
    }
}

fn namespace(namespace: &str, scope: Scope, path: &FieldPath) -> Violations {
    match (scope, namespace) {
        (Scope::Namespaced, "") => vec![Violation::required(path, "")],
        (Scope::Namespaced, name) => invalid(path, name, name::is_dns1123_label(name)).collect(),
        (Scope::Cluster, "") => Violations::new(),
        (Scope::Cluster, _) => vec![Violation::forbidden(path, "not allowed on this type")],
    }
}

/// What is wrong with a map of labels, such as `metadata.labels` or `matchLabels`.
pub fn validate_labels(labels: &Value, path: &FieldPath) -> Violations {
    let mut found = Violations::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        found.extend(invalid(path, key, name::is_qualified_name(key)));
        let value = value.as_str().unwrap_or_default();
        found.extend(invalid(path, value, name::is_label_value(value)));
    }
    found
}

/// What is wrong with a `metav1.LabelSelector` in an object.
pub fn validate_label_selector(selector: &Value, path: &FieldPath) -> Violations {
    let mut found =
        validate_labels(selector.get("matchLabels").unwrap_or(&Value::Null), &path.child("matchLabels"));
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for (i, expression) in expressions.into_iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(i);
        let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
        let values =
            expression.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let values_path = path.child("values");
        match text("operator") {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                found.push(Violation::required(&values_path, detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                found.push(Violation::forbidden(&values_path, detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                found.push(Violation::invalid(
                    &path.child("operator"),
                    other,
                    "not a valid selector operator",
                ));
            }
        }
        let key = text("key");
        found.extend(invalid(&path.child("key"), key, name::is_qualified_name(key)));
        for (i, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            found.extend(invalid(&values_path.index(i), value, name::is_label_value(value)));
        }
    }
    found
}

/// What is wrong with a map of annotations.
pub fn validate_annotations(annotations: &Value, path: &FieldPath) -> Violations {
    let mut found = Violations::new();
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        // The rule is that of label keys, but upper case is fine before the slash too.
        found.extend(invalid(path, key, name::is_qualified_name(&key.to_lowercase())));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS {
        found.push(Violation::too_long(path, MAX_ANNOTATIONS));
    }
    found
}

fn owners(owners: &[Value], path: &FieldPath) -> Violations {
    let mut found = Violations::new();
    let mut controller: Option<String> = None;
    for owner in owners {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        let version = text("apiVersion");
        // Upstream takes a text with two slashes for a version of its own.
        if version.is_empty() || version.ends_with('/') && GroupVersion::parse(version).is_none() {
            found.push(Violation::invalid(&path.child("apiVersion"), version, "version must not be empty"));
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                found.push(Violation::invalid(&path.child(field), "", "must not be empty"));
            }
        }
        if (version, text("kind")) == ("v1", "Event") {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            found.push(Violation::invalid(path, owner.clone(), detail));
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            let this = format!("{}/{}", text("kind"), text("name"));
            match &controller {
                Some(first) => found.push(Violation::invalid(
                    path,
                    Value::from(owners),
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    ),
                )),
                None => controller = Some(this),
            }
        }
    }
    found
}

fn finalizers(finalizers: &[Value], path: &FieldPath) -> Violations {
    let mut found = Violations::new();
    for finalizer in finalizers.iter().filter_map(Value::as_str) {
        found.extend(invalid(path, finalizer, name::is_qualified_name(finalizer)));
    }
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    if has(FINALIZER_ORPHAN) && has(FINALIZER_FOREGROUND) {
        let detail = format!("finalizer {FINALIZER_ORPHAN} and {FINALIZER_FOREGROUND} cannot be both set");
        found.push(Violation::invalid(path, Value::from(finalizers), detail));
    }
    found
}

fn no_new_finalizers(new: &Meta<'_>, old: &Meta<'_>, path: &FieldPath) -> Option<Violation> {
    let old = old.items("finalizers");
    let mut extra: Vec<&str> =
        new.items("finalizers").iter().filter(|name| !old.contains(name)).filter_map(Value::as_str).collect();
    if extra.is_empty() {
        return None;
    }
    extra.sort_unstable();
    extra.dedup();
    let listed: Vec<String> = extra.iter().map(|name| format!("{name:?}")).collect();
    let listed = listed.join(", ");
    Some(Violation::forbidden(
        path,
        format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
        ),
    ))
}

fn managed_fields(entries: &[Value], path: &FieldPath) -> Violations {
    let mut found = Violations::new();
    for (i, entry) in entries.iter().enumerate() {
        let path = path.index(i);
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        match text("operation") {
            "Apply" | "Update" => {}
            "" => found.push(Violation::required(&path.child("operation"), "must not be empty")),
            other => {
                found.push(Violation::not_supported(&path.child("operation"), other, &["Apply", "Update"]));
            }
        }
        if !matches!(text("fieldsType"), "" | "FieldsV1") {
            let detail = "must be `FieldsV1`";
            found.push(Violation::invalid(&path.child("fieldsType"), text("fieldsType"), detail));
        }
        if text("manager").len() > MAX_MANAGER {
            found.push(Violation::too_long(&path.child("manager"), MAX_MANAGER));
        }
        if text("subresource").len() > MAX_SUBRESOURCE {
            found.push(Violation::too_long(&path.child("subresource"), MAX_SUBRESOURCE));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn created(meta: Value) -> Vec<String> {
        let path = FieldPath::new("metadata");
        let object = json!({ "metadata": meta });
        let found = validate_object_meta(&object, Scope::Namespaced, name::is_dns1123_subdomain, &path);
        found.iter().map(Violation::to_string).collect()
    }

    fn updated(new: Value, old: Value) -> Vec<String> {
        let (new, old) = (json!({ "metadata": new }), json!({ "metadata": old }));
        let found = validate_object_meta_update(&new, &old, &FieldPath::new("metadata"));
        found.iter().map(Violation::to_string).collect()
    }

    #[test]
    fn sound_metadata_is_accepted() {
        assert!(
            created(json!({
                "name": "web", "namespace": "default", "labels": {"app": "web", "a.b/c": ""},
                "annotations": {"Example.COM/Note": "any text\n"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "u", "controller": true}],
                "finalizers": ["foregroundDeletion", "example.com/hold"],
                "managedFields": [{"manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1"}],
            }))
            .is_empty()
        );
    }

    #[test]
    fn absent_names_are_required() {
        assert_eq!(
            created(json!({})),
            [
                "metadata.name: Required value: name or generateName is required",
                "metadata.namespace: Required value",
            ]
        );
    }

    #[test]
    fn a_generated_name_may_end_in_a_dash_before_its_end_is_added() {
        assert!(
            created(json!({"generateName": "web-", "name": "web-abcde", "namespace": "default"})).is_empty()
        );
        let messages = created(json!({"generateName": "Web-", "name": "x", "namespace": "default"}));
        assert!(
            messages[0].starts_with("metadata.generateName: Invalid value: \"Web-\": a lowercase RFC 1123")
        );
    }

    #[test]
    fn cluster_kinds_have_no_namespace() {
        let object = json!({"metadata": {"name": "a", "namespace": "b"}});
        let path = FieldPath::new("metadata");
        let found = validate_object_meta(&object, Scope::Cluster, name::is_dns1123_subdomain, &path);
        assert_eq!(found[0].to_string(), "metadata.namespace: Forbidden: not allowed on this type");
    }

    #[test]
    fn labels_and_annotations_are_checked() {
        let big = "x".repeat(MAX_ANNOTATIONS);
        let messages = created(json!({
            "name": "a", "namespace": "b", "labels": {"_": "v$"}, "annotations": {"key": big},
        }));
        assert!(messages[0].starts_with("metadata.labels: Invalid value: \"_\": name part must consist of"));
        assert!(messages[1].starts_with("metadata.labels: Invalid value: \"v$\": a valid label must be"));
        assert_eq!(messages[2], "metadata.annotations: Too long: may not be more than 262144 bytes");
    }

    #[test]
    fn owners_are_checked() {
        let owner = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "u", "controller": true});
        let messages =
            created(json!({"name": "a", "namespace": "b", "ownerReferences": [owner("x"), owner("y"), {}]}));
        assert!(messages[0].ends_with(
            "Only one reference can have Controller set to true. Found \"true\" in references for Pod/x and Pod/y"
        ));
        assert_eq!(
            messages[1],
            "metadata.ownerReferences.apiVersion: Invalid value: \"\": version must not be empty"
        );
        assert_eq!(messages[4], "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty");
    }

    #[test]
    fn contradicting_finalizers_are_refused() {
        let messages =
            created(json!({"name": "a", "namespace": "b", "finalizers": ["orphan", "foregroundDeletion"]}));
        assert_eq!(
            messages,
            [
                "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and foregroundDeletion cannot be both set"
            ]
        );
    }

    #[test]
    fn what_the_server_set_cannot_be_changed() {
        let old = json!({"name": "a", "uid": "1", "resourceVersion": "5", "generation": 2, "creationTimestamp": "t"});
        assert!(updated(old.clone(), old.clone()).is_empty());
        assert_eq!(
            updated(json!({"name": "b", "uid": "2", "generation": 1, "creationTimestamp": "u"}), old),
            [
                "metadata.resourceVersion: Invalid value: \"\": must be specified for an update",
                "metadata.generation: Invalid value: 1: must not be decremented",
                "metadata.name: Invalid value: \"b\": field is immutable",
                "metadata.uid: Invalid value: \"2\": field is immutable",
                "metadata.creationTimestamp: Invalid value: \"u\": field is immutable",
            ]
        );
    }

    #[test]
    fn a_vanishing_object_gets_no_new_finalizers() {
        let old = json!({"resourceVersion": "5", "deletionTimestamp": "t", "finalizers": ["a.b/c"]});
        let new = json!({"resourceVersion": "5", "deletionTimestamp": "t", "finalizers": ["a.b/d", "a.b/c"]});
        assert_eq!(
            updated(new, old),
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a.b/d\"}"
            ]
        );
    }

    #[test]
    fn selectors_in_objects_are_checked() {
        let selector = json!({"matchExpressions": [
            {"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["x"]}, {"key": "a", "operator": "Gt"},
        ]});
        let found = validate_label_selector(&selector, &FieldPath::new("selector"));
        let messages: Vec<String> = found.iter().map(Violation::to_string).collect();
        assert_eq!(
            messages,
            [
                "selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                "selector.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                "selector.matchExpressions[2].operator: Invalid value: \"Gt\": not a valid selector operator",
            ]
        );
    }
}
