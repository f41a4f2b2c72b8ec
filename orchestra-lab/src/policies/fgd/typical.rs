//! The workload that fragmentation is measured by.

use std::collections::HashMap;

use orchestra_scheduler::view::PodView;

use crate::gpu::{self, Ask, WHOLE};
use crate::workload::Workload;

/// How much of the workload, in parts of a hundred, the typical pods have to stand for.
const COVERED: f64 = 95.0;

/// What typical pods ask for, the most frequent first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Typical(pub(super) Vec<Kind>);

/// Pods that ask for the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kind {
    pub(super) wants: Wants,
    /// Which part of the typical pods they are.
    pub(super) share: f64,
}

/// What a pod asks for; the order of the fields decides among equally frequent ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Wants {
    pub(super) cpu: i64,
    /// Of each device.
    pub(super) milli: u16,
    pub(super) devices: u8,
    /// The models that will do, joined by `|`; empty for any.
    pub(super) models: String,
}

impl Wants {
    fn of(pod: &PodView) -> Self {
        let (milli, devices) = match Ask::of(pod) {
            Ask::Nothing | Ask::Odd => (0, 0),
            Ask::Share(share) => (share, 1),
            Ask::Whole(count) => (WHOLE, count),
        };
        Self { cpu: pod.demand.scored.cpu.0, milli, devices, models: gpu::models(pod).join("|") }
    }
}

impl Typical {
    /// The most frequent wishes among `pods`, until they stand for 95 % of them.
    #[must_use]
    pub fn of<'a>(pods: impl IntoIterator<Item = &'a PodView>) -> Self {
        Self::counted(pods.into_iter().map(|pod| (pod, 1)))
    }

    /// The same for all pods of a workload.
    #[must_use]
    pub fn of_workload(workload: &Workload) -> Self {
        let mut counts = vec![0_u32; workload.classes.len()];
        for pod in &workload.pods {
            if let Some(count) = counts.get_mut(pod.class) {
                *count = count.saturating_add(1);
            }
        }
        Self::counted(workload.classes.iter().zip(counts))
    }

    /// The same for pods of which there are so many each.
    #[must_use]
    pub fn counted<'a>(pods: impl IntoIterator<Item = (&'a PodView, u32)>) -> Self {
        let mut counts: HashMap<Wants, u32> = HashMap::new();
        for (pod, count) in pods.into_iter().filter(|(_, count)| *count > 0) {
            let known = counts.entry(Wants::of(pod)).or_default();
            *known = known.saturating_add(count);
        }
        let total: f64 = counts.values().map(|count| f64::from(*count)).sum();
        let mut ordered: Vec<_> = counts.into_iter().collect();
        ordered.sort_unstable_by(|left, right| (right.1, &right.0).cmp(&(left.1, &left.0)));
        let (mut kinds, mut covered) = (Vec::new(), 0.0);
        for (wants, count) in ordered {
            if covered >= COVERED * total / 100.0 {
                break;
            }
            covered += f64::from(count);
            // In two steps, as the authors' program divides, so that even the last bit agrees.
            kinds.push(Kind { wants, share: f64::from(count) / total });
        }
        let part = covered / total;
        if covered < total {
            kinds.iter_mut().for_each(|kind| kind.share /= part);
        }
        Self(kinds)
    }

    /// How many different wishes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is typical; every score is the same then.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
