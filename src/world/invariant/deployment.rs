//! Rolling updates stay between their bounds.

use super::super::log::{Change, Object, WriteLog};
use super::super::{Happening, Invariant};
use super::{ByUid, Recent, Rounding, amount, has_ended, named, pods_of};

/// No step of a Deployment goes above `maxSurge` or below `maxUnavailable`, and `Recreate` never has two versions at once.
///
/// Judged where the controller decides: at every write of a ReplicaSet's size. A set that grows must leave the sum within
/// replicas and surge; a set that shrinks during a rollout must leave enough available, or cost nothing available.
#[derive(Debug, Default)]
pub struct Rollouts {
    bounds: ByUid<Recent<Bounds>>,
    available: ByUid<Recent<i64>>,
}

/// How many pods there may be during a rollout, and how many available ones there have to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) most: i64,
    pub(super) least: i64,
    recreates: bool,
}

impl Bounds {
    pub(super) fn of(deployment: &Object) -> Self {
        let replicas = deployment.number("/spec/replicas").unwrap_or(1);
        let rolling = deployment.at("/spec/strategy/rollingUpdate");
        let surge = amount(&rolling["maxSurge"], replicas, Rounding::Up).unwrap_or(0);
        let mut unavailable = amount(&rolling["maxUnavailable"], replicas, Rounding::Down).unwrap_or(0);
        if surge == 0 && unavailable == 0 {
            // As upstream: both can only round to nothing together.
            unavailable = 1;
        }
        let recreates = deployment.text("/spec/strategy/type") == "Recreate";
        Self { most: replicas + surge, least: replicas - unavailable.min(replicas), recreates }
    }
}

fn size(set: &Object) -> i64 {
    set.number("/spec/replicas").unwrap_or(0)
}

impl Invariant for Rollouts {
    fn name(&self) -> &'static str {
        "rollouts stay within maxSurge and maxUnavailable"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        let Happening::Changed(change) = happening else { return Ok(()) };
        match change.resource() {
            "deployments.apps" => {
                if let Some(new) = &change.new {
                    self.bounds.entry(new.uid().into()).or_default().set(change.at, Bounds::of(new));
                }
                Ok(())
            }
            "replicasets.apps" => {
                if let Some(new) = &change.new {
                    let available = new.number("/status/availableReplicas").unwrap_or(0);
                    self.available.entry(new.uid().into()).or_default().set(change.at, available);
                }
                self.sized(change, log)
            }
            _ => Ok(()),
        }
    }
}

impl Rollouts {
    fn sized(&mut self, change: &Change, log: &WriteLog) -> Result<(), String> {
        let Some(new) = &change.new else { return Ok(()) };
        let Some(owner) = new.controller() else { return Ok(()) };
        let before = change.old.as_ref().map_or(0, size);
        if size(new) == before {
            return Ok(());
        }
        let Some(bounds) = self.bounds.get_mut(owner) else { return Ok(()) };
        let bounds: Vec<Bounds> = bounds.seen(change.at).cloned().collect();
        let sets: Vec<&Object> =
            log.of("replicasets.apps").filter(|set| set.controller() == Some(owner)).collect();
        let sum: i64 = sets.iter().map(|set| size(set)).sum();
        let most = bounds.iter().map(|bounds| bounds.most).max().unwrap_or(0);
        if size(new) > before {
            if sum > most {
                return Err(format!("{} grew to {}: {sum} in all, {most} at most", named(new), size(new)));
            }
            if bounds.iter().all(|bounds| bounds.recreates) {
                return recreated(new, &sets, log);
            }
            return Ok(());
        }
        // One that was resized a moment ago, or is recreated, makes no promise; nor does one above its bounds.
        let is_resized = bounds.iter().any(|bounds| bounds.most != most);
        if is_resized || sum + before - size(new) > most || bounds.iter().any(|bounds| bounds.recreates) {
            return Ok(());
        }
        let least = bounds.iter().map(|bounds| bounds.least).min().unwrap_or(0);
        let mut left = 0;
        let mut cost = 0;
        for set in &sets {
            let mut seen = self.available.get_mut(set.uid());
            let seen: Vec<i64> = seen.iter_mut().flat_map(|seen| seen.seen(change.at).copied()).collect();
            let (fewest, most) = (seen.iter().min().copied(), seen.iter().max().copied());
            left += most.unwrap_or(0).min(size(set));
            if set.uid() == new.uid() {
                // Whoever may have seen none available took nothing away.
                let available = fewest.unwrap_or(0);
                cost = available.min(before) - available.min(size(set));
            }
        }
        if cost > 0 && left < least {
            return Err(format!(
                "{} shrank from {before} to {}: at most {left} are left available, {least} are needed",
                named(new),
                size(new)
            ));
        }
        Ok(())
    }
}

/// A set that grows is alone.
fn recreated(new: &Object, sets: &[&Object], log: &WriteLog) -> Result<(), String> {
    let others = sets.iter().filter(|set| set.uid() != new.uid());
    let mut pods = others.flat_map(|set| pods_of(log, set.uid()));
    match pods.find(|pod| !has_ended(pod)) {
        None => Ok(()),
        Some(pod) => Err(format!("{} grew while {} of another version runs", named(new), named(pod))),
    }
}
