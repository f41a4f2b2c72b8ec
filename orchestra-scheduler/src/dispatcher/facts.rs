//! What the world tells the scheduler.

use std::sync::Arc;

use super::{Dispatcher, helps};
use crate::event::ClusterEvent;
use crate::queue::Moment;
use crate::view::{Kept, NodeFacts, PodKey, PodUid, PodView};

impl Dispatcher {
    /// A pod is there, and looks like this.
    pub fn pod_applied(&mut self, mut pod: PodView, now: Moment) {
        self.share(&mut pod);
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

    /// Lets the pod have the names that are held already: otherwise each of its views would have them once more.
    fn share(&self, pod: &mut PodView) {
        if let Some((key, uid)) = self.by_key.get_key_value(&pod.key).filter(|(_, uid)| **uid == pod.uid) {
            (pod.key, pod.uid) = (key.clone(), uid.clone());
        }
        if let Some(node) = pod.node.as_ref().and_then(|name| self.cluster.node(name)) {
            pod.node = Some(node.name().clone());
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
    pub fn node_deleted(&mut self, name: &str, now: Moment) {
        if let Some(node) = self.cluster.remove_node(name) {
            self.happened(&ClusterEvent::NodeDeleted(node.facts().clone()), now);
        }
    }

    /// An object of another kind is there, and looks like this.
    pub fn applied<T: Kept>(&mut self, object: T, now: Moment) {
        let object = Arc::new(object);
        let before = self.cluster.keep(object.clone());
        if before.as_ref().is_some_and(|before| **before == *object) {
            return;
        }
        self.epoch += 1;
        if let Some(event) = T::applied(before, object) {
            self.happened(&event, now);
        }
    }

    /// An object of another kind is gone.
    pub fn deleted<T: Kept>(&mut self, key: &T::Key, now: Moment) {
        let Some(gone) = self.cluster.forget::<T>(key) else { return };
        self.epoch += 1;
        if let Some(event) = T::deleted(gone) {
            self.happened(&event, now);
        }
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
            Some(old) if old.demand.requests == pod.demand.requests && old.labels == pod.labels => return,
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
        let before = self.queue.pod(&uid).cloned();
        if !self.flights.contains_key(&uid) {
            self.keep_promise(before.as_deref(), &pod);
        }
        let Some(old) = before else {
            self.meant = Some("UnschedulablePodAdd");
            let gate = self.gate(&pod);
            if self.is_batched(&pod) {
                self.epoch += 1;
                self.queue.add_batched(pod, gate, now);
            } else {
                self.queue.add(pod, gate, now);
            }
            return;
        };
        self.queue.replace(pod.clone());
        if !pod.wants_differ(&old) {
            return;
        }
        if self.is_batched(&pod) {
            self.epoch += 1;
        }
        if self.queue.is_gated(&uid) {
            if self.gate(&pod).is_none() {
                self.queue.ungate(&uid, now);
            }
            return;
        }
        let event = ClusterEvent::PodUpdated { old, new: pod };
        let helps = helps(&self.cluster, &self.profiles, &self.preempting);
        self.queue.happened_to(&uid, &event, now, &helps);
    }

    /// Keeps the room that a waiting pod was promised as its status says. A status that never said anything does not
    /// take back what was promised here and is not written yet.
    fn keep_promise(&mut self, before: Option<&PodView>, pod: &Arc<PodView>) {
        let unsaid = pod.nominated.is_none() && before.is_some_and(|before| before.nominated.is_none());
        let node = if unsaid { self.cluster.promised(&pod.uid).cloned() } else { pod.nominated.clone() };
        match node {
            Some(node) => self.cluster.nominate(pod.clone(), &node),
            None => self.cluster.withdraw(pod),
        }
    }

    /// A pod is gone or has ended: it wants nothing and occupies nothing.
    fn forget(&mut self, uid: &PodUid, now: Moment) {
        let Some(pod) = self.queue.pod(uid).cloned().or_else(|| self.placed(uid)) else { return };
        if self.by_key.get(&pod.key) == Some(uid) {
            self.by_key.remove(&pod.key);
        }
        self.cluster.withdraw(&pod);
        self.preempting.remove(uid);
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
