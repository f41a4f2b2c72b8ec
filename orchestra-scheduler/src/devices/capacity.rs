//! How much of a device's capacity a request uses.

use k8s_openapi::api::resource::v1::{CapacityRequestPolicy, CapacityRequirements, Device, DeviceCapacity};
use k8s_openapi::apimachinery::pkg::api::resource;
use orchestra_core::quantity::{Format, Quantity};

use super::in_use::Consumed;
use super::selector::qualified;

fn read(quantity: &resource::Quantity) -> Quantity {
    Quantity::parse(&quantity.0).unwrap_or(Quantity::ZERO)
}

/// What a request uses of each capacity of a device, by qualified name; `None` where it asks for what the device does not
/// have, or for amounts that it does not give.
pub(super) fn consumption(
    wanted: Option<&CapacityRequirements>,
    driver: &str,
    device: &Device,
) -> Option<Consumed> {
    let wanted = || wanted.iter().flat_map(|wanted| wanted.requests.iter().flatten());
    let offered = || device.capacity.iter().flatten();
    let known = |name: &str| offered().any(|(other, _)| qualified(other, driver) == qualified(name, driver));
    if !wanted().all(|(name, _)| known(name)) {
        return None;
    }
    let mut consumed = Consumed::new();
    for (name, capacity) in offered() {
        let asked = wanted().find(|(other, _)| qualified(other, driver) == qualified(name, driver));
        let amount = used(asked.map(|(_, amount)| read(amount)), capacity);
        let breaks = capacity.request_policy.as_ref().is_some_and(|policy| !policy_allows(policy, amount));
        if breaks || amount.is_negative() {
            return None;
        }
        let (domain, name) = qualified(name, driver);
        consumed.insert(format!("{domain}/{name}").into(), amount);
    }
    Some(consumed)
}

/// Whether this much more fits beside what is used already.
pub(super) fn fits<'a>(
    device: &Device,
    driver: &str,
    more: &Consumed,
    used: impl Iterator<Item = &'a Consumed> + Clone,
) -> bool {
    device.capacity.iter().flatten().all(|(name, capacity)| {
        let (domain, name) = qualified(name, driver);
        let name = format!("{domain}/{name}");
        let of = |consumed: &Consumed| consumed.get(&*name).copied().unwrap_or_default();
        let sum: Quantity = used.clone().map(of).sum();
        sum + of(more) <= read(&capacity.value)
    })
}

/// What is used of a capacity: what was asked for, rounded up as the policy has it; without a wish the policy's usual amount, or all.
fn used(asked: Option<Quantity>, capacity: &DeviceCapacity) -> Quantity {
    let policy = capacity.request_policy.as_ref();
    let Some(asked) = asked else {
        let usual = policy.and_then(|policy| policy.default.as_ref());
        return read(usual.unwrap_or(&capacity.value));
    };
    let Some(policy) = policy else { return asked };
    if let Some(range) = &policy.valid_range {
        let least = read(&range.min);
        if asked <= least {
            return least;
        }
        let Some(step) = range.step.as_ref().map(|step| read(step).value()).filter(|step| *step > 0) else {
            return asked;
        };
        let over = (asked - least).value();
        let steps = over / step + i64::from(over % step != 0);
        return least + Quantity::new(steps.saturating_mul(step), Format::DecimalSi);
    }
    let valid = policy.valid_values.iter().flatten().map(read);
    valid.filter(|value| *value >= asked).min().unwrap_or(asked)
}

fn policy_allows(policy: &CapacityRequestPolicy, amount: Quantity) -> bool {
    if policy.default.as_ref().is_some_and(|usual| read(usual) == amount) {
        return true;
    }
    if let Some(range) = &policy.valid_range {
        let most = range.max.as_ref().map(read);
        return amount >= read(&range.min) && most.is_none_or(|most| amount <= most);
    }
    policy.valid_values.as_ref().is_none_or(|valid| valid.iter().any(|value| read(value) == amount))
}
