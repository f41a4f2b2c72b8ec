//! Why each of many nodes was refused, told once for all nodes that were refused alike.
//!
//! A pod that no node can take is refused by every node of the cluster, and mostly for two or three reasons. What is
//! shared is kept shared: a copy costs a few counters, and a count of the reasons does not look at the nodes.

use std::fmt;
use std::sync::Arc;

use super::NodeRejection;
use crate::verdict::Rejection;
use crate::view::NodeName;

/// Stands for a node that was not refused.
const NOTHING: u32 = u32::MAX;

/// Of so many different refusals the latest are looked through for one that is the same.
const COMPARED: usize = 32;

/// Nodes that were refused, in order, with who refused them and why.
#[derive(Clone, Default)]
pub struct Refusals {
    names: Arc<Vec<NodeName>>,
    /// For each name what was said of it, by its place in `said`.
    of: Arc<Vec<u32>>,
    said: Arc<Vec<(String, Rejection)>>,
    /// Of how many nodes each was said.
    counts: Vec<usize>,
    /// How many nodes were refused.
    refused: usize,
    /// The place of the name that comes first; the others follow, and those before it after the last.
    start: usize,
}

/// One node that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The node.
    pub node: &'a NodeName,
    /// The plugin that refused it.
    pub plugin: &'a str,
    /// Why.
    pub rejection: &'a Rejection,
}

impl Refusals {
    /// How many nodes were refused.
    #[must_use]
    pub fn len(&self) -> usize {
        self.refused
    }

    /// Whether no node was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.refused == 0
    }

    /// The nodes, in order.
    pub fn iter(&self) -> impl Iterator<Item = Refused<'_>> {
        let (before, after) = (0..self.start.min(self.names.len()), self.start..self.names.len());
        after.chain(before).filter_map(|place| self.at(place))
    }

    /// What was said of nodes: by whom, why, and of how many.
    pub fn alike(&self) -> impl Iterator<Item = (&str, &Rejection, usize)> {
        let counted = self.said.iter().zip(&self.counts).filter(|(_, count)| **count > 0);
        counted.map(|((plugin, rejection), count)| (plugin.as_str(), rejection, *count))
    }

    /// Adds a node after the others.
    pub fn push(&mut self, refused: NodeRejection) {
        if self.start > 0 {
            Arc::make_mut(&mut self.names).rotate_left(self.start);
            Arc::make_mut(&mut self.of).rotate_left(self.start);
            self.start = 0;
        }
        Arc::make_mut(&mut self.names).push(refused.node);
        Arc::make_mut(&mut self.of).push(NOTHING);
        self.set(self.names.len() - 1, Some((&refused.plugin, refused.rejection)));
    }

    /// These nodes, none of them refused so far.
    pub(crate) fn among(names: Arc<Vec<NodeName>>) -> Self {
        Self { of: Arc::new(vec![NOTHING; names.len()]), names, ..Self::default() }
    }

    /// The same beginning with the node at this place.
    pub(crate) fn starting_at(&self, start: usize) -> Self {
        Self { start, ..self.clone() }
    }

    /// What was said of the node at this place of the list it was made with.
    pub(crate) fn at(&self, place: usize) -> Option<Refused<'_>> {
        let (plugin, rejection) = self.said.get(*self.of.get(place)? as usize)?;
        Some(Refused { node: self.names.get(place)?, plugin, rejection })
    }

    /// How many different things were said, also those that hold of no node any more.
    pub(crate) fn kinds(&self) -> usize {
        self.said.len()
    }

    /// Says something else of the node at this place.
    pub(crate) fn set(&mut self, place: usize, said: Option<(&str, Rejection)>) {
        let after = said.map_or(NOTHING, |(plugin, rejection)| self.number(plugin, rejection));
        let Some(before) = self.of.get(place).copied().filter(|before| *before != after) else { return };
        if let Some(of) = Arc::make_mut(&mut self.of).get_mut(place) {
            *of = after;
        }
        if let Some(count) = self.counts.get_mut(before as usize) {
            *count -= 1;
            self.refused -= 1;
        }
        if let Some(count) = self.counts.get_mut(after as usize) {
            *count += 1;
            self.refused += 1;
        }
    }

    fn number(&mut self, plugin: &str, rejection: Rejection) -> u32 {
        let latest = self.said.len().saturating_sub(COMPARED);
        let alike = |said: &(String, Rejection)| said.0 == plugin && said.1 == rejection;
        let known = self.said.get(latest..).and_then(|latest| latest.iter().position(alike));
        let number = known.map(|known| latest + known).unwrap_or_else(|| {
            Arc::make_mut(&mut self.said).push((plugin.to_owned(), rejection));
            self.counts.push(0);
            self.said.len() - 1
        });
        u32::try_from(number).unwrap_or(NOTHING)
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Refusals {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Refusals {}

impl Extend<NodeRejection> for Refusals {
    fn extend<T: IntoIterator<Item = NodeRejection>>(&mut self, refused: T) {
        refused.into_iter().for_each(|refused| self.push(refused));
    }
}

impl FromIterator<NodeRejection> for Refusals {
    fn from_iter<T: IntoIterator<Item = NodeRejection>>(refused: T) -> Self {
        let mut refusals = Self::default();
        refusals.extend(refused);
        refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(node: &str, reason: &'static str) -> NodeRejection {
        NodeRejection {
            node: NodeName::from(node),
            plugin: "p".into(),
            rejection: Rejection::unschedulable(reason),
        }
    }

    fn listed(refusals: &Refusals) -> Vec<(&str, &str)> {
        refusals.iter().map(|one| (&**one.node, &*one.rejection.reasons[0])).collect()
    }

    #[test]
    fn refusals_are_listed_in_order_and_counted_by_what_was_said() {
        let refusals: Refusals =
            [refused("a", "x"), refused("b", "y"), refused("c", "x")].into_iter().collect();
        assert_eq!(listed(&refusals), [("a", "x"), ("b", "y"), ("c", "x")]);
        let counts: Vec<_> = refusals.alike().map(|(_, one, count)| (&*one.reasons[0], count)).collect();
        assert_eq!(counts, [("x", 2), ("y", 1)]);
    }

    #[test]
    fn a_copy_that_begins_elsewhere_is_what_pushing_in_that_order_makes() {
        let names = Arc::new(["a", "b", "c", "d"].map(NodeName::from).to_vec());
        let mut refusals = Refusals::among(names);
        for (place, reason) in [(0, "x"), (1, "x"), (2, "y"), (1, "z"), (3, "x")] {
            refusals.set(place, Some(("p", Rejection::unschedulable(reason))));
        }
        refusals.set(3, None);
        let mut turned = refusals.starting_at(2);
        let pushed = |more: &[NodeRejection]| {
            [refused("c", "y"), refused("a", "x"), refused("b", "z")].into_iter().chain(more.to_vec())
        };
        assert_eq!(turned, pushed(&[]).collect());
        assert_eq!(listed(&refusals), [("a", "x"), ("b", "z"), ("c", "y")]);
        turned.push(refused("e", "y"));
        assert_eq!(turned, pushed(&[refused("e", "y")]).collect());
        assert_eq!((turned.len(), refusals.len()), (4, 3));
    }
}
