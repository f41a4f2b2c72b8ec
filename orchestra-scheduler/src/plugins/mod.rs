//! The default plugins, each with upstream's name, semantics and words.

mod declared_features;
mod default_binder;
pub(crate) mod default_preemption;
mod dynamic_resources;
mod gang_scheduling;
pub(crate) mod image_locality;
pub(crate) mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
pub(crate) mod normalise;
mod priority_sort;
pub(crate) mod resources_balanced;
pub(crate) mod resources_fit;
mod scheduling_gates;
mod taint_toleration;
pub(crate) mod topology_spread;
pub(crate) mod volume_binding;
pub(crate) mod volume_limits;
mod volume_restrictions;
pub(crate) mod volume_zone;

use crate::profile::{PluginSet, Registration, Version};

pub use declared_features::NodeDeclaredFeatures;
pub use default_binder::DefaultBinder;
pub use default_preemption::DefaultPreemption;
pub use dynamic_resources::DynamicResources;
pub use gang_scheduling::GangScheduling;
pub use image_locality::ImageLocality;
pub use inter_pod_affinity::InterPodAffinity;
pub use node_affinity::NodeAffinity;
pub use node_name::NodeName;
pub use node_ports::NodePorts;
pub use node_unschedulable::NodeUnschedulable;
pub use priority_sort::PrioritySort;
pub use resources_balanced::NodeResourcesBalancedAllocation;
pub use resources_fit::{NodeResourcesFit, ScoredResource, ScoringStrategy, Shape, ShapePoint};
pub use scheduling_gates::SchedulingGates;
pub use taint_toleration::TaintToleration;
pub use topology_spread::PodTopologySpread;
pub use volume_binding::VolumeBinding;
pub use volume_limits::NodeVolumeLimits;
pub use volume_restrictions::VolumeRestrictions;
pub use volume_zone::VolumeZone;

/// The default plugins in upstream's order, with upstream's weights.
pub(crate) fn default_set(version: Version) -> Vec<PluginSet> {
    let mut set = vec![
        gates(),
        sort(),
        unschedulable(),
        node_name(),
        taints(version),
        affinity(NodeAffinity::default()),
        ports(),
        fit(NodeResourcesFit::default().as_of(version)),
        restrictions(),
        limits(),
        volumes(VolumeBinding::default()),
        zones(),
        spread(PodTopologySpread::default()),
        peers(InterPodAffinity::for_version(version)),
        devices(DynamicResources::for_version(version)),
        preemption(DefaultPreemption::default()),
        balanced(NodeResourcesBalancedAllocation::for_version(version)),
        images(version),
        binder(),
    ];
    if version >= Version::V1_36 {
        set.push(features());
    }
    set
}

pub(crate) fn gates() -> PluginSet {
    Registration::of(SchedulingGates).pre_enqueue().requeue().into()
}

pub(crate) fn sort() -> PluginSet {
    Registration::of(PrioritySort).queue_sort().into()
}

pub(crate) fn unschedulable() -> PluginSet {
    Registration::of(NodeUnschedulable).filter().requeue().into()
}

pub(crate) fn node_name() -> PluginSet {
    Registration::of(NodeName).filter().requeue().into()
}

pub(crate) fn taints(version: Version) -> PluginSet {
    Registration::of(TaintToleration::for_version(version)).filter().score_normalised(3).requeue().into()
}

pub(crate) fn affinity(plugin: NodeAffinity) -> PluginSet {
    Registration::of(plugin).pre_filter().filter().pre_score().score_normalised(2).requeue().into()
}

pub(crate) fn ports() -> PluginSet {
    Registration::of(NodePorts).pre_filter().filter().requeue().into()
}

pub(crate) fn fit(plugin: NodeResourcesFit) -> PluginSet {
    Registration::of(plugin).filter().pre_score().score(1).requeue().into()
}

pub(crate) fn volumes(plugin: VolumeBinding) -> PluginSet {
    Registration::of(plugin).pre_filter().filter().reserve().pre_bind().requeue().into()
}

pub(crate) fn spread(plugin: PodTopologySpread) -> PluginSet {
    Registration::of(plugin).pre_filter().adjust().filter().pre_score().score_normalised(2).requeue().into()
}

pub(crate) fn peers(plugin: InterPodAffinity) -> PluginSet {
    Registration::of(plugin).pre_filter().adjust().filter().pre_score().score_normalised(2).requeue().into()
}

pub(crate) fn images(version: Version) -> PluginSet {
    Registration::of(ImageLocality::for_version(version)).score(1).into()
}

pub(crate) fn preemption(plugin: DefaultPreemption) -> PluginSet {
    Registration::of(plugin).post_filter().requeue().into()
}

pub(crate) fn restrictions() -> PluginSet {
    Registration::of(VolumeRestrictions).pre_filter().adjust().filter().requeue().into()
}

pub(crate) fn limits() -> PluginSet {
    Registration::of(NodeVolumeLimits).pre_filter().filter().requeue().into()
}

pub(crate) fn zones() -> PluginSet {
    Registration::of(VolumeZone).pre_filter().filter().requeue().into()
}

pub(crate) fn devices(plugin: DynamicResources) -> PluginSet {
    let scores = plugin.scores();
    let registered =
        Registration::of(plugin).pre_filter().filter().post_filter().reserve().pre_bind().requeue();
    if scores { registered.pre_score().score_normalised(2).into() } else { registered.into() }
}

pub(crate) fn features() -> PluginSet {
    Registration::of(NodeDeclaredFeatures).pre_filter().filter().requeue().into()
}

pub(crate) fn gangs() -> PluginSet {
    Registration::of(GangScheduling).pre_filter().permit().requeue().into()
}

pub(crate) fn balanced(plugin: NodeResourcesBalancedAllocation) -> PluginSet {
    Registration::of(plugin).pre_score().score(1).into()
}

pub(crate) fn binder() -> PluginSet {
    Registration::of(DefaultBinder).bind().into()
}
