//! `ValidatingAdmissionPolicyBinding` and `MutatingAdmissionPolicyBinding`.

use std::collections::HashSet;

use super::matching::{default_resources, match_resources};
use super::{CATEGORY, GROUP};
use crate::kind::Scope;
use crate::kinds::frame::cells::{self, column, text};
use crate::kinds::frame::check::{optional_name, refuse, required, required_name};
use crate::kinds::frame::{Builtin, Fill, Generation, View};
use crate::kinds::{labels, meta};
use crate::violation::{Violation, Violations};

pub(crate) fn validating() -> Builtin {
    binding(("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")).validate(
        |binding, out| {
            shared(out, &binding.get("spec"));
            actions(out, &binding.get("spec").get("validationActions"));
        },
    )
}

pub(crate) fn mutating() -> Builtin {
    binding(("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"))
        .validate(|binding, out| shared(out, &binding.get("spec")))
}

fn binding((kind, plural): (&'static str, &'static str)) -> Builtin {
    Builtin::new(GROUP, kind, plural, Scope::Cluster)
        .category(CATEGORY)
        .generation(Generation::Spec)
        .default(|binding| {
            if let Some(resources) = binding.object("spec").object_if("matchResources") {
                default_resources(resources);
            }
        })
        .columns(vec![
            cells::name(),
            column("PolicyName", "string", "The policy it binds.", |binding, _| {
                text(binding, "/spec/policyName").into()
            }),
            column("ParamRef", "string", "The parameters it gives.", |binding, _| {
                let reference = binding.pointer("/spec/paramRef");
                let (namespace, name) =
                    (text(binding, "/spec/paramRef/namespace"), text(binding, "/spec/paramRef/name"));
                match (reference.is_some(), namespace) {
                    (false, _) => "<unset>".into(),
                    (true, "") => name.into(),
                    (true, namespace) => format!("{namespace}/{name}").into(),
                }
            }),
            cells::age(),
        ])
}

fn shared(out: &mut Violations, spec: &View) {
    required_name(out, &spec.get("policyName"), meta::subdomain);
    let reference = spec.get("paramRef");
    if reference.is_set() {
        params(out, &reference);
    }
    match_resources(out, &spec.get("matchResources"));
}

fn params(out: &mut Violations, reference: &View) {
    let (name, selector) = (reference.get("name"), reference.get("selector"));
    optional_name(out, &name, meta::path_segment);
    labels::selector(out, &selector);
    match (!name.is_empty(), selector.is_set()) {
        (true, true) => {
            for view in [&name, &selector] {
                let detail = "name and selector are mutually exclusive";
                out.push(Violation::forbidden(view.path(), detail));
            }
        }
        (false, false) => {
            let detail = "one of name or selector must be specified";
            out.push(Violation::required(reference.path(), detail));
        }
        _ => (),
    }
    optional_name(out, &reference.get("namespace"), meta::path_segment);
    let missing = reference.get("parameterNotFoundAction");
    if required(out, &missing) && !matches!(missing.text(), "Allow" | "Deny") {
        out.push(Violation::not_supported(missing.path(), missing.text(), &["Deny", "Allow"]));
    }
}

fn actions(out: &mut Violations, actions: &View) {
    let mut seen = HashSet::new();
    for action in actions.items() {
        if !matches!(action.text(), "Audit" | "Deny" | "Warn") {
            out.push(Violation::not_supported(action.path(), action.text(), &["Audit", "Deny", "Warn"]));
        }
        if !seen.insert(action.text()) {
            out.push(Violation::duplicate(action.path(), action.text()));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in \
                      the API response and headers serves no purpose)";
        refuse(out, actions, detail);
    }
    if seen.is_empty() {
        out.push(Violation::required(actions.path(), "at least one validation action is required"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    fn binding(spec: Value) -> Value {
        json!({"metadata": {"name": "b"}, "spec": spec})
    }

    #[test]
    fn a_binding_names_a_policy_and_what_to_do() {
        let whole = binding(json!({"policyName": "p", "validationActions": ["Deny"], "matchResources": {}}));
        let whole = defaulted(validating(), whole);
        assert_eq!(whole["spec"]["matchResources"]["matchPolicy"], "Equivalent");
        assert_eq!(served(validating()).row(&whole, 0)[1..3], [json!("p"), json!("<unset>")]);
        assert_eq!(said(validating(), whole), [""; 0]);
        assert_eq!(said(mutating(), binding(json!({"policyName": "p"}))), [""; 0]);
        assert_eq!(
            said(validating(), binding(json!({"policyName": "p", "paramRef": {}}))),
            [
                "spec.paramRef: Required value: one of name or selector must be specified",
                "spec.paramRef.parameterNotFoundAction: Required value",
                "spec.validationActions: Required value: at least one validation action is required",
            ]
        );
    }
}
