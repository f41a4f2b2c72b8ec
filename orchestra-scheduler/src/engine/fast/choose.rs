//! Chooses a node from an index that is up to date.

use super::around::Around;
use super::index::Index;
use super::plan::Plan;
use super::ranking::{INFEASIBLE, first_in_heap, first_of_best_in_heap};
use super::spreads::Standings;
use crate::engine::reference::ReferenceEngine;
use crate::engine::select::{nodes_to_find, winner};
use crate::outcome::Choice;
use crate::profile::{Profile, TieBreak};
use crate::view::ClusterView;

/// Stands for the bonus of a node that is not let in.
const REFUSED: i32 = i32::MIN;

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
    if let Some(around) = &index.around
        && profile.tie_break != TieBreak::Random
        && let Some(standings) = around.standings().filter(|standings| standings.admitted <= wanted)
        // Where some are refused, raw scores may have to be scaled by another highest.
        && (standings.admitted == feasible || index.is_unscaled())
    {
        let position = best_standing(plan, profile.tie_break, index, &standings, start)?;
        let node = cluster.node_at(position)?.name().clone();
        reference.next_start = (reference.next_start + nodes) % nodes;
        return Some(Choice { node, evaluated: nodes, feasible: standings.admitted });
    }
    let alone = index.around.as_ref().is_none_or(Around::is_indifferent);
    let at_once = match profile.tie_break {
        _ if !alone || feasible > wanted => None,
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

/// The winner among all nodes that are let in, listed from `start` on, around the end.
fn best_standing(
    plan: &Plan,
    rule: TieBreak,
    index: &Index,
    standings: &Standings<'_>,
    start: usize,
) -> Option<usize> {
    let weighted = |score: &Option<i64>| i32::try_from((*score)? * plan.spread_weight()).ok();
    let bonuses: Vec<i32> = standings.scores.iter().map(|score| weighted(score).unwrap_or(REFUSED)).collect();
    let (mut best, mut rank, mut ranks_before_start) = (0, 0, 0);
    // Position and rank of the best, counted from the first node.
    let mut equals: Vec<(usize, usize)> = Vec::new();
    for (position, (total, bucket)) in index.ranking.totals().iter().zip(standings.of).enumerate() {
        let bonus = bonuses.get(*bucket as usize).copied().unwrap_or(REFUSED);
        if *total == INFEASIBLE || bonus == REFUSED {
            continue;
        }
        if total + bonus >= best {
            if total + bonus > best {
                equals.clear();
            }
            best = total + bonus;
            equals.push((position, rank));
        }
        rank += 1;
        ranks_before_start += usize::from(position < start);
    }
    let (before, after) = equals.split_at(equals.partition_point(|(position, _)| *position < start));
    let count = rank;
    let listed = |rank: usize| (rank + count - ranks_before_start) % count;
    // The first of the best at or after a place in the list.
    let next = |place: usize| {
        let part = if before.is_empty() || after.last().is_some_and(|(_, last)| listed(*last) >= place) {
            after
        } else {
            before
        };
        part.get(part.partition_point(|(_, rank)| listed(*rank) < place)).copied()
    };
    if rule == TieBreak::First {
        return next(0).map(|(position, _)| position);
    }
    let won = first_of_best_in_heap(count, |place| next(place).map(|(_, rank)| listed(rank)))?;
    next(won).map(|(position, _)| position)
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
