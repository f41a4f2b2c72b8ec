//! DynamicResources: pods that use resource claims.
//!
//! A claim that has its devices already ties the pod to the nodes that can use them. For others, devices are looked for on
//! each node ([`crate::devices`]); those of the node that is chosen are promised to the claim, and written into its
//! status, together with the pod as its user, before the pod is bound. Devices that have to be prepared are waited for.
//!
//! Extended resources that device classes stand for (upstream's `DRAExtendedResource`) are not translated into claims.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::resource::v1::{AllocationResult, DeviceRequestAllocationResult};

use super::normalise::{Best, by_highest};
use crate::devices::{InUse, Offers, Question, Selectors, Trouble, allocate, classes};
use crate::effect::Effect;
use crate::event::{ClusterEvent, Hint};
use crate::outcome::Diagnosis;
use crate::plugin::{
    Cycle, Filter, Normalise, Plugin, PostFilter, PreBind, PreFilter, PreScore, Refilter, Requeue, Reserve,
    Score,
};
use crate::profile::Version;
use crate::unit::Points;
use crate::verdict::{Nomination, PreFiltered, PreScored, Preparation, Rejection, Reservation, Verdict};
use crate::view::{
    ClusterView, DeviceAllocation, DeviceClaimView, DeviceClassView, NamespacedName, NodeFacts, NodeName,
    NodeView, PodView, Promise,
};

/// As many pods may use one claim.
const MOST_USERS: usize = 256;
/// As many alternatives may a request have; what the first of them is worth.
const MOST_ALTERNATIVES: i64 = 8;
/// What stands for a second of searching, so that the end of a search does not depend on the machine.
const STEPS_A_SECOND: u64 = 100_000;

/// Filters by resource claims, scores by which alternative they get, allocates and reserves them.
#[derive(Clone, Debug)]
pub struct DynamicResources {
    patience: Duration,
    steps: u64,
    version: Version,
    selectors: Arc<Selectors>,
}

impl Default for DynamicResources {
    fn default() -> Self {
        Self::for_version(Version::default())
    }
}

impl DynamicResources {
    /// The plugin as one Kubernetes version has it.
    #[must_use]
    pub fn for_version(version: Version) -> Self {
        let (patience, selectors) = (Duration::from_secs(600), Arc::default());
        Self { patience, steps: 0, version, selectors }.searching(Duration::from_secs(10))
    }

    /// Waiting this long for claims to be written and devices to be prepared (`bindingTimeout`).
    #[must_use]
    pub fn waiting(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Searching this long on one node (`filterTimeout`); 100,000 devices looked at count as a second. Zero is no limit.
    #[must_use]
    pub fn searching(mut self, longest: Duration) -> Self {
        let steps = longest.as_secs().saturating_mul(STEPS_A_SECOND);
        self.steps = if longest.is_zero() { u64::MAX } else { steps.max(1) };
        self
    }

    /// Whether alternatives are scored; from 1.35 on.
    pub(crate) fn scores(&self) -> bool {
        self.version >= Version::V1_35
    }

    fn search(
        &self,
        cluster: &ClusterView,
        work: &Work,
        node: &NodeFacts,
    ) -> Result<Option<Vec<AllocationResult>>, Trouble> {
        let claims: Vec<&DeviceClaimView> = work.new.iter().map(AsRef::as_ref).collect();
        let question = Question {
            cluster,
            claims: &claims,
            offers: &work.offers,
            in_use: &work.in_use,
            selectors: &self.selectors,
            steps: self.steps,
            shares: self.version >= Version::V1_36,
        };
        allocate(question, node)
    }
}

/// Left by `PreFilter` once it has run.
#[derive(Debug, Default)]
struct Work {
    /// Whether the pod uses any claim.
    uses: bool,
    /// Its claims that have no devices yet, each once.
    new: Vec<Arc<DeviceClaimView>>,
    offers: Offers,
    in_use: InUse,
}

/// The pod's claims; those that are not known come as the reason why.
fn claims<'a>(
    cluster: &'a ClusterView,
    pod: &'a PodView,
) -> impl Iterator<Item = Result<&'a Arc<DeviceClaimView>, String>> {
    pod.rules.device_claims.iter().map(|reference| {
        let Some(name) = &reference.claim else {
            return Err(format!("pod {:?}: ResourceClaim not created yet", pod.key.to_string()));
        };
        let key = NamespacedName::new(&pod.key.namespace, name);
        let claim = cluster.kept::<DeviceClaimView>(&key);
        claim.ok_or_else(|| format!("resourceclaim.resource.k8s.io {name:?} not found"))
    })
}

