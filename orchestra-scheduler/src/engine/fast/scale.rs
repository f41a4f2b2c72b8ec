//! The scores of a plugin that normalises by the highest of its raw scores.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::plugins::normalise::{Best, share};

/// The raw scores of a plugin that normalises by the highest.
#[derive(Debug)]
pub(super) struct Scale {
    weight: i32,
    best: Best,
    /// By position; empty as long as all are 0.
    raw: Arc<Vec<i32>>,
    /// How many feasible nodes have each raw score other than 0.
    census: BTreeMap<i32, u32>,
    /// The highest raw score that totals are made with.
    pub(super) highest: i32,
}

impl Scale {
    /// Of a plugin with this weight, with no node looked at.
    pub(super) fn of(weight: i32, best: Best) -> Self {
        Self { weight, best, raw: Arc::default(), census: BTreeMap::new(), highest: 0 }
    }

    /// Begins with the raw scores of all nodes, and those that are feasible.
    pub(super) fn start(&mut self, raw: Arc<Vec<i32>>, feasible: impl Iterator<Item = usize>) {
        self.raw = raw;
        self.census.clear();
        if !self.is_flat() {
            feasible.for_each(|position| self.count(self.raw(position)));
        }
        self.highest = self.actual_highest();
    }

    /// Whether all raw scores are 0.
    pub(super) fn is_flat(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether these are the raw scores it has.
    pub(super) fn has(&self, raw: &Arc<Vec<i32>>) -> bool {
        Arc::ptr_eq(&self.raw, raw)
    }

    /// Takes other raw scores; nodes that have others than before must not be counted now.
    pub(super) fn adopt(&mut self, raw: &Arc<Vec<i32>>) {
        self.raw = raw.clone();
    }

    /// Gives the node at a position, which is not counted now, another raw score, where there are so many nodes.
    pub(super) fn set(&mut self, position: usize, raw: i32, nodes: usize) {
        if raw == self.raw(position) {
            return;
        }
        let all = Arc::make_mut(&mut self.raw);
        if all.is_empty() {
            *all = vec![0; nodes];
        }
        if let Some(known) = all.get_mut(position) {
            *known = raw;
        }
    }

    /// The raw score at a position.
    pub(super) fn raw(&self, position: usize) -> i32 {
        self.raw.get(position).copied().unwrap_or(0)
    }

    /// What a raw score adds to a total if `highest` is the highest.
    pub(super) fn worth(&self, raw: i32, highest: i32) -> i32 {
        let share = share(i64::from(raw), i64::from(highest), self.best);
        i32::try_from(share).unwrap_or(0).saturating_mul(self.weight)
    }

    /// Counts a feasible node.
    pub(super) fn count(&mut self, raw: i32) {
        if raw != 0 {
            *self.census.entry(raw).or_default() += 1;
        }
    }

    /// Does not count it any more.
    pub(super) fn discount(&mut self, raw: i32) {
        if let Some(count) = self.census.get_mut(&raw) {
            *count -= 1;
            if *count == 0 {
                self.census.remove(&raw);
            }
        }
    }

    /// The highest raw score of a feasible node.
    pub(super) fn actual_highest(&self) -> i32 {
        self.census.last_key_value().map_or(0, |(raw, _)| *raw)
    }
}
