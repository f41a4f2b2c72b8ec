//! What is known of every node for one class of pods.

use std::collections::{BTreeMap, BTreeSet};

use super::around::Around;
use super::by_load::{Asked, ByLoad};
use super::hopeless::Hopeless;
use super::plan::{Plan, ScorerPlan};
use super::ranking::{INFEASIBLE, Ranking};
use super::table::{Table, Tick};
use crate::engine::filter::Filters;
use crate::engine::narrow::{Narrowed, Skipped};
use crate::guard::guarded;
use crate::plugin::Cycle;
use crate::plugins::image_locality;
use crate::plugins::normalise::{Best, share};
use crate::profile::Profile;
use crate::unit::Points;
use crate::view::{ImageSpread, Load, NodeView, PodView};

/// The plugins, ready to speak about nodes for one class.
pub(super) struct Judge<'a> {
    pub(super) plan: &'a Plan,
    pub(super) profile: &'a Profile,
    pub(super) cycle: Cycle<'a>,
    pub(super) pod: &'a PodView,
}

impl Judge<'_> {
    /// What the plugins say about the node at `position`, without those that are asked about its load if these are
    /// asked apart; raw scores go to `raws`.
    fn worth(&self, index: &Index, position: usize, raws: &mut [i32]) -> Worth {
        let Some(node) = self.cycle.cluster().node_at(position) else { return Worth::None };
        let skipped = index.apart.as_ref().map_or(&index.narrowed.skipped, |apart| &apart.skipped);
        let filters = Filters { profile: self.profile, pod: self.pod, skipped };
        match filters.run_as_is(&self.cycle, node) {
            Ok(None) => self.points(index, node, raws).unwrap_or(Worth::Unsure),
            Ok(Some(_)) => Worth::None,
            Err(_) => Worth::Unsure,
        }
    }

    fn points(&self, index: &Index, node: &NodeView, raws: &mut [i32]) -> Option<Worth> {
        let mut sum = 0;
        for scorer in &index.plain {
            let points = self.score(*scorer, node)?;
            if !(Points::MIN..=Points::MAX).contains(&points) {
                return None;
            }
            sum += i32::try_from(points.0).ok()? * self.plan.scorers.get(*scorer)?.weight;
        }
        for (raw, scale) in raws.iter_mut().zip(&index.scales) {
            let points = self.score(scale.scorer, node)?;
            *raw = i32::try_from(points.0).ok().filter(|raw| *raw >= 0)?;
        }
        Some(Worth::Points(sum))
    }

    /// Those to be asked about the load.
    fn asked(&self, by_load: ByLoad) -> Asked<'_> {
        Asked::of(by_load, self.profile, &self.plan.scorers)
    }

    fn score(&self, scorer: usize, node: &NodeView) -> Option<Points> {
        let plugin = &self.profile.score.get(scorer)?.plugin;
        guarded(plugin.name(), "Score", || plugin.score(&self.cycle, self.pod, node)).ok()
    }
}

/// What the plugins say about one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// It will not do.
    None,
    /// The plugins did not agree to answer, or not within their range.
    Unsure,
    /// It will do; the weighted sum of final scores, raw scores being with their [`Scale`].
    Points(i32),
}

/// What is kept where plugins are asked about the load of nodes apart from all others.
#[derive(Debug)]
struct Apart {
    by_load: ByLoad,
    /// Filters not to be asked with the others.
    skipped: Skipped,
    /// What the others said, by position.
    said: Vec<Worth>,
}

impl Apart {
    /// What all plugins together say of a node with this load, which has not said anything else about itself since.
    fn worth(&self, asked: &Asked<'_>, pod: &PodView, position: usize, load: &Load) -> Worth {
        match self.said.get(position) {
            Some(Worth::Points(_)) if !asked.admit(pod, load) => Worth::None,
            Some(Worth::Points(points)) => {
                asked.points(pod, load).map_or(Worth::Unsure, |more| Worth::Points(points + more))
            }
            Some(other) => *other,
            None => Worth::Unsure,
        }
    }
}

/// The raw scores of a plugin that normalises by the highest.
#[derive(Debug)]
pub(super) struct Scale {
    /// The position of the scorer in the profile.
    scorer: usize,
    weight: i32,
    best: Best,
    /// By position; empty as long as all are 0.
    raw: Vec<i32>,
    /// How many feasible nodes have each raw score other than 0.
    census: BTreeMap<i32, u32>,
    /// The highest raw score that totals are made with.
    highest: i32,
}

