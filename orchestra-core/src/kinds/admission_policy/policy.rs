//! `ValidatingAdmissionPolicy` and `MutatingAdmissionPolicy`.

use orchestra_cel::is_identifier;
use serde_json::json;

use super::matching::{conditions, default_resources, expression, match_resources};
use super::{CATEGORY, FAILURE_POLICIES, GROUP};
use crate::kind::Scope;
use crate::kinds::frame::cells::{self, Show, column, list, text};
use crate::kinds::frame::check::{one_of, refuse, required, required_one_of};
use crate::kinds::frame::{Builtin, Fill, Generation, Object, View};
use crate::kinds::meta;
use crate::meta::name;
use crate::policy::{MutatingPolicy, Policy};
use crate::violation::{FieldPath, Violation, Violations};

/// The most annotations of audit events.
const MOST_ANNOTATIONS: usize = 20;
/// What a policy may change.
const MUTABLE: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];
/// Why a policy may say that it refuses.
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];

pub(crate) fn validating() -> Builtin {
    let kind = ("ValidatingAdmissionPolicy", "validatingadmissionpolicies");
    let counted = column("Validations", "integer", "How many there are.", |policy, _| {
        list(policy, "/spec/validations").len().into()
    });
    policy(kind, counted).status(|| json!({})).validate(|policy, out| {
        let spec = policy.get("spec");
        shared(out, &spec);
        validations(out, policy, &spec);
        if let Some(value) = spec.value() {
            said(out, Policy::problems(value));
        }
    })
}

/// What is wrong with expressions.
fn said(out: &mut Violations, problems: Vec<(String, String, String)>) {
    let below = |path: &str| FieldPath::new(&format!("spec.{path}"));
    out.extend(problems.into_iter().map(|(path, shown, why)| Violation::invalid(&below(&path), shown, why)));
}

/// What is removed cannot be changed.
fn operations(out: &mut Violations, constraints: &View) {
    for rule in constraints.get("resourceRules").items() {
        for operation in rule.get("operations").items() {
            if !MUTABLE.contains(&operation.text()) {
                let path = constraints.path().child("resourceRules").child("operations");
                out.push(Violation::not_supported(&path, operation.text(), MUTABLE));
            }
        }
    }
}

pub(crate) fn mutating() -> Builtin {
    let kind = ("MutatingAdmissionPolicy", "mutatingadmissionpolicies");
    let counted = column("Mutations", "integer", "How many there are.", |policy, _| {
        list(policy, "/spec/mutations").len().into()
    });
    policy(kind, counted).validate(|policy, out| {
        let spec = policy.get("spec");
        shared(out, &spec);
        operations(out, &spec.get("matchConstraints"));
        mutations(out, &spec.get("mutations"));
        if let Some(value) = spec.value() {
            said(out, MutatingPolicy::problems(value));
        }
        required_one_of(out, &spec.get("reinvocationPolicy"), &["IfNeeded", "Never"]);
    })
}

fn policy((kind, plural): (&'static str, &'static str), counted: Show) -> Builtin {
    Builtin::new(GROUP, kind, plural, Scope::Cluster)
        .category(CATEGORY)
        .generation(Generation::Spec)
        .default(default)
        .columns(vec![
            cells::name(),
            counted,
            column("ParamKind", "string", "The kind of its parameters.", |policy, _| {
                match text(policy, "/spec/paramKind/kind") {
                    "" => "<unset>".into(),
                    kind => format!("{}/{kind}", text(policy, "/spec/paramKind/apiVersion")).into(),
                }
            }),
            cells::age(),
        ])
}

fn default(policy: &mut Object) {
    let spec = policy.object("spec");
    spec.fill("failurePolicy", "Fail");
    if let Some(constraints) = spec.object_if("matchConstraints") {
        default_resources(constraints);
    }
}

/// What both kinds of policies have.
fn shared(out: &mut Violations, spec: &View) {
    let failure = spec.get("failurePolicy");
    if required(out, &failure) {
        one_of(out, &failure, FAILURE_POLICIES);
    }
    param_kind(out, &spec.get("paramKind"));
    let constraints = spec.get("matchConstraints");
    if constraints.is_set() {
        match_resources(out, &constraints);
        required(out, &constraints.get("resourceRules"));
    } else {
        out.push(Violation::required(constraints.path(), ""));
    }
    conditions(out, &spec.get("matchConditions"), spec.get("paramKind").is_set());
    for variable in spec.get("variables").items() {
        let own = variable.get("name");
        if own.text().trim().is_empty() {
            out.push(Violation::required(own.path(), "name is not specified"));
        } else if !is_identifier(own.text()) {
            refuse(out, &own, "name is not a valid CEL identifier");
        }
        expression(out, &variable.get("expression"), "expression is not specified");
    }
}

