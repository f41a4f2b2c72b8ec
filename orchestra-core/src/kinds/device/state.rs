//! What becomes of a claim: who uses it, what it was given, and how those devices do.

use std::collections::HashSet;

use super::identity::Identity;
use super::naming::{self, Requests};
use super::{allocation, each_once, request};
use crate::kinds::condition;
use crate::kinds::csi_node::driver_name;
use crate::kinds::frame::View;
use crate::kinds::frame::check::{refuse, required, unchanged};
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// How many may share a claim.
const MOST_CONSUMERS: usize = 256;
/// The most conditions of a device.
const MOST_CONDITIONS: usize = 8;
/// The most bytes that a driver says of a device in its own words.
const MOST_DATA: usize = 10 * 1024;
/// The most addresses of a device of a network.
const MOST_ADDRESSES: usize = 16;
/// The most bytes of names in a network.
const MOST_NAMES: [(&str, usize); 2] = [("interfaceName", 256), ("hardwareAddress", 128)];

/// A change of a claim's status.
pub(super) fn validate(new: &View, old: &View, out: &mut Violations) {
    let (status, before) = (new.get("status"), old.get("status"));
    let consumers = status.get("reservedFor");
    each_once(
        out,
        &consumers,
        MOST_CONSUMERS,
        |one| one.get("uid").text(),
        |out, consumer| {
            for field in ["resource", "name", "uid"] {
                required(out, &consumer.get(field));
            }
        },
    );
    let given = status.get("allocation");
    devices(out, &status.get("devices"), &given);
    if !consumers.is_empty() && !given.is_set() {
        let detail = "may not be specified when `allocated` is not set";
        out.push(Violation::forbidden(consumers.path(), detail));
    } else if new.get("metadata").get("deletionTimestamp").is_set() {
        // Who was let in while the claim goes would hold it for good.
        let known: HashSet<[&str; 4]> = before.get("reservedFor").items().map(|one| user(&one)).collect();
        if consumers.items().any(|one| !known.contains(&user(&one))) {
            let detail =
                "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            out.push(Violation::forbidden(consumers.path(), detail));
        }
    }
    if !given.is_set() {
        return;
    }
    if before.get("allocation").is_set() {
        unchanged(out, &given, &before.get("allocation"));
    } else {
        allocation::validate(out, &given, &Requests::of(&new.get("spec").get("devices")));
    }
}

fn user<'a>(consumer: &View<'a>) -> [&'a str; 4] {
    ["apiGroup", "resource", "name", "uid"].map(|field| consumer.get(field).text())
}

/// How the devices do that were given. There are no others, so there are not many.
fn devices(out: &mut Violations, states: &View, given: &View) {
    let results = given.get("devices").get("results");
    let known: HashSet<Identity> = results.items().map(|result| Identity::of(&result)).collect();
    for state in states.items() {
        driver_name(out, &state.get("driver"));
        naming::pool(out, &state.get("pool"));
        naming::label(out, &state.get("device"));
        naming::share(out, &state.get("shareID"));
        let own = Identity::of(&state);
        if !known.contains(&own) {
            out.push(own.invalid(state.path(), "must be an allocated device in the claim"));
        }
        let conditions = state.get("conditions");
        if conditions.len() > MOST_CONDITIONS {
            out.push(Violation::too_many(conditions.path(), conditions.len(), MOST_CONDITIONS));
        }
        condition::validate(out, &conditions);
        if state.get("data").is_set() {
            request::passed_on(out, &state.get("data"), Some(MOST_DATA));
        }
        network(out, &state.get("networkData"));
    }
    let mut seen = HashSet::new();
    for state in states.items() {
        let own = Identity::of(&state);
        if !seen.insert(own) {
            out.push(own.repeated(state.path()));
        }
    }
}

