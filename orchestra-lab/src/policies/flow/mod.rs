//! Placement as a flow of least cost (after Quincy, Isard et al., SOSP'09, and Firmament, Gog et al., OSDI'16).
//!
//! Pods flow through their class (pods that ask for the same) to the nodes that would take them, and through nodes as many as fit; a
//! pipe from a class to a node costs what the node is worth to it. The flow that moves most pods at the least cost is the placement:
//! a pod that could go anywhere makes way for one that could not, which no scheduler does that takes one pod after the other.
//!
//! Requests have several dimensions and flows have one, so a node lets as many pods through as would fit if all of them were as large as
//! the largest that could come, and at least one. What is left after that is another round. More important pods
//! flow first; pods of one group are placed together or not at all.

mod network;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use orchestra_scheduler::view::{ClusterView, NodeView, PodUid, PodView};
use orchestra_scheduler::{Placement, Resources, Strategy};

use self::network::Network;
use super::gang::units;

/// Places all that waits by a flow of least cost.
#[derive(Clone)]
pub struct Flow(Cost);

/// What it costs to put a pod on a node; less is better.
type Cost = Arc<dyn Fn(&PodView, &NodeView) -> u32 + Send + Sync>;

impl fmt::Debug for Flow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Flow")
    }
}

impl Default for Flow {
    /// It costs what is left idle: the mean share, in thousandths, of what a node offers that nobody would use.
    fn default() -> Self {
        Self::new(idle)
    }
}

impl Flow {
    /// A strategy that pays this much for a pod on a node. The same arguments have to give the same answer.
    ///
    /// ```
    /// use orchestra_lab::policies::Flow;
    ///
    /// // As few pods beside each other as can be.
    /// let spread = Flow::new(|_, node| u32::try_from(node.pods().len()).unwrap_or(u32::MAX));
    /// ```
    pub fn new(cost: impl Fn(&PodView, &NodeView) -> u32 + Send + Sync + 'static) -> Self {
        Self(Arc::new(cost))
    }
}

impl Strategy for Flow {
    fn place(&self, cluster: &ClusterView, queue: &[Arc<PodView>]) -> Vec<Placement> {
        let mut units = units(cluster, queue);
        // Groups of which not all find a place leave the others theirs, and it is tried again without them.
        loop {
            let placements = self.place_each(cluster, &units);
            let placed: BTreeSet<&PodUid> = placements.iter().map(|one| &one.pod).collect();
            let torn = |unit: &Vec<Arc<PodView>>| {
                let count = unit.iter().filter(|pod| placed.contains(&pod.uid)).count();
                count > 0 && count < unit.len()
            };
            let whole: Vec<_> = units.iter().filter(|unit| !torn(unit)).cloned().collect();
            if whole.len() == units.len() {
                return placements;
            }
            units = whole;
        }
    }
}

impl Flow {
    /// Places pods, whoever belongs to whom, the most important first.
    fn place_each(&self, cluster: &ClusterView, units: &[Vec<Arc<PodView>>]) -> Vec<Placement> {
        let mut levels: BTreeMap<_, Vec<Arc<PodView>>> = BTreeMap::new();
        for pod in units.iter().flatten() {
            levels.entry(Reverse(pod.priority)).or_default().push(pod.clone());
        }
        let (mut fork, mut placements) = (cluster.clone(), Vec::new());
        for mut waiting in levels.into_values() {
            loop {
                let round = self.round(&fork, &waiting);
                if round.is_empty() {
                    break;
                }
                let placed: BTreeSet<PodUid> = round.iter().map(|(pod, _)| pod.uid.clone()).collect();
                for (pod, node) in round {
                    placements.push(Placement::new(&pod, node.name()));
                    fork.place(pod, node.name());
                }
                waiting.retain(|pod| !placed.contains(&pod.uid));
            }
        }
        placements
    }

    /// One flow.
    fn round(&self, cluster: &ClusterView, waiting: &[Arc<PodView>]) -> Vec<(Arc<PodView>, Arc<NodeView>)> {
        let classes = classes(waiting);
        let wishes: Vec<_> = classes.iter().map(|class| self.wishes(cluster, class, waiting.len())).collect();
        let mut most: BTreeMap<usize, Resources> = BTreeMap::new();
        for (class, wishes) in classes.iter().zip(&wishes) {
            for (_, position) in wishes {
                largest(most.entry(*position).or_default(), &class[0].demand.requests);
            }
        }
        let mut network = Network::new();
        let (source, sink) = (network.source, network.sink);
        let mut places = BTreeMap::new();
        for (position, most) in &most {
            let (Some(node), place) = (cluster.node_at(*position), network.place()) else { continue };
            network.pipe(place, sink, room(node, most).max(1), 0);
            places.insert(*position, (place, node));
        }
        let mut pipes = Vec::new();
        for (class, wishes) in classes.iter().zip(wishes) {
            let from = network.place();
            let count = u32::try_from(class.len()).unwrap_or(u32::MAX);
            network.pipe(source, from, count, 0);
            let mut ways = Vec::with_capacity(wishes.len());
            for (cost, position) in wishes {
                let Some((place, node)) = places.get(&position) else { continue };
                let fit = room(node, &class[0].demand.requests).clamp(1, count);
                ways.push((network.pipe(from, *place, fit, i64::from(cost)), *node));
            }
            pipes.push((class, ways));
        }
        network.fill();
        let mut placed = Vec::new();
        for (class, ways) in pipes {
            let nodes =
                ways.into_iter().flat_map(|(pipe, node)| (0..network.through(pipe)).map(move |_| node));
            placed.extend(class.iter().cloned().zip(nodes.cloned()));
        }
        placed
    }

