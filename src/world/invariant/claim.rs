//! Volumes belong to one claim, and claims go only when they may.

use std::collections::BTreeMap;

use super::super::log::{Change, Object, WriteLog};
use super::super::{Happening, Invariant};
use super::{Recent, has_ended, limited, named};

/// A volume is never given to a second claim; no claim goes while a pod that runs uses it; a claim of a StatefulSet goes only
/// as its retention policy says. At rest, claims that are used are bound to volumes that know them, no volume is left without
/// its claim, and what was to go by the policy is gone.
#[derive(Debug, Default)]
pub struct Claims {
    /// The policies of StatefulSets, by namespace and name: what stays of them when they are gone.
    policies: BTreeMap<(String, String), Recent<Policy>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Policy {
    goes_with_the_set: bool,
    goes_with_the_pod: bool,
}

impl Policy {
    fn of(set: &Object) -> Self {
        let policy = set.at("/spec/persistentVolumeClaimRetentionPolicy");
        Self {
            goes_with_the_set: policy["whenDeleted"] == "Delete",
            goes_with_the_pod: policy["whenScaled"] == "Delete",
        }
    }
}

const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";

/// The StatefulSet that a claim was made for: claims carry the labels that their set selects by.
fn maker(claim: &Object) -> (String, String) {
    (claim.namespace.to_string(), claim.text("/metadata/labels/app").to_owned())
}

fn ordinal(claim: &Object) -> Option<i64> {
    claim.name.rsplit_once('-')?.1.parse().ok()
}

fn uses(pod: &Object, claim: &Object) -> bool {
    let mut volumes = pod.at("/spec/volumes").as_array().into_iter().flatten();
    pod.namespace == claim.namespace
        && volumes.any(|volume| volume["persistentVolumeClaim"]["claimName"] == *claim.name)
}

impl Invariant for Claims {
    fn name(&self) -> &'static str {
        "claims keep their volumes"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        match happening {
            Happening::Changed(change) => match change.resource() {
                "statefulsets.apps" => {
                    if let Some(new) = &change.new {
                        let name = (new.namespace.to_string(), new.name.to_string());
                        self.policies.entry(name).or_default().set(change.at, Policy::of(new));
                    }
                    Ok(())
                }
                CLAIMS => self.claim(change, log),
                VOLUMES => given_away(change),
                _ => Ok(()),
            },
            Happening::AtRest => {
                bound(log)?;
                self.kept(log)
            }
            Happening::Done(_) => Ok(()),
        }
    }
}

impl Claims {
    fn claim(&mut self, change: &Change, log: &WriteLog) -> Result<(), String> {
        let is_told = |claim: &Object| claim.is_going();
        if let Some(old) = &change.old
            && !is_told(old)
            && change.new.as_ref().is_none_or(is_told)
        {
            self.told_to_go(change, old, log)?;
        }
        match (&change.old, &change.new) {
            (Some(old), None) => {
                let runs = |pod: &&Object| pod.text("/status/phase") == "Running" && uses(pod, old);
                match log.of("pods").find(runs) {
                    None => Ok(()),
                    Some(pod) => Err(format!("{} went while {} uses it", named(old), named(pod))),
                }
            }
            (_, Some(new)) => {
                let volume = new.text("/spec/volumeName");
                let mut others = log.of(CLAIMS).filter(|other| other.uid() != new.uid());
                match others.find(|other| !volume.is_empty() && other.text("/spec/volumeName") == volume) {
                    None => Ok(()),
                    Some(other) => Err(format!("{} and {} have one volume", named(new), named(other))),
                }
            }
            (None, None) => Ok(()),
        }
    }

    fn told_to_go(&mut self, change: &Change, claim: &Object, log: &WriteLog) -> Result<(), String> {
        let stays = |namespace: &Object| *namespace.name == *claim.namespace && !namespace.is_going();
        let Some(policies) = self.policies.get_mut(&maker(claim)) else { return Ok(()) };
        let may_go =
            policies.seen(change.at).any(|policy| policy.goes_with_the_set || policy.goes_with_the_pod);
        if may_go || !log.of("namespaces").any(stays) {
            return Ok(());
        }
        Err(format!("{} was told to go, and its StatefulSet keeps its claims", named(claim)))
    }

    /// Nothing is left of what was to go with its set, or with its pod.
    fn kept(&mut self, log: &WriteLog) -> Result<(), String> {
        let limited = limited(log);
        for claim in log.of(CLAIMS) {
            let (namespace, name) = maker(claim);
            let Some(policy) = self.policies.get(&(namespace, name.clone())).and_then(Recent::last) else {
                continue;
            };
            let is_maker = |set: &&Object| set.namespace == claim.namespace && *set.name == *name;
            let Some(set) = log.of("statefulsets.apps").find(is_maker) else {
                if policy.goes_with_the_set {
                    return Err(format!("{} outlives its StatefulSet", named(claim)));
                }
                continue;
            };
            // Before it has all its pods, one that keeps its order takes none away; and one that is there may be one too many.
            let wanted = set.number("/spec/replicas");
            let has_all = !limited.contains(&*set.namespace)
                && ["/status/replicas", "/status/availableReplicas"]
                    .iter()
                    .all(|has| set.number(has) == wanted);
            let end =
                set.number("/spec/ordinals/start").unwrap_or(0) + set.number("/spec/replicas").unwrap_or(1);
            if policy.goes_with_the_pod && has_all && ordinal(claim).is_some_and(|ordinal| ordinal >= end) {
                return Err(format!("{} outlives its pod", named(claim)));
            }
        }
        Ok(())
    }
}

/// A volume that was one claim's is another's.
fn given_away(change: &Change) -> Result<(), String> {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return Ok(()) };
    let claim = |volume: &Object| volume.text("/spec/claimRef/uid").to_owned();
    if claim(old).is_empty() || claim(new).is_empty() || claim(old) == claim(new) {
        return Ok(());
    }
    Err(format!("{} was given to {} from {}", named(new), claim(new), claim(old)))
}

/// Claims and volumes know each other.
fn bound(log: &WriteLog) -> Result<(), String> {
    for claim in log.of(CLAIMS) {
        let is_used = log.of("pods").any(|pod| !has_ended(pod) && uses(pod, claim));
        if claim.text("/status/phase") != "Bound" {
            if is_used {
                return Err(format!("{} is used and {}", named(claim), claim.text("/status/phase")));
            }
            continue;
        }
        let volume = log.of(VOLUMES).find(|volume| *volume.name == *claim.text("/spec/volumeName"));
        let knows = |volume: &Object| {
            volume.text("/spec/claimRef/uid") == claim.uid() && volume.text("/status/phase") == "Bound"
        };
        if !volume.is_some_and(knows) {
            return Err(format!("{} is bound to a volume that does not know it", named(claim)));
        }
    }
    for volume in log.of(VOLUMES) {
        let uid = volume.text("/spec/claimRef/uid");
        if !log.of(CLAIMS).any(|claim| claim.uid() == uid && claim.text("/spec/volumeName") == &*volume.name)
        {
            return Err(format!("{} is left over", named(volume)));
        }
    }
    Ok(())
}