impl Scale {
    fn raw(&self, position: usize) -> i32 {
        self.raw.get(position).copied().unwrap_or(0)
    }

    /// What a raw score adds to a total if `highest` is the highest.
    fn worth(&self, raw: i32, highest: i32) -> i32 {
        let share = share(i64::from(raw), i64::from(highest), self.best);
        i32::try_from(share).unwrap_or(0).saturating_mul(self.weight)
    }

    fn count(&mut self, raw: i32) {
        if raw != 0 {
            *self.census.entry(raw).or_default() += 1;
        }
    }

    fn discount(&mut self, raw: i32) {
        if let Some(count) = self.census.get_mut(&raw) {
            *count -= 1;
            if *count == 0 {
                self.census.remove(&raw);
            }
        }
    }

    fn actual_highest(&self) -> i32 {
        self.census.last_key_value().map_or(0, |(raw, _)| *raw)
    }
}

/// What is known of every node for one class.
#[derive(Debug)]
pub(super) struct Index {
    narrowed: Narrowed,
    apart: Option<Apart>,
    /// Scorers that speak, by position in the profile, without those that normalise.
    plain: Vec<usize>,
    pub(super) scales: Vec<Scale>,
    pub(super) ranking: Ranking,
    /// Nodes about which the plugins are unsure.
    unsure: BTreeSet<u32>,
    synced: Option<Tick>,
    /// What images were like when nodes were asked about.
    images: Vec<(usize, ImageSpread)>,
    /// What placed pods mean for the class, if they mean anything.
    pub(super) around: Option<Around>,
    /// Positions whose state here is not that of the table.
    dirty: Vec<u32>,
    /// What is known of it where no node would do, by priority.
    hopeless: Vec<Hopeless>,
}

/// Priorities of one class of which it is kept why no node would do.
const KEPT_PRIORITIES: usize = 4;

impl Index {
    /// Nothing is known of any node; `active` says which scorers speak.
    pub(super) fn new(
        plan: &Plan,
        narrowed: Narrowed,
        active: Vec<bool>,
        around: Option<Around>,
        by_load: Option<ByLoad>,
    ) -> Self {
        let speaking = || plan.scorers.iter().enumerate().zip(&active).filter(|(_, active)| **active);
        let scale = |(scorer, plan): (usize, &ScorerPlan)| {
            let (weight, best) = (plan.weight, plan.normal?);
            Some(Scale { scorer, weight, best, raw: Vec::new(), census: BTreeMap::new(), highest: 0 })
        };
        let apart = by_load.map(|by_load| {
            let mut skipped = narrowed.skipped.clone();
            let filter = by_load.filter.and_then(|place| skipped.filters.get_mut(place));
            filter.into_iter().for_each(|skip| *skip = true);
            Apart { by_load, skipped, said: Vec::new() }
        });
        let is_apart = |place: usize| by_load.is_some_and(|by_load| by_load.scores(place));
        Self {
            narrowed,
            apart,
            plain: speaking()
                .map(|(one, _)| one)
                .filter(|(at, plan)| plan.normal.is_none() && !is_apart(*at))
                .map(|(at, _)| at)
                .collect(),
            scales: speaking().filter_map(|(one, _)| scale(one)).collect(),
            ranking: Ranking::default(),
            unsure: BTreeSet::new(),
            synced: None,
            images: Vec::new(),
            around,
            dirty: Vec::new(),
            hopeless: Vec::new(),
        }
    }

    /// Whether the index speaks for all nodes.
    pub(super) fn is_sure(&self) -> bool {
        self.unsure.is_empty() && self.around.as_ref().is_none_or(Around::is_sure)
    }

    /// Why no node would do for pods as important as `pod`, which is of the class; perhaps not up to date.
    pub(super) fn hopeless(&mut self, pod: &PodView) -> (&Narrowed, &mut Hopeless) {
        let known = self.hopeless.iter().position(|one| one.priority() == pod.priority);
        let index = known.unwrap_or_else(|| {
            if self.hopeless.len() >= KEPT_PRIORITIES {
                self.hopeless.remove(0);
            }
            self.hopeless.push(Hopeless::of(pod));
            self.hopeless.len() - 1
        });
        (&self.narrowed, &mut self.hopeless[index])
    }

    /// What `PreFilter` said.
    pub(super) fn narrowed(&self) -> &Narrowed {
        &self.narrowed
    }

    /// Takes nodes out until the next sync.
    pub(super) fn hide(&mut self, positions: &[u32]) {
        self.dirty.extend_from_slice(positions);
        let worths: Vec<_> = positions.iter().map(|position| (*position, Worth::None)).collect();
        self.write(&worths, None);
    }

