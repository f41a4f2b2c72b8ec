//! How the pods of a class spread over domains: what every node has of the pod's group, and the sums by domain.
//!
//! A node that changed changes a sum or two; nothing else has to be counted again. One more pod in a zone changes the
//! standing of all nodes of that zone; so how nodes stand is worked out for every decision from these sums, for all
//! nodes at once that are alike, or in one pass where too many differ.

use std::collections::HashMap;

use super::buckets::{Bucket, Buckets, Mark, Marks};
use crate::plugins::topology_spread::score::share;
use crate::plugins::topology_spread::{
    HOSTNAME, PodTopologySpread, Spreading, count, has_all_keys, includes,
};
use crate::view::{ClusterView, NodeView, PodView, SpreadConstraint, Stamp};

/// The spread of one class.
#[derive(Debug)]
pub(super) struct Spreads {
    spreading: Spreading,
    catalog: Stamp,
    hard: Vec<Spread>,
    soft: Vec<Spread>,
    /// Nodes that get nothing from the soft constraints, by position.
    ignored: Vec<bool>,
}

/// One constraint over all nodes.
#[derive(Debug)]
struct Spread {
    constraint: SpreadConstraint,
    per_node: bool,
    /// One if the pod is one of those counted.
    itself: i64,
    nodes: Vec<Standing>,
    /// The number of each domain.
    numbers: HashMap<String, u32>,
    domains: Vec<Domain>,
}

/// What one constraint sees of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    domain: u32,
    /// Whether it has the label; without it, it shares the empty domain.
    labelled: bool,
    /// Whether its pods count for its domain.
    counts: bool,
    /// How many pods of the group it has.
    here: i64,
}

/// What is known of a domain.
#[derive(Clone, Copy, Debug, Default)]
struct Domain {
    pods: i64,
    /// How many nodes count for it.
    nodes: u32,
}

impl Spread {
    fn of(constraint: &SpreadConstraint, pod: &PodView) -> Self {
        Self {
            per_node: &*constraint.topology_key == HOSTNAME,
            itself: i64::from(constraint.selector.matches(&*pod.labels)),
            constraint: constraint.clone(),
            nodes: Vec::new(),
            numbers: HashMap::new(),
            domains: Vec::new(),
        }
    }

    /// Takes in what a node is like now; `takes_part` says whether its labels let it count at all.
    fn look(&mut self, pod: &PodView, position: usize, node: &NodeView, takes_part: bool) {
        let label = node.facts().labels.get(&*self.constraint.topology_key);
        let value = label.map_or("", String::as_str);
        let domain = match self.numbers.get(value) {
            Some(number) => *number,
            None => {
                let number = self.domains.len() as u32;
                self.numbers.insert(value.to_owned(), number);
                self.domains.push(Domain::default());
                number
            }
        };
        let now = Standing {
            domain,
            labelled: label.is_some(),
            counts: takes_part && includes(&self.constraint, pod, node.facts()),
            here: count(&self.constraint, pod, node),
        };
        let before = std::mem::replace(&mut self.nodes[position], now);
        for (standing, sign) in [(before, -1_i64), (now, 1)] {
            if let (true, Some(domain)) = (standing.counts, self.domains.get_mut(standing.domain as usize)) {
                domain.pods += sign * standing.here;
                domain.nodes = domain.nodes.wrapping_add_signed(sign as i32);
            }
        }
    }

    /// What this constraint sees of a node.
    fn mark(&self, position: usize, soft: bool) -> Mark {
        let Standing { domain, labelled, here, .. } = self.nodes[position];
        match soft && self.per_node {
            true => Mark { domain: 0, labelled, here },
            false => Mark { domain, labelled, here: 0 },
        }
    }

    /// How many pods of the group count against a node like that.
    fn against(&self, mark: &Mark) -> i64 {
        if self.per_node { mark.here } else { self.domains[mark.domain as usize].pods }
    }

    /// What so many pods are worth among `size` domains; few are good.
    fn points(&self, here: i64, size: usize) -> f64 {
        here as f64 * ((size + 2) as f64).ln() + (self.constraint.max_skew - 1) as f64
    }

    /// The most pods a domain may have for one more to be let in.
    fn limit(&self) -> i64 {
        let counted = || self.domains.iter().filter(|domain| domain.nodes > 0);
        let enough = counted().count() >= self.constraint.min_domains;
        let fewest = if enough { counted().map(|domain| domain.pods).min().unwrap_or(0) } else { 0 };
        self.constraint.max_skew + fewest - self.itself
    }
}

impl Spreads {
    /// The class of `pod`, with no node looked at.
    pub(super) fn of(plugin: &PodTopologySpread, cluster: &ClusterView, pod: &PodView) -> Self {
        let spreading = plugin.spreading(cluster, pod);
        let spreads = |list: &[SpreadConstraint]| list.iter().map(|one| Spread::of(one, pod)).collect();
        Self {
            catalog: cluster.catalog_stamp(),
            hard: spreads(&spreading.hard),
            soft: spreads(&spreading.soft),
            ignored: Vec::new(),
            spreading,
        }
    }

    /// Whether the same constraints still hold.
    pub(super) fn still_holds(
        &mut self,
        plugin: &PodTopologySpread,
        cluster: &ClusterView,
        pod: &PodView,
    ) -> bool {
        if self.catalog != cluster.catalog_stamp() {
            self.catalog = cluster.catalog_stamp();
            return plugin.spreading(cluster, pod) == self.spreading;
        }
        true
    }

    /// Forgets all nodes and makes room for this many.
    pub(super) fn start_over(&mut self, nodes: usize) {
        for spread in self.hard.iter_mut().chain(&mut self.soft) {
            spread.nodes = vec![Standing::default(); nodes];
            spread.numbers.clear();
            spread.domains.clear();
        }
        self.ignored = vec![false; nodes];
    }

