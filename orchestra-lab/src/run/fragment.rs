//! Fragmentation: what is idle, but of no use to the pods that come.
//!
//! For devices it is the measure of Weng et al., "Beware of Fragmentation" (ATC'23), the very one that the policy `fgd`
//! descends, as a share of what is idle: what a typical pod expects not to be able to use. For everything else, of which there
//! is one lump on a node, it is the same idea: of what is idle, the share on nodes where a typical pod that asks for the
//! resource does not fit, averaged over typical pods by how often they come. 0 means any of them could use all of it, 1 that
//! nobody can use any.

use std::sync::Arc;

use orchestra_scheduler::Resources;
use orchestra_scheduler::view::{ClusterView, NodeView, PodView, Stamp};

use super::gauge::Resource;
use crate::gpu::{Account, MILLI, MODEL};
use crate::policies::{cpu_left, fgd};
use crate::workload::Workload;

/// Classes are typical, the most frequent first, until they make up this share of all pods.
const COVERED: f64 = 0.95;
/// At most this many classes are typical.
const MOST: usize = 64;

#[derive(Debug)]
pub(super) struct Fragments {
    pods: Vec<(f64, PodView)>,
    /// For each resource, the sum of the weights of pods that ask for it.
    resources: Vec<(Resource, f64)>,
    devices: Arc<Account>,
    measure: fgd::Fragmentation,
    /// For each position in the order of nodes, the state for which `parts` hold.
    states: Vec<Option<Stamp>>,
    /// For each position and resource.
    parts: Vec<Part>,
}

/// What is idle on one node, and how much of it is of no use.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    idle: f64,
    useless: f64,
}

impl Fragments {
    /// The measure for pods of this workload; `devices` knows who has which.
    pub(super) fn of(workload: &Workload, resources: &[Resource], devices: Arc<Account>) -> Self {
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
                .filter(|(_, pod)| pod.demand.requests.amount(&resource.0) > 0)
                .map(|(weight, _)| weight)
                .sum()
        };
        let resources = resources.iter().map(|resource| (resource.clone(), weight(resource))).collect();
        let measure = fgd::Fragmentation::new(&fgd::Typical::of_workload(workload));
        Self { pods, resources, devices, measure, states: Vec::new(), parts: Vec::new() }
    }

    /// For each resource, the share of what is idle that typical pods cannot use.
    pub(super) fn of_cluster(&mut self, cluster: &ClusterView) -> Vec<f64> {
        let width = self.resources.len();
        let mut sums = vec![Part::default(); width];
        self.states.resize(cluster.node_count(), None);
        self.parts.resize(cluster.node_count() * width, Part::default());
        for (position, node) in cluster.nodes().enumerate() {
            // Most nodes are as they were at the last sample.
            if self.states.get(position) != Some(&Some(node.state())) {
                self.look(position, node);
            }
            let parts = self.parts.get(position * width..(position + 1) * width).unwrap_or_default();
            for (sum, part) in sums.iter_mut().zip(parts) {
                sum.idle += part.idle;
                sum.useless += part.useless;
            }
        }
        sums.iter().map(|sum| if sum.idle > 0.0 { sum.useless / sum.idle } else { 0.0 }).collect()
    }

    /// Works one node out anew.
    fn look(&mut self, position: usize, node: &NodeView) {
        let fits: Vec<bool> = self.pods.iter().map(|(_, pod)| fits(node, pod)).collect();
        let parts = self.resources.iter().map(|(resource, weight)| match resource.0.to_string() == MILLI {
            true => self.devices(node),
            false => self.lump(node, resource, *weight, &fits),
        });
        let parts: Vec<Part> = parts.collect();
        let start = position * parts.len();
        self.parts.iter_mut().skip(start).zip(parts).for_each(|(known, part)| *known = part);
        if let Some(state) = self.states.get_mut(position) {
            *state = Some(node.state());
        }
    }

    fn devices(&self, node: &NodeView) -> Part {
        let devices = self.devices.devices(node);
        let measure = self.measure.on(node.facts().labels.get(MODEL).map(String::as_str));
        Part { idle: devices.total_left() as f64, useless: measure.of(cpu_left(node), &devices) }
    }

    fn lump(&self, node: &NodeView, resource: &Resource, weight: f64, fits: &[bool]) -> Part {
        let free = node.facts().allocatable.amount(&resource.0) - node.requested().amount(&resource.0);
        if free <= 0 || weight <= 0.0 {
            return Part::default();
        }
        let shut_out: f64 = self
            .pods
            .iter()
            .zip(fits)
            .filter(|((_, pod), fits)| !**fits && pod.demand.requests.amount(&resource.0) > 0)
            .map(|((weight, _), _)| weight)
            .sum();
        Part { idle: free as f64, useless: free as f64 * shut_out / weight }
    }
}

fn fits(node: &NodeView, pod: &PodView) -> bool {
    let (facts, used, asked) = (node.facts(), node.requested(), &pod.demand.requests);
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