    /// Brings everything up to date with the table.
    pub(super) fn sync(&mut self, judge: &Judge<'_>, table: &Table) {
        let cluster = judge.cycle.cluster();
        let images = image_locality::spreads(cluster, judge.pod);
        if images != self.images {
            (self.images, self.synced) = (images, None);
        }
        if let Some(around) = &mut self.around
            && !around.still_holds(judge.plan, cluster, judge.pod)
        {
            around.resolve(judge.plan, cluster, judge.pod);
            self.synced = None;
        }
        let Some((mut changed, since)) = self.synced.and_then(|tick| Some((table.since(tick)?, tick))) else {
            return self.build(judge, table);
        };
        if !self.dirty.is_empty() {
            changed.append(&mut self.dirty);
            changed.sort_unstable();
            changed.dedup();
        }
        self.synced = Some(table.now());
        if changed.is_empty() {
            return;
        }
        if let Some(around) = &mut self.around {
            for position in &changed {
                if let Some(node) = cluster.node_at(*position as usize) {
                    around.look(cluster, judge.pod, *position as usize, node);
                }
            }
        }
        if self.apart.is_some() {
            let (same, others) = changed
                .into_iter()
                .partition(|position| table.says_the_same_since(*position as usize, since));
            self.look_at_loads(judge, table, same);
            changed = others;
        }
        if !changed.is_empty() {
            self.look(judge, table, &changed);
        }
    }

    /// Asks again about nodes of which nothing but the load can have changed.
    fn look_at_loads(&mut self, judge: &Judge<'_>, table: &Table, positions: Vec<u32>) {
        let Some(apart) = &self.apart else { return };
        let (asked, loads) = (judge.asked(apart.by_load), table.loads());
        let worth = |position: u32| {
            let load = loads.get(position as usize).copied().unwrap_or_default();
            (position, apart.worth(&asked, judge.pod, position as usize, &load))
        };
        let worths: Vec<_> = positions.into_iter().map(worth).collect();
        self.write(&worths, None);
    }

    /// Asks everybody again about nodes.
    fn look(&mut self, judge: &Judge<'_>, table: &Table, positions: &[u32]) {
        let width = self.scales.len();
        let mut raws = vec![0; positions.len() * width];
        let mut worths = Vec::with_capacity(positions.len());
        for (index, position) in positions.iter().enumerate() {
            let place = *position as usize;
            let mut worth = judge.worth(self, place, &mut raws[index * width..(index + 1) * width]);
            if let (Some(apart), Some(load)) = (&mut self.apart, table.loads().get(place)) {
                apart.said[place] = worth;
                worth = apart.worth(&judge.asked(apart.by_load), judge.pod, place, load);
            }
            worths.push((*position, worth));
        }
        self.write(&worths, Some(&raws));
    }

    /// Asks about every node.
    fn build(&mut self, judge: &Judge<'_>, table: &Table) {
        if let Some(around) = &mut self.around {
            around.start_over(table.len());
            let cluster = judge.cycle.cluster();
            for (position, node) in cluster.nodes().enumerate() {
                around.look(cluster, judge.pod, position, node);
            }
        }
        let width = self.scales.len();
        let mut raws = vec![0; width * table.len()];
        let mut worths = Vec::with_capacity(table.len());
        for position in 0..table.len() {
            worths.push(judge.worth(self, position, &mut raws[position * width..(position + 1) * width]));
        }
        if let Some(apart) = &mut self.apart {
            let asked = judge.asked(apart.by_load);
            apart.said = worths;
            let all = |(position, load)| apart.worth(&asked, judge.pod, position, load);
            worths = table.loads().iter().enumerate().map(all).collect();
        }
        for (at, scale) in self.scales.iter_mut().enumerate() {
            let raw = |position: usize| raws[position * width + at];
            scale.census.clear();
            for (position, worth) in worths.iter().enumerate() {
                if matches!(worth, Worth::Points(_)) {
                    scale.count(raw(position));
                }
            }
            let all_zero = (0..table.len()).all(|position| raw(position) == 0);
            scale.raw = if all_zero { Vec::new() } else { (0..table.len()).map(raw).collect() };
            scale.highest = scale.actual_highest();
        }
        let unsure = (0_u32..).zip(&worths).filter(|(_, worth)| **worth == Worth::Unsure);
        self.unsure = unsure.map(|(position, _)| position).collect();
        let total = |(position, worth): (usize, &Worth)| self.total(position, *worth);
        self.ranking = Ranking::new(worths.iter().enumerate().map(total).collect());
        if let Some(around) = &mut self.around {
            self.ranking.feasible().from(0).for_each(|position| around.set_open(position, true));
        }
        self.dirty.clear();
        self.synced = Some(table.now());
    }