    /// Takes in what a node is like now.
    pub(super) fn look(&mut self, pod: &PodView, position: usize, node: &NodeView) {
        let (facts, spreading) = (node.facts(), &self.spreading);
        let complete = self.hard.is_empty() || has_all_keys(facts, &spreading.hard);
        for spread in &mut self.hard {
            spread.look(pod, position, node, complete);
        }
        let usable = !spreading.strict || has_all_keys(facts, &spreading.soft);
        for spread in &mut self.soft {
            spread.look(pod, position, node, usable);
        }
        self.ignored[position] = !usable;
    }

    /// Notes what the constraints see of a node.
    pub(super) fn mark(&self, position: usize, marks: &mut Marks) {
        let all = |spreads: &[Spread], soft| spreads.iter().map(|one| one.mark(position, soft)).collect();
        marks.ignored = self.ignored[position];
        (marks.hard, marks.soft) = (all(&self.hard, false), all(&self.soft, true));
    }

    /// Whether there are hard constraints.
    pub(super) fn admits_some_only(&self) -> bool {
        !self.hard.is_empty()
    }

    /// Whether hard constraints let the pod onto nodes, position by position.
    pub(super) fn admits(&self) -> impl Fn(usize) -> bool {
        let limits: Vec<_> = self.hard.iter().map(|spread| (spread, spread.limit())).collect();
        move |position| {
            limits.iter().all(|(spread, limit)| {
                let standing = spread.nodes[position];
                // A node that does not count is held against what its domain has without it.
                standing.labelled && spread.domains[standing.domain as usize].pods <= *limit
            })
        }
    }

    /// Whether hard constraints let the pod onto nodes, bucket by bucket.
    pub(super) fn lets_into(&self) -> impl Fn(&Marks) -> bool {
        let limits: Vec<_> = self.hard.iter().map(|spread| (spread, spread.limit())).collect();
        move |marks| {
            let mut hard = limits.iter().zip(&marks.hard);
            hard.all(|((spread, limit), mark)| {
                mark.labelled && spread.domains[mark.domain as usize].pods <= *limit
            })
        }
    }

    /// What the soft constraints make of the buckets in question; nothing if there are no soft constraints.
    pub(super) fn standings(&self, buckets: &Buckets, in_question: &[bool]) -> Option<Vec<i64>> {
        if self.soft.is_empty() {
            return None;
        }
        let usable = buckets.iter().zip(in_question);
        let usable = usable.filter(|(bucket, in_question)| **in_question && !bucket.marks.ignored);
        let usable = usable.map(|(bucket, _)| bucket);
        let mut raw = vec![0.0_f64; in_question.len()];
        for (at, spread) in self.soft.iter().enumerate() {
            let size = if spread.per_node {
                usable.clone().map(|bucket| bucket.open).sum()
            } else {
                let mut open = vec![false; spread.domains.len()];
                usable.clone().for_each(|bucket| open[bucket.marks.soft[at].domain as usize] = true);
                open.iter().filter(|open| **open).count()
            };
            for (raw, bucket) in raw.iter_mut().zip(buckets.iter()) {
                let mark = &bucket.marks.soft[at];
                if mark.labelled {
                    *raw += spread.points(spread.against(mark), size);
                }
            }
        }
        let raw: Vec<i64> = raw.into_iter().map(|raw| raw.round() as i64).collect();
        let counted = raw.iter().zip(buckets.iter()).zip(in_question);
        let counted = counted.filter(|((_, bucket), admitted)| **admitted && !bucket.marks.ignored);
        let fewest = counted.clone().map(|((raw, _), _)| *raw).min().unwrap_or(0);
        let most = counted.map(|((raw, _), _)| *raw).max().unwrap_or(0);
        let score =
            |(bucket, raw): (&Bucket, &i64)| if bucket.marks.ignored { 0 } else { share(*raw, fewest, most) };
        Some(buckets.iter().zip(&raw).map(score).collect())
    }

    /// What the soft constraints make of these nodes, the only ones in question: their scores, or nothing if there
    /// are no soft constraints.
    pub(super) fn scores(&self, positions: &[usize]) -> Option<Vec<i64>> {
        if self.soft.is_empty() {
            return None;
        }
        let usable = || positions.iter().copied().filter(|position| !self.ignored[*position]);
        let ignored = positions.iter().filter(|position| self.ignored[**position]).count();
        let mut raw = vec![0.0_f64; positions.len()];
        for spread in &self.soft {
            let size = if spread.per_node {
                positions.len() - ignored
            } else {
                let mut open = vec![false; spread.domains.len()];
                usable().for_each(|position| open[spread.nodes[position].domain as usize] = true);
                open.iter().filter(|open| **open).count()
            };
            for (raw, position) in raw.iter_mut().zip(positions) {
                let standing = spread.nodes[*position];
                if standing.labelled {
                    let domain = spread.domains[standing.domain as usize];
                    let here = if spread.per_node { standing.here } else { domain.pods };
                    *raw += spread.points(here, size);
                }
            }
        }
        let raw: Vec<i64> = raw.into_iter().map(|raw| raw.round() as i64).collect();
        let counted = || raw.iter().zip(positions).filter(|(_, position)| !self.ignored[**position]);
        let fewest = counted().map(|(raw, _)| *raw).min().unwrap_or(0);
        let most = counted().map(|(raw, _)| *raw).max().unwrap_or(0);
        let scores = raw
            .iter()
            .zip(positions)
            .map(|(raw, position)| if self.ignored[*position] { 0 } else { share(*raw, fewest, most) });
        Some(scores.collect())
    }
}
