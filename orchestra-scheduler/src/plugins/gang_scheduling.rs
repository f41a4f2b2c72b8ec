//! GangScheduling: the pods of a group are bound when enough of them have a node, or none is.
//!
//! Off by default, as upstream's feature is: a profile names the plugin to have it. A pod that was given a node keeps it
//! while it waits for its group, for five minutes at most; then its room goes to others.

use std::time::Duration;

use crate::event::{ClusterEvent, Hint};
use crate::plugin::{Cycle, Permit, Plugin, PreFilter, Requeue};
use crate::verdict::{Permission, PreFiltered, Rejection};
use crate::view::{ClusterView, NamespacedName, NodeName, PodGroupView, PodView};

/// How long a pod holds its node for the others.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Holds pods of a group back until the group has nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct GangScheduling;

fn group(pod: &PodView) -> Option<NamespacedName> {
    pod.group.as_ref().map(|name| NamespacedName::new(&pod.key.namespace, name))
}

/// How many pods of a group have a node, for good or for now.
fn placed(cluster: &ClusterView, pod: &PodView) -> usize {
    let member = |other: &PodView| {
        other.group == pod.group && other.key.namespace == pod.key.namespace && !other.terminating
    };
    cluster.nodes().flat_map(|node| node.pods()).filter(|other| member(other)).count()
}

impl Plugin for GangScheduling {
    fn name(&self) -> &str {
        "GangScheduling"
    }
}

impl PreFilter for GangScheduling {
    fn pre_filter(&self, cycle: &mut Cycle<'_>, pod: &PodView) -> PreFiltered {
        match group(pod) {
            None => PreFiltered::Skip,
            Some(key) if cycle.cluster().kept::<PodGroupView>(&key).is_some() => PreFiltered::All,
            Some(key) => {
                let text = format!("waiting for pod group {:?} to be created", &*key.name);
                PreFiltered::Reject(Rejection::unresolvable(text))
            }
        }
    }
}

impl Permit for GangScheduling {
    fn permit(&self, cluster: &ClusterView, pod: &PodView, _: &NodeName) -> Permission {
        let Some(key) = group(pod) else { return Permission::Allow };
        match cluster.kept::<PodGroupView>(&key) {
            Some(group) if placed(cluster, pod) >= group.min_count => Permission::Allow,
            Some(_) => Permission::Wait,
            None => {
                Permission::Reject(Rejection::unresolvable(format!("pod group {:?} is gone", &*key.name)))
            }
        }
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}

impl Requeue for GangScheduling {
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        Hint::when(match event {
            ClusterEvent::PodGroupChanged(changed) => group(pod).is_some_and(|key| key == changed.key),
            ClusterEvent::AssignedPodAdded(other) => group(pod).is_some() && group(pod) == group(other),
            ClusterEvent::AssignedPodDeleted(_) | ClusterEvent::NodeAdded(_) => true,
            _ => false,
        })
    }
}