fn network(out: &mut Violations, data: &View) {
    for (field, most) in MOST_NAMES {
        let view = data.get(field);
        if view.text().len() > most {
            out.push(Violation::too_long(view.path(), most));
        }
    }
    each_once(
        out,
        &data.get("ips"),
        MOST_ADDRESSES,
        |one| one.text(),
        |out, address| {
            if let Some(message) = name::of_interface_address(address.text()) {
                refuse(out, address, message);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::claim::kind;
    use crate::kinds::frame::testing::served;

    fn claim(status: Value) -> Value {
        json!({"metadata": {"name": "c", "namespace": "n", "resourceVersion": "1"},
            "spec": {"devices": {"requests": [
                {"name": "one", "exactly": {"deviceClassName": "g"}},
                {"name": "any", "firstAvailable": [{"name": "big", "deviceClassName": "g"}]},
            ]}}, "status": status})
    }

    fn said(new: &Value, old: &Value) -> Vec<String> {
        served(kind()).validate_status_update(new, old).iter().map(ToString::to_string).collect()
    }

    fn result(request: &str, device: &str) -> Value {
        json!({"request": request, "driver": "d.io", "pool": "p", "device": device})
    }

    /// What is said of the states of devices, of a claim that has the devices `a` and `b`.
    fn of_devices(devices: Value) -> Vec<String> {
        let mut with_share = result("any/big", "b");
        with_share["shareID"] = "0d9f1c3a-58a1-4c39-9d5e-9a1c0f9f6f11".into();
        let old = claim(json!({"allocation": {"devices": {"results": [result("one", "a"), with_share]}}}));
        let mut new = old.clone();
        new["status"]["devices"] = devices;
        said(&new, &old)
    }

    fn state(device: &str, more: Value) -> Value {
        let mut state = json!({"driver": "d.io", "pool": "p", "device": device});
        for (field, value) in more.as_object().unwrap() {
            state[field] = value.clone();
        }
        state
    }

    #[test]
    fn a_state_is_of_a_device_that_was_given_and_there_is_one_of_each() {
        let share = json!({"shareID": "0d9f1c3a-58a1-4c39-9d5e-9a1c0f9f6f11"});
        assert_eq!(of_devices(json!([state("a", json!({})), state("b", share.clone())])), [""; 0]);
        let own = |device: &str, share: &str| {
            format!(r#"{{"Driver":"d.io","Pool":"p","Device":"{device}","ShareID":"{share}"}}"#)
        };
        assert_eq!(
            of_devices(json!([state("b", json!({})), state("a", json!({})), state("a", json!({}))])),
            [
                format!(
                    "status.devices[0]: Invalid value: {}: must be an allocated device in the claim",
                    own("b", "")
                ),
                format!("status.devices[2]: Duplicate value: {}", own("a", "")),
            ]
        );
        let said = of_devices(json!([state("a", json!({"shareID": "x"}))]));
        assert_eq!(
            said,
            [
                "status.devices[0].shareID: Invalid value: \"x\": error validating uid: invalid UUID length: 1"
                    .to_owned(),
                format!(
                    "status.devices[0]: Invalid value: {}: must be an allocated device in the claim",
                    own("a", "x")
                ),
            ]
        );
    }

    #[test]
    fn what_a_driver_says_of_a_device_is_an_object_and_not_long() {
        let of = |data: Value| of_devices(json!([state("a", json!({"data": data}))]));
        assert_eq!(of(json!({"x": 1})), [""; 0]);
        assert_eq!(of(Value::Null), [""; 0]);
        assert_eq!(
            of(json!([1])),
            ["status.devices[0].data: Invalid value: \"<value omitted>\": must be a valid JSON object"]
        );
        let fits = "x".repeat(10 * 1024 - 8);
        assert_eq!(of(json!({"x": fits})), [""; 0]);
        assert_eq!(
            of(json!({"x": format!("{fits}x")})),
            ["status.devices[0].data: Too long: may not be more than 10240 bytes"]
        );
    }

    #[test]
    fn a_device_of_a_network_has_short_names_and_addresses_in_their_one_form() {
        let of = |network: Value| of_devices(json!([state("a", json!({"networkData": network}))]));
        let good = json!({"interfaceName": "x".repeat(256), "hardwareAddress": "y".repeat(128),
            "ips": ["10.9.8.7/24", "2001:db8::1/64"]});
        assert_eq!(of(good), [""; 0]);
        let at = "status.devices[0].networkData";
        assert_eq!(
            of(json!({"interfaceName": "x".repeat(257), "hardwareAddress": "y".repeat(129)})),
            [
                format!("{at}.interfaceName: Too long: may not be more than 256 bytes"),
                format!("{at}.hardwareAddress: Too long: may not be more than 128 bytes"),
            ]
        );
        assert_eq!(
            of(json!({"ips": ["10.9.8.7", "2001:DB8::1/64", "10.0.0.1/8", "10.0.0.1/8"]})),
            [
                format!(
                    "{at}.ips[0]: Invalid value: \"10.9.8.7\": must be a valid address in CIDR form, (e.g. 10.9.8.7/24 \
                     or 2001:db8::1/64)"
                ),
                format!(
                    "{at}.ips[1]: Invalid value: \"2001:DB8::1/64\": must be in canonical form (\"2001:db8::1/64\")"
                ),
                format!("{at}.ips[3]: Duplicate value: \"10.0.0.1/8\""),
            ]
        );
        let many: Vec<String> = (0..17).map(|at| format!("10.0.0.{at}/8")).collect();
        assert_eq!(of(json!({"ips": many})), [format!("{at}.ips: Too many: 17: must have at most 16 items")]);
    }

    #[test]
    fn a_device_has_few_conditions_and_they_are_whole() {
        let condition = |type_: &str| {
            json!({"type": type_, "status": "True", "reason": "R", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let many: Vec<Value> = (0..9).map(|at| condition(&format!("T{at}"))).collect();
        let of = |conditions: Value| of_devices(json!([state("a", json!({"conditions": conditions}))]));
        assert_eq!(of(many[..8].into()), [""; 0]);
        assert_eq!(of(many.into()), ["status.devices[0].conditions: Too many: 9: must have at most 8 items"]);
        let mut odd = condition("T");
        odd["reason"] = "".into();
        assert_eq!(of(json!([odd])), ["status.devices[0].conditions[0].reason: Required value: must be set"]);
    }

    #[test]
    fn a_claim_is_used_only_when_it_is_allocated_and_by_nobody_new_when_it_goes() {
        let old = claim(json!({}));
        let user = |uid: &str| json!({"resource": "pods", "name": "p", "uid": uid});
        let mut new = claim(json!({"reservedFor": [user("1")]}));
        assert_eq!(
            said(&new, &old),
            ["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"]
        );
        new["status"]["allocation"] = json!({"devices": {}});
        assert_eq!(said(&new, &old), [""; 0]);
        new["status"]["reservedFor"] = json!([user("1"), {"resource": "pods", "name": "", "uid": "1"}]);
        assert_eq!(
            said(&new, &old),
            ["status.reservedFor[1].name: Required value", "status.reservedFor[1]: Duplicate value: \"1\""]
        );
        let mut going = new.clone();
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        going["status"]["reservedFor"] = json!([user("1")]);
        let mut later = going.clone();
        assert_eq!(said(&later, &going), [""; 0]);
        // The same uid under another name is somebody else.
        later["status"]["reservedFor"] = json!([{"resource": "pods", "name": "q", "uid": "1"}]);
        assert_eq!(
            said(&later, &going),
            ["status.reservedFor: Forbidden: new entries may not be added while `deallocationRequested` or \
                 `deletionTimestamp` are set"]
        );
    }

    #[test]
    fn what_is_given_is_of_the_claims_requests_and_stays() {
        let given = |devices: Value| claim(json!({"allocation": {"devices": devices}}));
        let (old, good) =
            (claim(json!({})), given(json!({"results": [result("one", "a"), result("any/big", "b")]})));
        assert_eq!(said(&good, &old), [""; 0]);
        let results = json!([
            {"request": "two", "driver": "", "pool": "", "device": "B"},
            {"request": "a/b/c", "driver": "d.io", "pool": "p", "device": "b", "shareID": "x",
                "bindingConditions": ["Bound"]},
        ]);
        let reference = "must be the name of a request in the claim or the name of a request and a subrequest \
                         separated by '/'";
        let at = |index: usize| format!("status.allocation.devices.results[{index}]");
        let bad = said(&given(json!({"results": results})), &old);
        assert_eq!(bad.len(), 7, "{bad:?}");
        assert_eq!(bad[0], format!("{}.request: Invalid value: \"two\": {reference}", at(0)));
        assert_eq!(bad[1], format!("{}.driver: Required value", at(0)));
        assert_eq!(bad[2], format!("{}.pool: Required value", at(0)));
        assert!(
            bad[3].starts_with(&format!("{}.device: Invalid value: \"B\": a lowercase", at(0))),
            "{bad:?}"
        );
        assert_eq!(bad[4], format!("{}.request: Invalid value: \"a/b/c\": {reference}", at(1)));
        assert_eq!(
            bad[5],
            format!(
                "{}.bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use \
                 bindingConditions",
                at(1)
            )
        );
        assert!(bad[6].starts_with(&format!("{}.shareID: Invalid value: \"x\"", at(1))), "{bad:?}");

        let config = json!([{"source": "FromElsewhere", "requests": ["one", "one"],
            "opaque": {"driver": "d.io", "parameters": {}}}, {}]);
        let at = "status.allocation.devices.config";
        assert_eq!(
            said(&given(json!({"config": config})), &old),
            [
                format!(
                    "{at}[0].source: Unsupported value: \"FromElsewhere\": supported values: \"FromClaim\", \"FromClass\""
                ),
                format!("{at}[0].requests[1]: Duplicate value: \"one\""),
                format!("{at}[1].source: Required value"),
                format!("{at}[1].opaque: Required value"),
            ]
        );
        let many: Vec<Value> = (0..33).map(|at| result("one", &format!("d{at}"))).collect();
        assert_eq!(
            said(&given(json!({"results": many})), &old),
            ["status.allocation.devices.results: Too many: 33: must have at most 32 items"]
        );
        let changed = said(&given(json!({"results": [result("one", "a")]})), &good);
        assert_eq!(changed.len(), 1);
        assert!(changed[0].ends_with("field is immutable"), "{changed:?}");
    }
}
