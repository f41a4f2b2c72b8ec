//! What a claim asks for, and what goes along with it.

use super::naming::{self, MOST_REQUESTS, Requests};
use super::{TAINT_EFFECTS, each, each_once};
use crate::kinds::csi_node::driver_name;
use crate::kinds::frame::check::{one_of, refuse, refuse_all, required, required_name, required_one_of};
use crate::kinds::frame::{Fill, Object, View};
use crate::kinds::meta;
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// The most constraints, configurations and selectors.
const MOST: usize = 32;
/// The most alternatives of one request.
const MOST_ALTERNATIVES: usize = 8;
/// The most bytes of an expression, and of what is passed on to a driver.
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
    let names = Requests::of(devices);
    each_once(out, &devices.get("requests"), MOST_REQUESTS, |one| one.get("name").text(), one_request);
    each(out, &devices.get("constraints"), MOST, |out, constraint| {
        names.refer_all(out, &constraint.get("requests"));
        let (same, distinct) = (constraint.get("matchAttribute"), constraint.get("distinctAttribute"));
        let named = if same.is_set() { same } else { distinct };
        if named.is_set() {
            naming::fully_qualified(out, &named);
        } else {
            // None is; upstream says this of both.
            let detail = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
            out.push(Violation::required(constraint.path(), detail));
        }
    });
    each(out, &devices.get("config"), MOST, |out, configuration| {
        names.refer_all(out, &configuration.get("requests"));
        opaque(out, configuration, false);
    });
}

fn one_request(out: &mut Violations, request: &View) {
    naming::label(out, &request.get("name"));
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
            each_once(
                out,
                &alternatives,
                MOST_ALTERNATIVES,
                |one| one.get("name").text(),
                |out, one| {
                    naming::label(out, &one.get("name"));
                    of_class(out, one);
                },
            );
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
        tolerates(out, &toleration);
    }
}

fn tolerates(out: &mut Violations, toleration: &View) {
    let (key, value) = (toleration.get("key"), toleration.get("value"));
    if !key.is_empty() {
        refuse_all(out, &key, name::is_qualified_name(key.text()));
    }
    let operator = toleration.get("operator");
    match operator.text() {
        "Exists" if !value.is_empty() => refuse(out, &value, "must be empty for operator `Exists`"),
        "Equal" => refuse_all(out, &value, name::is_label_value(value.text())),
        _ => required_one_of(out, &operator, &["Equal", "Exists"]),
    }
    if !toleration.get("effect").is_empty() {
        one_of(out, &toleration.get("effect"), &TAINT_EFFECTS);
    }
}

/// Selectors of devices.
pub(super) fn selectors(out: &mut Violations, selectors: &View) {
    each(out, selectors, MOST, |out, selector| {
        let cel = selector.get("cel");
        if !cel.is_set() {
            return out.push(Violation::required(cel.path(), ""));
        }
        let expression = cel.get("expression");
        if required(out, &expression) && expression.text().len() > MOST_BYTES {
            out.push(Violation::too_long(expression.path(), MOST_BYTES));
        }
    });
}

/// A configuration that is passed on to a driver. What `is_stored` may be longer than is allowed today.
pub(super) fn opaque(out: &mut Violations, configuration: &View, is_stored: bool) {
    let opaque = configuration.get("opaque");
    if !opaque.is_set() {
        return out.push(Violation::required(opaque.path(), ""));
    }
    driver_name(out, &opaque.get("driver"));
    passed_on(out, &opaque.get("parameters"), (!is_stored).then_some(MOST_BYTES));
}

/// An object that only its driver understands, of at most so many bytes.
pub(super) fn passed_on(out: &mut Violations, object: &View, most: Option<usize>) {
    match (object.value(), most) {
        (None, _) => out.push(Violation::required(object.path(), "")),
        (Some(value), Some(most)) if value.to_string().len() > most => {
            out.push(Violation::too_long(object.path(), most));
        }
        (Some(value), _) if !value.is_object() => {
            let detail = "must be a valid JSON object";
            out.push(Violation::invalid(object.path(), "<value omitted>", detail));
        }
        (Some(_), _) => (),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::claim::kind;
    use crate::kinds::frame::testing::said;

    fn claim(devices: Value) -> Value {
        json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"devices": devices}})
    }

    fn request(name: &str, exactly: Value) -> Value {
        let mut request = json!({"name": name, "exactly": {"deviceClassName": "g"}});
        for (field, value) in exactly.as_object().unwrap() {
            request["exactly"][field] = value.clone();
        }
        request
    }

    #[test]
    fn a_list_that_is_too_long_is_told_once_and_not_read() {
        let many: Vec<Value> = (0..33).map(|_| json!({"name": "X"})).collect();
        assert_eq!(
            said(kind(), claim(json!({"requests": many}))),
            ["spec.devices.requests: Too many: 33: must have at most 32 items"]
        );
        let two = json!({"requests": [request("a", json!({})), request("a", json!({}))]});
        assert_eq!(said(kind(), claim(two)), ["spec.devices.requests[1]: Duplicate value: \"a\""]);
    }

    #[test]
    fn tolerations_have_values_that_fit_their_operator() {
        let of = |toleration: Value| {
            said(kind(), claim(json!({"requests": [request("a", json!({"tolerations": [toleration]}))]})))
        };
        let at = "spec.devices.requests[0].exactly.tolerations[0]";
        assert_eq!(of(json!({})), [""; 0]);
        assert_eq!(of(json!({"key": "k", "operator": "Exists", "effect": "None"})), [""; 0]);
        assert_eq!(
            of(json!({"operator": "Exists", "value": "v"})),
            [format!("{at}.value: Invalid value: \"v\": must be empty for operator `Exists`")]
        );
        let said = of(json!({"key": "k", "value": "a b"}));
        assert!(
            said[0].starts_with(&format!("{at}.value: Invalid value: \"a b\": a valid label")),
            "{said:?}"
        );
        assert_eq!(
            of(json!({"operator": "In", "effect": "X"})),
            [
                format!("{at}.operator: Unsupported value: \"In\": supported values: \"Equal\", \"Exists\""),
                format!(
                    "{at}.effect: Unsupported value: \"X\": supported values: \"NoExecute\", \"NoSchedule\", \"None\""
                ),
            ]
        );
    }

    #[test]
    fn what_is_said_of_requests_names_them() {
        let requests = json!([request("a", json!({})), {"name": "b", "firstAvailable": [
            {"name": "x", "deviceClassName": "g"}, {"name": "x", "deviceClassName": "g"}]}]);
        let detail = "must be the name of a request in the claim or the name of a request and a subrequest \
                      separated by '/'";
        let constraints =
            json!([{"requests": ["a", "b/x", "b", "a/x", "a/b/c", "a"], "matchAttribute": "d.io/numa"}, {}]);
        assert_eq!(
            said(kind(), claim(json!({"requests": requests, "constraints": constraints}))),
            [
                "spec.devices.requests[1].firstAvailable[1]: Duplicate value: \"x\"".to_owned(),
                format!("spec.devices.constraints[0].requests[3]: Invalid value: \"a/x\": {detail}"),
                format!("spec.devices.constraints[0].requests[4]: Invalid value: \"a/b/c\": {detail}"),
                "spec.devices.constraints[0].requests[5]: Duplicate value: \"a\"".to_owned(),
                "spec.devices.constraints[1]: Required value: exactly one of \"matchAttribute\" or \"distinctAttribute\" is \
                 required, but multiple fields are set"
                    .to_owned(),
            ]
        );
    }
}
