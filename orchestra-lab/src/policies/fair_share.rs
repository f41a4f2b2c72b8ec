//! Dominant resource fairness over processors and memory, with gangs (Ghodsi et al., NSDI'11).
//!
//! Namespaces take turns: whoever has the smallest share of the resource it uses most of gets the next pod. Pods of one pod group
//! are a gang and get their nodes together or not at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use orchestra_scheduler::view::{ClusterView, NodeName, PodView};
use orchestra_scheduler::{Placement, Strategy};

use super::gang::units;

/// Places for the namespace with the smallest dominant share first, on the fullest node that will do.
#[derive(Clone, Copy, Debug, Default)]
pub struct FairShare;

/// Pods that stand or fall together.
type Gang = Vec<Arc<PodView>>;

/// What a namespace has and waits for.
#[derive(Default)]
struct Tenant {
    cpu: i64,
    memory: i64,
    waiting: VecDeque<Gang>,
}

impl Tenant {
    fn dominant(&self, all: (i64, i64)) -> f64 {
        let part = |mine: i64, all: i64| mine as f64 / all.max(1) as f64;
        part(self.cpu, all.0).max(part(self.memory, all.1))
    }

    fn take(&mut self, pod: &PodView) {
        self.cpu = self.cpu.saturating_add(pod.demand.requests.cpu.0);
        self.memory = self.memory.saturating_add(pod.demand.requests.memory.0);
    }
}

impl Strategy for FairShare {
    fn place(&self, cluster: &ClusterView, queue: &[Arc<PodView>]) -> Vec<Placement> {
        let mut all = (0_i64, 0_i64);
        let mut tenants: BTreeMap<Arc<str>, Tenant> = BTreeMap::new();
        for node in cluster.nodes() {
            let offered = &node.facts().allocatable;
            all = (all.0.saturating_add(offered.cpu.0), all.1.saturating_add(offered.memory.0));
            for pod in node.pods() {
                tenants.entry(pod.key.namespace.clone()).or_default().take(pod);
            }
        }
        for unit in units(cluster, queue) {
            let Some(first) = unit.first().cloned() else { continue };
            tenants.entry(first.key.namespace.clone()).or_default().waiting.push_back(unit);
        }
        let (mut fork, mut placements) = (cluster.clone(), Vec::new());
        while let Some(tenant) = poorest(&mut tenants, all) {
            let Some(gang) = tenant.waiting.pop_front() else { continue };
            if let Some(nodes) = place_all(&mut fork, &gang) {
                for (pod, node) in gang.iter().zip(&nodes) {
                    tenant.take(pod);
                    placements.push(Placement::new(pod, node));
                }
            }
        }
        placements
    }
}

/// The namespace with the smallest dominant share among those that wait; the first by name among equals.
fn poorest(tenants: &mut BTreeMap<Arc<str>, Tenant>, all: (i64, i64)) -> Option<&mut Tenant> {
    let waiting = tenants.values_mut().filter(|tenant| !tenant.waiting.is_empty());
    waiting.min_by(|left, right| left.dominant(all).total_cmp(&right.dominant(all)))
}

/// Puts a gang on nodes; nothing has changed if not all of it fits.
fn place_all(fork: &mut ClusterView, gang: &Gang) -> Option<Vec<NodeName>> {
    let mut nodes = Vec::with_capacity(gang.len());
    for pod in gang {
        let fullest = fork.nodes().filter(|node| node.has_room_for(pod)).max_by(|left, right| {
            let used = |node: &Arc<orchestra_scheduler::view::NodeView>| node.requested().cpu;
            // The first of equals.
            used(left).cmp(&used(right)).then(std::cmp::Ordering::Greater)
        });
        match fullest.map(|node| node.name().clone()) {
            Some(node) => {
                fork.place(pod.clone(), &node);
                nodes.push(node);
            }
            None => {
                gang.iter().take(nodes.len()).for_each(|pod| drop(fork.take(&pod.uid)));
                return None;
            }
        }
    }
    Some(nodes)
}

#[cfg(test)]
mod tests;
