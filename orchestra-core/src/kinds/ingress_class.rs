//! `IngressClass`.

use super::frame::cells::{self, column, text};
use super::frame::check::{one_of, refuse, required, unchanged};
use super::frame::{Builtin, Fill, Generation};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

/// The longest name of a controller.
const MAX_CONTROLLER: usize = 250;

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("networking.k8s.io", "v1"),
        "IngressClass",
        "ingressclasses",
        Scope::Cluster,
    )
    .generation(Generation::Spec)
    .default(|class| {
        if let Some(parameters) = class.object("spec").object_if("parameters") {
            parameters.fill("scope", "Cluster");
        }
    })
    .validate(|class, out| {
        let spec = class.get("spec");
        let controller = spec.get("controller");
        if required(out, &controller) {
            if controller.text().len() > MAX_CONTROLLER {
                refuse(out, &controller, format!("must be no more than {MAX_CONTROLLER} characters"));
            }
            if !controller.text().contains('/') {
                refuse(out, &controller, "must be a domain-prefixed path (such as \"acme.io/foo\")");
            }
        }
        let parameters = spec.get("parameters");
        if parameters.is_set() {
            required(out, &parameters.get("kind"));
            required(out, &parameters.get("name"));
            one_of(out, &parameters.get("scope"), &["Cluster", "Namespace"]);
        }
    })
    .validate_change(|new, old, out| {
        unchanged(out, &new.get("spec").get("controller"), &old.get("spec").get("controller"));
    })
    .columns(vec![
        cells::name(),
        column("Controller", "string", "Who serves the class.", |class, _| {
            text(class, "/spec/controller").into()
        }),
        column("Parameters", "string", "An object with more to say.", |class, _| {
            let kind = text(class, "/spec/parameters/kind");
            let name = text(class, "/spec/parameters/name");
            match (kind, text(class, "/spec/parameters/apiGroup")) {
                ("", _) => "<none>".into(),
                (kind, "") => format!("{kind}/{name}").into(),
                (kind, group) => format!("{kind}.{group}/{name}").into(),
            }
        }),
        cells::age(),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    #[test]
    fn a_class_names_a_controller_in_a_domain() {
        let class = |spec: serde_json::Value| json!({"metadata": {"name": "c"}, "spec": spec});
        let whole = class(
            json!({"controller": "example.com/x", "parameters": {"kind": "K", "name": "p", "apiGroup": "g"}}),
        );
        let whole = defaulted(kind(), whole);
        assert_eq!(whole["spec"]["parameters"]["scope"], "Cluster");
        assert_eq!(
            served(kind()).row(&whole, 0)[1..3],
            ["example.com/x", "K.g/p"].map(serde_json::Value::from)
        );
        assert_eq!(said(kind(), whole), [""; 0]);
        assert_eq!(said(kind(), class(json!({}))), ["spec.controller: Required value"]);
    }
}
