//! Who has which devices.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use orchestra_scheduler::view::{ClusterView, NodeName, NodeView, PodUid, PodView, Stamp};

use super::{Ask, Devices, MILLI, Picked, WHOLE};

/// Remembers which pod has which devices, and works out what is left of every node.
///
/// What is left follows from the pods on the node, so nothing has to be undone when pods leave, when a node is lost or when a
/// fork is thrown away; only which devices a pod was given is remembered. A pod that came to its node in another way, or before
/// this account began, is taken to have the tightest devices that were left.
#[derive(Debug, Default)]
pub struct Account(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    holders: HashMap<PodUid, (NodeName, Picked)>,
    nodes: HashMap<NodeName, (Stamp, Devices)>,
}

/// Holders beyond twice the number of pods in the cluster are looked through for those who left.
const KEPT: usize = 1024;

impl Account {
    /// What is left of the devices of a node.
    #[must_use]
    pub fn devices(&self, node: &NodeView) -> Devices {
        let offered = node.facts().allocatable.scalars.get(MILLI).copied().unwrap_or(0);
        let Some(count) = usize::try_from(offered / i64::from(WHOLE)).ok().filter(|count| *count > 0) else {
            return Devices::default();
        };
        let mut books = self.books();
        if let Some((state, devices)) = books.nodes.get(node.name())
            && *state == node.state()
        {
            return *devices;
        }
        let devices = books.work_out(node, count);
        books.nodes.insert(node.name().clone(), (node.state(), devices));
        devices
    }

    /// Notes that a pod has these devices of this node.
    pub fn give(&self, cluster: &ClusterView, pod: &PodView, node: &NodeName, picked: Picked) {
        let mut books = self.books();
        if books.holders.len() > cluster.pod_count().saturating_mul(2).saturating_add(KEPT) {
            books.holders.retain(|uid, _| cluster.node_of(uid).is_some());
            books.nodes.retain(|name, _| cluster.node(name).is_some());
        }
        books.holders.insert(pod.uid.clone(), (node.clone(), picked));
    }

    /// Forgets what a pod has.
    pub fn take_back(&self, pod: &PodView) {
        self.books().holders.remove(&pod.uid);
    }

    /// The devices a pod was given.
    #[must_use]
    pub fn given(&self, uid: &PodUid) -> Option<Picked> {
        self.books().holders.get(uid).map(|(_, picked)| *picked)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Every change is a single insertion or removal, so a panic in between leaves nothing half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn work_out(&mut self, node: &NodeView, count: usize) -> Devices {
        let mut devices = Devices::free(count);
        let mut unknown = Vec::new();
        for pod in node.pods() {
            let ask = Ask::of(pod);
            match self.holders.get(&pod.uid) {
                _ if ask == Ask::Nothing => {}
                Some((name, picked)) if name == node.name() => devices = devices.after(ask, *picked),
                _ => unknown.push((pod, ask)),
            }
        }
        for (pod, ask) in unknown {
            let picked = match ask {
                Ask::Share(share) => devices.tightest(share).map(Picked::one),
                Ask::Whole(count) => devices.lowest_free(count),
                Ask::Nothing | Ask::Odd => None,
            };
            if let Some(picked) = picked {
                devices = devices.after(ask, picked);
                self.holders.insert(pod.uid.clone(), (node.name().clone(), picked));
            }
        }
        devices
    }
}
