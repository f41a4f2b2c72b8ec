//! DynamicResources: pods that use resource claims.
//!
//! A claim that has its devices already ties the pod to the nodes that can use them. For others, devices are looked for on
//! each node ([`crate::devices`]); those of the node that is chosen are promised to the claim, and written into its
//! status, together with the pod as its user, before the pod is bound. Devices that have to be prepared are waited for.
//!
//! Extended resources that device classes stand for are claimed here, too, where a node does not offer them itself.

mod extended;
mod prepare;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::resource::v1::AllocationResult;

use self::extended::{Extended, unmaking};
use self::prepare::{Prepared, prepare, prepared};
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
    NodeView, PodView, Promise, PromisedResources, TranslatedClaim,
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

    /// What extended resources matter; none of them do before 1.36.
    fn extended(&self, cluster: &ClusterView, pod: &PodView) -> Extended {
        if self.version >= Version::V1_36 { Extended::of(cluster, pod) } else { Extended::Nothing }
    }

    /// The devices of the pod's claims on a node; the claim for what extended resources come to there is the last.
    fn search(
        &self,
        cluster: &ClusterView,
        pod: &PodView,
        work: &Work,
        node: &NodeFacts,
        wanted: Option<&TranslatedClaim>,
    ) -> Result<Option<Vec<AllocationResult>>, Trouble> {
        let translated = wanted.map(|wanted| DeviceClaimView::for_resources(pod, wanted));
        let named = work.new.iter().map(|claim| &**claim);
        let claims: Vec<&DeviceClaimView> = named.chain(&translated).collect();
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
    extended: Extended,
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
        let extended = self.extended(cluster, pod);
        let uses = !pod.rules.device_claims.is_empty() || extended.matters();
        let mut work = Work { uses, extended, ..Work::default() };
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
        if !work.new.is_empty() || matches!(work.extended, Extended::Wanted) {
            (work.offers, work.in_use) = (Offers::of(cluster), InUse::of(cluster));
        }
        cycle.note(work);
        answer
    }
}

