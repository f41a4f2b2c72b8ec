//! DynamicResources: pods that use resource claims.
//!
//! Claims whose devices are allocated are honoured: the pod goes where they can be used, and is entered among their
//! users before it is bound. Allocating devices is left to another scheduler; a pod with a claim that has none yet
//! waits.

use std::time::Duration;

use crate::effect::Effect;
use crate::event::{ClusterEvent, Hint};
use crate::outcome::Diagnosis;
use crate::plugin::{Cycle, Filter, Plugin, PostFilter, PreBind, PreFilter, Refilter, Requeue};
use crate::verdict::{Nomination, PreFiltered, Preparation, Rejection, Verdict};
use crate::view::{ClusterView, DeviceClaimView, NamespacedName, NodeName, NodeView, PodView};

/// As many pods may use one claim.
const MOST_USERS: usize = 256;

/// Filters by allocated resource claims and reserves them.
#[derive(Clone, Copy, Debug)]
pub struct DynamicResources {
    patience: Duration,
}

impl Default for DynamicResources {
    fn default() -> Self {
        Self::waiting(Duration::from_secs(600))
    }
}

impl DynamicResources {
    /// The plugin, waiting this long for claims to be reserved (`bindingTimeout`).
    #[must_use]
    pub fn waiting(patience: Duration) -> Self {
        Self { patience }
    }
}

/// Left by `PreFilter` once it has run: whether the pod uses any claim.
#[derive(Clone, Copy, Debug)]
struct Uses(bool);

/// The pod's claims; those that are not known come as the reason why.
fn claims<'a>(
    cluster: &'a ClusterView,
    pod: &'a PodView,
) -> impl Iterator<Item = Result<&'a DeviceClaimView, String>> {
    pod.rules.device_claims.iter().map(|reference| {
        let Some(name) = &reference.claim else {
            return Err(format!("pod {:?}: ResourceClaim not created yet", pod.key.to_string()));
        };
        let key = NamespacedName::new(&pod.key.namespace, name);
        let claim = cluster.kept::<DeviceClaimView>(&key).map(AsRef::as_ref);
        claim.ok_or_else(|| format!("resourceclaim.resource.k8s.io {name:?} not found"))
    })
}

impl Plugin for DynamicResources {
    fn name(&self) -> &str {
        "DynamicResources"
    }
}

impl PreFilter for DynamicResources {
    fn pre_filter(&self, cycle: &mut Cycle<'_>, pod: &PodView) -> PreFiltered {
        let uses = !pod.rules.device_claims.is_empty();
        cycle.note(Uses(uses));
        if !uses {
            return PreFiltered::Skip;
        }
        let refuse = |text: String| PreFiltered::Reject(Rejection::unresolvable(text));
        for claim in claims(cycle.cluster(), pod) {
            match claim {
                Err(reason) => return refuse(reason),
                Ok(claim) if claim.terminating => {
                    return refuse(format!("resourceclaim {:?} is being deleted", &*claim.key.name));
                }
                Ok(claim) => {
                    let full = claim.users.len() >= MOST_USERS && !claim.is_used_by(pod);
                    if claim.allocation.is_some() && full {
                        return refuse("resourceclaim in use".to_owned());
                    }
                }
            }
        }
        PreFiltered::All
    }
}

impl Filter for DynamicResources {
    fn filter(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Verdict {
        let facts = node.facts();
        for claim in claims(cycle.cluster(), pod) {
            match claim.map(|claim| &claim.allocation) {
                Err(reason) => return Verdict::unresolvable(reason),
                Ok(None) => return Verdict::unresolvable("cannot allocate all claims"),
                Ok(Some(allocation)) if !allocation.reaches(facts) => {
                    return Verdict::unresolvable("resourceclaim not available on the node");
                }
                Ok(Some(_)) => {}
            }
        }
        Verdict::Pass
    }
}

impl PostFilter for DynamicResources {
    fn post_filter(&self, cycle: &Cycle<'_>, _: &PodView, _: &Diagnosis, _: &dyn Refilter) -> Nomination {
        match cycle.noted::<Uses>() {
            // Whoever stopped before this plugin had its turn, ends the search for help as well.
            None => Nomination::Fail("not found".to_owned()),
            Some(Uses(false)) => Nomination::Nothing(vec!["no new claims to deallocate".into()]),
            Some(Uses(true)) => Nomination::Nothing(vec!["still not schedulable".into()]),
        }
    }
}

impl PreBind for DynamicResources {
    fn pre_bind(&self, cluster: &ClusterView, pod: &PodView, _: &NodeName) -> Preparation {
        let mut effects = Vec::new();
        for claim in claims(cluster, pod) {
            match claim {
                Err(reason) => return Preparation::Fail(reason),
                Ok(claim) if claim.allocation.is_none() => {
                    return Preparation::Fail(format!(
                        "resourceclaim {:?} lost its devices",
                        &*claim.key.name
                    ));
                }
                Ok(claim) if claim.is_used_by(pod) => {}
                Ok(claim) => effects.push(Effect::ReserveClaim {
                    claim: claim.key.clone(),
                    version: claim.version.clone(),
                    users: claim.users_with(pod),
                }),
            }
        }
        if effects.is_empty() { Preparation::Ready } else { Preparation::Perform(effects) }
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}

impl Requeue for DynamicResources {
    fn hint(&self, pod: &PodView, event: &ClusterEvent) -> Hint {
        let uses = |claim: &DeviceClaimView| {
            let named = |name: &Option<Box<str>>| name.as_ref().is_some_and(|name| **name == *claim.key.name);
            claim.key.namespace == pod.key.namespace
                && pod.rules.device_claims.iter().any(|reference| named(&reference.claim))
        };
        Hint::when(match event {
            ClusterEvent::DeviceClaimChanged(claim) => uses(claim),
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
mod tests {
    use super::*;
    use crate::testing::{cluster, pod};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn claim(status: Value) -> Arc<DeviceClaimView> {
        let claim = json!({"metadata": {"name": "gpu", "namespace": "default", "resourceVersion": "7"}, "spec": {},
            "status": status});
        Arc::new(DeviceClaimView::from_api(&serde_json::from_value(claim).unwrap()))
    }

    fn allocated_on(host: &str, users: Value) -> Value {
        json!({"reservedFor": users, "allocation": {"nodeSelector": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "host", "operator": "In", "values": [host]}]}]}}})
    }

