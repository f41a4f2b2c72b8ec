//! `Namespace`.

use serde_json::{Value, json};

use super::frame::cells::{self, column, text};
use super::frame::check::refuse;
use super::frame::{Builtin, Fill, Object};
use super::meta;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

/// The label that lets selectors name a namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Held by the server until everything inside is gone.
const FINALIZER: &str = "kubernetes";

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Namespace", "namespaces", Scope::Cluster)
        .short_names(&["ns"])
        .no_delete_collection()
        .status(|| json!({"phase": "Active"}))
        .name(meta::label)
        .default(|namespace| {
            label(namespace);
            namespace.object("spec");
            namespace.object("status").fill_text("phase", "Active");
        })
        .prepare_create(|namespace| {
            // A generated name is known only now.
            label(namespace);
            let spec = namespace.object("spec");
            let mut finalizers =
                spec.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
            if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
                finalizers.push(FINALIZER.into());
            }
            spec.insert("finalizers".to_owned(), finalizers.into());
        })
        .prepare_update(|new, old| {
            // Finalizers change through `/finalize` only.
            let spec = new.object("spec");
            match old.pointer("/spec/finalizers") {
                Some(finalizers) => {
                    spec.insert("finalizers".to_owned(), finalizers.clone());
                }
                None => {
                    spec.remove("finalizers");
                }
            }
        })
        .validate_status(|new, _, out| {
            let phase = new.get("status").get("phase");
            let deleted = new.get("metadata").get("deletionTimestamp").is_set();
            if !deleted && phase.text() != "Active" {
                refuse(out, &phase, "may only be 'Active' if `deletionTimestamp` is empty");
            } else if deleted && phase.text() != "Terminating" {
                refuse(out, &phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
            }
        })
        .fields(&["name", "status.phase"])
        .field_value(|namespace, field| (field == "name").then(|| text(namespace, "/metadata/name").into()))
        .columns(vec![
            cells::name(),
            column("Status", "string", "Whether it is in use or going away.", |namespace, _| {
                text(namespace, "/status/phase").into()
            }),
            cells::age(),
        ])
}

fn label(namespace: &mut Object) {
    let name = namespace.object("metadata").text("name").to_owned();
    if !name.is_empty() {
        namespace.object("metadata").object("labels").insert(NAME_LABEL.to_owned(), name.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{said, served};

    #[test]
    fn a_new_namespace_is_active_labelled_and_held() {
        let kind = served(kind());
        let mut namespace = json!({"metadata": {"name": "n"}, "status": {"phase": "Terminating"}});
        kind.default(&mut namespace);
        kind.prepare_create(&mut namespace);
        assert_eq!(
            namespace,
            json!({
                "metadata": {"name": "n", "labels": {NAME_LABEL: "n"}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            })
        );
        assert_eq!(kind.row(&namespace, 0), [json!("n"), json!("Active"), json!("<unknown>")]);
    }

    #[test]
    fn a_name_with_dots_is_refused() {
        let said = said(kind(), json!({"metadata": {"name": "a.b"}}));
        assert_eq!(said, [r#"metadata.name: Invalid value: "a.b": must not contain dots"#]);
    }

    #[test]
    fn an_update_leaves_finalizers_alone() {
        let old = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}});
        let mut new = json!({"metadata": {"name": "n"}, "spec": {}});
        served(kind()).prepare_update(&mut new, &old);
        assert_eq!(new["spec"]["finalizers"], json!(["kubernetes"]));
    }
}
