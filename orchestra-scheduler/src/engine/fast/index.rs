//! What is known of every node for one class of pods.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::answers::{AllAnswers, Answers};
use super::around::{Around, Standings};
use super::by_load::ByLoad;
use super::hopeless::Hopeless;
use super::judge::{Judge, Questions, Worth};
use super::places::Places;
use super::plan::Plan;
use super::ranking::{INFEASIBLE, Ranking};
use super::scale::Scale;
use super::table::{Table, Tick};
use crate::engine::narrow::Narrowed;
use crate::plugins::image_locality;
use crate::view::{ImageSpread, PodView};

/// Where plugins are asked about the load of nodes apart from all others.
#[derive(Clone, Copy, Debug)]
struct Apart {
    by_load: ByLoad,
    /// What the others say.
    answers: u64,
    /// When these were last asked anew.
    edition: u64,
}

/// The raw scores of nodes that are written.
#[derive(Clone, Copy)]
enum Raws<'a> {
    /// As they were.
    Same,
    /// For each node one for each scale.
    Each(&'a [i32]),
    /// For each scale those of all nodes.
    All(&'a [Arc<Vec<i32>>]),
}

/// What is known of every node for one class.
#[derive(Debug)]
pub(super) struct Index {
    narrowed: Narrowed,
    questions: Questions,
    apart: Option<Apart>,
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

/// Stands for the bonus of a node that is not let in.
const REFUSED: i32 = i32::MIN;

/// Priorities of one class of which it is kept why no node would do.
const KEPT_PRIORITIES: usize = 4;

impl Index {
    /// Nothing is known of any node; `active` says which scorers speak, `by_load` which plugins are asked about the load
    /// apart from the others.
    pub(super) fn new(
        plan: &Plan,
        narrowed: Narrowed,
        active: Vec<bool>,
        around: Option<Around>,
        by_load: Option<ByLoad>,
    ) -> Self {
        let is_apart = |place: usize| by_load.is_some_and(|by_load| by_load.scores(place));
        let mut questions =
            Questions { skipped: narrowed.skipped.clone(), plain: Vec::new(), scaled: Vec::new() };
        let filter = by_load.and_then(|by_load| questions.skipped.filters.get_mut(by_load.filter?));
        filter.into_iter().for_each(|skip| *skip = true);
        let mut scales = Vec::new();
        for (place, scorer) in plan.scorers.iter().enumerate() {
            match scorer.normal {
                _ if !active.get(place).is_some_and(|active| *active) => {}
                None if is_apart(place) => {}
                None => questions.plain.push(place),
                Some(best) => {
                    questions.scaled.push(place);
                    scales.push(Scale::of(scorer.weight, best));
                }
            }
        }
        Self {
            narrowed,
            questions,
            apart: by_load.map(|by_load| Apart { by_load, answers: AllAnswers::UNKNOWN, edition: 0 }),
            scales,
            ranking: Ranking::default(),
            unsure: BTreeSet::new(),
            synced: None,
            images: Vec::new(),
            around,
            dirty: Vec::new(),
            hopeless: Vec::new(),
        }
    }

    /// The number of the answers it shares with other classes, found or begun for its pods, if it shares any.
    pub(super) fn find_answers(&mut self, all: &mut AllAnswers, pod: &PodView) {
        if let Some(apart) = &mut self.apart {
            apart.answers = all.number(pod, &self.questions);
        }
    }

    /// The same once it was found.
    pub(super) fn answers(&self) -> Option<u64> {
        self.apart.map(|apart| apart.answers)
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
        self.write(&worths, Raws::Same);
    }

    /// The same for a set of them.
    pub(super) fn hide_all(&mut self, places: &Places) {
        let positions: Vec<u32> =
            places.from(0).filter_map(|position| u32::try_from(position).ok()).collect();
        self.hide(&positions);
    }

    /// Brings everything up to date with the table, and the answers that it shares.
    pub(super) fn sync(&mut self, judge: &Judge<'_>, table: &Table, mut answers: Option<&mut Answers>) {
        let cluster = judge.cycle.cluster();
        match (&mut self.apart, &mut answers) {
            (Some(apart), Some(answers)) => {
                answers.sync(judge, table);
                if std::mem::replace(&mut apart.edition, answers.edition) != answers.edition {
                    self.synced = None;
                }
            }
            _ => {
                let images = image_locality::spreads(cluster, judge.pod);
                if images != self.images {
                    (self.images, self.synced) = (images, None);
                }
            }
        }
        let answers = answers.map(|answers| &*answers);
        if let Some(around) = &mut self.around
            && !around.still_holds(judge.plan, cluster, judge.pod)
        {
            around.resolve(judge.plan, cluster, judge.pod);
            self.synced = None;
        }
        let changed = self.synced.and_then(|tick| table.since(tick));
        let Some(mut changed) = changed else { return self.build(judge, table, answers) };
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
            around.sort();
        }
        match (self.apart, answers) {
            (Some(apart), Some(answers)) => self.look_at_loads(judge, apart, table, answers, &changed),
            _ => self.look(judge, &changed),
        }
    }

    /// Asks again about the load of nodes.
    fn look_at_loads(
        &mut self,
        judge: &Judge<'_>,
        apart: Apart,
        table: &Table,
        answers: &Answers,
        positions: &[u32],
    ) {
        let (asked, loads) = (judge.asked(apart.by_load), table.loads());
        let flat = if self.unsure.is_empty() { self.all_alike_for_scales(answers) } else { None };
        // Loops that are written out: they are most of the work where classes are many, and closures of iterators are not
        // always compiled as a part of them.
        if let Some(normal) = flat {
            let mut totals = Vec::with_capacity(positions.len());
            for position in positions {
                let worth = answers.worth_at(&asked, *position as usize, loads);
                totals.push((*position, flat_total(*position, worth, normal, &mut self.unsure)));
            }
            return self.ranking.set_all(&totals);
        }
        let mut worths = Vec::with_capacity(positions.len());
        for position in positions {
            worths.push((*position, answers.worth_at(&asked, *position as usize, loads)));
        }
        self.write(&worths, Raws::All(&answers.raws));
    }

    /// What scales give every node, if they give all the same, and nobody else matters: then totals are all there is to
    /// write.
    fn all_alike_for_scales(&self, answers: &Answers) -> Option<i32> {
        let is_flat = answers.is_flat() && self.scales.iter().all(Scale::is_flat);
        (is_flat && self.around.is_none()).then(|| self.scales.iter().map(|scale| scale.worth(0, 0)).sum())
    }

    /// Asks everybody again about nodes.
    fn look(&mut self, judge: &Judge<'_>, positions: &[u32]) {
        let width = self.scales.len();
        let mut raws = vec![0; positions.len() * width];
        let mut worths = Vec::with_capacity(positions.len());
        for (index, position) in positions.iter().enumerate() {
            let raws = &mut raws[index * width..(index + 1) * width];
            worths.push((*position, judge.worth(&self.questions, *position as usize, raws)));
        }
        self.write(&worths, Raws::Each(&raws));
    }

    /// Asks about every node.
    fn build(&mut self, judge: &Judge<'_>, table: &Table, answers: Option<&Answers>) {
        if let (Some(apart), Some(answers)) = (self.apart, answers)
            && let Some(normal) = self.all_alike_for_scales(answers)
        {
            let (asked, loads) = (judge.asked(apart.by_load), table.loads());
            self.unsure.clear();
            let mut totals = Vec::with_capacity(table.len());
            for position in 0..table.len() as u32 {
                let worth = answers.worth_at(&asked, position as usize, loads);
                totals.push(flat_total(position, worth, normal, &mut self.unsure));
            }
            self.ranking = Ranking::new(totals);
            self.dirty.clear();
            self.synced = Some(table.now());
            return;
        }
        if let Some(around) = &mut self.around {
            around.start_over(table.len());
            let cluster = judge.cycle.cluster();
            for (position, node) in cluster.nodes().enumerate() {
                around.look(cluster, judge.pod, position, node);
            }
            around.sort();
        }
        let (worths, raws): (Vec<_>, Vec<_>) = match (self.apart, answers) {
            (Some(apart), Some(answers)) => {
                let asked = judge.asked(apart.by_load);
                let worth = |place| answers.worth_at(&asked, place, table.loads());
                ((0..table.len()).map(worth).collect(), answers.raws.clone())
            }
            _ => self.ask_all(judge, table.len()),
        };
        for (scale, raw) in self.scales.iter_mut().zip(raws) {
            let feasible = worths.iter().enumerate().filter(|(_, worth)| matches!(worth, Worth::Points(_)));
            scale.start(raw, feasible.map(|(position, _)| position));
        }
        let unsure = (0_u32..).zip(&worths).filter(|(_, worth)| **worth == Worth::Unsure);
        self.unsure = unsure.map(|(position, _)| position).collect();
        let total = |(position, worth): (usize, &Worth)| self.total(position, *worth);
        self.ranking = Ranking::new(worths.iter().enumerate().map(total).collect());
        if let Some(around) = &mut self.around {
            self.ranking.feasible().from(0).for_each(|position| around.set_open(position, true));
            around.ranked(&self.ranking);
        }
        self.dirty.clear();
        self.synced = Some(table.now());
    }

    /// What everybody says of every node, and the raw scores for each scale.
    fn ask_all(&self, judge: &Judge<'_>, nodes: usize) -> (Vec<Worth>, Vec<Arc<Vec<i32>>>) {
        let mut raws = vec![vec![0; nodes]; self.scales.len()];
        let mut worths = Vec::with_capacity(nodes);
        let mut each = vec![0; self.scales.len()];
        for position in 0..nodes {
            each.fill(0);
            worths.push(judge.worth(&self.questions, position, &mut each));
            raws.iter_mut().zip(&each).for_each(|(all, raw)| all[position] = *raw);
        }
        let kept =
            |all: Vec<i32>| if all.iter().all(|raw| *raw == 0) { Arc::default() } else { Arc::new(all) };
        (worths, raws.into_iter().map(kept).collect())
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

    /// Takes in what the plugins say now about some nodes, each named once.
    fn write(&mut self, worths: &[(u32, Worth)], raws: Raws<'_>) {
        for (index, (position, worth)) in worths.iter().enumerate() {
            if *worth == Worth::Unsure {
                self.unsure.insert(*position);
            } else if !self.unsure.is_empty() {
                self.unsure.remove(position);
            }
            let is_feasible = matches!(worth, Worth::Points(_));
            self.recount(*position as usize, is_feasible, raws, index);
        }
        if let Raws::All(raws) = raws {
            self.scales.iter_mut().zip(raws).for_each(|(scale, raw)| scale.adopt(raw));
        }
        let moved: Vec<_> = self.scales.iter().map(|scale| (scale.highest, scale.actual_highest())).collect();
        if moved.iter().any(|(before, after)| before != after) {
            let hidden: Vec<_> = worths.iter().map(|(position, _)| (*position, INFEASIBLE)).collect();
            self.ranking.set_all(&hidden);
            self.rescale(&moved);
        }
        let total = |(position, worth): &(u32, Worth)| (*position, self.total(*position as usize, *worth));
        let totals: Vec<_> = worths.iter().map(total).collect();
        self.ranking.set_all(&totals);
        self.around.iter_mut().for_each(|around| around.ranked(&self.ranking));
    }

    /// Counts a node, the `index`th of those written, with its raw scores, if it will do.
    fn recount(&mut self, place: usize, is_feasible: bool, raws: Raws<'_>, index: usize) {
        let was_feasible = self.ranking.total(place) != INFEASIBLE;
        if let Some(around) = &mut self.around {
            around.set_open(place, is_feasible);
        }
        let (width, nodes) = (self.scales.len(), self.ranking.len());
        for (at, scale) in self.scales.iter_mut().enumerate() {
            let before = scale.raw(place);
            let raw = match raws {
                Raws::Same => before,
                Raws::Each(raws) => raws.get(index * width + at).copied().unwrap_or(0),
                Raws::All(raws) => {
                    raws.get(at).filter(|raw| !scale.has(raw)).map_or(before, |raw| at_or_zero(raw, place))
                }
            };
            if was_feasible == is_feasible && raw == before {
                continue;
            }
            if was_feasible {
                scale.discount(before);
            }
            if matches!(raws, Raws::Each(_)) {
                scale.set(place, raw, nodes);
            }
            if is_feasible {
                scale.count(raw);
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
        self.around.iter_mut().for_each(Around::rescaled);
    }

    /// The total of a feasible node if only nodes with raw scores up to `highest`, one for each scale, were scored.
    pub(super) fn total_among(&self, position: usize, highest: &[i32]) -> i64 {
        i64::from(self.ranking.total(position)) + i64::from(self.shift_among(position, highest))
    }

    /// What the total would have beside what it is.
    fn shift_among(&self, position: usize, highest: &[i32]) -> i32 {
        let shift = |(scale, highest): (&Scale, &i32)| {
            let raw = scale.raw(position);
            scale.worth(raw, *highest) - scale.worth(raw, scale.highest)
        };
        self.scales.iter().zip(highest).map(shift).sum()
    }

    /// The totals of all nodes without some.
    pub(super) fn totals_without(&self, refused: &Places) -> Vec<i32> {
        let mut totals = self.ranking.totals().to_vec();
        refused.from(0).for_each(|position| totals[position] = INFEASIBLE);
        self.scale_anew(&mut totals);
        totals
    }

    /// Whether raw scores have to be scaled anew where only these nodes are in question.
    pub(super) fn scales_anew(&self, standings: &Standings<'_>) -> bool {
        standings.admitted < self.ranking.feasible().count()
            && self.scales.iter().any(|scale| scale.highest != 0)
    }

    /// The totals of all nodes if what other pods make of them counts, too.
    pub(super) fn totals_among(&self, standings: &Standings<'_>) -> Vec<i32> {
        let bonuses: Vec<i32> = standings.bonuses.iter().map(|one| one.unwrap_or(REFUSED)).collect();
        let totals = self.ranking.totals();
        let bonuses =
            standings.of.iter().map(|bucket| bonuses.get(*bucket as usize).copied().unwrap_or(REFUSED));
        let sum = |(total, bonus): (&i32, i32)| {
            if *total == INFEASIBLE || bonus == REFUSED { INFEASIBLE } else { total + bonus }
        };
        let mut sums: Vec<i32> = totals.iter().zip(bonuses).map(sum).collect();
        if self.scales_anew(standings) {
            self.scale_anew(&mut sums);
        }
        sums
    }

    /// Brings raw scores into totals as if there were no other nodes than those that have one: with fewer in question, the
    /// highest may be others.
    fn scale_anew(&self, totals: &mut [i32]) {
        if self.scales.iter().all(|scale| scale.highest == 0) {
            return;
        }
        let admitted = || totals.iter().enumerate().filter(|(_, total)| **total != INFEASIBLE);
        let highest = |scale: &Scale| admitted().map(|(position, _)| scale.raw(position)).max().unwrap_or(0);
        let highest: Vec<i32> = self.scales.iter().map(highest).collect();
        if self.scales.iter().zip(&highest).all(|(scale, highest)| scale.highest == *highest) {
            return;
        }
        for (position, total) in totals.iter_mut().enumerate().filter(|(_, total)| **total != INFEASIBLE) {
            *total += self.shift_among(position, &highest);
        }
    }

    /// The highest raw scores, one for each scale, among some positions.
    pub(super) fn highest_among(&self, positions: &[usize]) -> Vec<i32> {
        let highest =
            |scale: &Scale| positions.iter().map(|position| scale.raw(*position)).max().unwrap_or(0);
        self.scales.iter().map(highest).collect()
    }
}

/// The total of a node to which scales add `normal`, whatever their raw scores.
#[inline]
fn flat_total(position: u32, worth: Worth, normal: i32, unsure: &mut BTreeSet<u32>) -> i32 {
    match worth {
        Worth::Points(points) => points + normal,
        Worth::None => INFEASIBLE,
        Worth::Unsure => {
            unsure.insert(position);
            INFEASIBLE
        }
    }
}

fn at_or_zero(raws: &[i32], place: usize) -> i32 {
    raws.get(place).copied().unwrap_or(0)
}
