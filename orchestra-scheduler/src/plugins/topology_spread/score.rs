//! Soft constraints: the fewer pods of the group in a node's domains, the better.

use std::collections::{BTreeMap, BTreeSet};

use super::{HOSTNAME, PodTopologySpread, count, has_all_keys, includes};
use crate::plugin::{Cycle, Normalise, PreScore, Score};
use crate::unit::Points;
use crate::verdict::PreScored;
use crate::view::{NodeName, NodeView, PodView, SpreadConstraint, Unsatisfiable};

/// The pod's soft constraints, and what the nodes that are left look like under them.
#[derive(Clone, Debug)]
struct Prospects {
    constraints: Vec<Prospect>,
    /// Nodes without some of the labels; they get nothing.
    ignored: BTreeSet<NodeName>,
}

#[derive(Clone, Debug)]
struct Prospect {
    constraint: SpreadConstraint,
    /// The pods of the group in each domain that is still open; empty when every node is a domain of its own.
    counts: BTreeMap<String, i64>,
    /// What a pod counts for: more when there are more domains.
    weight: f64,
}

impl Prospect {
    fn per_node(&self) -> bool {
        &*self.constraint.topology_key == HOSTNAME
    }

    fn points(&self, pod: &PodView, node: &NodeView) -> Option<f64> {
        let domain = node.facts().labels.get(&*self.constraint.topology_key)?;
        let here = if self.per_node() {
            count(&self.constraint, pod, node)
        } else {
            self.counts.get(domain).copied().unwrap_or(0)
        };
        Some(here as f64 * self.weight + (self.constraint.max_skew - 1) as f64)
    }
}

/// The value of a node's label; nodes without it share the empty one.
fn domain<'a>(node: &'a NodeView, constraint: &SpreadConstraint) -> &'a str {
    node.facts().labels.get(&*constraint.topology_key).map_or("", String::as_str)
}

impl PreScore for PodTopologySpread {
    fn pre_score(&self, cycle: &mut Cycle<'_>, pod: &PodView, nodes: &[&NodeView]) -> PreScored {
        let constraints = self.constraints(cycle.cluster(), pod, Unsatisfiable::ScheduleAnyway);
        if constraints.is_empty() {
            return PreScored::Skip;
        }
        let strict = self.is_strict(pod);
        let usable = |node: &NodeView| !strict || has_all_keys(node.facts(), &constraints);
        let ignored: BTreeSet<NodeName> =
            nodes.iter().filter(|node| !usable(node)).map(|node| node.name().clone()).collect();
        let mut prospects = Vec::with_capacity(constraints.len());
        for constraint in &constraints {
            let mut prospect =
                Prospect { constraint: constraint.clone(), counts: BTreeMap::new(), weight: 0.0 };
            let domains = if prospect.per_node() {
                nodes.len() - ignored.len()
            } else {
                let open = nodes.iter().filter(|node| usable(node));
                prospect.counts = open.map(|node| (domain(node, constraint).to_owned(), 0)).collect();
                prospect.counts.len()
            };
            prospect.weight = ((domains + 2) as f64).ln();
            prospects.push(prospect);
        }
        for node in cycle.cluster().nodes().filter(|node| usable(node)) {
            for prospect in &mut prospects {
                if !includes(&prospect.constraint, pod, node.facts()) {
                    continue;
                }
                if let Some(here) = prospect.counts.get_mut(domain(node, &prospect.constraint)) {
                    *here += count(&prospect.constraint, pod, node);
                }
            }
        }
        cycle.note(Prospects { constraints: prospects, ignored });
        PreScored::Score
    }
}

impl Score for PodTopologySpread {
    fn score(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        let Some(prospects) = cycle.noted::<Prospects>() else { return Points(0) };
        if prospects.ignored.contains(node.name()) {
            return Points(0);
        }
        let points = prospects.constraints.iter().filter_map(|prospect| prospect.points(pod, node));
        Points(points.sum::<f64>().round() as i64)
    }
}

/// What raw points become between the fewest and the most there are: few are good.
pub(crate) fn share(raw: i64, fewest: i64, most: i64) -> i64 {
    if most == 0 { Points::MAX.0 } else { Points::MAX.0 * (most + fewest - raw) / most }
}

impl Normalise for PodTopologySpread {
    fn normalise(&self, cycle: &Cycle<'_>, _: &PodView, nodes: &[&NodeView], scores: &mut [Points]) {
        let Some(prospects) = cycle.noted::<Prospects>() else { return };
        let counted = |node: &NodeView| !prospects.ignored.contains(node.name());
        let raw = || nodes.iter().zip(&*scores).filter(|(node, _)| counted(node)).map(|(_, points)| points.0);
        let (fewest, most) = (raw().min().unwrap_or(0), raw().max().unwrap_or(0));
        for (node, points) in nodes.iter().zip(scores) {
            points.0 = if counted(node) { share(points.0, fewest, most) } else { 0 };
        }
    }
}
