//! Counters that the devices of a pool have in common: a device that is cut in parts, and the parts.

use std::collections::BTreeMap;

use k8s_openapi::api::resource::v1::Device;
use orchestra_core::quantity::Quantity;

use super::in_use::{InUse, id};
use super::pool::Pool;

/// Amounts by set and counter.
pub(super) type Counters<'a> = BTreeMap<(&'a str, &'a str), Quantity>;

fn read(text: &str) -> Quantity {
    Quantity::parse(text).unwrap_or(Quantity::ZERO)
}

fn of(device: &Device) -> impl Iterator<Item = ((&str, &str), Quantity)> {
    device.consumes_counters.iter().flatten().flat_map(|set| {
        set.counters
            .iter()
            .map(|(name, counter)| ((set.counter_set.as_str(), name.as_str()), read(&counter.value.0)))
    })
}

/// What is left of a pool's counters beside the devices that claims have.
pub(super) fn left<'a>(pool: &Pool<'a>, in_use: &InUse) -> Counters<'a> {
    let sets = pool.whole.iter().flat_map(|slice| &slice.counters);
    let mut left: Counters<'a> = sets
        .flat_map(|set| {
            set.counters
                .iter()
                .map(|(name, counter)| ((set.name.as_str(), name.as_str()), read(&counter.value.0)))
        })
        .collect();
    for slice in &pool.whole {
        for one in &slice.devices {
            if one.device.consumes_counters.is_some()
                && in_use.touches(&id(&slice.driver, &slice.pool, &one.device.name))
            {
                take(&mut left, &one.device);
            }
        }
    }
    left
}

/// Takes away what a device uses.
pub(super) fn take<'a>(left: &mut Counters<'a>, device: &'a Device) {
    for (counter, amount) in of(device) {
        if let Some(left) = left.get_mut(&counter) {
            *left -= amount;
        }
    }
}

/// Whether nothing is overdrawn.
pub(super) fn are_covered(left: &Counters<'_>) -> bool {
    left.values().all(|left| !left.is_negative())
}
