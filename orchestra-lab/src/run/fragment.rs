//! Fragmentation: what is idle, but of no use to the pods that come.
//!
//! After Weng et al., "Beware of Fragmentation" (ATC'23), for every resource and for whole nodes: of what is idle, the
//! share on nodes where a typical pod that asks for the resource does not fit, averaged over typical pods by how often
//! they come. 0 means any of them could use all of it, 1 that nobody can use any.

use orchestra_scheduler::Resources;
use orchestra_scheduler::view::{ClusterView, NodeView, PodView};

use super::gauge::Resource;
use crate::workload::Workload;

/// Classes are typical, the most frequent first, until they make up this share of all pods.
const COVERED: f64 = 0.95;
/// At most this many classes are typical.
const MOST: usize = 64;

#[derive(Debug)]
pub(super) struct Typical {
    pods: Vec<(f64, PodView)>,
    /// For each resource, the sum of the weights of pods that ask for it.
    resources: Vec<(Resource, f64)>,
}

impl Typical {
    pub(super) fn of(workload: &Workload, resources: &[Resource]) -> Self {
        let mut counts = vec![0_u64; workload.classes.len()];
        for pod in &workload.pods {
            if let Some(count) = counts.get_mut(pod.class) {
                *count += 1;
            }
        }
        let mut classes: Vec<(u64, &PodView)> = counts.into_iter().zip(&workload.classes).collect();
        classes.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let all = workload.pods.len() as f64;
        let mut covered = 0.0;
        let mut pods = Vec::new();
        for (count, class) in classes.into_iter().take(MOST).filter(|(count, _)| *count > 0) {
            if covered >= COVERED {
                break;
            }
            let weight = count as f64 / all;
            covered += weight;
            pods.push((weight, class.clone()));
        }
        let weight = |resource: &Resource| {
            pods.iter()
                .filter(|(_, pod)| pod.requests.amount(&resource.0) > 0)
                .map(|(weight, _)| weight)
                .sum()
        };
        let resources = resources.iter().map(|resource| (resource.clone(), weight(resource))).collect();
        Self { pods, resources }
    }

    /// For each resource, the share of what is idle that typical pods cannot use.
    pub(super) fn fragmented(&self, cluster: &ClusterView) -> Vec<f64> {
        let mut idle = vec![0.0; self.resources.len()];
        let mut useless = vec![0.0; self.resources.len()];
        for node in cluster.nodes() {
            let fits: Vec<bool> = self.pods.iter().map(|(_, pod)| fits(node, pod)).collect();
            for (((resource, weight), idle), useless) in
                self.resources.iter().zip(&mut idle).zip(&mut useless)
            {
                let free =
                    node.facts().allocatable.amount(&resource.0) - node.requested().amount(&resource.0);
                if free <= 0 || *weight <= 0.0 {
                    continue;
                }
                let shut_out: f64 = self
                    .pods
                    .iter()
                    .zip(&fits)
                    .filter(|((_, pod), fits)| !**fits && pod.requests.amount(&resource.0) > 0)
                    .map(|((weight, _), _)| weight)
                    .sum();
                *idle += free as f64;
                *useless += free as f64 * shut_out / weight;
            }
        }
        idle.into_iter()
            .zip(useless)
            .map(|(idle, useless)| if idle > 0.0 { useless / idle } else { 0.0 })
            .collect()
    }
}

fn fits(node: &NodeView, pod: &PodView) -> bool {
    let (facts, used, asked) = (node.facts(), node.requested(), &pod.requests);
    let room = |asked: i64, of: i64, used: i64| asked <= 0 || asked <= of.saturating_sub(used);
    let scalar = |amounts: &Resources, name| amounts.scalars.get(name).copied().unwrap_or(0);
    room(asked.cpu.0, facts.allocatable.cpu.0, used.cpu.0)
        && room(asked.memory.0, facts.allocatable.memory.0, used.memory.0)
        && asked
            .scalars
            .iter()
            .all(|(name, asked)| room(*asked, scalar(&facts.allocatable, name), scalar(used, name)))
        && pod.rules.admit(facts)
}