/// Why a claim keeps its pod from every node.
fn objection(cluster: &ClusterView, pod: &PodView, claim: &DeviceClaimView) -> Option<String> {
    if claim.terminating {
        return Some(format!("resourceclaim {:?} is being deleted", &*claim.key.name));
    }
    if claim.allocation.is_some() {
        let full = claim.users.len() >= MOST_USERS && !claim.is_used_by(pod);
        return full.then(|| "resourceclaim in use".to_owned());
    }
    if cluster.promised_devices().any(|(key, ..)| *key == claim.key) {
        return Some(format!("resource claim {} is in the process of being allocated", claim.key));
    }
    let unknown = |class: &str| cluster.kept::<DeviceClassView>(&class.into()).is_none();
    let (request, class) = classes(claim).find(|(_, class)| unknown(class))?;
    Some(format!("request {request}: device class {class} does not exist"))
}

/// How far the preparation of a claim's devices has come.
enum Prepared {
    Done,
    Waiting,
    /// The driver says that it will not be.
    Failed(String),
}

fn prepared(claim: &DeviceClaimView, allocation: &DeviceAllocation) -> Prepared {
    let mut prepared = Prepared::Done;
    for device in allocation.devices() {
        let is_true = |name: &str| {
            let is_it = |one: &&k8s_openapi::api::resource::v1::AllocatedDeviceStatus| {
                (&one.driver, &one.pool, &one.device, &one.share_id)
                    == (&device.driver, &device.pool, &device.device, &device.share_id)
            };
            let conditions =
                claim.devices.iter().filter(is_it).flat_map(|one| one.conditions.iter().flatten());
            conditions.into_iter().any(|condition| condition.type_ == name && condition.status == "True")
        };
        let DeviceRequestAllocationResult { binding_conditions, binding_failure_conditions, .. } = device;
        if let Some(failed) = binding_failure_conditions.iter().flatten().find(|name| is_true(name)) {
            return Prepared::Failed(format!(
                "claim {}: binding of device {} failed: {failed}",
                claim.key, device.device
            ));
        }
        if !binding_conditions.iter().flatten().all(|name| is_true(name)) {
            prepared = Prepared::Waiting;
        }
    }
    prepared
}

/// Whether a claim's devices can be used on a node.
fn reaches(claim: &DeviceClaimView, allocation: &DeviceAllocation, node: &NodeFacts) -> bool {
    allocation.reaches(node) && !matches!(prepared(claim, allocation), Prepared::Failed(_))
}

impl Plugin for DynamicResources {
    fn name(&self) -> &str {
        "DynamicResources"
    }
}

impl PreFilter for DynamicResources {
    fn pre_filter(&self, cycle: &mut Cycle<'_>, pod: &PodView) -> PreFiltered {
        let cluster = cycle.cluster();
        let mut work = Work { uses: !pod.rules.device_claims.is_empty(), ..Work::default() };
        let mut answer = if work.uses { PreFiltered::All } else { PreFiltered::Skip };
        for claim in claims(cluster, pod) {
            let claim = match claim {
                Ok(claim) => claim,
                Err(reason) => {
                    answer = PreFiltered::Reject(Rejection::unresolvable(reason));
                    break;
                }
            };
            if let Some(reason) = objection(cluster, pod, claim) {
                answer = PreFiltered::Reject(Rejection::unresolvable(reason));
                break;
            }
            if claim.allocation.is_none() && !work.new.iter().any(|other| other.key == claim.key) {
                work.new.push(claim.clone());
            }
        }
        if !work.new.is_empty() {
            (work.offers, work.in_use) = (Offers::of(cluster), InUse::of(cluster));
        }
        cycle.note(work);
        answer
    }
}

