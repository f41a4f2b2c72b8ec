//! `ResourceSlice`: devices that a driver has to offer.

use std::collections::HashMap;

use super::{GROUP, attribute, each_once, naming, offered};
use crate::kind::Scope;
use crate::kinds::csi_node::driver_name;
use crate::kinds::frame::cells::{self, column, text};
use crate::kinds::frame::check::{refuse, refuse_all, required_name, unchanged};
use crate::kinds::frame::{Builtin, Generation, View};
use crate::kinds::meta;
use crate::kinds::pod_spec::node_selector;
use crate::violation::{Violation, Violations};

/// The most devices of a slice.
const MOST_DEVICES: usize = 128;
/// The same where there is more to say of each: taints, counters, lists.
const MOST_LARGE_DEVICES: usize = 64;
/// The most sets of counters that devices share.
const MOST_SETS: usize = 8;

pub(crate) fn kind() -> Builtin {
    Builtin::new(GROUP, "ResourceSlice", "resourceslices", Scope::Cluster)
        .generation(Generation::Spec)
        .validate_create(|slice, out| validate(slice, None, out))
        .validate_change(|slice, old, out| validate(slice, Some(old), out))
        .fields(&["spec.nodeName", "spec.driver"])
        .columns(vec![
            cells::name(),
            column("Node", "string", "The node that has them.", |slice, _| {
                text(slice, "/spec/nodeName").into()
            }),
            column("Driver", "string", "Whose devices they are.", |slice, _| {
                text(slice, "/spec/driver").into()
            }),
            column("Pool", "string", "The pool they are from.", |slice, _| {
                text(slice, "/spec/pool/name").into()
            }),
            cells::age(),
        ])
}

fn validate(slice: &View, old: Option<&View>, out: &mut Violations) {
    let (spec, old) = (slice.get("spec"), old.map(|old| old.get("spec")));
    driver_name(out, &spec.get("driver"));
    pool(out, &spec.get("pool"));
    if let Some(old) = &old {
        unchanged(out, &spec.get("pool").get("name"), &old.get("pool").get("name"));
        unchanged(out, &spec.get("driver"), &old.get("driver"));
        unchanged(out, &spec.get("nodeName"), &old.get("nodeName"));
    }
    place(out, &spec);
    let (devices, sets) = (spec.get("devices"), spec.get("sharedCounters"));
    if devices.is_set() && sets.is_set() {
        let detail = "only one of `sharedCounters` or `devices` is allowed";
        out.push(Violation::invalid(spec.path(), "", detail));
    }
    let before: HashMap<&str, View> = old
        .iter()
        .flat_map(|old| old.get("devices").items())
        .map(|device| (device.get("name").text(), device))
        .collect();
    let has_own_place = spec.get("perDeviceNodeSelection").flag();
    let most =
        if devices.items().any(|device| is_large(&device)) { MOST_LARGE_DEVICES } else { MOST_DEVICES };
    each_once(
        out,
        &devices,
        most,
        |one| one.get("name").text(),
        |out, one| {
            offered::validate(out, one, before.get(one.get("name").text()), has_own_place);
        },
    );
    each_once(
        out,
        &sets,
        MOST_SETS,
        |one| one.get("name").text(),
        |out, set| {
            required_name(out, &set.get("name"), meta::label);
            offered::counters(out, &set.get("counters"));
        },
    );
}

fn is_large(device: &View) -> bool {
    !device.get("taints").is_empty()
        || !device.get("consumesCounters").is_empty()
        || attribute::any_list(&device.get("attributes"))
}

/// Which nodes reach the devices: exactly one of four fields says it.
fn place(out: &mut Violations, spec: &View) {
    let mut given = Vec::new();
    let node = spec.get("nodeName");
    if node.is_set() {
        if node.is_empty() {
            refuse(out, &node, "must be either unset or set to a non-empty string");
        } else {
            given.push("`nodeName`");
            refuse_all(out, &node, meta::subdomain(node.text()));
        }
    }
    let selector = spec.get("nodeSelector");
    if selector.is_set() {
        given.push("`nodeSelector`");
        node_selector(out, &selector);
        let terms = selector.get("nodeSelectorTerms");
        if terms.len() != 1 {
            refuse(out, &terms, "must have exactly one node selector term");
        }
    }
    for (field, shown) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")]
    {
        let view = spec.get(field);
        if view.flag() {
            given.push(shown);
        } else if view.is_set() {
            refuse(out, &view, "must be either unset or set to true");
        }
    }
    let detail =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match given.len() {
        1 => (),
        0 => out.push(Violation::required(spec.path(), detail)),
        _ => {
            let detail = format!("{detail}, but multiple fields are set");
            out.push(Violation::invalid(spec.path(), format!("{{{}}}", given.join(", ")), detail));
        }
    }
}

