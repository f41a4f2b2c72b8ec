//! How many nodes are looked for, and which of the best is taken.

use rand::Rng;
use rand::rngs::SmallRng;

use crate::profile::{Sampling, TieBreak};

/// Below this many nodes all are looked at, whatever the share.
const FEWEST: usize = 100;

/// How many feasible nodes are looked for among `nodes`.
pub(super) fn nodes_to_find(sampling: Sampling, nodes: usize) -> usize {
    let percent = match sampling {
        Sampling::All => return nodes,
        Sampling::Percent(percent) if percent > 0 => usize::from(percent),
        Sampling::Percent(_) | Sampling::Adaptive => 50_usize.saturating_sub(nodes / 125).max(5),
    };
    if nodes < FEWEST || percent >= 100 {
        return nodes;
    }
    (nodes * percent / 100).max(FEWEST)
}

/// The index of the node that is taken; `None` without nodes.
pub(super) fn winner(scores: &[i64], tie_break: TieBreak, random: &mut SmallRng) -> Option<usize> {
    match tie_break {
        TieBreak::Heap => heap_root(scores),
        TieBreak::Random => reservoir(scores, random),
        TieBreak::First => first(scores),
    }
}

/// The first of the nodes with the most points.
fn first(scores: &[i64]) -> Option<usize> {
    let best = scores.iter().max()?;
    scores.iter().position(|score| score == best)
}

/// The root of the max-heap that bottom-up sifting builds over `scores`: a node stays above its children unless
/// one has strictly more, and the left child is preferred among equals.
fn heap_root(scores: &[i64]) -> Option<usize> {
    let mut winners: Vec<usize> = (0..scores.len()).collect();
    for index in (0..scores.len() / 2).rev() {
        let mut best = index;
        let (left, right) = (winners.get(2 * index + 1).copied(), winners.get(2 * index + 2).copied());
        let child = match (left, right) {
            (Some(left), Some(right)) if scores[right] > scores[left] => Some(right),
            (left, _) => left,
        };
        if let Some(child) = child
            && scores[child] > scores[best]
        {
            best = child;
        }
        winners[index] = best;
    }
    winners.first().copied()
}

/// One of the nodes with the most points, each with the same chance.
fn reservoir(scores: &[i64], random: &mut SmallRng) -> Option<usize> {
    let (mut best, mut equals) = (0, 0_u64);
    for (index, score) in scores.iter().enumerate() {
        match score.cmp(&scores[best]) {
            std::cmp::Ordering::Greater => (best, equals) = (index, 1),
            std::cmp::Ordering::Equal => {
                equals += 1;
                if random.random_range(0..equals) == 0 {
                    best = index;
                }
            }
            std::cmp::Ordering::Less => {}
        }
    }
    (!scores.is_empty()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn nodes_to_find_follows_the_adaptive_share_with_a_floor_of_100() {
        for (nodes, expected) in [
            (99, 99),
            (100, 100),
            (500, 230),
            (5_000, 500),
            (15_000, 750),
            (100_000, 5_000),
            (1_000_000, 50_000),
        ] {
            assert_eq!(nodes_to_find(Sampling::Adaptive, nodes), expected, "{nodes}");
        }
        assert_eq!(nodes_to_find(Sampling::Percent(30), 1_000), 300);
        assert_eq!(nodes_to_find(Sampling::Percent(1), 1_000), 100);
        assert_eq!(nodes_to_find(Sampling::Percent(0), 500), 230);
        assert_eq!(nodes_to_find(Sampling::All, 1_000), 1_000);
    }

    #[test]
    fn heap_rule_prefers_the_root_then_the_left_subtree_not_the_lowest_index() {
        for (scores, expected) in [
            (&[5, 5, 5][..], 0),
            (&[4, 5, 5], 1),
            (&[1, 2, 9, 9], 3),
            // Index 1 loses to its child 4 only strictly; index 2's subtree is not strictly greater.
            (&[0, 3, 7, 7, 2], 3),
            (&[0, 1, 7, 2, 7], 4),
        ] {
            assert_eq!(heap_root(scores), Some(expected), "{scores:?}");
        }
        assert_eq!(heap_root(&[]), None);
    }

    #[test]
    fn reservoir_is_uniform_among_the_best_and_repeats_under_one_seed() {
        let draw = |seed| {
            let mut random = SmallRng::seed_from_u64(seed);
            (0..3000).filter_map(|_| reservoir(&[1, 9, 9, 3, 9], &mut random)).collect::<Vec<_>>()
        };
        let draws = draw(7);
        assert_eq!(draws, draw(7));
        for index in [1, 2, 4] {
            let count = draws.iter().filter(|drawn| **drawn == index).count();
            assert!((850..1150).contains(&count), "{index}: {count}");
        }
        assert!(!draws.contains(&0) && !draws.contains(&3));
    }
}
