//! Whom pods of a class want near or away, and who wants them so: sums by domain of every label that a term names.

use std::collections::HashMap;

use crate::plugins::inter_pod_affinity::score::share;
use crate::plugins::inter_pod_affinity::{Bond, InterPodAffinity, Newcomer};
use crate::view::{ClusterView, NodeView, PodView, Stamp};

/// Labels that terms may name; where there are more, the reference engine decides.
const KEPT_KEYS: usize = 32;

/// The domain of a node that does not have the label.
const NOWHERE: u32 = u32::MAX;

/// The neighbourhood of one class.
#[derive(Debug)]
pub(super) struct Near {
    plugin: InterPodAffinity,
    newcomer: Newcomer,
    catalog: Stamp,
    keys: Vec<Key>,
    /// What each node adds to the sums, by position.
    parts: Vec<Vec<Part>>,
    /// The keys of its affinity terms and of its anti-affinity terms.
    wanted: Vec<usize>,
    unwanted: Vec<usize>,
    /// Whether the class is one of those it wants near.
    is_own_friend: bool,
    too_many_keys: bool,
}

/// A label and its domains.
#[derive(Debug)]
struct Key {
    name: Box<str>,
    /// The number of each domain.
    numbers: HashMap<String, u32>,
    /// The domain of each node, by position.
    nodes: Vec<u32>,
    domains: Vec<Sums>,
    /// The sums of all domains, but of points how many parts there are.
    all: Sums,
}

/// Who is in a domain: pods, and points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    friends: i64,
    foes: i64,
    averse: i64,
    points: i64,
}

/// What one node adds to a domain of a key.
#[derive(Clone, Copy, Debug)]
struct Part {
    key: usize,
    domain: u32,
    sums: Sums,
}

impl Key {
    /// The key, with the domains of nodes not known yet.
    fn of(name: &str, nodes: usize) -> Self {
        Self {
            name: name.into(),
            numbers: HashMap::new(),
            nodes: vec![NOWHERE; nodes],
            domains: Vec::new(),
            all: Sums::default(),
        }
    }

    /// Notes the domain of a node.
    fn look(&mut self, position: usize, node: &NodeView) {
        let domain = match node.facts().labels.get(&*self.name) {
            None => NOWHERE,
            Some(value) => match self.numbers.get(value) {
                Some(number) => *number,
                None => {
                    let number = self.domains.len() as u32;
                    self.numbers.insert(value.clone(), number);
                    self.domains.push(Sums::default());
                    number
                }
            },
        };
        if let Some(known) = self.nodes.get_mut(position) {
            *known = domain;
        }
    }

    fn domain(&self, position: usize) -> Option<u32> {
        self.nodes.get(position).copied().filter(|domain| *domain != NOWHERE)
    }

    /// The sums of the domain a node is in.
    fn at(&self, position: usize) -> Option<&Sums> {
        self.domains.get(*self.nodes.get(position)? as usize)
    }

    fn add(&mut self, part: &Part, sign: i64) {
        let Sums { friends, foes, averse, points } = part.sums;
        let Some(domain) = self.domains.get_mut(part.domain as usize) else { return };
        for (sums, points) in [(domain, points), (&mut self.all, i64::from(points != 0))] {
            sums.friends += sign * friends;
            sums.foes += sign * foes;
            sums.averse += sign * averse;
            sums.points += sign * points;
        }
    }
}

/// The index of a key, which is new if no term named it before; `None` if there are too many.
fn key_of(keys: &mut Vec<Key>, cluster: &ClusterView, name: &str, nodes: usize) -> Option<usize> {
    if let Some(index) = keys.iter().position(|key| *key.name == *name) {
        return Some(index);
    }
    if keys.len() == KEPT_KEYS {
        return None;
    }
    let mut key = Key::of(name, nodes);
    cluster.nodes().take(nodes).enumerate().for_each(|(position, node)| key.look(position, node));
    keys.push(key);
    Some(keys.len() - 1)
}

impl Near {
    /// The class of `pod`, with no node looked at.
    pub(super) fn of(plugin: &InterPodAffinity, cluster: &ClusterView, pod: &PodView) -> Self {
        let newcomer = Newcomer::of(cluster, pod);
        Self {
            plugin: *plugin,
            is_own_friend: newcomer.is_a_friend_of_its_own(pod),
            newcomer,
            catalog: cluster.catalog_stamp(),
            keys: Vec::new(),
            parts: Vec::new(),
            wanted: Vec::new(),
            unwanted: Vec::new(),
            too_many_keys: false,
        }
    }

    /// Whether namespaces still have the labels that terms were resolved by.
    pub(super) fn still_holds(&mut self, cluster: &ClusterView, pod: &PodView) -> bool {
        if self.catalog != cluster.catalog_stamp() {
            self.catalog = cluster.catalog_stamp();
            return Newcomer::of(cluster, pod) == self.newcomer;
        }
        true
    }

