//! What a pod says about where it may run.

use std::collections::HashSet;

use crate::kinds::frame::View;
use crate::kinds::frame::check::{
    one_of, refuse, refuse_all, required, required_because, required_name, required_one_of,
};
use crate::kinds::labels;
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// `affinity`, all three kinds of it.
pub(super) fn affinity(out: &mut Violations, affinity: &View) {
    let node = affinity.get("nodeAffinity");
    let needed = node.get("requiredDuringSchedulingIgnoredDuringExecution");
    if needed.is_set() {
        node_selector(out, &needed);
    }
    for term in node.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
        weight(out, &term.get("weight"));
        node_term(out, &term.get("preference"));
    }
    for field in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.get(field);
        for term in pods.get("requiredDuringSchedulingIgnoredDuringExecution").items() {
            pod_term(out, &term);
        }
        for term in pods.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
            weight(out, &term.get("weight"));
            pod_term(out, &term.get("podAffinityTerm"));
        }
    }
}

/// Terms that nodes must match; also the node affinity of a volume.
pub(crate) fn node_selector(out: &mut Violations, selector: &View) {
    let terms = selector.get("nodeSelectorTerms");
    if required_because(out, &terms, "must have at least one node selector term") {
        for term in terms.items() {
            node_term(out, &term);
        }
    }
}

fn weight(out: &mut Violations, weight: &View) {
    if !weight.int().is_some_and(|weight| (1..=100).contains(&weight)) {
        refuse(out, weight, "must be in the range 1-100");
    }
}

fn node_term(out: &mut Violations, term: &View) {
    for rule in term.get("matchExpressions").items() {
        node_rule(out, &rule);
        refuse_all(out, &rule.get("key"), name::is_qualified_name(rule.get("key").text()));
    }
    for rule in term.get("matchFields").items() {
        let (key, operator, values) = (rule.get("key"), rule.get("operator"), rule.get("values"));
        match operator.text() {
            "In" | "NotIn" if values.len() == 1 => (),
            "In" | "NotIn" => out.push(Violation::required(
                values.path(),
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            )),
            _ => refuse(out, &operator, "not a valid selector operator"),
        }
        if key.text() == "metadata.name" {
            for value in values.items() {
                refuse_all(out, &value, name::is_dns1123_subdomain(value.text()));
            }
        } else {
            refuse(out, &key, "not a valid field selector key");
        }
    }
}

fn node_rule(out: &mut Violations, rule: &View) {
    let (operator, values) = (rule.get("operator"), rule.get("values"));
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
        "Gt" | "Lt" => {
            if values.len() != 1 {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                out.push(Violation::required(values.path(), detail));
            }
        }
        _ => refuse(out, &operator, "not a valid selector operator"),
    }
}

fn pod_term(out: &mut Violations, term: &View) {
    labels::selector(out, &term.get("labelSelector"));
    labels::selector(out, &term.get("namespaceSelector"));
    for namespace in term.get("namespaces").items() {
        refuse_all(out, &namespace, name::is_dns1123_label(namespace.text()));
    }
    let key = term.get("topologyKey");
    if required_because(out, &key, "can not be empty") {
        refuse_all(out, &key, name::is_qualified_name(key.text()));
    }
}

/// One toleration.
pub(crate) fn toleration(out: &mut Violations, toleration: &View) {
    let (key, operator, value) = (toleration.get("key"), toleration.get("operator"), toleration.get("value"));
    if !key.is_empty() {
        refuse_all(out, &key, name::is_qualified_name(key.text()));
    } else if operator.text() != "Exists" {
        let detail =
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        out.push(Violation::invalid(operator.path(), operator.text(), detail));
    }
    let effect = toleration.get("effect");
    if toleration.get("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        out.push(Violation::invalid(effect.path(), effect.text(), detail));
    }
    match operator.text() {
        "" | "Equal" => refuse_all(out, &value, name::is_label_value(value.text())),
        "Exists" => {
            if !value.is_empty() {
                out.push(Violation::invalid(
                    operator.path(),
                    value.text(),
                    "value must be empty when `operator` is 'Exists'",
                ));
            }
        }
        _ => out.push(Violation::not_supported(operator.path(), operator.text(), &["Equal", "Exists"])),
    }
    if !effect.is_empty() {
        one_of(out, &effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    }
}

/// `topologySpreadConstraints`.
pub(super) fn topology_spread(out: &mut Violations, constraints: &View) {
    let mut seen = HashSet::new();
    for constraint in constraints.items() {
        let skew = constraint.get("maxSkew");
        if skew.int().unwrap_or_default() <= 0 {
            out.push(Violation::invalid(
                skew.path(),
                skew.int().unwrap_or_default(),
                "must be greater than zero",
            ));
        }
        let key = constraint.get("topologyKey");
        if required_because(out, &key, "can not be empty") {
            refuse_all(out, &key, name::is_qualified_name(key.text()));
        }
        let action = constraint.get("whenUnsatisfiable");
        if !matches!(action.text(), "DoNotSchedule" | "ScheduleAnyway") {
            let allowed = ["DoNotSchedule", "ScheduleAnyway"];
            out.push(Violation::not_supported(action.path(), action.text(), &allowed));
        }
        if !seen.insert((key.text(), action.text())) {
            let pair = format!("{{{}, {}}}", key.text(), action.text());
            out.push(Violation::duplicate(
                &constraint.path().child("{topologyKey, whenUnsatisfiable}"),
                pair,
            ));
        }
        let domains = constraint.get("minDomains");
        if let Some(count) = domains.int() {
            if count <= 0 {
                refuse(out, &domains, "must be greater than zero");
            }
            if action.text() == "ScheduleAnyway" {
                let detail = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway";
                refuse(out, &domains, detail);
            }
        }
        one_of(out, &constraint.get("nodeAffinityPolicy"), &["Honor", "Ignore"]);
        one_of(out, &constraint.get("nodeTaintsPolicy"), &["Honor", "Ignore"]);
        labels::selector(out, &constraint.get("labelSelector"));
    }
}

/// `schedulingGates`.
pub(super) fn gates(out: &mut Violations, gates: &View) {
    let mut seen = HashSet::new();
    for gate in gates.items() {
        let own = gate.get("name");
        refuse_all(out, &own, name::is_qualified_name(own.text()));
        if !seen.insert(own.text()) {
            out.push(Violation::duplicate(gate.path(), own.text()));
        }
    }
}

/// `resourceClaims`; hands back their names.
pub(super) fn resource_claims<'a>(out: &mut Violations, claims: &View<'a>) -> HashSet<&'a str> {
    let mut names = HashSet::new();
    for claim in claims.items() {
        let own = claim.get("name");
        required_name(out, &own, name::is_dns1123_label);
        if !names.insert(own.text()) {
            out.push(Violation::duplicate(own.path(), own.text()));
        }
        let (by_name, by_template) = (claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName"));
        if by_name.is_set() == by_template.is_set() {
            let detail = if by_name.is_set() {
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            } else {
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            };
            refuse(out, &claim, detail);
        }
    }
    names
}

/// A taint of a node.
pub(crate) fn taint(out: &mut Violations, taint: &View) {
    let key = taint.get("key");
    refuse_all(out, &key, name::is_qualified_name(key.text()));
    let value = taint.get("value");
    refuse_all(out, &value, name::is_label_value(value.text()));
    required_one_of(out, &taint.get("effect"), &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    required(out, &key);
}