impl Filter for DynamicResources {
    fn filter(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        let (cluster, facts) = (cycle.cluster(), node.facts());
        for claim in claims(cluster, pod) {
            match claim.map(|claim| (claim, &claim.allocation)) {
                Err(reason) => return Verdict::unresolvable(reason),
                Ok((claim, Some(allocation))) if !reaches(claim, allocation, facts) => {
                    return Verdict::unresolvable("resourceclaim not available on the node");
                }
                Ok(_) => {}
            }
        }
        let Some(work) = cycle.noted::<Work>().filter(|work| !work.new.is_empty()) else {
            return Verdict::Pass;
        };
        match self.search(cluster, work, facts) {
            Ok(Some(_)) => Verdict::Pass,
            Ok(None) => Verdict::unresolvable("cannot allocate all claims"),
            Err(Trouble::Here(reason)) => Verdict::unresolvable(reason),
            Err(Trouble::Timeout) if self.version >= Version::V1_36 => {
                Verdict::Fail(format!("node {}: timed out trying to allocate devices", facts.name))
            }
            Err(Trouble::Timeout) => Verdict::unresolvable("timed out trying to allocate devices"),
            Err(Trouble::Broken(error)) => Verdict::Fail(error),
        }
    }
}

impl PostFilter for DynamicResources {
    fn post_filter(
        &self,
        cycle: &Cycle<'_>,
        pod: &PodView,
        diagnosis: &Diagnosis,
        filters: &dyn Refilter,
    ) -> Nomination {
        match cycle.noted::<Work>() {
            // Whoever stopped before this plugin had its turn, ends the search for help as well.
            None => return Nomination::Fail("not found".to_owned()),
            Some(work) if !work.uses => {
                return Nomination::Nothing(vec!["no new claims to deallocate".into()]);
            }
            Some(_) => {}
        }
        let cluster = cycle.cluster();
        let refused = || {
            let by_this = diagnosis.nodes.iter().filter(|refusal| refusal.plugin == self.name());
            by_this.filter_map(|refusal| cluster.node(refusal.node))
        };
        let in_the_way = claims(cluster, pod).filter_map(Result::ok).filter(|claim| {
            let Some(allocation) = &claim.allocation else { return false };
            claim.is_used_by_nobody_but(pod)
                && refused().any(|node| !reaches(claim, allocation, node.facts()))
        });
        let in_the_way: Vec<_> = in_the_way.collect();
        match in_the_way.get(filters.chance(in_the_way.len())) {
            None => Nomination::Nothing(vec!["still not schedulable".into()]),
            Some(claim) => Nomination::Repair {
                effects: vec![Effect::FreeClaim { claim: claim.key.clone(), version: claim.version.clone() }],
                reasons: vec!["deallocation of ResourceClaim completed".into()],
            },
        }
    }
}

impl PreScore for DynamicResources {
    fn pre_score(&self, _: &mut Cycle<'_>, pod: &PodView, _: &[&NodeView]) -> PreScored {
        if pod.rules.device_claims.is_empty() { PreScored::Skip } else { PreScored::Score }
    }
}

impl Score for DynamicResources {
    fn score(&self, cycle: &Cycle<'_>, _: &PodView, node: &NodeView) -> Points {
        let Some(work) = cycle.noted::<Work>().filter(|work| !work.new.is_empty()) else { return Points(0) };
        let Ok(Some(results)) = self.search(cycle.cluster(), work, node.facts()) else { return Points(0) };
        Points(work.new.iter().zip(&results).map(|(claim, result)| rank(claim, result)).sum())
    }
}

/// What the alternatives that a claim got are worth: the more the earlier they are named.
fn rank(claim: &DeviceClaimView, result: &AllocationResult) -> i64 {
    let devices = || result.devices.iter().flat_map(|devices| devices.results.iter().flatten());
    let requests = claim.wanted.requests.iter().flatten();
    let alternatives = requests.flat_map(|request| {
        let options = request.first_available.iter().flatten();
        options.zip((1..=MOST_ALTERNATIVES).rev()).map(move |(option, worth)| (request, option, worth))
    });
    let got = alternatives.filter(|(request, option, _)| {
        devices().any(|device| {
            device
                .request
                .split_once('/')
                .is_some_and(|(left, right)| left == request.name && right == option.name)
        })
    });
    got.map(|(.., worth)| worth).sum()
}

impl Normalise for DynamicResources {
    fn normalise(&self, _: &Cycle<'_>, _: &PodView, _: &[&NodeView], scores: &mut [Points]) {
        by_highest(scores, Best::Highest);
    }
}