    fn hosts() -> ClusterView {
        cluster(["a", "b"].map(|name| json!({"metadata": {"name": name, "labels": {"host": name}}})))
    }

    fn user() -> Arc<PodView> {
        pod(json!({"metadata": {"name": "p", "uid": "p"},
            "spec": {"resourceClaims": [{"name": "dev", "resourceClaimName": "gpu"}]}}))
    }

    fn plugin() -> DynamicResources {
        DynamicResources::default()
    }

    fn on(cluster: &ClusterView, node: &str) -> Verdict {
        plugin().filter(&Cycle::new(cluster), &user(), cluster.node(node).unwrap())
    }

    #[test]
    fn pods_without_claims_are_none_of_its_business() {
        let cluster = hosts();
        let answer = plugin().pre_filter(&mut Cycle::new(&cluster), &pod(json!({})));
        assert_eq!(answer, PreFiltered::Skip);
    }

    #[test]
    fn missing_and_unmade_claims_reject_the_pod() {
        let cluster = hosts();
        let refused = |text: &'static str| PreFiltered::Reject(Rejection::unresolvable(text));
        let mut cycle = Cycle::new(&cluster);
        let missing = refused("resourceclaim.resource.k8s.io \"gpu\" not found");
        assert_eq!(plugin().pre_filter(&mut cycle, &user()), missing);
        let templated = json!({"metadata": {"name": "p"},
            "spec": {"resourceClaims": [{"name": "dev", "resourceClaimTemplateName": "t"}]}});
        let unmade = refused("pod \"default/p\": ResourceClaim not created yet");
        assert_eq!(plugin().pre_filter(&mut cycle, &pod(templated)), unmade);
    }

    #[test]
    fn an_allocated_claim_ties_the_pod_to_its_nodes_and_one_without_devices_waits() {
        let mut cluster = hosts();
        cluster.keep(claim(json!({})));
        assert_eq!(on(&cluster, "a"), Verdict::unresolvable("cannot allocate all claims"));
        cluster.keep(claim(allocated_on("a", json!([]))));
        assert_eq!(on(&cluster, "a"), Verdict::Pass);
        assert_eq!(on(&cluster, "b"), Verdict::unresolvable("resourceclaim not available on the node"));
        cluster.keep(claim(json!({"allocation": {}})));
        assert_eq!(on(&cluster, "b"), Verdict::Pass, "devices that can be used everywhere");
    }

    #[test]
    fn the_pod_is_entered_among_the_users_before_it_is_bound() {
        let mut cluster = hosts();
        let other = json!({"resource": "pods", "name": "q", "uid": "q"});
        let itself = json!({"resource": "pods", "name": "p", "uid": "p"});
        cluster.keep(claim(allocated_on("a", json!([other]))));
        let Preparation::Perform(effects) = plugin().pre_bind(&cluster, &user(), &NodeName::from("a")) else {
            panic!("nothing to do");
        };
        assert!(
            matches!(effects.as_slice(), [Effect::ReserveClaim { version, users, .. }]
            if **version == *"7" && users.len() == 2),
            "{effects:?}"
        );
        cluster.keep(claim(allocated_on("a", json!([other, itself]))));
        assert_eq!(plugin().pre_bind(&cluster, &user(), &NodeName::from("a")), Preparation::Ready);
    }

    #[test]
    fn a_claim_with_all_users_it_may_have_is_in_use() {
        let mut cluster = hosts();
        let users: Vec<_> = (0..256)
            .map(|n| json!({"resource": "pods", "name": format!("q{n}"), "uid": format!("q{n}")}))
            .collect();
        cluster.keep(claim(allocated_on("a", json!(users))));
        let answer = plugin().pre_filter(&mut Cycle::new(&cluster), &user());
        assert_eq!(answer, PreFiltered::Reject(Rejection::unresolvable("resourceclaim in use")));
    }
}
