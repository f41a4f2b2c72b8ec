//! The same answers from the numbers of a node alone, for pods to whom nothing but CPU and memory matters: asked about
//! many nodes at a time, so what is the same for all of them is worked out once.

use super::{NodeResourcesFit, ScoringStrategy, is_crowded, is_short};
use crate::unit::{NonZero, Points, ResourceName};
use crate::view::load::{amount, exact, least, whole};
use crate::view::{Brief, Load, PodView};

/// A sum of points is divided by that of the weights by multiplying: exactly, as long as the one times the other is less than
/// 2 to the power of these bits.
const SHARE_BITS: u32 = 40;

/// Two weights of this, and a hundred times as much in points, are.
const HEAVIEST: i32 = 1 << 15;

impl NodeResourcesFit {
    /// Whether nothing but CPU, memory and the number of pods decides if this pod fits.
    pub(crate) fn filters_by_load(&self, pod: &PodView) -> bool {
        let others = pod.demand.requests.scalars.iter().filter(|(name, _)| !self.ignores(name));
        pod.demand.requests.ephemeral_storage.0 <= 0 && others.into_iter().all(|(_, amount)| *amount <= 0)
    }

    /// Whether such a pod fits.
    #[inline]
    pub(crate) fn fits_load(&self, pod: &PodView, load: &Load) -> bool {
        let (asked, offered, used) = (&pod.demand.requests, load.allocatable, load.requested);
        !is_crowded(load.pods, load.allocatable_pods)
            && !is_short(asked.cpu.0, offered.cpu.0, used.cpu.0)
            && !is_short(asked.memory.0, offered.memory.0, used.memory.0)
    }

    /// Whether nothing but CPU and memory counts in scoring for this pod.
    pub(crate) fn scores_by_load(&self, pod: &PodView) -> bool {
        self.scored.iter().all(|resource| match resource.name {
            ResourceName::Cpu | ResourceName::Memory => true,
            ResourceName::EphemeralStorage => false,
            ResourceName::Scalar(_) => pod.demand.requests.amount(&resource.name) == 0,
        })
    }

    /// The score of a node with this load for such a pod.
    #[inline]
    pub(crate) fn score_load(&self, pod: &PodView, load: &Load) -> Points {
        let used = load.occupied.plus(pod.demand.scored);
        self.points(|name| {
            let offered = amount(load.allocatable, name).filter(|offered| *offered != 0)?;
            Some((amount(used, name)?, offered))
        })
    }
}

/// Room and scores of one pod by CPU and memory, where their numbers are exact.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FitByLoad {
    /// Room is all there is less what is used, and use is nothing and what is used: how often each counts, without a branch.
    offered: f64,
    used: f64,
    /// What has to be left; less than nothing where nothing is asked for.
    needed: [f64; 2],
    scored: [f64; 2],
    weights: [i32; 2],
    /// One divided by the sum of weights, and a little more, in so many bits.
    share_of_sum: i64,
}

impl FitByLoad {
    /// Those of a pod that [`NodeResourcesFit::scores_by_load`] and [`NodeResourcesFit::filters_by_load`] hold for; `None`
    /// where the line of scores has bends, the plugin does not look at both, or the pod asks for too much.
    pub(crate) fn of(plugin: &NodeResourcesFit, pod: &PodView) -> Option<Self> {
        let room = match plugin.strategy {
            ScoringStrategy::LeastAllocated => true,
            ScoringStrategy::MostAllocated => false,
            ScoringStrategy::RequestedToCapacityRatio(_) => return None,
        };
        let weight = |wanted: &ResourceName| {
            let mut named = plugin.scored.iter().filter(|resource| resource.name == *wanted);
            let weight = named.next().map(|resource| resource.weight)?;
            i32::try_from(weight).ok().filter(|weight| named.next().is_none() && *weight <= HEAVIEST)
        };
        let weights = [weight(&ResourceName::Cpu)?, weight(&ResourceName::Memory)?];
        let needed = exact(NonZero { cpu: pod.demand.requests.cpu, memory: pod.demand.requests.memory })?;
        Some(Self {
            offered: if room { 1.0 } else { 0.0 },
            used: if room { -1.0 } else { 1.0 },
            needed: needed.map(|amount| if amount > 0.0 { amount } else { f64::NEG_INFINITY }),
            scored: exact(pod.demand.scored)?,
            weights,
            share_of_sum: (1 << SHARE_BITS) / i64::from(weights[0] + weights[1]) + 1,
        })
    }

    /// Whether the pod fits on a node that there is a brief of.
    #[inline]
    pub(crate) fn fits(&self, load: &Brief) -> bool {
        let (needed, offered, used) = (&self.needed, &load.offered, &load.requested);
        load.has_place & (needed[0] <= offered[0] - used[0]) & (needed[1] <= offered[1] - used[1])
    }

