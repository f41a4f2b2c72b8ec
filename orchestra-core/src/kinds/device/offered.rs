//! One device that a slice offers.

use serde_json::Value;

use super::{TAINT_EFFECTS, attribute, binding, capacity, each, each_once, naming};
use crate::kinds::frame::View;
use crate::kinds::frame::check::{refuse, refuse_all, required, required_name, required_one_of};
use crate::kinds::meta;
use crate::kinds::pod_spec::node_selector;
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// The most attributes and capacities of a device, together.
const MOST_ATTRIBUTES: usize = 32;
/// The most bytes of a key that paths show whole: those of a domain and a name.
const MOST_KEY: usize = 63 + 1 + 32;
/// The most taints of a device.
const MOST_TAINTS: usize = 16;
/// Of how many sets of counters a device takes.
const MOST_SETS: usize = 2;
/// The most counters of a set.
const MOST_COUNTERS: usize = 32;

/// A device. What is as it was in `old` is not looked at again where the rules have become stricter. `has_own_place` when each
/// device of the slice says itself which nodes reach it.
pub(super) fn validate(out: &mut Violations, device: &View, old: Option<&View>, has_own_place: bool) {
    naming::label(out, &device.get("name"));
    let (attributes, capacities) = (device.get("attributes"), device.get("capacity"));
    let total = attributes.len() + capacities.len();
    if total > MOST_ATTRIBUTES {
        let detail =
            format!("the total number of attributes and capacities must not exceed {MOST_ATTRIBUTES}");
        out.push(Violation::invalid(device.path(), total, detail));
    }
    qualified(out, &attributes, attribute::validate);
    let is_new = |field: &'static str| old.is_none_or(|old| old.get(field) != device.get(field));
    if is_new("capacity") {
        let is_shared = device.get("allowMultipleAllocations").flag();
        qualified(out, &capacities, |out, one| capacity::validate(out, one, is_shared));
    }
    if is_new("taints") {
        each(out, &device.get("taints"), MOST_TAINTS, taint);
    }
    let uses = device.get("consumesCounters");
    each_once(
        out,
        &uses,
        MOST_SETS,
        |one| one.get("counterSet").text(),
        |out, one| {
            required_name(out, &one.get("counterSet"), meta::label);
            counters(out, &one.get("counters"));
        },
    );
    place(out, device, has_own_place);
    binding(out, device);
}

/// Entries of a map by names that may have a domain.
fn qualified(out: &mut Violations, map: &View, check: impl Fn(&mut Violations, &View)) {
    for (key, item) in map.entries() {
        let shown = shortened(key);
        let item = match &shown {
            None => item,
            Some(shown) => View::at(item.value(), map.path().key(shown)),
        };
        // Nothing is said of most keys, so no path is written for them.
        if !is_plain(key) {
            naming::qualified(out, item.path(), key);
        }
        check(out, &item);
    }
}

/// Whether a key is certain to be good.
fn is_plain(key: &str) -> bool {
    key.len() <= 32 && name::is_c_identifier(key).is_empty()
}

/// A key that is too long for a path without its middle.
fn shortened(key: &str) -> Option<String> {
    if key.len() <= MOST_KEY {
        return None;
    }
    let left = MOST_KEY - "...".len();
    let start = key.floor_char_boundary(left.div_ceil(2));
    let end = key.ceil_char_boundary(key.len() - left / 2);
    Some(format!("{}...{}", key.get(..start)?, key.get(end..)?))
}

/// Amounts by the names of counters.
pub(super) fn counters(out: &mut Violations, counters: &View) {
    if !required(out, counters) {
        return;
    }
    if counters.len() > MOST_COUNTERS {
        return out.push(Violation::too_many(counters.path(), counters.len(), MOST_COUNTERS));
    }
    for (key, item) in counters.entries() {
        for message in meta::label(key) {
            out.push(Violation::invalid(item.path(), key, message));
        }
    }
}

fn taint(out: &mut Violations, taint: &View) {
    let (key, value) = (taint.get("key"), taint.get("value"));
    for message in name::is_qualified_name(key.text()) {
        out.push(Violation::invalid(key.path(), key.text(), message));
    }
    refuse_all(out, &value, name::is_label_value(value.text()));
    required_one_of(out, &taint.get("effect"), &TAINT_EFFECTS);
}

/// Which nodes reach the device.
fn place(out: &mut Violations, device: &View, has_own_place: bool) {
    let (node, selector, all) = (device.get("nodeName"), device.get("nodeSelector"), device.get("allNodes"));
    if !has_own_place {
        if node.is_set() || selector.is_set() || all.is_set() {
            let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to \
                          true in the ResourceSlice spec";
            out.push(Violation::invalid(device.path(), Value::Null, detail));
        }
        return;
    }
    let mut given = Vec::new();
    if node.is_set() {
        if node.is_empty() {
            refuse(out, &node, "must not be empty");
        } else {
            given.push("`nodeName`");
            refuse_all(out, &node, meta::subdomain(node.text()));
        }
    }
    if selector.is_set() {
        given.push("`nodeSelector`");
        node_selector(out, &selector);
    }
    if all.is_set() {
        if all.flag() {
            given.push("`allNodes`");
        } else {
            refuse(out, &all, "must be either unset or set to true");
        }
    }
    let detail = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set \
                  to true in the ResourceSlice spec";
    match given.len() {
        1 => (),
        0 => out.push(Violation::required(device.path(), detail)),
        _ => out.push(Violation::invalid(device.path(), format!("{{{}}}", given.join(", ")), detail)),
    }
}
