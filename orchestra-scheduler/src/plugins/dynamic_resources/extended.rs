//! Extended resources as devices (upstream's `DRAExtendedResource`, from 1.36 on): a resource that a class stands for is had
//! from devices on nodes that offer none of it themselves. What is asked for there is said as a claim that nobody sees
//! before the node is chosen.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::devices::translate;
use crate::effect::{Effect, NewClaim};
use crate::view::{
    ClusterView, NamespacedName, NodeFacts, PodView, PromisedResources, TranslatedClaim, may_be_devices,
};

/// What there is to do about extended resources of a pod.
#[derive(Debug, Default)]
pub(super) enum Extended {
    /// No class stands for any of them.
    #[default]
    Nothing,
    /// They are devices on some nodes.
    Wanted,
    /// A claim is left of an attempt that failed. It has to go first: what it holds would be missing.
    Left,
}

impl Extended {
    pub(super) fn of(cluster: &ClusterView, pod: &PodView) -> Self {
        if pod.class_resources(cluster).next().is_none() {
            return Self::Nothing;
        }
        if cluster.claims_made_for(pod).next().is_some() { Self::Left } else { Self::Wanted }
    }

    pub(super) fn matters(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// What has to be had from devices on a node; `None` if nothing has.
    ///
    /// # Errors
    /// Why the node will not do, in upstream's words.
    pub(super) fn on(
        &self,
        cluster: &ClusterView,
        pod: &PodView,
        node: &NodeFacts,
    ) -> Result<Option<Arc<TranslatedClaim>>, &'static str> {
        match self {
            Self::Nothing => return Ok(None),
            Self::Left => return Err("cannot schedule extended resource claim"),
            Self::Wanted => {}
        }
        let mut classes = BTreeMap::new();
        let asked =
            pod.demand.requests.scalars.iter().filter(|(name, amount)| **amount != 0 && may_be_devices(name));
        for (name, _) in asked {
            match (cluster.class_for(name), node.allocatable.scalars.get(name)) {
                (Some(class), None | Some(0)) => {
                    classes.insert(name.clone(), class.name.clone());
                }
                (None, None) => return Err("cannot fit resource"),
                (_, Some(_)) => {}
            }
        }
        Ok((!classes.is_empty()).then(|| Arc::new(translate(&pod.rules.devices, &classes))))
    }
}

/// What is to be written for a promise: the claim with its devices and its user, and in the pod's status how it is called.
pub(super) fn making(pod: &PodView, promised: &PromisedResources) -> Effect {
    Effect::MakeClaim(Arc::new(NewClaim {
        pod: pod.key.clone(),
        uid: pod.uid.clone(),
        wanted: promised.wanted.clone(),
        allocation: promised.allocation.clone(),
    }))
}

/// Takes away what attempts for a pod have made.
pub(super) fn unmaking(cluster: &ClusterView, pod: &PodView) -> Vec<Effect> {
    let promised = cluster.promised_resources().filter(|promised| promised.pod == pod.uid);
    // The claim may be made and not seen yet.
    let mut names: Vec<NamespacedName> = promised.filter_map(|promised| promised.made.clone()).collect();
    names.extend(cluster.claims_made_for(pod).map(|claim| claim.key.clone()));
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|claim| Effect::DropClaim { claim, pod: pod.uid.clone() }).collect()
}