    /// The score of such a node, within the range of points.
    #[inline]
    pub(crate) fn score(&self, load: &Brief) -> i32 {
        let (offered, used, more) = (&load.offered, &load.occupied, &self.scored);
        let used = [least(used[0] + more[0], offered[0]), least(used[1] + more[1], offered[1])];
        let counted = [
            offered[0] * self.offered + used[0] * self.used,
            offered[1] * self.offered + used[1] * self.used,
        ];
        let hundred = Points::MAX.0 as f64;
        let points = [counted[0] * hundred / offered[0], counted[1] * hundred / offered[1]];
        let sum = whole(points[0]) * self.weights[0] + whole(points[1]) * self.weights[1];
        ((i64::from(sum) * self.share_of_sum) >> SHARE_BITS) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::NodeResourcesBalancedAllocation;
    use crate::plugins::resources_balanced::BalancedByLoad;
    use crate::plugins::resources_fit::ScoredResource;
    use crate::profile::Version;
    use crate::testing::asking;
    use crate::unit::{Bytes, Millicores};
    use proptest::prelude::*;

    /// So much of CPU and memory.
    fn amounts(cpu: i64, memory: i64) -> NonZero {
        NonZero { cpu: Millicores(cpu), memory: Bytes(memory) }
    }

    /// Numbers of every size, those where floating ones cease to be exact among them.
    fn number() -> impl Strategy<Value = i64> {
        // Mostly below the limit: a case counts only where all its numbers are.
        let cut = prop_oneof![6 => 16..63_u32, 1 => 0..63_u32];
        (any::<i64>(), cut, -2..=2_i64).prop_map(|(number, cut, near)| {
            let below = (number & i64::MAX) >> cut;
            // Close to a power of two, or anywhere.
            if number < 0 {
                below.saturating_add(near)
            } else {
                ((1_i64 << (62 - cut.min(61))) + near).max(0)
            }
        })
    }

    /// A number that makes some percentage of `whole` jump, or a number near it.
    fn jump(whole: i64, percentage: i64, near: i64) -> i64 {
        let jump = i128::from(whole) * i128::from(percentage) / 100 + i128::from(near);
        i64::try_from(jump).unwrap_or(i64::MAX).max(0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn in_brief_plugins_say_what_they_say_at_length(
            offered in (number(), number()),
            percentages in prop::array::uniform4((prop_oneof![0..130_i64, Just(100)], -2..=2_i64)),
            asked in (number(), number(), number(), number()),
            places in (0..3_i64, 0..3_i64),
            weights in (prop_oneof![1..4_u32, Just(HEAVIEST as u32)], prop_oneof![1..4_u32, 1..=HEAVIEST as u32]),
            most in any::<bool>(),
        ) {
            let [cpu, memory, scored_cpu, scored_memory] = [asked.0 >> 3, asked.1 >> 3, asked.2 >> 3, asked.3 >> 3];
            let used = |whole: i64, asked: i64, (percentage, near): (i64, i64)| {
                jump(whole, percentage, near).saturating_sub(asked).max(0)
            };
            let [first, second, third, fourth] = percentages;
            let load = Load {
                allocatable: amounts(offered.0, offered.1),
                requested: amounts(used(offered.0, cpu, first), used(offered.1, memory, second)),
                occupied: amounts(used(offered.0, scored_cpu, third), used(offered.1, scored_memory, fourth)),
                allocatable_pods: places.0,
                pods: places.1,
            };
            let mut pod = crate::view::PodView::clone(&asking("p", "0", "0"));
            let mut demand = crate::view::Demand { scored: amounts(scored_cpu, scored_memory), ..Default::default() };
            (demand.requests.cpu, demand.requests.memory) = (Millicores(cpu), Bytes(memory));
            pod.demand = demand.into();
            let strategy = if most { ScoringStrategy::MostAllocated } else { ScoringStrategy::LeastAllocated };
            let resources = vec![
                ScoredResource { name: ResourceName::Cpu, weight: weights.0 },
                ScoredResource { name: ResourceName::Memory, weight: weights.1 },
            ];
            let fit = NodeResourcesFit::with_strategy(strategy, resources);
            let brief = Brief::of(&load);
            let small = |amount: i64| (0..1 << 46).contains(&amount);
            let is_small = [cpu, memory, scored_cpu, scored_memory].into_iter().all(small);
            let quick = FitByLoad::of(&fit, &pod);
            prop_assert_eq!(quick.is_some(), is_small);
            let of = |one: NonZero| [one.cpu.0, one.memory.0];
            let all = [of(load.allocatable), of(load.requested), of(load.occupied)].concat();
            prop_assert_eq!(brief.holds, all.into_iter().all(small) && offered.0 > 0 && offered.1 > 0);
            let Some(quick) = quick.filter(|_| brief.holds) else { return Ok(()) };
            prop_assert_eq!(quick.fits(&brief), fit.fits_load(&pod, &load));
            prop_assert_eq!(i64::from(quick.score(&brief)), fit.score_load(&pod, &load).0);
            for version in [Version::V1_35, Version::V1_36] {
                let balanced = NodeResourcesBalancedAllocation::for_version(version);
                let quick = BalancedByLoad::of(&balanced, &pod).unwrap();
                prop_assert_eq!(i64::from(quick.score(&brief)), balanced.score_load(&pod, &load).0);
            }
        }
    }
}
