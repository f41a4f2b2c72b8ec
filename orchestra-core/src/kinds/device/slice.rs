//! `ResourceSlice`: devices that a driver has to offer.

use super::{GROUP, TAINT_EFFECTS, bounded};
use crate::kind::Scope;
use crate::kinds::csi_node::driver_name;
use crate::kinds::frame::cells::{self, column, text};
use crate::kinds::frame::check::{
    not_negative, refuse, refuse_all, required, required_name, required_one_of, unchanged,
};
use crate::kinds::frame::{Builtin, Generation, View};
use crate::kinds::meta;
use crate::kinds::pod_spec::node_selector;
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// The most devices of a slice.
const MOST_DEVICES: usize = 128;
/// The most attributes and capacities of a device, together.
const MOST_ATTRIBUTES: usize = 32;
/// Which nodes reach the devices: exactly one of these.
const PLACES: [&str; 4] = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];

pub(crate) fn kind() -> Builtin {
    Builtin::new(GROUP, "ResourceSlice", "resourceslices", Scope::Cluster)
        .generation(Generation::Spec)
        .validate(validate)
        .validate_change(|new, old, out| {
            let (new, old) = (new.get("spec"), old.get("spec"));
            unchanged(out, &new.get("driver"), &old.get("driver"));
            unchanged(out, &new.get("pool").get("name"), &old.get("pool").get("name"));
            unchanged(out, &new.get("nodeName"), &old.get("nodeName"));
        })
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

fn validate(slice: &View, out: &mut Violations) {
    let spec = slice.get("spec");
    let given = PLACES.iter().filter(|field| {
        let view = spec.get(field);
        if view.value().is_some_and(serde_json::Value::is_boolean) { view.flag() } else { !view.is_empty() }
    });
    match given.count() {
        1 => (),
        0 => {
            let detail =
                "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
            out.push(Violation::required(spec.path(), detail));
        }
        _ => {
            let detail = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is \
                          required, but multiple fields are set";
            out.push(Violation::invalid(spec.path(), serde_json::Value::Null, detail));
        }
    }
    let node = spec.get("nodeName");
    if !node.is_empty() {
        refuse_all(out, &node, meta::subdomain(node.text()));
    }
    if spec.get("nodeSelector").is_set() {
        node_selector(out, &spec.get("nodeSelector"));
    }
    driver_name(out, &spec.get("driver"));
    pool(out, &spec.get("pool"));
    for set in spec.get("sharedCounters").items() {
        required_name(out, &set.get("name"), meta::label);
        required(out, &set.get("counters"));
    }
    let devices = spec.get("devices");
    bounded(out, &devices, MOST_DEVICES, |device| device.get("name").text());
    for device in devices.items() {
        one_device(out, &device);
    }
}

fn pool(out: &mut Violations, pool: &View) {
    let name = pool.get("name");
    if required(out, &name) {
        for segment in name.text().split('/') {
            refuse_all(out, &name, meta::subdomain(segment));
        }
    }
    let count = pool.get("resourceSliceCount");
    if count.int().unwrap_or_default() <= 0 {
        out.push(Violation::invalid(
            count.path(),
            count.int().unwrap_or_default(),
            "must be greater than zero",
        ));
    }
    not_negative(out, &pool.get("generation"));
}

fn one_device(out: &mut Violations, device: &View) {
    let own = device.get("name");
    refuse_all(out, &own, meta::label(own.text()));
    let (attributes, capacity) = (device.get("attributes"), device.get("capacity"));
    let total = attributes.len() + capacity.len();
    if total > MOST_ATTRIBUTES {
        let detail =
            format!("the total number of attributes and capacities must not exceed {MOST_ATTRIBUTES}");
        out.push(Violation::invalid(device.path(), total, detail));
    }
    for (_, attribute) in attributes.entries() {
        let values = ["bool", "int", "string", "version"].iter().filter(|kind| attribute.get(kind).is_set());
        let lists =
            ["bools", "ints", "strings", "versions"].iter().filter(|kind| attribute.get(kind).is_set());
        match values.count() + lists.count() {
            1 => (),
            0 => out.push(Violation::required(attribute.path(), "exactly one value must be specified")),
            _ => refuse(out, &attribute, "exactly one value must be specified"),
        }
    }
    if device.get("nodeSelector").is_set() {
        node_selector(out, &device.get("nodeSelector"));
    }
    for taint in device.get("taints").items() {
        let key = taint.get("key");
        refuse_all(out, &key, name::is_qualified_name(key.text()));
        required_one_of(out, &taint.get("effect"), &TAINT_EFFECTS);
    }
    for use_of in device.get("consumesCounters").items() {
        required_name(out, &use_of.get("counterSet"), meta::label);
        required(out, &use_of.get("counters"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kinds::frame::testing::{said, served};

    fn slice(spec: Value) -> Value {
        json!({"metadata": {"name": "s", "resourceVersion": "1"}, "spec": spec})
    }

    #[test]
    fn devices_are_in_one_place() {
        let pool = json!({"name": "n1", "generation": 1, "resourceSliceCount": 1});
        let whole = slice(json!({"driver": "d.example.com", "pool": pool, "nodeName": "n1",
            "devices": [{"name": "gpu-0", "attributes": {"model": {"string": "x"}}}]}));
        assert_eq!(said(kind(), whole.clone()), [""; 0]);
        assert_eq!(served(kind()).row(&whole, 0)[1..4], [json!("n1"), json!("d.example.com"), json!("n1")]);
        assert_eq!(served(kind()).field_value(&whole, "spec.driver"), "d.example.com");
        let nowhere = said(kind(), slice(json!({"driver": "d.example.com", "pool": pool})));
        assert!(nowhere[0].starts_with("spec: Required value: exactly one of `nodeName`"), "{nowhere:?}");
        let both = json!({"driver": "d.example.com", "pool": pool, "nodeName": "n1", "allNodes": true,
            "devices": [{"name": "a", "attributes": {"model": {}}}, {"name": "a"}]});
        let said = said(kind(), slice(both));
        assert!(said[0].contains("but multiple fields are set"));
        assert!(said[1].starts_with("spec.devices[1]: Duplicate value"));
        assert_eq!(
            said[2],
            "spec.devices[0].attributes[model]: Required value: exactly one value must be specified"
        );
    }
}
