//! Chooses a node from an index that is up to date.

use super::index::Index;
use super::places::Places;
use super::plan::Plan;
use super::ranking::{Ranking, first_in_heap};
use crate::engine::reference::ReferenceEngine;
use crate::engine::select::{nodes_to_find, winner};
use crate::outcome::Choice;
use crate::profile::{Profile, TieBreak};
use crate::view::ClusterView;

/// The choice; `None` when nothing is feasible.
pub(super) fn choose(
    reference: &mut ReferenceEngine,
    plan: &Plan,
    profile: &Profile,
    cluster: &ClusterView,
    index: &Index,
) -> Option<Choice> {
    let (nodes, feasible) = (index.ranking.len(), index.ranking.feasible().count());
    let wanted = if profile.score.is_empty() { 1 } else { nodes_to_find(profile.sampling, nodes) };
    let start = reference.next_start % nodes;
    if feasible == 0 {
        return None;
    }
    let around = index.around.as_ref().filter(|around| !around.is_indifferent());
    if let Some(around) = around
        && profile.tie_break != TieBreak::Random
        && let Some(standings) = around.standings(plan).filter(|standings| standings.admitted <= wanted)
    {
        let position = match index.scales_anew(&standings) {
            false => around.winner(&index.ranking, &standings, start, profile.tie_break)?,
            true => best(profile, index.totals_among(&standings), start)?,
        };
        let node = cluster.node_at(position)?.name().clone();
        reference.next_start = (reference.next_start + nodes) % nodes;
        return Some(Choice { node, evaluated: nodes, feasible: standings.admitted });
    }
    let at_once = match profile.tie_break {
        _ if around.is_some() || feasible > wanted => None,
        TieBreak::Heap => Some(index.ranking.winner(start)?),
        TieBreak::First => Some(index.ranking.first(start)?),
        TieBreak::Random => None,
    };
    let (position, found, evaluated) = if let Some(position) = at_once {
        (position, feasible, nodes)
    } else {
        let (sample, evaluated) = sample(index, start, wanted);
        let position = match sample.as_slice() {
            [one] => *one,
            many => {
                let totals = totals(plan, index, many);
                let won = match profile.tie_break {
                    TieBreak::Heap => first_in_heap(&totals),
                    TieBreak::Random | TieBreak::First => {
                        winner(&totals, profile.tie_break, &mut reference.random)
                    }
                };
                *many.get(won?)?
            }
        };
        (position, sample.len(), evaluated)
    };
    let node = cluster.node_at(position)?.name().clone();
    reference.next_start = (reference.next_start + evaluated) % nodes;
    Some(Choice { node, evaluated, feasible: found })
}

/// The choice without these nodes; `None` when none is left, or where the rest cannot be told at once.
pub(super) fn choose_without(
    reference: &mut ReferenceEngine,
    profile: &Profile,
    cluster: &ClusterView,
    index: &Index,
    refused: &Places,
) -> Option<Choice> {
    let (nodes, feasible) = (index.ranking.len(), index.ranking.feasible().count() - refused.count());
    let sampled = profile.score.is_empty() || feasible > nodes_to_find(profile.sampling, nodes);
    if index.around.is_some() || sampled || profile.tie_break == TieBreak::Random {
        return None;
    }
    let start = reference.next_start % nodes;
    let node = cluster.node_at(best(profile, index.totals_without(refused), start)?)?.name().clone();
    reference.next_start = (reference.next_start + nodes) % nodes;
    Some(Choice { node, evaluated: nodes, feasible })
}

/// The position that wins by these totals, listed from `start` on, around the end, where the rule is one without chance.
fn best(profile: &Profile, totals: Vec<i32>, start: usize) -> Option<usize> {
    let ranking = Ranking::new(totals);
    match profile.tie_break {
        TieBreak::First => ranking.first(start),
        TieBreak::Heap | TieBreak::Random => ranking.winner(start),
    }
}

/// The first `wanted` feasible positions from `start` on, around the end, and how many nodes are looked at until it
/// is known that there are more.
pub(super) fn sample(index: &Index, start: usize, wanted: usize) -> (Vec<usize>, usize) {
    let (nodes, feasible) = (index.ranking.len(), index.ranking.feasible());
    let listed = feasible.from(start).chain(feasible.from(0).take_while(|position| *position < start));
    match &index.around {
        Some(around) if around.admits_some_only() => {
            let admits = around.admits();
            first_of(listed.filter(|position| admits(*position)), start, nodes, wanted)
        }
        _ => first_of(listed, start, nodes, wanted),
    }
}

fn first_of(
    mut listed: impl Iterator<Item = usize>,
    start: usize,
    nodes: usize,
    wanted: usize,
) -> (Vec<usize>, usize) {
    let sample: Vec<_> = listed.by_ref().take(wanted).collect();
    let evaluated = listed.next().map_or(nodes, |next| (next + nodes - start) % nodes);
    (sample, evaluated)
}

/// The totals of these positions, if they are the only ones that are scored.
pub(super) fn totals(plan: &Plan, index: &Index, positions: &[usize]) -> Vec<i64> {
    let mut totals: Vec<i64> = if positions.len() == index.ranking.feasible().count() {
        positions.iter().map(|position| i64::from(index.ranking.total(*position))).collect()
    } else {
        let highest = index.highest_among(positions);
        positions.iter().map(|position| index.total_among(*position, &highest)).collect()
    };
    if let Some(around) = &index.around {
        around.add_scores(plan, positions, &mut totals);
    }
    totals
}
