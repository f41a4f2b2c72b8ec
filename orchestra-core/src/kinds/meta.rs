//! What kinds ask of object metadata: the one place where they meet the shared metadata rules.

use serde_json::Value;

use crate::kind::Scope;
use crate::meta;
pub(crate) use crate::meta::name::{
    is_dns1123_label as label, is_dns1123_subdomain as subdomain, is_path_segment as path_segment,
};
use crate::violation::{FieldPath, Violation, Violations};

use super::frame::View;
use super::labels;

/// Metadata of a new object.
pub(crate) fn validate(object: &Value, scope: Scope, name: meta::NameRule) -> Violations {
    meta::validate_object_meta(object, scope, name, &FieldPath::new("metadata"))
}

/// Metadata of a changed object.
pub(crate) fn validate_update(new: &Value, old: &Value) -> Violations {
    meta::validate_object_meta_update(new, old, &FieldPath::new("metadata"))
}

/// The metadata of what is made from a template: the rest of it is whoever makes it who decides.
pub(crate) fn only_labels_and_annotations(out: &mut Violations, metadata: &View) {
    labels::validate(out, &metadata.get("labels"));
    for (field, value) in metadata.fields() {
        if !matches!(field, "annotations" | "labels") && !value.is_empty() {
            out.push(Violation::forbidden(value.path(), "cannot be set"));
        }
    }
}