fn param_kind(out: &mut Violations, of: &View) {
    if !of.is_set() {
        return;
    }
    let (version, kind) = (of.get("apiVersion"), of.get("kind"));
    if required(out, &version) {
        let parts: Vec<&str> = version.text().split('/').collect();
        let mut say = |shown: &str, wrong: Vec<String>| {
            if !wrong.is_empty() {
                out.push(Violation::invalid(version.path(), shown, wrong.join(",")));
            }
        };
        match parts.as_slice() {
            ["", ""] | [_, ""] => say(version.text(), vec!["version must be specified".to_owned()]),
            [own] => say(own, name::is_dns1035_label(own)),
            [group, own] => {
                if !group.is_empty() {
                    say(group, meta::subdomain(group));
                }
                say(own, name::is_dns1035_label(own));
            }
            _ => say(version.text(), vec![format!("unexpected GroupVersion string: {}", version.text())]),
        }
    }
    if required(out, &kind) {
        let wrong = name::is_dns1035_label(&kind.text().to_lowercase());
        if !wrong.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            refuse(out, &kind, detail);
        }
    }
}

fn validations(out: &mut Violations, policy: &View, spec: &View) {
    let (rules, annotations) = (spec.get("validations"), spec.get("auditAnnotations"));
    if rules.is_empty() && annotations.is_empty() {
        for view in [&rules, &annotations] {
            let detail = "validations or auditAnnotations must contain at least one item";
            out.push(Violation::required(view.path(), detail));
        }
        return;
    }
    for rule in rules.items() {
        expression(out, &rule.get("expression"), "expression is not specified");
        let (message, computed) = (rule.get("message"), rule.get("messageExpression"));
        let is_blank = |view: &View| !view.text().is_empty() && view.text().trim().is_empty();
        if is_blank(&computed) {
            refuse(out, &computed, "must be non-empty if specified");
        }
        if is_blank(&message) {
            refuse(out, &message, "message must be non-empty if specified");
        } else if message.text().trim().contains(['\n', '\r']) {
            refuse(out, &message, "message must not contain line breaks");
        }
        one_of(out, &rule.get("reason"), REASONS);
    }
    if annotations.len() > MOST_ANNOTATIONS {
        let detail = format!("must not have more than {MOST_ANNOTATIONS} auditAnnotations");
        refuse(out, &annotations, detail);
    }
    let mut seen = Vec::new();
    for annotation in annotations.items() {
        let key = annotation.get("key");
        if required(out, &key) {
            let whole = format!("{}/{}", policy.get("metadata").get("name").text(), key.text());
            for message in name::is_qualified_name(&whole) {
                refuse(out, &key, message);
            }
        }
        expression(out, &annotation.get("valueExpression"), "valueExpression is not specified");
        if seen.contains(&key.text()) {
            out.push(Violation::duplicate(key.path(), key.text()));
        }
        seen.push(key.text());
    }
}

fn mutations(out: &mut Violations, mutations: &View) {
    if mutations.is_empty() {
        let detail = "mutations must contain at least one item";
        out.push(Violation::required(mutations.path(), detail));
    }
    for mutation in mutations.items() {
        let kind = mutation.get("patchType");
        if !required(out, &kind) {
            continue;
        }
        let (own, other) = match kind.text() {
            "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
            "JSONPatch" => ("jsonPatch", "applyConfiguration"),
            unknown => {
                let known = ["ApplyConfiguration", "JSONPatch"];
                out.push(Violation::not_supported(kind.path(), unknown, &known));
                continue;
            }
        };
        let (own, other) = (mutation.get(own), mutation.get(other));
        if own.is_set() {
            expression(out, &own.get("expression"), "expression is not specified");
        } else {
            let detail = format!("must be specified when patchType is {}", kind.text());
            out.push(Violation::required(own.path(), detail));
        }
        if other.is_set() {
            let detail = format!("must not be specified when patchType is {}", kind.text());
            refuse(out, &other, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    fn policy(extra: Value) -> Value {
        let mut spec = json!({"matchConstraints": {"resourceRules": [
            {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}]}});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"metadata": {"name": "p"}, "spec": spec})
    }

    #[test]
    fn a_policy_fails_closed_and_matches_what_is_equivalent() {
        let rules = json!({"validations": [{"expression": "object.spec.replicas <= 5"}]});
        let whole = defaulted(validating(), policy(rules));
        assert_eq!(whole["spec"]["failurePolicy"], "Fail");
        assert_eq!(whole["spec"]["matchConstraints"]["matchPolicy"], "Equivalent");
        assert_eq!(served(validating()).row(&whole, 0)[1..3], [json!(1), json!("<unset>")]);
        assert_eq!(said(validating(), whole), [""; 0]);
    }

    #[test]
    fn a_policy_must_say_something() {
        assert_eq!(
            said(validating(), policy(json!({"paramKind": {"apiVersion": "a/b/c", "kind": "X"}}))),
            [
                r#"spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c"#,
                "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
                "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
            ]
        );
        let patch = json!({"reinvocationPolicy": "Never", "variables": [{"name": "for", "expression": " "}],
            "mutations": [{"patchType": "JSONPatch", "applyConfiguration": {"expression": "x"}}]});
        assert_eq!(
            said(mutating(), policy(patch)),
            [
                r#"spec.variables[0].name: Invalid value: "for": name is not a valid CEL identifier"#,
                "spec.variables[0].expression: Required value: expression is not specified",
                "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
                r#"spec.mutations[0].applyConfiguration: Invalid value: {"expression":"x"}: must not be specified when patchType is JSONPatch"#,
            ]
        );
    }
}