fn pool(out: &mut Violations, pool: &View) {
    naming::pool(out, &pool.get("name"));
    let number = |field: &'static str| (pool.get(field), pool.get(field).int().unwrap_or_default());
    let (count, slices) = number("resourceSliceCount");
    if slices <= 0 {
        out.push(Violation::invalid(count.path(), slices, "must be greater than zero"));
    }
    let (generation, at) = number("generation");
    if at < 0 {
        out.push(Violation::invalid(generation.path(), at, "must be greater than or equal to zero"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kinds::frame::testing::{said, said_of_change, served};

    fn slice(spec: Value) -> Value {
        let mut whole = json!({"driver": "d.example.com", "nodeName": "n1",
            "pool": {"name": "n1", "generation": 1, "resourceSliceCount": 1}});
        for (field, value) in spec.as_object().unwrap() {
            whole[field] = value.clone();
        }
        json!({"metadata": {"name": "s", "resourceVersion": "1"}, "spec": whole})
    }

    fn of_devices(devices: Value) -> Vec<String> {
        said(kind(), slice(json!({"devices": devices})))
    }

    #[test]
    fn devices_are_in_one_place() {
        let whole = slice(json!({"devices": [{"name": "gpu-0", "attributes": {"model": {"string": "x"}}}]}));
        assert_eq!(said(kind(), whole.clone()), [""; 0]);
        assert_eq!(served(kind()).row(&whole, 0)[1..4], [json!("n1"), json!("d.example.com"), json!("n1")]);
        assert_eq!(served(kind()).field_value(&whole, "spec.driver"), "d.example.com");
        let nowhere = said(kind(), slice(json!({"nodeName": null})));
        assert_eq!(
            nowhere,
            [
                "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
            ]
        );
        let term = json!({"matchExpressions": [{"key": "k", "operator": "Exists"}]});
        assert_eq!(
            said(
                kind(),
                slice(json!({"nodeName": "", "allNodes": true, "perDeviceNodeSelection": false,
                    "nodeSelector": {"nodeSelectorTerms": [term]}}))
            ),
            [
                "spec.nodeName: Invalid value: \"\": must be either unset or set to a non-empty string",
                "spec.perDeviceNodeSelection: Invalid value: false: must be either unset or set to true",
                "spec: Invalid value: \"{`nodeSelector`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, \
                 `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set",
            ]
        );
    }

    #[test]
    fn each_device_says_where_it_is_only_where_all_do() {
        let each = |device: Value| {
            said(
                kind(),
                slice(json!({"nodeName": null, "perDeviceNodeSelection": true, "devices": [device]})),
            )
        };
        assert_eq!(each(json!({"name": "a", "nodeName": "n"})), [""; 0]);
        let exactly = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
                       `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        assert_eq!(each(json!({"name": "a"})), [format!("spec.devices[0]: Required value: {exactly}")]);
        assert_eq!(
            each(json!({"name": "a", "nodeName": "n", "allNodes": true})),
            [format!("spec.devices[0]: Invalid value: \"{{`nodeName`, `allNodes`}}\": {exactly}")]
        );
        assert_eq!(
            of_devices(json!([{"name": "a", "allNodes": true}])),
            [
                "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if \
                 `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
            ]
        );
    }

    #[test]
    fn what_a_slice_says_of_a_device_is_bounded_and_named() {
        assert_eq!(
            of_devices(json!([
                {"name": "a", "attributes": {"model": {}, "e.io/": {"bool": true}}},
                {"name": "a", "attributes": {"v": {"version": "1"}, "s": {"string": "x".repeat(65)}}},
            ])),
            [
                "spec.devices[0].attributes[e.io/]: Invalid value: \"\": the name must not be empty",
                "spec.devices[0].attributes[model]: Required value: exactly one value must be specified",
                "spec.devices[1].attributes[s].string: Too long: may not be more than 64 bytes",
                "spec.devices[1].attributes[v].version: Invalid value: \"1\": must be a string compatible with semver.org \
                 spec 2.0.0",
                "spec.devices[1]: Duplicate value: \"a\"",
            ]
        );
        let long = "x".repeat(200);
        let said = of_devices(json!([{"name": "a", "attributes": {long: {"bool": true}}}]));
        let key = format!("{}...{}", "x".repeat(47), "x".repeat(46));
        assert_eq!(
            said,
            [format!("spec.devices[0].attributes[{key}]: Too long: may not be more than 32 bytes")]
        );
        let policy = json!({"value": "1", "requestPolicy": {}});
        assert_eq!(
            of_devices(json!([{"name": "a", "capacity": {"m": policy}}])),
            ["spec.devices[0].capacity[m].requestPolicy: Forbidden: allowMultipleAllocations must be true"]
        );
    }

    #[test]
    fn slices_with_more_to_say_have_fewer_devices() {
        let devices = |count: usize, last: Value| {
            let mut list: Vec<Value> = (0..count - 1).map(|at| json!({"name": format!("d{at}")})).collect();
            list.push(last);
            of_devices(list.into())
        };
        let taint = json!({"key": "k", "effect": "None"});
        let tainted = json!({"name": "t", "taints": [taint]});
        assert_eq!(devices(128, json!({"name": "t"})), [""; 0]);
        assert_eq!(
            devices(129, json!({"name": "t"})),
            ["spec.devices: Too many: 129: must have at most 128 items"]
        );
        assert_eq!(devices(64, tainted.clone()), [""; 0]);
        assert_eq!(devices(65, tainted), ["spec.devices: Too many: 65: must have at most 64 items"]);
        let many: Vec<Value> = (0..17).map(|_| taint.clone()).collect();
        assert_eq!(
            of_devices(json!([{"name": "a", "taints": many}])),
            ["spec.devices[0].taints: Too many: 17: must have at most 16 items"]
        );
    }

    #[test]
    fn counters_stand_apart_from_the_devices_that_use_them() {
        let set = |name: &str| json!({"name": name, "counters": {"memory": {"value": "1Gi"}}});
        assert_eq!(said(kind(), slice(json!({"sharedCounters": [set("a")]}))), [""; 0]);
        let uses = json!([{"name": "a", "consumesCounters": [
            {"counterSet": "s", "counters": {"M": {"value": "1"}}}, {"counterSet": "s", "counters": {}}]}]);
        let said = said(kind(), slice(json!({"sharedCounters": [set("a"), set("a")], "devices": uses})));
        assert_eq!(said.len(), 5, "{said:?}");
        assert_eq!(
            said[0],
            "spec: Invalid value: \"\": only one of `sharedCounters` or `devices` is allowed"
        );
        let at = "spec.devices[0].consumesCounters";
        assert!(said[1].starts_with(&format!("{at}[0].counters[M]: Invalid value: \"M\": a lowercase")));
        assert_eq!(said[2], format!("{at}[1].counters: Required value"));
        assert_eq!(said[3], format!("{at}[1]: Duplicate value: \"s\""));
        assert_eq!(said[4], "spec.sharedCounters[1]: Duplicate value: \"a\"");
    }

    #[test]
    fn binding_waits_for_conditions_and_for_those_that_end_it() {
        let of = |wanted: Value, failed: Value| {
            of_devices(
                json!([{"name": "a", "bindingConditions": wanted, "bindingFailureConditions": failed}]),
            )
        };
        assert_eq!(of(json!(["A", "B"]), json!(["C"])), [""; 0]);
        assert_eq!(
            of(json!(["A", "A"]), json!(["A", "C"])),
            [
                "spec.devices[0].bindingConditions[1]: Duplicate value: \"A\"",
                "spec.devices[0].bindingFailureConditions[0]: Invalid value: \"A\": bindingFailureConditions must not \
                 overlap with bindingConditions",
            ]
        );
        assert_eq!(
            of(json!(["A", "B", "C", "D", "E"]), json!(["F"])),
            ["spec.devices[0].bindingConditions: Too many: 5: must have at most 4 items"]
        );
    }

    #[test]
    fn what_was_there_before_a_rule_stays() {
        let with = |capacity: Value| {
            slice(
                json!({"devices": [{"name": "a", "capacity": {"m": capacity}, "taints": [{"key": "k", "effect": "Old"}]}]}),
            )
        };
        let odd = json!({"value": "1", "requestPolicy": {"default": "1"}});
        let old = with(odd.clone());
        assert_eq!(said(kind(), old.clone()).len(), 2);
        assert_eq!(said_of_change(kind(), &old, &old), [""; 0]);
        let mut new = with(json!({"value": "2", "requestPolicy": {"default": "1"}}));
        new["spec"]["driver"] = "e.io".into();
        assert_eq!(
            said_of_change(kind(), &new, &old),
            [
                "spec.driver: Invalid value: \"e.io\": field is immutable",
                "spec.devices[0].capacity[m].requestPolicy: Forbidden: allowMultipleAllocations must be true",
            ]
        );
    }
}
