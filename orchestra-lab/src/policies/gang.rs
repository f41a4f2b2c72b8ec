//! Pods that stand or fall together.

use std::collections::BTreeMap;
use std::sync::Arc;

use orchestra_scheduler::view::{ClusterView, NamespacedName, PodGroupView, PodView};

/// The waiting pods as units that are placed whole or not at all: a pod of no group alone, the pods of a group together at the place of the
/// first. A group that needs more pods than there are is left out.
pub(super) fn units(cluster: &ClusterView, queue: &[Arc<PodView>]) -> Vec<Vec<Arc<PodView>>> {
    let mut units: Vec<Vec<Arc<PodView>>> = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for pod in queue {
        let place = match &pod.group {
            Some(group) => *places.entry((&pod.key.namespace, group)).or_insert(units.len()),
            None => units.len(),
        };
        match units.get_mut(place) {
            Some(unit) => unit.push(pod.clone()),
            None => units.push(vec![pod.clone()]),
        }
    }
    units.retain(|unit| is_complete(cluster, unit));
    units
}

/// Whether a group has as many pods as it says it needs, those with a node included.
fn is_complete(cluster: &ClusterView, unit: &[Arc<PodView>]) -> bool {
    let Some((first, group)) = unit.first().and_then(|pod| Some((pod, pod.group.as_ref()?))) else {
        return true;
    };
    let key = NamespacedName::new(&first.key.namespace, group);
    let Some(needed) = cluster.kept::<PodGroupView>(&key).map(|group| group.min_count) else { return true };
    let member = |pod: &&Arc<PodView>| pod.group == first.group && pod.key.namespace == first.key.namespace;
    unit.len() >= needed
        || unit.len() + cluster.nodes().flat_map(|node| node.pods()).filter(member).count() >= needed
}
