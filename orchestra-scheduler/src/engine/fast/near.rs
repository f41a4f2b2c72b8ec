//! Whom pods of a class want near or away, and who wants them so: sums by domain of every label that a term names.

use std::collections::HashMap;

use super::buckets::{Buckets, Marks, Nearby, Place};
use crate::plugins::inter_pod_affinity::score::share;
use crate::plugins::inter_pod_affinity::{Bond, InterPodAffinity, Newcomer};
use crate::view::{ClusterView, NodeView, PodView, Stamp};

/// Labels that terms may name; where there are more, the reference engine decides.
const KEPT_KEYS: usize = 32;

/// The nodes of a domain with more than these are told from others by the domain, and those of the others by what is in
/// it: hosts are as many as nodes, and most of them alike.
const FEW: usize = 16;

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
    /// Positions that other marks are due for.
    restless: Restless,
}

/// Nodes that have to be sorted anew.
#[derive(Debug)]
pub(super) enum Restless {
    All,
    These(Vec<u32>),
}

impl Restless {
    fn add(&mut self, positions: &[u32]) {
        if let Self::These(list) = self {
            list.extend_from_slice(positions);
        }
    }
}

/// A label and its domains.
#[derive(Debug)]
struct Key {
    name: Box<str>,
    /// The number of each domain.
    numbers: HashMap<String, u32>,
    /// The domain of each node, by position.
    nodes: Vec<u32>,
    domains: Vec<Domain>,
    /// The sums of all domains, but of points how many parts there are.
    all: Sums,
}

/// Nodes with the same value of a label.
#[derive(Debug, Default)]
struct Domain {
    sums: Sums,
    /// By position.
    members: Vec<u32>,
}

/// Who is in a domain: pods, and points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    friends: i64,
    foes: i64,
    averse: i64,
    points: i64,
}

impl Sums {
    /// What of it matters.
    fn nearby(&self) -> Nearby {
        let Self { friends, foes, averse, points } = *self;
        Nearby { friends: friends > 0, foes: foes > 0, averse: averse > 0, points }
    }
}

/// What one node adds to a domain of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// Notes the domain of a node; who it leaves and whom it joins there may have to be sorted anew.
    fn look(&mut self, position: usize, node: &NodeView, restless: &mut Restless) {
        let domain = match node.facts().labels.get(&*self.name) {
            None => NOWHERE,
            Some(value) => match self.numbers.get(value) {
                Some(number) => *number,
                None => {
                    let number = self.domains.len() as u32;
                    self.numbers.insert(value.clone(), number);
                    self.domains.push(Domain::default());
                    number
                }
            },
        };
        let Some(known) = self.nodes.get_mut(position) else { return };
        let before = std::mem::replace(known, domain);
        if before == domain {
            return;
        }
        if let Some(left) = self.domains.get_mut(before as usize) {
            left.members.retain(|member| *member as usize != position);
            if left.members.len() == FEW {
                restless.add(&left.members);
            }
        }
        if let Some(joined) = self.domains.get_mut(domain as usize) {
            joined.members.push(position as u32);
            if joined.members.len() == FEW + 1 {
                restless.add(&joined.members);
            }
        }
    }

    fn domain(&self, position: usize) -> Option<u32> {
        self.nodes.get(position).copied().filter(|domain| *domain != NOWHERE)
    }

    /// The sums of the domain a node is in.
    fn at(&self, position: usize) -> Option<&Sums> {
        self.domains.get(*self.nodes.get(position)? as usize).map(|domain| &domain.sums)
    }

    /// What it sees of a node.
    fn place(&self, position: usize) -> Place {
        match self.domain(position).and_then(|number| Some((number, self.domains.get(number as usize)?))) {
            None => Place::Nowhere,
            Some((_, domain)) if domain.members.len() <= FEW => Place::Like(domain.sums.nearby()),
            Some((number, _)) => Place::Domain(number),
        }
    }

    /// Who is at such a place; nobody can be where the label is not.
    fn nearby(&self, place: Place) -> Option<Nearby> {
        match place {
            Place::Nowhere => None,
            Place::Domain(number) => self.domains.get(number as usize).map(|domain| domain.sums.nearby()),
            Place::Like(nearby) => Some(nearby),
        }
    }

    fn add(&mut self, part: &Part, sign: i64) {
        let Sums { friends, foes, averse, points } = part.sums;
        let Some(domain) = self.domains.get_mut(part.domain as usize) else { return };
        for (sums, points) in [(&mut domain.sums, points), (&mut self.all, i64::from(points != 0))] {
            sums.friends += sign * friends;
            sums.foes += sign * foes;
            sums.averse += sign * averse;
            sums.points += sign * points;
        }
    }
}

