//! The default plugins, each with upstream's name, semantics and words.

mod default_binder;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod normalise;
mod priority_sort;
mod resources_balanced;
mod resources_fit;
mod scheduling_gates;
mod taint_toleration;
mod volume_binding;

use crate::profile::{PluginSet, Registration, Version};

pub use default_binder::DefaultBinder;
pub use node_affinity::NodeAffinity;
pub use node_name::NodeName;
pub use node_ports::NodePorts;
pub use node_unschedulable::NodeUnschedulable;
pub use priority_sort::PrioritySort;
pub use resources_balanced::NodeResourcesBalancedAllocation;
pub use resources_fit::{NodeResourcesFit, ScoredResource, ScoringStrategy};
pub use scheduling_gates::SchedulingGates;
pub use taint_toleration::TaintToleration;
pub use volume_binding::VolumeBinding;

/// The default plugins in upstream's order, with upstream's weights.
pub(crate) fn default_set(version: Version) -> Vec<PluginSet> {
    vec![
        Registration::of(SchedulingGates).pre_enqueue().requeue().into(),
        Registration::of(PrioritySort).queue_sort().into(),
        Registration::of(NodeUnschedulable).filter().requeue().into(),
        Registration::of(NodeName).filter().requeue().into(),
        Registration::of(TaintToleration::for_version(version)).filter().score_normalised(3).requeue().into(),
        Registration::of(NodeAffinity::default())
            .pre_filter()
            .filter()
            .pre_score()
            .score_normalised(2)
            .requeue()
            .into(),
        Registration::of(NodePorts).pre_filter().filter().requeue().into(),
        Registration::of(NodeResourcesFit::default()).filter().score(1).requeue().into(),
        Registration::of(VolumeBinding::default()).pre_filter().filter().pre_bind().requeue().into(),
        Registration::of(NodeResourcesBalancedAllocation::for_version(version)).pre_score().score(1).into(),
        Registration::of(DefaultBinder).bind().into(),
    ]
}
