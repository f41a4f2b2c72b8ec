//! Events that happen while a pod is being tried, so that none is missed when it comes back.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::event::ClusterEvent;
use crate::view::PodUid;

/// Pods in flight and the events since the earliest of them left.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    since: HashMap<PodUid, u64>,
    /// How many pods began at each position.
    begun: BTreeMap<u64, usize>,
    log: VecDeque<ClusterEvent>,
    /// The position of the first event in the log.
    first: u64,
}

impl InFlight {
    pub(super) fn enter(&mut self, uid: PodUid) {
        let position = self.first + self.log.len() as u64;
        self.since.insert(uid, position);
        *self.begun.entry(position).or_default() += 1;
    }

    pub(super) fn record(&mut self, event: &ClusterEvent) {
        if !self.since.is_empty() {
            self.log.push_back(event.clone());
        }
    }

    /// The events since the pod entered; nothing if it had not.
    pub(super) fn missed(&self, uid: &PodUid) -> impl Iterator<Item = &ClusterEvent> {
        let end = self.first + self.log.len() as u64;
        let position = self.since.get(uid).copied().unwrap_or(end);
        let skip = usize::try_from(position.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.log.iter().skip(skip)
    }

    /// The pod is back, or gone; what only it needed is let go.
    pub(super) fn leave(&mut self, uid: &PodUid) {
        let Some(position) = self.since.remove(uid) else { return };
        if let Some(count) = self.begun.get_mut(&position) {
            *count -= 1;
            if *count == 0 {
                self.begun.remove(&position);
            }
        }
        let end = self.first + self.log.len() as u64;
        let needed = self.begun.first_key_value().map_or(end, |(position, _)| *position);
        while self.first < needed && self.log.pop_front().is_some() {
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node;
    use serde_json::json;

    #[test]
    fn events_are_kept_only_as_long_as_a_pod_in_flight_may_need_them() {
        let mut flights = InFlight::default();
        let event = ClusterEvent::NodeAdded(node(json!({})));
        flights.record(&event);
        flights.enter(PodUid::from("a"));
        flights.record(&event);
        flights.enter(PodUid::from("b"));
        flights.record(&event);
        assert_eq!(flights.missed(&PodUid::from("a")).count(), 2);
        assert_eq!(flights.missed(&PodUid::from("c")).count(), 0);
        flights.leave(&PodUid::from("a"));
        assert_eq!(flights.log.len(), 1);
        assert_eq!(flights.missed(&PodUid::from("b")).count(), 1);
        flights.leave(&PodUid::from("b"));
        assert!(flights.log.is_empty() && flights.begun.is_empty());
    }
}