/// The index of a key, which is new if no term named it before; `None` if there are too many.
fn key_of(
    keys: &mut Vec<Key>,
    cluster: &ClusterView,
    name: &str,
    nodes: usize,
    restless: &mut Restless,
) -> Option<usize> {
    if let Some(index) = keys.iter().position(|key| *key.name == *name) {
        return Some(index);
    }
    if keys.len() == KEPT_KEYS {
        return None;
    }
    // All nodes have one mark more.
    *restless = Restless::All;
    let mut key = Key::of(name, nodes);
    cluster.nodes().take(nodes).enumerate().for_each(|(position, node)| key.look(position, node, restless));
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
            restless: Restless::All,
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
        self.restless = Restless::All;
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
        let before = std::mem::take(held);
        let mut parts: Vec<Part> = Vec::with_capacity(before.len());
        let Self { plugin, newcomer, keys, too_many_keys, parts: all, restless, .. } = self;
        keys.iter_mut().for_each(|key| key.look(position, node, restless));
        restless.add(&[position as u32]);
        let nodes = all.len();
        let mut add = |name: &str, add: &dyn Fn(&mut Sums)| {
            let Some(index) = key_of(keys, cluster, name, nodes, restless) else {
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
        if parts != before {
            self.replace(&before, &parts);
        }
        self.parts[position] = parts;
    }

    /// Takes parts out of the sums and puts others in.
    fn replace(&mut self, before: &[Part], after: &[Part]) {
        let touched = |part: &Part| (part.key, part.domain);
        let nearby = |keys: &[Key], (key, domain): (usize, u32)| keys[key].nearby(Place::Domain(domain));
        let places = || before.iter().chain(after).map(touched);
        let were: Vec<_> = places().map(|place| nearby(&self.keys, place)).collect();
        before.iter().for_each(|part| self.keys[part.key].add(part, -1));
        after.iter().for_each(|part| self.keys[part.key].add(part, 1));
        for (place, before) in places().zip(were) {
            let Some(domain) = self.keys[place.0].domains.get(place.1 as usize) else { continue };
            if domain.members.len() <= FEW && nearby(&self.keys, place) != before {
                self.restless.add(&domain.members);
            }
        }
    }

    /// The nodes that have to be sorted anew since this was asked last.
    pub(super) fn restless(&mut self) -> Restless {
        std::mem::replace(&mut self.restless, Restless::These(Vec::new()))
    }

    /// Notes what the terms see of a node.
    pub(super) fn mark(&self, position: usize, marks: &mut Marks) {
        marks.near = self.keys.iter().map(|key| key.place(position)).collect();
    }

    /// Whether required terms let the pod onto nodes, bucket by bucket.
    pub(super) fn lets_into(&self) -> impl Fn(&Marks) -> bool {
        let is_first = self.is_first();
        let averse: Vec<_> = self.averse().collect();
        move |marks| {
            let nearby = |key: &usize| self.keys[*key].nearby(*marks.near.get(*key)?);
            let has = |key: &usize, is: fn(Nearby) -> bool| nearby(key).is_some_and(is);
            self.wanted.iter().all(|key| nearby(key).is_some_and(|nearby| is_first || nearby.friends))
                && !self.unwanted.iter().any(|key| has(key, |nearby| nearby.foes))
                && !averse.iter().any(|key| has(key, |nearby| nearby.averse))
        }
    }

    /// What preferences make of the buckets in question; nothing if there are none.
    pub(super) fn standings(&self, buckets: &Buckets, in_question: &[bool]) -> Option<Vec<i64>> {
        let keys: Vec<_> = self.keys.iter().enumerate().filter(|(_, key)| key.all.points > 0).collect();
        if keys.is_empty() {
            return None;
        }
        let worth = |marks: &Marks| -> i64 {
            let places = keys.iter().filter_map(|(at, key)| key.nearby(*marks.near.get(*at)?));
            places.map(|nearby| nearby.points).sum()
        };
        let mut scores: Vec<i64> = buckets.iter().map(|bucket| worth(&bucket.marks)).collect();
        let counted = scores.iter().zip(in_question).filter(|(_, in_question)| **in_question);
        let least = counted.clone().map(|(raw, _)| *raw).min().unwrap_or(0);
        let most = counted.map(|(raw, _)| *raw).max().unwrap_or(0);
        scores.iter_mut().for_each(|raw| *raw = share(*raw, least, most));
        Some(scores)
    }

    /// Whether the pod is the first of a group, finds nobody anywhere, and is let in where the labels are.
    fn is_first(&self) -> bool {
        self.is_own_friend && self.wanted.iter().all(|key| self.keys[*key].all.friends == 0)
    }

    /// The keys in whose domains somebody wants the pod away.
    fn averse(&self) -> impl Iterator<Item = usize> {
        let keys = self.keys.iter().enumerate();
        keys.filter(|(_, key)| key.all.averse > 0).map(|(at, _)| at)
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
        let averse: Vec<_> = self.averse().map(|key| &self.keys[key]).collect();
        let is_first = self.is_first();
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
