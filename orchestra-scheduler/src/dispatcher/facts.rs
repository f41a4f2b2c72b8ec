//! What the world tells the scheduler.

use std::sync::Arc;

use super::{Dispatcher, helps};
use crate::event::ClusterEvent;
use crate::queue::Moment;
use crate::view::{ClaimKey, ClaimView, ClassView, NodeFacts, PodKey, PodUid, PodView, VolumeView};

impl Dispatcher {
    /// A pod is there, and looks like this.
    pub fn pod_applied(&mut self, pod: PodView, now: Moment) {
        let namesake = self.by_key.get(&pod.key).filter(|uid| **uid != pod.uid).cloned();
        if let Some(namesake) = namesake {
            self.forget(&namesake, now);
        }
        if pod.finished {
            return self.forget(&pod.uid, now);
        }
        match &pod.node {
            Some(_) => self.pod_assigned(Arc::new(pod), now),
            None => self.pod_pending(Arc::new(pod), now),
        }
    }

    /// The pod of this name is gone.
    pub fn pod_deleted(&mut self, key: &PodKey, now: Moment) {
        if let Some(uid) = self.by_key.get(key).cloned() {
            self.forget(&uid, now);
        }
    }

    /// A node is there, and says this.
    pub fn node_applied(&mut self, facts: NodeFacts, now: Moment) {
        if self.cluster.node(&facts.name).is_some_and(|node| **node.facts() == facts) {
            return;
        }
        let new = Arc::new(facts);
        let event = match self.cluster.set_node(new.clone()) {
            None => ClusterEvent::NodeAdded(new),
            Some(old) => ClusterEvent::NodeUpdated { old, new },
        };
        self.happened(&event, now);
    }

    /// A node is gone.
    pub fn node_deleted(&mut self, name: &str) {
        self.cluster.remove_node(name);
        self.epoch += 1;
    }

    /// A claim is there, and looks like this.
    pub fn claim_applied(&mut self, claim: ClaimView, now: Moment) {
        let claim = Arc::new(claim);
        if self.cluster.set_claim(claim.clone()).is_none_or(|old| old != claim) {
            self.happened(&ClusterEvent::ClaimChanged(claim), now);
        }
    }

    /// A claim is gone.
    pub fn claim_deleted(&mut self, key: &ClaimKey) {
        self.cluster.remove_claim(key);
        self.epoch += 1;
    }

    /// A volume is there, and looks like this.
    pub fn volume_applied(&mut self, volume: VolumeView, now: Moment) {
        let volume = Arc::new(volume);
        if self.cluster.set_volume(volume.clone()).is_none_or(|old| old != volume) {
            self.happened(&ClusterEvent::VolumeChanged(volume), now);
        }
    }

    /// A volume is gone.
    pub fn volume_deleted(&mut self, name: &str) {
        self.cluster.remove_volume(name);
        self.epoch += 1;
    }

    /// A storage class is there, and looks like this.
    pub fn class_applied(&mut self, class: ClassView, now: Moment) {
        let class = Arc::new(class);
        if self.cluster.set_class(class.clone()).is_none_or(|old| old != class) {
            self.happened(&ClusterEvent::ClassChanged(class), now);
        }
    }

    /// A storage class is gone.
    pub fn class_deleted(&mut self, name: &str) {
        self.cluster.remove_class(name);
    }

    fn pod_assigned(&mut self, pod: Arc<PodView>, now: Moment) {
        let Some(node) = pod.node.clone() else { return };
        self.by_key.insert(pod.key.clone(), pod.uid.clone());
        self.queue.remove(&pod.uid);
        self.cluster.withdraw(&pod);
        let before = self.cluster.take(&pod.uid);
        self.cluster.place(pod.clone(), &node);
        // A pod that was only assumed had no node in its own view yet.
        let event = match before.filter(|before| before.node.is_some()) {
            None => ClusterEvent::AssignedPodAdded(pod),
            Some(old) if old.requests == pod.requests && old.labels == pod.labels => return,
            Some(old) => ClusterEvent::AssignedPodUpdated { old, new: pod },
        };
        self.happened(&event, now);
    }

    fn pod_pending(&mut self, pod: Arc<PodView>, now: Moment) {
        if self.profile_of(&pod).is_none() {
            return;
        }
        let uid = pod.uid.clone();
        if self.cluster.node_of(&uid).is_some() && self.queue.pod(&uid).is_none() {
            // Bound by us; this is news from before.
            return;
        }
        self.by_key.insert(pod.key.clone(), uid.clone());
        if !self.flights.contains_key(&uid) && (pod.nominated.is_some() || self.queue.pod(&uid).is_some()) {
            self.cluster.nominate(pod.clone());
        }
        let Some(old) = self.queue.pod(&uid).cloned() else {
            let gate = self.gate(&pod);
            self.queue.add(pod, gate, now);
            return;
        };
        self.queue.replace(pod.clone());
        if !pod.wants_differ(&old) {
            return;
        }
        if self.queue.is_gated(&uid) {
            if self.gate(&pod).is_none() {
                self.queue.ungate(&uid, now);
            }
            return;
        }
        let (event, profiles) = (ClusterEvent::PodUpdated { old, new: pod }, &self.profiles);
        self.queue
            .happened_to(&uid, &event, now, &|pod, plugins, event| helps(profiles, pod, plugins, event));
    }

    /// A pod is gone or has ended: it wants nothing and occupies nothing.
    fn forget(&mut self, uid: &PodUid, now: Moment) {
        let Some(pod) = self.queue.pod(uid).cloned().or_else(|| self.placed(uid)) else { return };
        if self.by_key.get(&pod.key) == Some(uid) {
            self.by_key.remove(&pod.key);
        }
        self.cluster.withdraw(&pod);
        self.land(uid, now);
        self.queue.remove(uid);
        if let Some(gone) = self.cluster.take(uid) {
            self.happened(&ClusterEvent::AssignedPodDeleted(gone), now);
        }
    }

    fn placed(&self, uid: &PodUid) -> Option<Arc<PodView>> {
        let node = self.cluster.node_of(uid)?;
        let known =
            self.cluster.node(node).and_then(|node| node.pods().iter().find(|pod| pod.uid == *uid).cloned());
        known.or_else(|| self.cluster.stray(node, uid))
    }
}
