//! What is known of nodes with regard to volumes: which of them reach those of a pod, by what the nodes say about
//! themselves, and how many more each can surely take.

use super::table::{Table, Tick};
use crate::plugins::volume_binding::Whereabouts;
use crate::plugins::volume_limits::room_at_least;
use crate::plugins::volume_zone::Demanded;
use crate::view::ClusterView;

/// Nodes whose bits are in one word.
const BITS: usize = u64::BITS as usize;

/// So many different places for volumes are remembered: zones are few.
const KEPT: usize = 64;

/// On what it depends which nodes reach the volumes of a pod; one that is `None` does not matter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question {
    pub(super) whereabouts: Option<Whereabouts>,
    pub(super) demanded: Option<Demanded>,
}

/// What was answered.
#[derive(Debug)]
struct Reached {
    question: Question,
    synced: Option<Tick>,
    /// The nodes that do, a bit for each position.
    nodes: Vec<u64>,
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Reaches {
    /// Those asked for last are at the end.
    kept: Vec<Reached>,
    rooms: Vec<i64>,
    counted: Option<Tick>,
}

impl Reaches {
    /// The nodes that reach volumes like that, a bit for each position; `ask` asks about a node, and `None` means that this
    /// cannot be told.
    pub(super) fn nodes(
        &mut self,
        question: Question,
        table: &Table,
        ask: impl Fn(usize) -> Option<bool>,
    ) -> Option<&[u64]> {
        let known = self.kept.iter().position(|one| one.question == question).map(|at| self.kept.remove(at));
        let mut one = known.unwrap_or(Reached { question, synced: None, nodes: Vec::new() });
        let changed = one.synced.and_then(|since| Some((table.since(since)?, since)));
        let positions: Vec<usize> = match changed {
            Some((changed, since)) => {
                let changed = changed.into_iter().map(|position| position as usize);
                changed.filter(|position| !table.says_the_same_since(*position, since)).collect()
            }
            None => {
                one.nodes = vec![0; table.len().div_ceil(BITS)];
                (0..table.len()).collect()
            }
        };
        one.synced = Some(table.now());
        for position in positions {
            let (word, bit) = (one.nodes.get_mut(position / BITS)?, 1 << (position % BITS));
            if ask(position)? { *word |= bit } else { *word &= !bit }
        }
        if self.kept.len() >= KEPT {
            self.kept.remove(0);
        }
        self.kept.push(one);
        self.kept.last().map(|one| &*one.nodes)
    }

    /// How many more volumes each node can surely take.
    pub(super) fn rooms(&mut self, cluster: &ClusterView, table: &Table) -> &[i64] {
        let changed = self.counted.and_then(|tick| table.since(tick));
        self.counted = Some(table.now());
        match changed {
            Some(changed) => {
                for position in changed {
                    let place = self.rooms.get_mut(position as usize);
                    if let Some((place, node)) = place.zip(cluster.node_at(position as usize)) {
                        *place = room_at_least(cluster, node);
                    }
                }
            }
            None => self.rooms = cluster.nodes().map(|node| room_at_least(cluster, node)).collect(),
        }
        &self.rooms
    }
}
