//! What a claim asks for, and what goes along with it.

use super::{TAINT_EFFECTS, bounded};
use crate::kinds::csi_node::driver_name;
use crate::kinds::frame::check::{one_of, refuse, refuse_all, required, required_name};
use crate::kinds::frame::{Fill, Object, View};
use crate::kinds::meta;
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// The most requests, constraints, configurations and selectors.
const MOST: usize = 32;
/// The most alternatives of one request.
const MOST_ALTERNATIVES: usize = 8;
/// The most bytes of an expression, and of what is passed to a driver.
const MOST_BYTES: usize = 10 * 1024;

/// What the devices of a claim's status leave out.
pub(super) fn default_allocated(status: &mut Object) {
    let devices = status.object_if("allocation").and_then(|allocation| allocation.object_if("devices"));
    for result in devices.into_iter().flat_map(|devices| devices.objects("results")) {
        for toleration in result.objects("tolerations") {
            toleration.fill_text("operator", "Equal");
        }
    }
}

/// What `devices` of a claim leaves out.
pub(super) fn default(devices: &mut Object) {
    for request in devices.objects("requests") {
        if let Some(exact) = request.object_if("exactly") {
            default_one(exact);
        }
        request.objects("firstAvailable").for_each(default_one);
    }
}

fn default_one(request: &mut Object) {
    request.fill_text("allocationMode", "ExactCount");
    let none = request.get("count").and_then(serde_json::Value::as_i64).unwrap_or_default() == 0;
    if request.text("allocationMode") == "ExactCount" && none {
        request.insert("count".to_owned(), 1.into());
    }
    for toleration in request.objects("tolerations") {
        toleration.fill_text("operator", "Equal");
    }
}

/// `devices` of a claim.
pub(super) fn validate(out: &mut Violations, devices: &View) {
    let requests = devices.get("requests");
    bounded(out, &requests, MOST, |request| request.get("name").text());
    for request in requests.items() {
        one_request(out, &request);
    }
    let constraints = devices.get("constraints");
    bounded(out, &constraints, MOST, |_| "");
    for constraint in constraints.items() {
        references(out, &constraint.get("requests"), &requests);
        let (same, distinct) = (constraint.get("matchAttribute"), constraint.get("distinctAttribute"));
        let named = if same.is_set() { same } else { distinct };
        if named.is_set() {
            attribute_name(out, &named);
        } else {
            let detail = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required";
            out.push(Violation::required(constraint.path(), detail));
        }
    }
    let configurations = devices.get("config");
    bounded(out, &configurations, MOST, |_| "");
    for configuration in configurations.items() {
        references(out, &configuration.get("requests"), &requests);
        opaque(out, &configuration);
    }
}

fn one_request(out: &mut Violations, request: &View) {
    let own = request.get("name");
    refuse_all(out, &own, meta::label(own.text()));
    let (exact, alternatives) = (request.get("exactly"), request.get("firstAvailable"));
    match (exact.is_set(), !alternatives.is_empty()) {
        (false, false) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required";
            out.push(Violation::required(request.path(), detail));
        }
        (true, true) => {
            let detail =
                "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            out.push(Violation::invalid(request.path(), serde_json::Value::Null, detail));
        }
        (true, false) => of_class(out, &exact),
        (false, true) => {
            bounded(out, &alternatives, MOST_ALTERNATIVES, |one| one.get("name").text());
            for one in alternatives.items() {
                let own = one.get("name");
                refuse_all(out, &own, meta::label(own.text()));
                of_class(out, &one);
            }
        }
    }
}

fn of_class(out: &mut Violations, request: &View) {
    required_name(out, &request.get("deviceClassName"), meta::subdomain);
    selectors(out, &request.get("selectors"));
    let (mode, count) = (request.get("allocationMode"), request.get("count"));
    let number = count.int().unwrap_or_default();
    match mode.text() {
        "All" if number != 0 => {
            refuse(out, &count, "must not be specified when allocationMode is 'All'");
        }
        "All" => (),
        "ExactCount" if number <= 0 => {
            out.push(Violation::invalid(count.path(), number, "must be greater than zero"));
        }
        "ExactCount" => (),
        other => out.push(Violation::not_supported(mode.path(), other, &["All", "ExactCount"])),
    }
    for toleration in request.get("tolerations").items() {
        one_of(out, &toleration.get("operator"), &["Equal", "Exists"]);
        if !toleration.get("effect").is_empty() {
            one_of(out, &toleration.get("effect"), &TAINT_EFFECTS);
        }
        let key = toleration.get("key");
        if !key.is_empty() {
            refuse_all(out, &key, name::is_qualified_name(key.text()));
        } else if toleration.get("operator").text() == "Equal" {
            out.push(Violation::required(key.path(), "must not be empty when operator is Equal"));
        }
    }
}

/// Selectors of devices.
pub(super) fn selectors(out: &mut Violations, selectors: &View) {
    bounded(out, selectors, MOST, |_| "");
    for selector in selectors.items() {
        let cel = selector.get("cel");
        if !cel.is_set() {
            out.push(Violation::required(cel.path(), ""));
            continue;
        }
        let expression = cel.get("expression");
        if required(out, &expression) && expression.text().len() > MOST_BYTES {
            out.push(Violation::too_long(expression.path(), MOST_BYTES));
        }
    }
}

/// A configuration that is passed on to a driver.
pub(super) fn opaque(out: &mut Violations, configuration: &View) {
    let opaque = configuration.get("opaque");
    if !opaque.is_set() {
        return out.push(Violation::required(opaque.path(), ""));
    }
    driver_name(out, &opaque.get("driver"));
    let parameters = opaque.get("parameters");
    match parameters.value() {
        None => out.push(Violation::required(parameters.path(), "")),
        Some(value) if !value.is_object() => {
            refuse(out, &parameters, "parameters must be a valid JSON object");
        }
        Some(value) if value.to_string().len() > MOST_BYTES => {
            out.push(Violation::too_long(parameters.path(), MOST_BYTES));
        }
        Some(_) => (),
    }
}

/// Names of requests of the same claim, or of an alternative: `request/alternative`.
fn references(out: &mut Violations, references: &View, requests: &View) {
    bounded(out, references, MOST, |reference| reference.text());
    for reference in references.items() {
        let (first, second) = match reference.text().split_once('/') {
            Some((first, second)) => (first, Some(second)),
            None => (reference.text(), None),
        };
        let found = requests.items().find(|request| request.get("name").text() == first);
        let known = found.is_some_and(|request| {
            second.is_none_or(|second| {
                request.get("firstAvailable").items().any(|one| one.get("name").text() == second)
            })
        });
        if !known {
            let detail = "must be the name of a request in the claim or the name of a request and a subrequest \
                          separated by '/'";
            refuse(out, &reference, detail);
        }
    }
}

/// The name of an attribute with its domain.
fn attribute_name(out: &mut Violations, view: &View) {
    match view.text().split_once('/') {
        Some((domain, id)) => {
            refuse_all(out, view, meta::subdomain(domain));
            refuse_all(out, view, name::is_c_identifier(id));
        }
        None => refuse(out, view, "must include a domain"),
    }
}
