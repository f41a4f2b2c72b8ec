//! The coarser seam: place many pods at once.
//!
//! Plugins answer for one pod at a time; a strategy sees the whole cluster and everything that waits, which is
//! what batch, flow, gang, learned and optimising schedulers need.

use std::fmt::Debug;
use std::sync::Arc;

use crate::view::{ClusterView, NodeName, PodUid, PodView};

/// One pod on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The pod.
    pub pod: PodUid,
    /// Its node.
    pub node: NodeName,
}

impl Placement {
    /// Puts `pod` on `node`.
    #[must_use]
    pub fn new(pod: &PodView, node: &NodeName) -> Self {
        Self { pod: pod.uid.clone(), node: node.clone() }
    }
}

/// Places pods in batches.
///
/// # Contract
/// 1. A pod is placed at most once in an answer, and only pods of `queue` are.
/// 2. Every placement holds together with all others: what was answered can be carried out in any order.
/// 3. The same arguments give the same answer.
/// 4. Pods of one pod group are carried out together or not at all: when one of them cannot have its node, none has.
///
/// An answer that breaks the contract, or a panic, fails the pods it speaks of, with the strategy's name, and nothing else.
///
/// # Implementing
/// Pods left out of the answer stay in the queue. Fork `cluster` (a clone) to try things out, or ask
/// [`WhatIf`](crate::WhatIf). The filters of the profile have the last word on each node. The same value runs live
/// ([`Scheduler::strategy`](crate::Scheduler::strategy)) and in simulation.
pub trait Strategy: Debug + Send + Sync {
    /// Where the pods should go; `queue` is in the order of the active queue.
    fn place(&self, cluster: &ClusterView, queue: &[Arc<PodView>]) -> Vec<Placement>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{asking, cluster};
    use serde_json::json;

    /// Every pod on the first node with enough CPU left.
    #[derive(Debug)]
    struct FirstFit;

    impl Strategy for FirstFit {
        fn place(&self, cluster: &ClusterView, queue: &[Arc<PodView>]) -> Vec<Placement> {
            let mut fork = cluster.clone();
            let mut placements = Vec::new();
            for pod in queue {
                let room = fork.nodes().find(|node| {
                    node.facts().allocatable.cpu.minus(node.requested().cpu) >= pod.demand.requests.cpu
                });
                if let Some(name) = room.map(|node| node.name().clone()) {
                    placements.push(Placement::new(pod, &name));
                    fork.place(pod.clone(), &name);
                }
            }
            placements
        }
    }

    #[test]
    fn a_strategy_sees_all_pods_and_places_those_that_fit_together() {
        let cluster = cluster(["a", "b"].map(|name| json!({"metadata": {"name": name}})));
        let queue =
            [asking("p", "3", "0"), asking("q", "3", "0"), asking("r", "3", "0"), asking("s", "1", "0")];
        let placed: Vec<_> = FirstFit
            .place(&cluster, &queue)
            .into_iter()
            .map(|one| (one.pod.to_string(), one.node.to_string()))
            .collect();
        let expected =
            [("p", "a"), ("q", "b"), ("s", "a")].map(|(pod, node)| (pod.to_owned(), node.to_owned()));
        assert_eq!(placed, expected);
        assert!(cluster.nodes().all(|node| node.pods().is_empty()), "the cluster itself is untouched");
    }
}
