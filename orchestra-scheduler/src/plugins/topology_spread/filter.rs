//! Hard constraints: how full each domain is, and whether one more pod would tip the balance.

use std::collections::BTreeMap;

use super::{PodTopologySpread, count, has_all_keys, includes};
use crate::plugin::{Adjust, Cycle, Filter, PreFilter};
use crate::verdict::{PreFiltered, Verdict};
use crate::view::{NodeView, PodView, SpreadConstraint, Unsatisfiable};

const UNEVEN: &str = "node(s) didn't match pod topology spread constraints";
const UNLABELLED: &str = "node(s) didn't match pod topology spread constraints (missing required label)";

/// The pod's hard constraints, each with the pods of the group in every domain.
#[derive(Clone, Debug)]
struct Domains {
    constraints: Vec<SpreadConstraint>,
    counts: Vec<BTreeMap<String, i64>>,
}

impl Domains {
    /// A pod of the group came to a node, or left it.
    fn shift(&mut self, pod: &PodView, other: &PodView, node: &NodeView, by: i64) {
        let facts = node.facts();
        if other.key.namespace != pod.key.namespace || !has_all_keys(facts, &self.constraints) {
            return;
        }
        for (constraint, counts) in self.constraints.iter().zip(&mut self.counts) {
            if !constraint.selector.matches(&*other.labels) || !includes(constraint, pod, facts) {
                continue;
            }
            if let Some(domain) = facts.labels.get(&*constraint.topology_key) {
                *counts.entry(domain.clone()).or_default() += by;
            }
        }
    }
}

/// The pods in the emptiest domain; none if there are fewer domains than there should be.
fn fewest(constraint: &SpreadConstraint, counts: &BTreeMap<String, i64>) -> i64 {
    if counts.len() < constraint.min_domains { 0 } else { counts.values().min().copied().unwrap_or(0) }
}

impl PreFilter for PodTopologySpread {
    fn pre_filter(&self, cycle: &mut Cycle<'_>, pod: &PodView) -> PreFiltered {
        let constraints = self.constraints(cycle.cluster(), pod, Unsatisfiable::DoNotSchedule);
        if constraints.is_empty() {
            return PreFiltered::Skip;
        }
        let mut counts = vec![BTreeMap::new(); constraints.len()];
        for node in cycle.cluster().nodes().filter(|node| has_all_keys(node.facts(), &constraints)) {
            for (constraint, counts) in constraints.iter().zip(&mut counts) {
                if !includes(constraint, pod, node.facts()) {
                    continue;
                }
                if let Some(domain) = node.facts().labels.get(&*constraint.topology_key) {
                    *counts.entry(domain.clone()).or_default() += count(constraint, pod, node);
                }
            }
        }
        cycle.note(Domains { constraints, counts });
        PreFiltered::All
    }
}

impl Adjust for PodTopologySpread {
    fn added(&self, cycle: &mut Cycle<'_>, pod: &PodView, added: &PodView, node: &NodeView) {
        if let Some(domains) = cycle.noted_mut::<Domains>() {
            domains.shift(pod, added, node, 1);
        }
    }

    fn removed(&self, cycle: &mut Cycle<'_>, pod: &PodView, removed: &PodView, node: &NodeView) {
        if let Some(domains) = cycle.noted_mut::<Domains>() {
            domains.shift(pod, removed, node, -1);
        }
    }
}

impl Filter for PodTopologySpread {
    fn filter(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        let Some(domains) = cycle.noted::<Domains>() else { return Verdict::Pass };
        for (constraint, counts) in domains.constraints.iter().zip(&domains.counts) {
            let Some(domain) = node.facts().labels.get(&*constraint.topology_key) else {
                return Verdict::unresolvable(UNLABELLED);
            };
            let itself = i64::from(constraint.selector.matches(&*pod.labels));
            let here = counts.get(domain).copied().unwrap_or(0);
            if here + itself - fewest(constraint, counts) > constraint.max_skew {
                return Verdict::unschedulable(UNEVEN);
            }
        }
        Verdict::Pass
    }
}