    /// The nodes that would take a pod of this class, the cheapest first: by position, and no more than there are pods. Where all others are
    /// elsewhere, one of these is free and costs no more than any further one.
    fn wishes(&self, cluster: &ClusterView, class: &[Arc<PodView>], pods: usize) -> Vec<(u32, usize)> {
        let Some(pod) = class.first() else { return Vec::new() };
        let nodes = cluster.nodes().enumerate().filter(|(_, node)| node.has_room_for(pod));
        let mut wishes: Vec<_> = nodes.map(|(position, node)| ((self.0)(pod, node), position)).collect();
        if wishes.len() > pods {
            wishes.select_nth_unstable(pods);
            wishes.truncate(pods);
        }
        wishes.sort_unstable();
        wishes
    }
}

/// Pods that ask for the same, in the order they came.
fn classes(waiting: &[Arc<PodView>]) -> Vec<Vec<Arc<PodView>>> {
    let mut classes: Vec<Vec<Arc<PodView>>> = Vec::new();
    for pod in waiting {
        let alike = |class: &&mut Vec<Arc<PodView>>| {
            class
                .first()
                .is_some_and(|one| one.demand.requests == pod.demand.requests && one.rules == pod.rules)
        };
        match classes.iter_mut().find(alike) {
            Some(class) => class.push(pod.clone()),
            None => classes.push(vec![pod.clone()]),
        }
    }
    classes
}

/// Makes `most` as large as `other` in every dimension.
fn largest(most: &mut Resources, other: &Resources) {
    most.cpu = most.cpu.max(other.cpu);
    most.memory = most.memory.max(other.memory);
    most.ephemeral_storage = most.ephemeral_storage.max(other.ephemeral_storage);
    for (name, amount) in &other.scalars {
        let known = most.scalars.entry(name.clone()).or_default();
        *known = (*known).max(*amount);
    }
}

/// How many pods that ask for this much fit on a node.
fn room(node: &NodeView, asked: &Resources) -> u32 {
    let (offered, used) = (&node.facts().allocatable, node.requested());
    let of = |resources: &Resources, name: &Arc<str>| resources.scalars.get(name).copied().unwrap_or(0);
    let native = [
        (asked.cpu.0, offered.cpu.0, used.cpu.0),
        (asked.memory.0, offered.memory.0, used.memory.0),
        (asked.ephemeral_storage.0, offered.ephemeral_storage.0, used.ephemeral_storage.0),
        (1, node.facts().allocatable_pods, i64::try_from(node.pods().len()).unwrap_or(i64::MAX)),
    ];
    let scalars = asked.scalars.iter().map(|(name, asked)| (*asked, of(offered, name), of(used, name)));
    let times = native.into_iter().chain(scalars).filter(|(asked, ..)| *asked > 0);
    let times = times.map(|(asked, offered, used)| offered.saturating_sub(used).max(0) / asked);
    u32::try_from(times.min().unwrap_or(0)).unwrap_or(u32::MAX)
}

/// The mean share of what the node offers that would be left, in thousandths.
fn idle(pod: &PodView, node: &NodeView) -> u32 {
    let (offered, used, asked) = (&node.facts().allocatable, node.requested(), &pod.demand.requests);
    let of = |resources: &Resources, name: &Arc<str>| resources.scalars.get(name).copied().unwrap_or(0);
    let native =
        [(offered.cpu.0, used.cpu.0, asked.cpu.0), (offered.memory.0, used.memory.0, asked.memory.0)];
    let scalars = offered.scalars.iter().map(|(name, offered)| (*offered, of(used, name), of(asked, name)));
    let (mut sum, mut count) = (0_i128, 0_i128);
    for (offered, used, asked) in native.into_iter().chain(scalars).filter(|(offered, ..)| *offered > 0) {
        let left = offered.saturating_sub(used).saturating_sub(asked).clamp(0, offered);
        sum += i128::from(left) * 1000 / i128::from(offered);
        count += 1;
    }
    u32::try_from(sum / count.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
