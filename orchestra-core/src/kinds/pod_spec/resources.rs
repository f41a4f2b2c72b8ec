//! Requests and limits of containers.

use serde_json::Value;

use crate::kinds::frame::check::{NEGATIVE, refuse, refuse_all, required};
use crate::kinds::frame::{Fill, Object, View};
use crate::meta::name;
use crate::quantity::Quantity;
use crate::violation::{Violation, Violations};

/// Writes every quantity of a resource list the way upstream's decoder would give it back: `0.1` becomes `100m`.
pub(crate) fn canonical(list: &mut Object) {
    for value in list.values_mut() {
        canonical_value(value);
    }
}

/// As [`canonical`], for one quantity.
pub(crate) fn canonical_value(value: &mut Value) {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => std::mem::take(text),
        _ => return,
    };
    *value = Quantity::rewrite(&text).unwrap_or(text).into();
}

/// The quantity in a JSON value, which may be a text or a number.
pub(crate) fn parse(value: &Value) -> Option<Quantity> {
    Quantity::from_json(value).and_then(Result::ok)
}

/// Whether there is a quantity below zero.
pub(crate) fn is_negative(view: &View) -> bool {
    quantity(view).is_some_and(Quantity::is_negative)
}

fn quantity(view: &View) -> Option<Quantity> {
    view.value().and_then(parse)
}

/// Defaults of one `resources`.
pub(super) fn default(resources: &mut Object) {
    for field in ["limits", "requests"] {
        if let Some(list) = resources.object_if(field) {
            canonical(list);
        }
    }
}

/// In a pod, what has a limit and no request asks for its limit.
pub(super) fn requests_from_limits(resources: &mut Object) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    let requests = resources.object("requests");
    for (resource, limit) in limits {
        requests.fill(&resource, limit);
    }
}

/// The `resources` of a container. `claims` are those that the pod declares.
pub(super) fn container(out: &mut Violations, resources: &View, claims: &[&str]) {
    amounts(out, resources);
    for claim in resources.get("claims").items() {
        let own = claim.get("name");
        if required(out, &own) && !claims.contains(&own.text()) {
            out.push(Violation::not_found(own.path(), own.text()));
        }
    }
}

/// What is asked for and what is allowed.
pub(super) fn amounts(out: &mut Violations, resources: &View) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    for (resource, limit) in limits.entries() {
        resource_name(out, &limit, resource);
        amount(out, &limit, resource);
    }
    for (resource, request) in requests.entries() {
        resource_name(out, &request, resource);
        amount(out, &request, resource);
        let limit = limits.value().and_then(|limits| limits.get(resource)).and_then(parse);
        match quantity(&request).zip(limit) {
            Some((wanted, limit)) => bounded(out, &requests, resource, wanted, limit),
            None if must_have_limit(resource) && limit.is_none() => {
                let detail = "Limit must be set for non overcommitable resources";
                out.push(Violation::required(limits.path(), detail));
            }
            None => (),
        }
    }
}

/// No more may be asked for than is allowed. Upstream names the list, not the resource in it.
fn bounded(out: &mut Violations, requests: &View, resource: &str, wanted: Quantity, limit: Quantity) {
    let detail = if must_have_limit(resource) && wanted != limit {
        format!("must be equal to {resource} limit of {limit}")
    } else if wanted > limit {
        format!("must be less than or equal to {resource} limit of {limit}")
    } else {
        return;
    };
    out.push(Violation::invalid(requests.path(), wanted.to_string(), detail));
}

/// Whether a resource cannot be overcommitted, so that request and limit must agree.
fn must_have_limit(resource: &str) -> bool {
    resource.starts_with("hugepages-") || is_extended(resource)
}

fn is_extended(resource: &str) -> bool {
    resource.contains('/') && !resource.contains("kubernetes.io/") && !resource.starts_with("requests.")
}

/// A resource of a container: upstream's own, or one in a domain.
fn resource_name(out: &mut Violations, view: &View, resource: &str) {
    let messages = name::is_qualified_name(resource);
    if messages.is_empty() && !resource.contains('/') {
        let known =
            matches!(resource, "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-");
        if !known {
            let detail = "must be a standard resource type or fully qualified";
            out.push(Violation::invalid(view.path(), resource, detail));
            out.push(Violation::invalid(view.path(), resource, "must be a standard resource for containers"));
        }
    }
    for message in messages {
        out.push(Violation::invalid(view.path(), resource, message));
    }
}

/// An amount: not below zero, and whole for things that come in pieces.
pub(crate) fn amount(out: &mut Violations, view: &View, resource: &str) {
    match quantity(view) {
        None => refuse(
            out,
            view,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        Some(quantity) if quantity.is_negative() => refuse(out, view, NEGATIVE),
        Some(quantity) if is_extended(resource) && !quantity.is_whole() => {
            refuse(out, view, "must be an integer")
        }
        Some(_) => (),
    }
}

/// `overhead` of a pod.
pub(crate) fn overhead(out: &mut Violations, overhead: &View) {
    for (resource, value) in overhead.entries() {
        resource_name(out, &value, resource);
        amount(out, &value, resource);
    }
}

/// The unit in which a reference shows a resource.
pub(super) fn divisor(out: &mut Violations, divisor: &View, resource: &str) {
    let Some(unit) = quantity(divisor) else { return };
    if unit.is_zero() {
        return;
    }
    let (allowed, rule): (&[&str], &str) = if resource.ends_with(".cpu") {
        (&["1m", "1"], "only divisor's values 1m and 1 are supported with the cpu resource")
    } else {
        (
            &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"],
            "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource",
        )
    };
    if !allowed.iter().filter_map(|text| text.parse::<Quantity>().ok()).any(|one| one == unit) {
        refuse_all(out, divisor, vec![rule.to_owned()]);
    }
}
