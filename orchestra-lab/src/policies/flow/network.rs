//! A flow of least cost: shortest paths one after the other, on petgraph's graph and with its shortest paths.

use petgraph::algo::spfa;
use petgraph::graph::{DiGraph, EdgeIndex, NodeIndex};
use petgraph::visit::{EdgeFiltered, EdgeRef};

/// A pipe, or the way back through one: how much more can go through, and what each unit costs.
#[derive(Clone, Copy, Debug)]
struct Pipe {
    left: u32,
    cost: i64,
}

/// Pipes between places. Every pipe is followed by its way back, so the other direction of an edge is its index with the last bit turned.
#[derive(Debug)]
pub(super) struct Network {
    graph: DiGraph<(), Pipe>,
    pub(super) source: NodeIndex,
    pub(super) sink: NodeIndex,
}

/// Names a pipe.
#[derive(Clone, Copy, Debug)]
pub(super) struct PipeId(EdgeIndex);

fn back(edge: EdgeIndex) -> EdgeIndex {
    EdgeIndex::new(edge.index() ^ 1)
}

impl Network {
    pub(super) fn new() -> Self {
        let mut graph = DiGraph::new();
        let (source, sink) = (graph.add_node(()), graph.add_node(()));
        Self { graph, source, sink }
    }

    pub(super) fn place(&mut self) -> NodeIndex {
        self.graph.add_node(())
    }

    /// A pipe; at most one between two places, whatever the direction.
    pub(super) fn pipe(&mut self, from: NodeIndex, to: NodeIndex, capacity: u32, cost: i64) -> PipeId {
        let pipe = self.graph.add_edge(from, to, Pipe { left: capacity, cost });
        self.graph.add_edge(to, from, Pipe { left: 0, cost: -cost });
        PipeId(pipe)
    }

    /// How much goes through a pipe.
    pub(super) fn through(&self, pipe: PipeId) -> u32 {
        self.graph.edge_weight(back(pipe.0)).map_or(0, |back| back.left)
    }

    /// Lets as much flow from source to sink as can, at the least cost for that much.
    pub(super) fn fill(&mut self) {
        while let Some(path) = self.cheapest_path() {
            let left = |edge: &EdgeIndex| self.graph.edge_weight(*edge).map_or(0, |pipe| pipe.left);
            let more = path.iter().map(left).min().unwrap_or(0);
            if more == 0 {
                return;
            }
            for edge in path {
                if let Some(pipe) = self.graph.edge_weight_mut(edge) {
                    pipe.left -= more;
                }
                if let Some(pipe) = self.graph.edge_weight_mut(back(edge)) {
                    pipe.left += more;
                }
            }
        }
    }

    /// The edges of the cheapest path on which more can flow. Ways back cost less than nothing, hence no Dijkstra; a circle that
    /// does never comes about, because every path before was the cheapest.
    fn cheapest_path(&self) -> Option<Vec<EdgeIndex>> {
        let open = EdgeFiltered::from_fn(&self.graph, |edge| edge.weight().left > 0);
        let paths = spfa(&open, self.source, |edge| edge.weight().cost).ok()?;
        let (mut edges, mut at) = (Vec::new(), self.sink);
        while at != self.source {
            let before = (*paths.predecessors.get(at.index())?)?;
            let open = |edge: &petgraph::graph::EdgeReference<'_, Pipe>| edge.weight().left > 0;
            edges.push(self.graph.edges_connecting(before, at).find(open)?.id());
            at = before;
        }
        Some(edges)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least cost of giving each row a column of its own, as many as can, by trying everything: how many, and what it costs.
    fn tried(costs: &[Vec<Option<u8>>], used: u32) -> (u32, i64) {
        let Some((first, rest)) = costs.split_first() else { return (0, 0) };
        let taken = first.iter().enumerate().filter(|(column, _)| used & (1 << column) == 0);
        let taken = taken.filter_map(|(column, cost)| {
            let (count, sum) = tried(rest, used | (1 << column));
            Some((count + 1, sum + i64::from((*cost)?)))
        });
        taken
            .chain([tried(rest, used)])
            .min_by_key(|(count, sum)| (std::cmp::Reverse(*count), *sum))
            .unwrap_or((0, 0))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_assignment_of_as_many_costs_less(
            costs in prop::collection::vec(prop::collection::vec(prop::option::of(0..20_u8), 5), 1..6)
        ) {
            let mut network = Network::new();
            let (source, sink) = (network.source, network.sink);
            let columns: Vec<_> = (0..5).map(|_| network.place()).collect();
            for column in &columns {
                network.pipe(*column, sink, 1, 0);
            }
            let mut pipes = Vec::new();
            for row in &costs {
                let place = network.place();
                network.pipe(source, place, 1, 0);
                for (cost, column) in row.iter().zip(&columns) {
                    if let Some(cost) = cost {
                        pipes.push((network.pipe(place, *column, 1, i64::from(*cost)), i64::from(*cost)));
                    }
                }
            }
            network.fill();
            let count: u32 = pipes.iter().map(|(pipe, _)| network.through(*pipe)).sum();
            let sum: i64 = pipes.iter().map(|(pipe, cost)| i64::from(network.through(*pipe)) * cost).sum();
            prop_assert_eq!((count, sum), tried(&costs, 0));
        }
    }
}