    /// Forgets all nodes and makes room for this many.
    pub(super) fn start_over(&mut self, nodes: usize) {
        self.keys.clear();
        self.too_many_keys = false;
        self.parts = vec![Vec::new(); nodes];
        for (terms, at) in [
            (&self.newcomer.own.required, &mut self.wanted),
            (&self.newcomer.own.required_anti, &mut self.unwanted),
        ] {
            at.clear();
            for term in terms {
                let known = self.keys.iter().position(|key| key.name == term.topology_key);
                let index = known.unwrap_or_else(|| {
                    self.keys.push(Key::of(&term.topology_key, nodes));
                    self.keys.len() - 1
                });
                if !at.contains(&index) {
                    at.push(index);
                }
            }
        }
    }

    /// Takes in what a node is like now.
    pub(super) fn look(&mut self, cluster: &ClusterView, pod: &PodView, position: usize, node: &NodeView) {
        let Some(held) = self.parts.get_mut(position) else { return };
        let mut parts = std::mem::take(held);
        for part in parts.drain(..) {
            self.keys[part.key].add(&part, -1);
        }
        self.keys.iter_mut().for_each(|key| key.look(position, node));
        let Self { plugin, newcomer, keys, too_many_keys, parts: all, .. } = self;
        let nodes = all.len();
        let mut add = |name: &str, add: &dyn Fn(&mut Sums)| {
            let Some(index) = key_of(keys, cluster, name, nodes) else {
                *too_many_keys = true;
                return;
            };
            let Some(domain) = keys[index].domain(position) else { return };
            match parts.iter_mut().find(|part| part.key == index) {
                Some(part) => add(&mut part.sums),
                None => {
                    let mut part = Part { key: index, domain, sums: Sums::default() };
                    add(&mut part.sums);
                    parts.push(part);
                }
            }
        };
        let all_count = !newcomer.minds_only_terms_of_others();
        let others = if all_count { node.pods() } else { node.pods_with_affinity() };
        for other in others {
            newcomer.bonds(pod, other, |bond, key| match bond {
                Bond::Averse => add(key, &|sums| sums.averse += 1),
                Bond::Friend => add(key, &|sums| sums.friends += 1),
                Bond::Foe => add(key, &|sums| sums.foes += 1),
            });
            if plugin.scores(pod) {
                newcomer.points(plugin, pod, other, |key, points| add(key, &|sums| sums.points += points));
            }
        }
        for part in &parts {
            self.keys[part.key].add(part, 1);
        }
        self.parts[position] = parts;
    }

    /// Whether all terms were taken in.
    pub(super) fn is_sure(&self) -> bool {
        !self.too_many_keys
    }

    /// Whether nobody wants anybody near or away.
    pub(super) fn is_indifferent(&self) -> bool {
        !self.admits_some_only() && self.keys.iter().all(|key| key.all.points == 0)
    }

    /// Whether some nodes may be refused.
    pub(super) fn admits_some_only(&self) -> bool {
        !self.wanted.is_empty()
            || self.unwanted.iter().any(|key| self.keys[*key].all.foes > 0)
            || self.keys.iter().any(|key| key.all.averse > 0)
    }

    /// Whether required terms let the pod onto nodes, position by position.
    pub(super) fn admits(&self) -> impl Fn(usize) -> bool {
        let wanted: Vec<_> = self.wanted.iter().map(|key| &self.keys[*key]).collect();
        let unwanted: Vec<_> = self.unwanted.iter().map(|key| &self.keys[*key]).collect();
        let averse: Vec<_> = self.keys.iter().filter(|key| key.all.averse > 0).collect();
        // The first of a group finds nobody anywhere, and is let in where the labels are.
        let is_first = self.is_own_friend && wanted.iter().all(|key| key.all.friends == 0);
        let has = |keys: &[&Key], position: usize, count: fn(&Sums) -> i64| {
            keys.iter().any(|key| key.at(position).is_some_and(|sums| count(sums) > 0))
        };
        move |position| {
            let befriends = |key: &&Key| key.at(position).is_some_and(|sums| is_first || sums.friends > 0);
            wanted.iter().all(befriends)
                && !has(&unwanted, position, |sums| sums.foes)
                && !has(&averse, position, |sums| sums.averse)
        }
    }

    /// What preferences make of these nodes, the only ones in question; nothing if there are none.
    pub(super) fn scores(&self, positions: &[usize]) -> Option<Vec<i64>> {
        let keys: Vec<_> = self.keys.iter().filter(|key| key.all.points > 0).collect();
        if keys.is_empty() {
            return None;
        }
        let worth = |position: &usize| -> i64 {
            keys.iter().filter_map(|key| key.at(*position)).map(|sums| sums.points).sum()
        };
        let mut scores: Vec<i64> = positions.iter().map(worth).collect();
        let least = scores.iter().copied().min().unwrap_or(0);
        let most = scores.iter().copied().max().unwrap_or(0);
        scores.iter_mut().for_each(|raw| *raw = share(*raw, least, most));
        Some(scores)
    }
}
