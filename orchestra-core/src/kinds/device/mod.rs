//! Dynamic resource allocation: classes of devices, claims to them, and what drivers have to offer.
//!
//! After upstream's `pkg/apis/resource/validation`. Selectors in CEL are looked at for their length; who allocates compiles
//! them.

use std::collections::HashSet;

use serde_json::Value;

mod allocation;
mod attribute;
mod capacity;
mod claim;
mod class;
mod identity;
mod naming;
mod offered;
mod request;
mod slice;
mod state;

pub(super) use claim::{kind as claim, template};
pub(super) use class::kind as class;
pub(super) use slice::kind as slice;

use super::frame::View;
use super::frame::check::refuse_all;
use crate::gvk::GroupVersion;
use crate::meta::name;
use crate::violation::{Violation, Violations};

const GROUP: GroupVersion = GroupVersion::new("resource.k8s.io", "v1");

/// What a taint of a device does, as messages list it.
const TAINT_EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];
/// The most conditions that devices wait for, or that end the wait.
const MOST_CONDITIONS: usize = 4;

/// Looks at each item of a list that is not longer than `most`; of a longer one at none. Says whether it did.
fn each<'a>(
    out: &mut Violations,
    list: &View<'a>,
    most: usize,
    mut check: impl FnMut(&mut Violations, &View<'a>),
) -> bool {
    if list.len() > most {
        out.push(Violation::too_many(list.path(), list.len(), most));
        return false;
    }
    for item in list.items() {
        check(out, &item);
    }
    true
}

/// As [`each`], and nothing is in the list twice by its `key`, the text of a field.
fn each_once<'a>(
    out: &mut Violations,
    list: &View<'a>,
    most: usize,
    key: fn(&View<'a>) -> &'a str,
    check: impl FnMut(&mut Violations, &View<'a>),
) {
    if !each(out, list, most, check) {
        return;
    }
    let mut seen = HashSet::new();
    for item in list.items() {
        if !seen.insert(key(&item)) {
            out.push(Violation::duplicate(item.path(), key(&item)));
        }
    }
}

/// What has to become true of a device before, and what must not, when it is bound.
fn binding(out: &mut Violations, device: &View) {
    let (wanted, failed) = (device.get("bindingConditions"), device.get("bindingFailureConditions"));
    for list in [&wanted, &failed] {
        each(out, list, MOST_CONDITIONS, |out, condition| {
            refuse_all(out, condition, name::is_qualified_name(condition.text()));
        });
    }
    let known: HashSet<&str> = wanted.items().map(|condition| condition.text()).collect();
    for (list, ends_the_wait) in [(&wanted, false), (&failed, true)] {
        let mut seen = HashSet::new();
        for condition in list.items() {
            if !seen.insert(condition.text()) {
                out.push(Violation::duplicate(condition.path(), condition.text()));
            }
            if ends_the_wait && known.contains(condition.text()) {
                let detail = "bindingFailureConditions must not overlap with bindingConditions";
                out.push(Violation::invalid(condition.path(), condition.text(), detail));
            }
        }
    }
    for (list, other, names) in [
        (&wanted, &failed, ("bindingConditions", "bindingFailureConditions")),
        (&failed, &wanted, ("bindingFailureConditions", "bindingConditions")),
    ] {
        if list.is_empty() && !other.is_empty() {
            let detail = format!("{} are required to use {}", names.0, names.1);
            // Go shows a list that is not there as `null`.
            out.push(Violation::invalid(list.path(), Value::Null, detail));
        }
    }
}
