//! `StorageClass`.

use super::frame::cells::{self, column, text};
use super::frame::check::{one_of, refuse_all, required, required_one_of, unchanged};
use super::frame::{Builtin, Fill, View};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// Marks the class that claims without one get.
const DEFAULT_CLASS: &str = "/metadata/annotations/storageclass.kubernetes.io~1is-default-class";
/// The same in its beta form.
const OLD_DEFAULT_CLASS: &str = "/metadata/annotations/storageclass.beta.kubernetes.io~1is-default-class";
/// The most bytes of parameters.
const MAX_PARAMETERS: usize = 256 * 1024;

pub(super) fn kind() -> Builtin {
    let mut named = cells::name();
    named.cell = |class, _| {
        let default = [DEFAULT_CLASS, OLD_DEFAULT_CLASS].iter().any(|mark| text(class, mark) == "true");
        format!("{}{}", text(class, "/metadata/name"), if default { " (default)" } else { "" }).into()
    };
    Builtin::new(GroupVersion::new("storage.k8s.io", "v1"), "StorageClass", "storageclasses", Scope::Cluster)
        .short_names(&["sc"])
        .default(|class| {
            class.fill_text("reclaimPolicy", "Delete");
            class.fill_text("volumeBindingMode", "Immediate");
        })
        .validate(validate)
        .validate_change(change)
        .columns(vec![
            named,
            column("Provisioner", "string", "Who makes the volumes.", |class, _| {
                text(class, "/provisioner").into()
            }),
            column("ReclaimPolicy", "string", "What becomes of a released volume.", |class, _| {
                text(class, "/reclaimPolicy").into()
            }),
            column("VolumeBindingMode", "string", "When volumes are made and bound.", |class, _| {
                text(class, "/volumeBindingMode").into()
            }),
            column("AllowVolumeExpansion", "string", "Whether volumes can grow.", |class, _| {
                class
                    .get("allowVolumeExpansion")
                    .and_then(serde_json::Value::as_bool)
                    .unwrap_or_default()
                    .into()
            }),
            cells::age(),
        ])
}

fn validate(class: &View, out: &mut Violations) {
    provisioner(out, &class.get("provisioner"));
    parameters(out, &class.get("parameters"));
    one_of(out, &class.get("reclaimPolicy"), &["Delete", "Retain"]);
    required_one_of(out, &class.get("volumeBindingMode"), &["Immediate", "WaitForFirstConsumer"]);
    topologies(out, &class.get("allowedTopologies"));
}

/// After `validateAllowedTopologies`.
fn topologies(out: &mut Violations, terms: &View) {
    for term in terms.items() {
        let mut keys = Vec::new();
        for rule in term.get("matchLabelExpressions").items() {
            let (key, values) = (rule.get("key"), rule.get("values"));
            required(out, &values);
            let mut seen = Vec::new();
            for value in values.items() {
                if seen.contains(&value.text()) {
                    out.push(Violation::duplicate(value.path(), value.text()));
                }
                seen.push(value.text());
            }
            refuse_all(out, &key, name::is_qualified_name(key.text()));
            if keys.contains(&key.text()) {
                out.push(Violation::duplicate(key.path(), key.text()));
            }
            keys.push(key.text());
        }
    }
}

/// The name of who makes volumes.
pub(super) fn provisioner(out: &mut Violations, provisioner: &View) {
    if required(out, provisioner) {
        refuse_all(out, provisioner, name::is_qualified_name(&provisioner.text().to_lowercase()));
    }
}

/// What whoever makes volumes is told.
pub(super) fn parameters(out: &mut Violations, parameters: &View) {
    let mut size = 0;
    for (key, value) in parameters.entries() {
        if key.is_empty() {
            out.push(Violation::invalid(parameters.path(), key, "field can not be empty."));
        }
        size += key.len() + value.text().len();
    }
    if size > MAX_PARAMETERS {
        out.push(Violation::too_long(parameters.path(), MAX_PARAMETERS));
    }
}

fn change(new: &View, old: &View, out: &mut Violations) {
    for field in ["parameters", "provisioner", "reclaimPolicy"] {
        if new.get(field) != old.get(field) {
            out.push(Violation::forbidden(
                new.get(field).path(),
                format!("updates to {field} are forbidden."),
            ));
        }
    }
    unchanged(out, &new.get("volumeBindingMode"), &old.get("volumeBindingMode"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, said_of_change, served};

    #[test]
    fn a_class_deletes_and_binds_at_once_unless_told_otherwise() {
        let mark = json!({"storageclass.kubernetes.io/is-default-class": "true"});
        let class = json!({"metadata": {"name": "c", "annotations": mark, "resourceVersion": "1"}, "provisioner": "a/b"});
        let class = defaulted(kind(), class);
        assert_eq!(
            (class["reclaimPolicy"].as_str(), class["volumeBindingMode"].as_str()),
            (Some("Delete"), Some("Immediate"))
        );
        assert_eq!(served(kind()).row(&class, 0)[0], "c (default)");
        assert_eq!(said(kind(), class.clone()), [""; 0]);
        let mut new = class.clone();
        new["provisioner"] = "other".into();
        assert_eq!(
            said_of_change(kind(), &new, &class),
            ["provisioner: Forbidden: updates to provisioner are forbidden."]
        );
    }

    #[test]
    fn a_class_needs_a_provisioner() {
        assert_eq!(said(kind(), json!({"metadata": {"name": "c"}})), ["provisioner: Required value"]);
    }
}
