//! How many devices of a class a node has, and how many of them are had: what scoring by a resource that devices stand for
//! goes by.

use super::in_use::{InUse, id};
use super::selector::Selectors;
use crate::view::{ClusterView, DeviceClassView, DeviceSliceView, NodeFacts};

/// What is had in a cluster, and expressions read once.
#[derive(Debug)]
pub(crate) struct Stock {
    in_use: InUse,
    selectors: Selectors,
}

impl Stock {
    /// The stock of a cluster.
    pub(crate) fn of(cluster: &ClusterView) -> Self {
        Self { in_use: InUse::of(cluster), selectors: Selectors::default() }
    }

    /// How many devices of the class a node can use, and how many of those some claim has. All that drivers state counts,
    /// older editions of a pool, too, as upstream counts them; where an expression fails nothing does.
    pub(crate) fn count(
        &self,
        cluster: &ClusterView,
        class: &DeviceClassView,
        node: &NodeFacts,
    ) -> (i64, i64) {
        let (mut all, mut had) = (0, 0);
        for slice in cluster.all::<DeviceSliceView>() {
            for device in &slice.devices {
                if !device.reach.as_ref().is_some_and(|reach| reach.covers(node)) {
                    continue;
                }
                let mut expressions =
                    class.spec.selectors.iter().flatten().filter_map(|one| one.cel.as_ref());
                let is_other = expressions.find_map(|cel| {
                    match self.selectors.select(&cel.expression, &slice.driver, device) {
                        Ok(true) => None,
                        said => Some(said),
                    }
                });
                match is_other {
                    None => {}
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => {
                        tracing::warn!(class = &*class.name, node = &*node.name, %error, "devices are not counted");
                        return (0, 0);
                    }
                }
                all += 1;
                had += i64::from(self.in_use.touches(&id(&slice.driver, &slice.pool, &device.device.name)));
            }
        }
        (all, had)
    }
}
