//! Scoring by resources that devices stand for: how many of the class a node has, and how many are had.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::devices::Stock;
use crate::plugin::Cycle;
use crate::unit::ResourceName;
use crate::view::{DeviceClassView, NodeView, PodView};

/// The devices that count in scoring a pod, for all plugins that want to know.
struct Counted {
    classes: BTreeMap<Arc<str>, Arc<DeviceClassView>>,
    stock: Arc<Stock>,
}

/// Notes the devices that stand for resources that are scored and that the pod asks for, if there are any.
pub(in crate::plugins) fn note_devices<'a>(
    cycle: &mut Cycle<'_>,
    pod: &PodView,
    scored: impl Iterator<Item = &'a ResourceName>,
) {
    let cluster = cycle.cluster();
    let noted = cycle.noted::<Counted>();
    let mut classes = noted.map(|noted| noted.classes.clone()).unwrap_or_default();
    for name in scored {
        if let ResourceName::Scalar(name) = name
            && let Some((_, class)) = pod.class_resources(cluster).find(|(asked, _)| **asked == *name)
        {
            classes.insert(name.clone(), class.clone());
        }
    }
    if classes.len() > noted.map_or(0, |noted| noted.classes.len()) {
        let stock = noted.map_or_else(|| Arc::new(Stock::of(cluster)), |noted| noted.stock.clone());
        cycle.note(Counted { classes, stock });
    }
}

/// How many devices stand for a resource on a node that offers none of it itself, those that are had first; `None` where it
/// is not devices that count.
pub(in crate::plugins) fn devices_in_use(
    cycle: &Cycle<'_>,
    node: &NodeView,
    name: &ResourceName,
) -> Option<(i64, i64)> {
    let ResourceName::Scalar(scalar) = name else { return None };
    let noted = cycle.noted::<Counted>()?;
    if node.facts().allocatable.amount(name) != 0 {
        return None;
    }
    let (all, had) = noted.stock.count(cycle.cluster(), noted.classes.get(scalar)?, node.facts());
    (all > 0).then_some((had, all))
}
