//! Follows which nodes of a cluster changed, by position in the order of its nodes.

use std::sync::{Arc, OnceLock};

use crate::view::{Bookmark, Brief, ClusterView, Load, NodeFacts, NodeName, NodeView, Stamp};

/// Entries kept beyond twice the number of nodes.
const KEPT: usize = 1024;

/// A moment in the life of a [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u64);

/// Names the state a node is in, and the state of the promises made on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    node: Stamp,
    promises: Option<Stamp>,
}

impl State {
    fn of(cluster: &ClusterView, node: &NodeView) -> Self {
        Self { node: node.state(), promises: cluster.promised_state(node.name()) }
    }
}

/// The loads of all nodes, each in brief and at length.
#[derive(Debug, Default)]
pub(super) struct Loads {
    /// What is mostly looked at: apart, so that nothing else goes through the caches with it.
    brief: Vec<Brief>,
    full: Vec<Load>,
}

impl Loads {
    /// The load of the node at a position.
    #[inline]
    pub(super) fn get(&self, position: usize) -> Option<(&Brief, &Load)> {
        Some((self.brief.get(position)?, self.full.get(position)?))
    }

    fn set(&mut self, position: usize, load: Load) {
        self.brief[position] = Brief::of(&load);
        self.full[position] = load;
    }
}

impl FromIterator<Load> for Loads {
    fn from_iter<T: IntoIterator<Item = Load>>(loads: T) -> Self {
        let full: Vec<_> = loads.into_iter().collect();
        Self { brief: full.iter().map(Brief::of).collect(), full }
    }
}

/// What was last known of each node, and when it changed.
#[derive(Debug)]
pub(super) struct Table {
    order: Option<Stamp>,
    bookmark: Option<Bookmark>,
    /// Positions by slot of the cluster.
    positions: Vec<u32>,
    states: Vec<State>,
    names: OnceLock<Arc<Vec<NodeName>>>,
    /// Whether there are pods with affinity terms on a node, and on how many nodes there are.
    affine: Vec<bool>,
    affine_nodes: usize,
    changed: Vec<Tick>,
    /// What each node says about itself, and since when.
    facts: Vec<(Arc<NodeFacts>, Tick)>,
    loads: Loads,
    now: Tick,
    /// Positions changed after `first`, one for each tick.
    recent: Vec<u32>,
    first: Tick,
    /// When the order was last another.
    ordered: Tick,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            order: None,
            bookmark: None,
            positions: Vec::new(),
            states: Vec::new(),
            names: OnceLock::new(),
            affine: Vec::new(),
            affine_nodes: 0,
            changed: Vec::new(),
            facts: Vec::new(),
            loads: Loads::default(),
            now: Tick(0),
            recent: Vec::new(),
            first: Tick(0),
            ordered: Tick(0),
        }
    }
}

impl Table {
    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// The names of all nodes, by position.
    pub(super) fn names(&self, cluster: &ClusterView) -> &Arc<Vec<NodeName>> {
        self.names.get_or_init(|| Arc::new(cluster.nodes().map(|node| node.name().clone()).collect()))
    }

    /// The moment of the last change.
    pub(super) fn now(&self) -> Tick {
        self.now
    }

    /// The loads of all nodes, by position.
    pub(super) fn loads(&self) -> &Loads {
        &self.loads
    }

    /// Whether the node at a position says about itself what it said at that moment.
    pub(super) fn says_the_same_since(&self, position: usize, tick: Tick) -> bool {
        self.facts.get(position).is_some_and(|(_, since)| *since <= tick)
    }

    /// The position of the node of this name.
    pub(super) fn position(&self, cluster: &ClusterView, name: &str) -> Option<usize> {
        self.positions.get(cluster.slot_of(name)?).map(|position| *position as usize)
    }

    /// Whether some pod on a node has affinity terms.
    pub(super) fn any_affinity(&self) -> bool {
        self.affine_nodes > 0
    }

    /// Takes in what changed.
    pub(super) fn sync(&mut self, cluster: &ClusterView) {
        if self.order != Some(cluster.order_stamp()) {
            self.start_over(cluster);
        } else {
            match self.bookmark.and_then(|bookmark| cluster.changed_since(bookmark)) {
                Some(slots) => {
                    for slot in slots {
                        if let Some(position) = self.positions.get(*slot).copied() {
                            self.look(cluster, position as usize);
                        }
                    }
                }
                None => (0..self.len()).for_each(|position| self.look(cluster, position)),
            }
        }
        self.bookmark = Some(cluster.bookmark());
    }

    /// The positions changed since `tick`, each once; `None` when all have to be looked at.
    pub(super) fn since(&self, tick: Tick) -> Option<Vec<u32>> {
        if tick < self.ordered {
            return None;
        }
        let few = self.now.0 - tick.0 <= self.len() as u64 / 4 + 16;
        if tick >= self.first && few {
            let begin = (tick.0 - self.first.0) as usize;
            let entries = self.recent.get(begin..)?.iter().zip(tick.0 + 1..);
            let last = |(position, at): &(&u32, u64)| self.changed[**position as usize] == Tick(*at);
            return Some(entries.filter(last).map(|(position, _)| *position).collect());
        }
        let later = (0_u32..).zip(&self.changed).filter(|(_, at)| **at > tick);
        Some(later.map(|(position, _)| position).collect())
    }

