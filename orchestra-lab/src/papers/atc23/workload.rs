//! Which pods come, in which order, and which of equally good nodes is first.

use std::sync::Arc;

use orchestra_scheduler::view::PodView;

use super::trace::Trace;
use crate::gpu::{Ask, WHOLE};
use crate::papers::go_random::GoRandom;

/// What those who come want in all, in parts of what there is.
const LOAD: f64 = 1.3;

/// Between shuffling pods and nodes the program over there starts its scheduler, whose watches each draw how long they last from
/// the same generator. It is not written down anywhere how many there are; with this many, and no other number up to 15, the
/// order of nodes is the published one for every seed.
const WATCHES: usize = 10;

/// What a seed makes of a trace.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The pods in the order they come, by position in the trace.
    pub arrivals: Vec<usize>,
    /// The nodes in the order that decides ties, by position in the trace.
    pub nodes: Vec<usize>,
}

impl Workload {
    /// The pods and the order of nodes of one seed.
    #[must_use]
    pub fn seeded(trace: &Trace, seed: i64) -> Self {
        let mut random = GoRandom::seeded(seed);
        // Written to a log over there.
        random.int63();
        let mut arrivals: Vec<usize> = (0..trace.pods.len()).collect();
        random.shuffle(&mut arrivals);
        let target = LOAD * trace.capacity() as f64;
        let of = |index: usize| trace.pods.get(index).map_or(0, |pod| Ask::of(pod).milli());
        let mut wanted: i64 = arrivals.iter().map(|index| of(*index)).sum();
        let end = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        if wanted as f64 > target {
            while wanted as f64 > target && !arrivals.is_empty() {
                let gone = arrivals.remove(random.below(end(arrivals.len())) as usize);
                wanted -= of(gone);
            }
        } else if (wanted as f64) < target && trace.pods.iter().any(|pod| Ask::of(pod).milli() > 0) {
            loop {
                let next = random.below(end(trace.pods.len())) as usize;
                // What a pod wants of one device is what is compared, so whole devices may go past the mark.
                if (wanted + of(next).min(WHOLE.into())) as f64 > target {
                    break;
                }
                wanted += of(next);
                arrivals.push(next);
            }
        }
        for _ in 0..WATCHES {
            random.int63();
        }
        let places = random.permutation(end(trace.nodes.len()));
        let mut nodes: Vec<usize> = (0..trace.nodes.len()).collect();
        nodes.sort_by_key(|index| places.get(*index));
        Self { arrivals, nodes }
    }

    /// The pods themselves; those that come again have names of their own.
    pub fn pods<'a>(&'a self, trace: &'a Trace) -> impl Iterator<Item = PodView> + 'a {
        self.arrivals.iter().enumerate().filter_map(|(turn, index)| {
            let mut pod = PodView::clone(trace.pods.get(*index)?);
            if turn >= trace.pods.len() {
                let name = format!("{}-tuned-{}", pod.key.name, turn - trace.pods.len());
                pod.uid = name.as_str().into();
                pod.key.name = Arc::from(name);
            }
            Some(pod)
        })
    }
}
