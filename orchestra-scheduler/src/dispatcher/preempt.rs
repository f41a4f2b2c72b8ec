//! Making room: evicting victims, and holding the pod back they go for.
//!
//! All victims but one are evicted at once; when they are gone the pod may be woken again, and the last one is evicted.
//! So what wakes the pod cannot come before everything else is done, and cannot be missed either.

use std::sync::Arc;

use super::flight::Stage;
use super::{Dispatcher, Eviction, Report, ReportReason, Step};
use crate::outcome::Failure;
use crate::queue::Moment;
use crate::view::{NodeName, PodUid, PodView};

/// The evictions for one pod, but for the last.
#[derive(Debug)]
pub(super) struct Preempting {
    under_way: usize,
    failed: bool,
    last: Eviction,
}

impl Dispatcher {
    /// Promises `pod` the room of `victims` on `node`, and has them evicted.
    pub(super) fn make_room(
        &mut self,
        pod: &Arc<PodView>,
        node: &NodeName,
        victims: Vec<Arc<PodView>>,
        now: Moment,
    ) {
        self.displace_lesser(pod, node);
        self.cluster.nominate(pod.clone(), node);
        let mut evictions = Vec::new();
        for victim in victims.into_iter().filter(|victim| !victim.terminating) {
            let eviction = Eviction { victim, preemptor: pod.clone(), node: node.clone(), in_memory: false };
            if self.is_not_yet_binding(&eviction.victim.uid) {
                let message = format!("preempted by pod {}", pod.key);
                self.give_up(&eviction.victim.uid, Failure { plugin: None, message }, now);
                self.steps.push_back(Step::Evict(Eviction { in_memory: true, ..eviction }));
            } else {
                evictions.push(eviction);
            }
        }
        let Some(last) = evictions.pop() else { return };
        if evictions.is_empty() {
            return self.steps.push_back(Step::Evict(last));
        }
        let preempting = Preempting { under_way: evictions.len(), failed: false, last };
        self.preempting.insert(pod.uid.clone(), preempting);
        self.steps.extend(evictions.into_iter().map(Step::Evict));
    }

    /// Tells how an eviction for `preemptor` went.
    pub fn evicted(&mut self, preemptor: &PodUid, result: Result<(), String>, now: Moment) {
        if let Err(error) = &result {
            tracing::warn!(pod = &**preemptor, error, "a victim was not evicted");
        }
        let Some(preempting) = self.preempting.get_mut(preemptor) else {
            if result.is_err() {
                self.queue.activate(preemptor, now);
            }
            return;
        };
        preempting.failed |= result.is_err();
        preempting.under_way = preempting.under_way.saturating_sub(1);
        if preempting.under_way > 0 {
            return;
        }
        match self.preempting.remove(preemptor) {
            Some(Preempting { failed: false, last, .. }) => self.steps.push_back(Step::Evict(last)),
            Some(_) => self.queue.activate(preemptor, now),
            None => {}
        }
    }

    /// Whether a pod is assumed to be on its node, but nothing was written yet that puts it there.
    fn is_not_yet_binding(&self, uid: &PodUid) -> bool {
        self.flights.get(uid).is_some_and(|flight| flight.stage != Stage::Binding)
    }

    /// Less important pods lose what they were promised on a node.
    fn displace_lesser(&mut self, pod: &PodView, node: &NodeName) {
        let lesser: Vec<_> = self
            .cluster
            .nominated(node)
            .iter()
            .filter(|other| other.priority < pod.priority)
            .cloned()
            .collect();
        for other in lesser {
            self.cluster.withdraw(&other);
            self.steps.push_back(Step::Report(Report {
                pod: other,
                reason: ReportReason::Displaced,
                message: String::new(),
                nominated: None,
                victims: None,
            }));
        }
    }
}