    fn start_over(&mut self, cluster: &ClusterView) {
        let order = cluster.slots_in_order();
        let slots = order.iter().max().map_or(0, |slot| slot + 1);
        self.positions = vec![u32::MAX; slots];
        for (position, slot) in (0_u32..).zip(order) {
            self.positions[*slot] = position;
        }
        self.states = cluster.nodes().map(|node| State::of(cluster, node)).collect();
        self.names = OnceLock::new();
        self.affine = cluster.nodes().map(|node| !node.pods_with_affinity().is_empty()).collect();
        self.affine_nodes = self.affine.iter().filter(|affine| **affine).count();
        self.now = Tick(self.now.0 + 1);
        self.changed = vec![self.now; self.states.len()];
        self.facts = cluster.nodes().map(|node| (node.facts().clone(), self.now)).collect();
        self.loads = cluster.nodes().map(|node| node.load()).collect();
        (self.first, self.ordered) = (self.now, self.now);
        self.recent.clear();
        self.order = Some(cluster.order_stamp());
    }

    fn look(&mut self, cluster: &ClusterView, position: usize) {
        let Some(node) = cluster.node_at(position) else { return };
        let state = State::of(cluster, node);
        if std::mem::replace(&mut self.states[position], state) == state {
            return;
        }
        let affine = !node.pods_with_affinity().is_empty();
        let before = std::mem::replace(&mut self.affine[position], affine);
        self.affine_nodes = self.affine_nodes + usize::from(affine) - usize::from(before);
        let limit = 2 * self.len() + KEPT;
        if self.recent.len() >= limit {
            self.recent.drain(..limit / 2);
            self.first = Tick(self.first.0 + limit as u64 / 2);
        }
        self.now = Tick(self.now.0 + 1);
        self.changed[position] = self.now;
        self.loads.set(position, node.load());
        let (facts, since) = &mut self.facts[position];
        if !Arc::ptr_eq(facts, node.facts()) {
            // Nodes often say again what they said before.
            if *facts != *node.facts() {
                *since = self.now;
            }
            *facts = node.facts().clone();
        }
        self.recent.push(position as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{asking, cluster, node};
    use crate::view::NodeName;
    use serde_json::json;

    fn nodes(count: usize) -> ClusterView {
        cluster((0..count).map(|index| json!({"metadata": {"name": format!("n{index}")}})))
    }

    #[test]
    fn a_table_tells_which_positions_changed_each_once() {
        let mut cluster = nodes(40);
        let mut table = Table::default();
        table.sync(&cluster);
        let tick = table.now();
        for (pod, node) in [("p", "n3"), ("q", "n7"), ("r", "n3")] {
            cluster.place(asking(pod, "1", "1"), &NodeName::from(node));
            table.sync(&cluster);
        }
        assert_eq!(table.since(tick), Some(vec![7, 3]));
        assert_eq!(table.since(table.now()), Some(vec![]));
    }

    #[test]
    fn a_node_that_says_the_same_again_says_nothing_else() {
        let mut cluster = nodes(2);
        let mut table = Table::default();
        table.sync(&cluster);
        let tick = table.now();
        cluster.set_node(node(json!({"metadata": {"name": "n0"}})));
        cluster.set_node(node(json!({"metadata": {"name": "n1"}, "spec": {"unschedulable": true}})));
        table.sync(&cluster);
        assert_eq!(table.since(tick), Some(vec![0, 1]));
        assert_eq!([0, 1].map(|position| table.says_the_same_since(position, tick)), [true, false]);
    }

    #[test]
    fn promises_made_and_ended_are_changes_of_the_node() {
        let mut cluster = nodes(2);
        let mut table = Table::default();
        table.sync(&cluster);
        let tick = table.now();
        cluster.nominate(asking("p", "1", "1"), &NodeName::from("n1"));
        table.sync(&cluster);
        assert_eq!(table.since(tick), Some(vec![1]));
        let tick = table.now();
        cluster.withdraw(&asking("p", "1", "1"));
        table.sync(&cluster);
        assert_eq!(table.since(tick), Some(vec![1]));
    }

    #[test]
    fn forks_are_told_apart_node_by_node() {
        let mut cluster = nodes(10);
        let mut table = Table::default();
        table.sync(&cluster);
        let mut fork = cluster.clone();
        fork.place(asking("p", "1", "1"), &NodeName::from("n1"));
        cluster.place(asking("q", "2", "1"), &NodeName::from("n2"));
        let tick = table.now();
        table.sync(&fork);
        assert_eq!(table.since(tick), Some(vec![1]));
        let tick = table.now();
        table.sync(&cluster);
        assert_eq!(table.since(tick), Some(vec![1, 2]));
    }

    #[test]
    fn another_order_means_everything_has_to_be_looked_at() {
        let mut cluster = nodes(4);
        let mut table = Table::default();
        table.sync(&cluster);
        let tick = table.now();
        cluster.set_node(node(json!({"metadata": {"name": "new"}})));
        table.sync(&cluster);
        assert_eq!((table.since(tick), table.len()), (None, 5));
        assert_eq!(table.position(&cluster, "new"), Some(4));
    }

    #[test]
    fn many_changes_are_found_without_the_list_of_recent_ones() {
        let mut cluster = nodes(3);
        let mut table = Table::default();
        table.sync(&cluster);
        let tick = table.now();
        for index in 0..3000 {
            cluster.place(asking(&format!("p{index}"), "0", "0"), &NodeName::from("n1"));
            table.sync(&cluster);
        }
        assert_eq!(table.since(tick), Some(vec![1]));
        assert!(table.recent.len() < 1100);
    }
}