    /// The total of a node whose raw scores are with their scales.
    fn total(&self, position: usize, worth: Worth) -> i32 {
        match worth {
            Worth::None | Worth::Unsure => INFEASIBLE,
            Worth::Points(points) => {
                let normal = self.scales.iter().map(|scale| scale.worth(scale.raw(position), scale.highest));
                points + normal.sum::<i32>()
            }
        }
    }

    /// Takes in what the plugins say now about some nodes, each named once; `raws` has a value for each scale and node, if
    /// they are not what they were.
    fn write(&mut self, worths: &[(u32, Worth)], raws: Option<&[i32]>) {
        for (index, (position, worth)) in worths.iter().enumerate() {
            if *worth == Worth::Unsure {
                self.unsure.insert(*position);
            } else if !self.unsure.is_empty() {
                self.unsure.remove(position);
            }
            let width = self.scales.len();
            let raws = raws.and_then(|raws| raws.get(index * width..(index + 1) * width));
            self.recount(*position as usize, *worth, raws);
        }
        let moved: Vec<_> = self.scales.iter().map(|scale| (scale.highest, scale.actual_highest())).collect();
        if moved.iter().any(|(before, after)| before != after) {
            self.ranking.set_all(worths.iter().map(|(position, _)| (*position as usize, INFEASIBLE)));
            self.rescale(&moved);
        }
        let total =
            |(position, worth): &(u32, Worth)| (*position as usize, self.total(*position as usize, *worth));
        let totals: Vec<_> = worths.iter().map(total).collect();
        self.ranking.set_all(totals.into_iter());
    }

    /// Counts a node with its raw scores, if it will do.
    fn recount(&mut self, place: usize, worth: Worth, raws: Option<&[i32]>) {
        let was_feasible = self.ranking.total(place) != INFEASIBLE;
        let is_feasible = matches!(worth, Worth::Points(_));
        if was_feasible == is_feasible && raws.is_none() {
            return;
        }
        if let Some(around) = &mut self.around {
            around.set_open(place, is_feasible);
        }
        for (at, scale) in self.scales.iter_mut().enumerate() {
            if was_feasible {
                scale.discount(scale.raw(place));
            }
            if let Some(raw) = raws.and_then(|raws| raws.get(at)).copied() {
                if raw != 0 && scale.raw.is_empty() {
                    scale.raw = vec![0; self.ranking.len()];
                }
                if let Some(known) = scale.raw.get_mut(place) {
                    *known = raw;
                }
            }
            if is_feasible {
                scale.count(scale.raw(place));
            }
        }
    }

    /// Makes all totals anew for other highest raw scores.
    fn rescale(&mut self, moved: &[(i32, i32)]) {
        let scales = &self.scales;
        self.ranking.rewrite(|position, total| {
            if total == INFEASIBLE {
                return INFEASIBLE;
            }
            let changes = scales.iter().zip(moved).map(|(scale, (before, after))| {
                let raw = scale.raw(position);
                scale.worth(raw, *after) - scale.worth(raw, *before)
            });
            total + changes.sum::<i32>()
        });
        for (scale, (_, after)) in self.scales.iter_mut().zip(moved) {
            scale.highest = *after;
        }
    }

    /// The total of a feasible node if only nodes with raw scores up to `highest`, one for each scale, were scored.
    pub(super) fn total_among(&self, position: usize, highest: &[i32]) -> i64 {
        let changes = self.scales.iter().zip(highest).map(|(scale, highest)| {
            let raw = scale.raw(position);
            i64::from(scale.worth(raw, *highest)) - i64::from(scale.worth(raw, scale.highest))
        });
        i64::from(self.ranking.total(position)) + changes.sum::<i64>()
    }

    /// Whether all feasible nodes have nothing but 0 for raw scores.
    pub(super) fn is_unscaled(&self) -> bool {
        self.scales.iter().all(|scale| scale.highest == 0)
    }

    /// The highest raw scores, one for each scale, among some positions.
    pub(super) fn highest_among(&self, positions: &[usize]) -> Vec<i32> {
        let highest =
            |scale: &Scale| positions.iter().map(|position| scale.raw(*position)).max().unwrap_or(0);
        self.scales.iter().map(highest).collect()
    }
}
