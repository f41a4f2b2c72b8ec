//! Which requests are meant: rules, resources, conditions.

use std::collections::HashSet;

use crate::kinds::frame::check::{one_of, refuse, refuse_all, required};
use crate::kinds::frame::{Fill, Object, View};
use crate::kinds::{labels, meta};
use crate::meta::name;
use crate::policy;
use crate::violation::{Violation, Violations};

/// The most conditions of one rule.
const MOST_CONDITIONS: usize = 64;
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];

/// What rules leave out.
pub(super) fn default_rules(holder: &mut Object, field: &str) {
    for rule in holder.objects(field) {
        rule.fill("scope", "*");
    }
}

/// What `matchConstraints` and `matchResources` leave out.
pub(super) fn default_resources(resources: &mut Object) {
    resources.fill("matchPolicy", "Equivalent");
    resources.object("namespaceSelector");
    resources.object("objectSelector");
    default_rules(resources, "resourceRules");
    default_rules(resources, "excludeResourceRules");
}

fn has_star(list: &View) -> bool {
    list.len() > 1 && list.items().any(|item| item.text() == "*")
}

/// One rule with its operations.
pub(super) fn rule(out: &mut Violations, rule: &View) {
    let operations = rule.get("operations");
    required(out, &operations);
    if has_star(&operations) {
        refuse(out, &operations, "if '*' is present, must not specify other operations");
    }
    for operation in operations.items() {
        one_of(out, &operation, OPERATIONS);
    }
    for (field, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let list = rule.get(field);
        required(out, &list);
        if has_star(&list) {
            refuse(out, &list, format!("if '*' is present, must not specify other {what}"));
        }
        if field == "apiVersions" {
            for version in list.items() {
                required(out, &version);
            }
        }
    }
    resources(out, &rule.get("resources"));
    one_of(out, &rule.get("scope"), &["*", "Cluster", "Namespaced"]);
}

fn resources(out: &mut Violations, list: &View) {
    required(out, list);
    let (mut whole, mut below) = (HashSet::new(), HashSet::new());
    let (mut everything, mut star, mut plain) = (false, false, false);
    for item in list.items() {
        let text = item.text();
        if !required(out, &item) {
            continue;
        }
        everything |= text == "*/*";
        star |= text == "*";
        let Some((resource, sub)) = text.split_once('/') else {
            plain = text != "*";
            continue;
        };
        if whole.contains(resource) {
            refuse(out, &item, format!("if '{resource}/*' is present, must not specify {text}"));
        }
        if below.contains(sub) {
            refuse(out, &item, format!("if '*/{sub}' is present, must not specify {text}"));
        }
        if sub == "*" {
            whole.insert(resource);
        }
        if resource == "*" {
            below.insert(sub);
        }
    }
    if list.len() > 1 && everything {
        refuse(out, list, "if '*/*' is present, must not specify other resources");
    }
    if star && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        refuse(out, list, detail);
    }
}

/// `matchConstraints` and `matchResources`.
pub(super) fn match_resources(out: &mut Violations, resources: &View) {
    if !resources.is_set() {
        return;
    }
    let policy = resources.get("matchPolicy");
    if required(out, &policy) {
        one_of(out, &policy, &["Equivalent", "Exact"]);
    }
    for field in ["namespaceSelector", "objectSelector"] {
        let selector = resources.get(field);
        if selector.is_set() {
            labels::selector(out, &selector);
        } else {
            out.push(Violation::required(selector.path(), ""));
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        for one in resources.get(field).items() {
            let mut seen = HashSet::new();
            for own in one.get("resourceNames").items() {
                refuse_all(out, &own, meta::path_segment(own.text()));
                if !seen.insert(own.text()) {
                    out.push(Violation::duplicate(own.path(), own.text()));
                }
            }
            rule(out, &one);
        }
    }
}

/// `matchConditions`: named expressions.
pub(super) fn conditions(out: &mut Violations, conditions: &View, has_params: bool) {
    if conditions.len() > MOST_CONDITIONS {
        out.push(Violation::too_many(conditions.path(), conditions.len(), MOST_CONDITIONS));
    }
    let mut seen = HashSet::new();
    let environment = policy::environment(has_params);
    for condition in conditions.items() {
        let written = condition.get("expression");
        expression(out, &written, "");
        if !written.text().trim().is_empty()
            && let Err(why) = policy::compile(&environment, written.text(), policy::Wanted::Bool)
        {
            refuse(out, &written, why);
        }
        let own = condition.get("name");
        if required(out, &own) {
            refuse_all(out, &own, name::is_qualified_name(own.text()));
            if !seen.insert(own.text()) {
                out.push(Violation::duplicate(own.path(), own.text()));
            }
        }
    }
}

/// An expression must say something.
pub(super) fn expression(out: &mut Violations, expression: &View, detail: &str) {
    if expression.text().trim().is_empty() {
        out.push(Violation::required(expression.path(), detail));
    }
}