impl Reserve for DynamicResources {
    fn reserve(&self, cycle: &mut Cycle<'_>, pod: &PodView, node: &NodeName) -> Reservation {
        let Some(work) = cycle.noted::<Work>().filter(|work| !work.new.is_empty()) else {
            return Reservation::Made;
        };
        let Some(view) = cycle.cluster().node(node) else {
            return Reservation::Fail(format!("node {:?} not found", &**node));
        };
        match self.search(cycle.cluster(), work, view.facts()) {
            Ok(Some(results)) => Reservation::Promise(
                work.new
                    .iter()
                    .zip(results)
                    .map(|(claim, result)| Promise::Devices {
                        claim: claim.key.clone(),
                        pod: pod.uid.clone(),
                        allocation: Arc::new(DeviceAllocation::new(result)),
                    })
                    .collect(),
            ),
            Ok(None) | Err(Trouble::Here(_)) => Reservation::Fail("claim allocation not found".to_owned()),
            Err(Trouble::Timeout) => Reservation::Fail("timed out trying to allocate devices".to_owned()),
            Err(Trouble::Broken(error)) => Reservation::Fail(error),
        }
    }

    fn unreserve(&self, _: &mut Cycle<'_>, _: &PodView, _: &NodeName) {
        // The promises end with the attempt. What was written stays: the claim is still the pod's.
    }
}

impl PreBind for DynamicResources {
    fn pre_bind(&self, cluster: &ClusterView, pod: &PodView, node: &NodeName) -> Preparation {
        let Some(facts) = cluster.node(node).map(|node| node.facts()) else {
            return Preparation::Fail(format!("node {:?} not found", &**node));
        };
        let (mut effects, mut waiting, mut seen) = (Vec::new(), false, Vec::new());
        for claim in claims(cluster, pod) {
            let claim = match claim {
                Err(reason) => return Preparation::Fail(reason),
                Ok(claim) if seen.contains(&&claim.key) => continue,
                Ok(claim) => claim,
            };
            seen.push(&claim.key);
            let named = || format!("resourceclaim {:?}", &*claim.key.name);
            let Some(allocation) = &claim.allocation else {
                let promised =
                    cluster.promised_devices().find(|(key, user, _)| **key == claim.key && **user == pod.uid);
                let Some((.., allocation)) = promised else {
                    return Preparation::Fail(format!("{} lost its devices", named()));
                };
                if claim.terminating {
                    return Preparation::Fail(format!("{} is being deleted", named()));
                }
                effects.push(Effect::AllocateClaim {
                    claim: claim.key.clone(),
                    version: claim.version.clone(),
                    guarded: claim.guarded,
                    allocation: allocation.clone(),
                    users: claim.users_with(pod),
                });
                continue;
            };
            if !allocation.reaches(facts) {
                return Preparation::Fail(format!("{} got devices elsewhere", named()));
            }
            if !claim.is_used_by(pod) {
                effects.push(Effect::ReserveClaim {
                    claim: claim.key.clone(),
                    version: claim.version.clone(),
                    users: claim.users_with(pod),
                });
                continue;
            }
            match prepared(claim, allocation) {
                Prepared::Done => {}
                Prepared::Waiting => waiting = true,
                Prepared::Failed(reason) => return Preparation::Fail(reason),
            }
        }
        match (effects.is_empty(), waiting) {
            (false, _) => Preparation::Perform(effects),
            (true, true) => Preparation::Wait,
            (true, false) => Preparation::Ready,
        }
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}

impl Requeue for DynamicResources {
    fn hint(&self, pod: &PodView, event: &ClusterEvent) -> Hint {
        let named = |claim: &DeviceClaimView| {
            let is_it = |name: &Option<Box<str>>| name.as_ref().is_some_and(|name| **name == *claim.key.name);
            claim.key.namespace == pod.key.namespace
                && pod.rules.device_claims.iter().any(|reference| is_it(&reference.claim))
        };
        let uses = !pod.rules.device_claims.is_empty();
        Hint::when(match event {
            ClusterEvent::DeviceClaimChanged(claim) => named(claim),
            ClusterEvent::DevicesFreed(_) | ClusterEvent::DevicesChanged => uses,
            // It may have been promised devices and not got them.
            ClusterEvent::AssignedPodDeleted(other) => uses && !other.rules.device_claims.is_empty(),
            ClusterEvent::PodUpdated { old, new } => {
                new.uid == pod.uid && old.rules.device_claims != new.rules.device_claims
            }
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::NodeUpdated { old, new } => old.labels != new.labels,
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests;