impl Filter for DynamicResources {
    fn filter(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        let (cluster, facts, work) = (cycle.cluster(), node.facts(), cycle.noted::<Work>());
        let wanted = match work.map(|work| work.extended.on(cluster, pod, facts)) {
            Some(Err(reason)) => return Verdict::unresolvable(reason),
            Some(Ok(wanted)) => wanted,
            None => None,
        };
        for claim in claims(cluster, pod) {
            match claim.map(|claim| (claim, &claim.allocation)) {
                Err(reason) => return Verdict::unresolvable(reason),
                Ok((claim, Some(allocation))) if !reaches(claim, allocation, facts) => {
                    return Verdict::unresolvable("resourceclaim not available on the node");
                }
                Ok(_) => {}
            }
        }
        let Some(work) = work.filter(|work| !work.new.is_empty() || wanted.is_some()) else {
            return Verdict::Pass;
        };
        match self.search(cluster, pod, work, facts, wanted.as_deref()) {
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
        let work = match cycle.noted::<Work>() {
            // Whoever stopped before this plugin had its turn, ends the search for help as well.
            None => return Nomination::Fail("not found".to_owned()),
            Some(work) if !work.uses => {
                return Nomination::Nothing(vec!["no new claims to deallocate".into()]);
            }
            Some(work) => work,
        };
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
            None if matches!(work.extended, Extended::Left) => Nomination::Repair {
                effects: unmaking(cluster, pod),
                reasons: vec!["deletion of ResourceClaim completed".into()],
            },
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
    fn score(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        let (cluster, facts) = (cycle.cluster(), node.facts());
        let Some(work) = cycle.noted::<Work>().filter(|work| !work.new.is_empty()) else { return Points(0) };
        let Ok(wanted) = work.extended.on(cluster, pod, facts) else { return Points(0) };
        let results = self.search(cluster, pod, work, facts, wanted.as_deref());
        let Ok(Some(results)) = results else { return Points(0) };
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
        let cluster = cycle.cluster();
        let Some(work) = cycle.noted::<Work>().filter(|work| work.uses) else { return Reservation::Made };
        let Some(facts) = cluster.node(node).map(|view| view.facts()) else {
            return Reservation::Fail(format!("node {:?} not found", &**node));
        };
        let wanted = match work.extended.on(cluster, pod, facts) {
            Ok(wanted) => wanted,
            Err(reason) => return Reservation::Fail(reason.to_owned()),
        };
        if work.new.is_empty() && wanted.is_none() {
            return Reservation::Made;
        }
        match self.search(cluster, pod, work, facts, wanted.as_deref()) {
            Ok(Some(results)) => Reservation::Promise(promised(pod, work, wanted, results)),
            Ok(None) | Err(Trouble::Here(_)) => Reservation::Fail("claim allocation not found".to_owned()),
            Err(Trouble::Timeout) => Reservation::Fail("timed out trying to allocate devices".to_owned()),
            Err(Trouble::Broken(error)) => Reservation::Fail(error),
        }
    }

    fn unreserve(&self, cycle: &mut Cycle<'_>, pod: &PodView, _: &NodeName) -> Vec<Effect> {
        // The promises end with the attempt. What was written to claims that the pod names stays: they are still the pod's.
        unmaking(cycle.cluster(), pod)
    }
}

/// What others must not count on any more, once these devices are chosen.
fn promised(
    pod: &PodView,
    work: &Work,
    wanted: Option<Arc<TranslatedClaim>>,
    results: Vec<AllocationResult>,
) -> Vec<Promise> {
    let mut allocations = results.into_iter().map(|result| Arc::new(DeviceAllocation::new(result)));
    let named = work.new.iter().zip(&mut allocations).map(|(claim, allocation)| Promise::Devices {
        claim: claim.key.clone(),
        pod: pod.uid.clone(),
        allocation,
    });
    let mut promises: Vec<_> = named.collect();
    let translated = wanted.zip(allocations.next());
    promises.extend(translated.map(|(wanted, allocation)| {
        Promise::Resources(PromisedResources::new(pod.uid.clone(), wanted, allocation))
    }));
    promises
}

impl PreBind for DynamicResources {
    fn pre_bind(&self, cluster: &ClusterView, pod: &PodView, node: &NodeName) -> Preparation {
        prepare(cluster, pod, node)
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}

impl Requeue for DynamicResources {
    fn hint(&self, _: &ClusterView, pod: &PodView, event: &ClusterEvent) -> Hint {
        let named = |claim: &DeviceClaimView| {
            let is_it = |name: &Option<Box<str>>| name.as_ref().is_some_and(|name| **name == *claim.key.name);
            claim.key.namespace == pod.key.namespace
                && pod.rules.device_claims.iter().any(|reference| is_it(&reference.claim))
        };
        let by_resource = self.version >= Version::V1_36;
        let uses = |pod: &PodView| {
            !pod.rules.device_claims.is_empty() || (by_resource && !pod.rules.devices.is_empty())
        };
        Hint::when(match event {
            ClusterEvent::DeviceClaimChanged(claim) => named(claim),
            ClusterEvent::DevicesFreed(_)
            | ClusterEvent::DevicesChanged
            | ClusterEvent::DeviceClassChanged { .. } => uses(pod),
            // It may have been promised devices and not got them.
            ClusterEvent::AssignedPodDeleted(other) => uses(pod) && uses(other),
            ClusterEvent::PodUpdated { old, new } => {
                new.uid == pod.uid && old.rules.device_claims != new.rules.device_claims
            }
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::NodeUpdated { old, new } => {
                let offers_other =
                    old.allocatable != new.allocatable || old.allocatable_pods != new.allocatable_pods;
                old.labels != new.labels || (by_resource && offers_other)
            }
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests;
