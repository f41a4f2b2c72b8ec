//! Which taints the conditions of a node ask for.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use orchestra_core::meta::labels::{
    TAINT_DISK_PRESSURE, TAINT_MEMORY_PRESSURE, TAINT_NOT_READY, TAINT_PID_PRESSURE, TAINT_UNREACHABLE,
    TAINT_UNSCHEDULABLE,
};

use super::health::{READY, condition};
use crate::toleration::{NO_EXECUTE, NO_SCHEDULE, taints};

const TAINT_NETWORK_UNAVAILABLE: &str = "node.kubernetes.io/network-unavailable";

/// A condition, how it stands, and the taint that goes with it.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    (READY, "False", TAINT_NOT_READY),
    (READY, "Unknown", TAINT_UNREACHABLE),
    ("MemoryPressure", "True", TAINT_MEMORY_PRESSURE),
    ("DiskPressure", "True", TAINT_DISK_PRESSURE),
    ("NetworkUnavailable", "True", TAINT_NETWORK_UNAVAILABLE),
    ("PIDPressure", "True", TAINT_PID_PRESSURE),
];

/// Whether pods are to be driven from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    /// If its conditions say so.
    Allowed,
    /// Not, or not more than they are already.
    Withheld,
    /// Not at all, whatever its conditions say.
    Forbidden,
}

fn is_ours(taint: &Taint) -> bool {
    match taint.effect.as_str() {
        NO_EXECUTE => [TAINT_NOT_READY, TAINT_UNREACHABLE].contains(&taint.key.as_str()),
        NO_SCHEDULE => {
            taint.key == TAINT_UNSCHEDULABLE || BY_CONDITION.iter().any(|(_, _, key)| *key == taint.key)
        }
        _ => false,
    }
}

fn drives_out(taint: &Taint) -> bool {
    taint.effect == NO_EXECUTE && is_ours(taint)
}

fn asked_for(node: &Node) -> Vec<(&'static str, &'static str)> {
    let holds = |type_: &str, status: &str| condition(node, type_).is_some_and(|held| held.status == status);
    let by_condition = BY_CONDITION.iter().filter(|(type_, status, _)| holds(type_, status));
    let mut wanted: Vec<_> = by_condition.map(|(_, _, key)| (*key, NO_SCHEDULE)).collect();
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        wanted.push((TAINT_UNSCHEDULABLE, NO_SCHEDULE));
    }
    let expelling = BY_CONDITION.iter().take(2).filter(|(type_, status, _)| holds(type_, status));
    wanted.extend(expelling.map(|(_, _, key)| (*key, NO_EXECUTE)));
    wanted
}

/// Whether a node whose pods were left in peace is now to drive them out.
pub(super) fn begins_eviction(node: &Node) -> bool {
    asked_for(node).iter().any(|(_, effect)| *effect == NO_EXECUTE) && !taints(node).iter().any(drives_out)
}

/// The taints a node should have, if it has others. Those that are none of this controller's business stay.
pub(super) fn wanted(node: &Node, eviction: Eviction, now: Timestamp) -> Option<Vec<Taint>> {
    let held = taints(node);
    let mut asked = asked_for(node);
    let evicts = match eviction {
        Eviction::Allowed => true,
        Eviction::Withheld => held.iter().any(drives_out),
        Eviction::Forbidden => false,
    };
    asked.retain(|(_, effect)| evicts || *effect != NO_EXECUTE);
    let is = |taint: &Taint, (key, effect): &(&str, &str)| taint.key == *key && taint.effect == *effect;
    let stays = |taint: &&Taint| !is_ours(taint) || asked.iter().any(|one| is(taint, one));
    let mut wanted: Vec<Taint> = held.iter().filter(stays).cloned().collect();
    for one in &asked {
        if !wanted.iter().any(|taint| is(taint, one)) {
            wanted.push(Taint {
                key: one.0.into(),
                effect: one.1.into(),
                time_added: Some(Time(now)),
                value: None,
            });
        }
    }
    (wanted != held).then_some(wanted)
}
