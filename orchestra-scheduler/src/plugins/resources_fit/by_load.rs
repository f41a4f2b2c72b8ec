//! The same answers from the numbers of a node alone, for pods to whom nothing but CPU and memory matters: asked about
//! many nodes at a time, so what is the same for all of them is worked out once.

use super::{NodeResourcesFit, ScoringStrategy, is_crowded, is_short, percent};
use crate::unit::{Points, ResourceName};
use crate::view::load::amount;
use crate::view::{Load, PodView};

/// Amounts below this, a hundred times, are whole numbers among the floating ones.
const EXACT: i64 = 1 << 46;

impl NodeResourcesFit {
    /// Whether nothing but CPU, memory and the number of pods decides if this pod fits.
    pub(crate) fn filters_by_load(&self, pod: &PodView) -> bool {
        let others = pod.requests.scalars.iter().filter(|(name, _)| !self.ignores(name));
        pod.requests.ephemeral_storage.0 <= 0 && others.into_iter().all(|(_, amount)| *amount <= 0)
    }

    /// Whether such a pod fits.
    #[inline]
    pub(crate) fn fits_load(&self, pod: &PodView, load: &Load) -> bool {
        let (asked, offered, used) = (&pod.requests, load.allocatable, load.requested);
        !is_crowded(load.pods, load.allocatable_pods)
            && !is_short(asked.cpu.0, offered.cpu.0, used.cpu.0)
            && !is_short(asked.memory.0, offered.memory.0, used.memory.0)
    }

    /// Whether nothing but CPU and memory counts in scoring for this pod.
    pub(crate) fn scores_by_load(&self, pod: &PodView) -> bool {
        self.scored.iter().all(|resource| match resource.name {
            ResourceName::Cpu | ResourceName::Memory => true,
            ResourceName::EphemeralStorage => false,
            ResourceName::Scalar(_) => pod.requests.amount(&resource.name) == 0,
        })
    }

    /// The score of a node with this load for such a pod.
    #[inline]
    pub(crate) fn score_load(&self, pod: &PodView, load: &Load) -> Points {
        let used = load.occupied.plus(pod.scored);
        self.points(|name| {
            let offered = amount(load.allocatable, name).filter(|offered| *offered != 0)?;
            Some((amount(used, name)?, offered))
        })
    }
}

/// The scores of one pod by CPU and memory, where they follow straight lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FitByLoad {
    /// Whether room counts, and not use.
    room: bool,
    asked: [i64; 2],
    weights: [i64; 2],
}

impl FitByLoad {
    /// Those of a pod that [`NodeResourcesFit::scores_by_load`] holds for; `None` where the line has bends.
    pub(crate) fn of(plugin: &NodeResourcesFit, pod: &PodView) -> Option<Self> {
        let room = match plugin.strategy {
            ScoringStrategy::LeastAllocated => true,
            ScoringStrategy::MostAllocated => false,
            ScoringStrategy::RequestedToCapacityRatio(_) => return None,
        };
        let weight = |wanted: &ResourceName| {
            let named = plugin.scored.iter().filter(|resource| resource.name == *wanted);
            named.map(|resource| i64::from(resource.weight)).sum()
        };
        Some(Self {
            room,
            asked: [pod.scored.cpu.0, pod.scored.memory.0],
            weights: [weight(&ResourceName::Cpu), weight(&ResourceName::Memory)],
        })
    }

    /// The score of a node with this load.
    #[inline]
    pub(crate) fn score(&self, load: &Load) -> Points {
        let offered = [load.allocatable.cpu.0, load.allocatable.memory.0];
        let occupied = [load.occupied.cpu.0, load.occupied.memory.0];
        let (mut sum, mut weights) = (0_i64, 0_i64);
        for at in [0, 1] {
            let (offered, used) = (offered[at], occupied[at].saturating_add(self.asked[at]));
            if offered == 0 {
                continue;
            }
            let counted = if self.room { offered.saturating_sub(used).max(0) } else { used.min(offered) };
            sum = sum.saturating_add(
                quick_percent(counted, offered, load.inverse[at]).saturating_mul(self.weights[at]),
            );
            weights += self.weights[at];
        }
        match weights {
            0 => Points(0),
            2 => Points(sum / 2),
            _ => Points(sum / weights),
        }
    }
}

/// What [`percent`] says, without a division where numbers are not enormous.
#[inline]
fn quick_percent(part: i64, whole: i64, inverse: f64) -> i64 {
    if !(0..EXACT).contains(&part) || !(1..EXACT).contains(&whole) {
        return percent(part, whole);
    }
    let product = part * Points::MAX.0;
    // Off by one at the most: the part is not more than the whole.
    let guess = (product as f64 * inverse) as i64;
    let left = product - guess * whole;
    guess + i64::from(left >= whole) - i64::from(left < 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quick_percentage_is_the_exact_one(whole in 1..i64::MAX, share in 0.0..=1.0_f64, near in -2..=2_i64) {
            for whole in [whole, whole >> 17, whole >> 24, whole >> 40, (whole >> 50).max(1)] {
                let part = ((whole as f64 * share) as i64).saturating_add(near).clamp(0, whole);
                prop_assert_eq!(quick_percent(part, whole, 1.0 / whole as f64), percent(part, whole));
                // Where the percentage jumps.
                let jump = (i128::from(whole) * i128::from((share * 100.0) as i64) / 100) as i64 + 1;
                for part in [jump - 1, jump, jump + 1] {
                    let part = part.clamp(0, whole);
                    prop_assert_eq!(quick_percent(part, whole, 1.0 / whole as f64), percent(part, whole));
                }
            }
        }
    }
}
