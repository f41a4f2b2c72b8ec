//! Evictions keep to the budgets.

use std::time::Duration;

use serde_json::Value;

use super::super::log::{Change, Object, WriteLog};
use super::super::{Happening, Invariant};
use super::{LATE, Rounding, amount, is_active, is_ready, named, selects};

/// No eviction leaves fewer healthy pods than a budget demands, as long as nothing else took pods away a moment ago.
#[derive(Debug, Default)]
pub struct Budgets {
    /// Evictions under way, by the path of the pod.
    evicted: Vec<String>,
    /// When a pod was last lost otherwise, or the counting disturbed.
    disturbed: Duration,
}

impl Invariant for Budgets {
    fn name(&self) -> &'static str {
        "evictions keep to budgets"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        let Happening::Changed(change) = happening else { return Ok(()) };
        match (change.resource(), &change.old, &change.new) {
            ("poddisruptionbudgets.policy", old, Some(new)) => {
                let grown = |field: &str| {
                    let names =
                        |object: &Object| object.at(field).as_object().map_or(0, serde_json::Map::len);
                    names(new) > old.as_ref().map_or(0, names)
                };
                if grown("/status/disruptedPods") {
                    return self.granted(change, new, log);
                }
                let same_spec = old.as_ref().is_some_and(|old| old.at("/spec") == new.at("/spec"));
                if !same_spec {
                    self.disturbed = change.at;
                }
                Ok(())
            }
            ("pods", Some(old), new) => {
                let was = is_active(old) && is_ready(old);
                let is = new.as_ref().is_some_and(|new| is_active(new) && is_ready(new));
                if was && !is && !self.evicted.iter().any(|uid| uid == old.uid()) {
                    self.disturbed = change.at;
                }
                Ok(())
            }
            // Somebody grew or shrank what the budget is of.
            ("replicasets.apps" | "statefulsets.apps" | "deployments.apps", Some(old), Some(new)) => {
                if old.at("/spec/replicas") != new.at("/spec/replicas") {
                    self.disturbed = change.at;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Budgets {
    /// The budget lets pods go, noted just before they are told to.
    fn granted(&mut self, change: &Change, budget: &Object, log: &WriteLog) -> Result<(), String> {
        let disrupted = budget.at("/status/disruptedPods").as_object();
        let pods: Vec<&Object> = log
            .of("pods")
            .filter(|pod| pod.namespace == budget.namespace && selects(budget.at("/spec/selector"), pod))
            .collect();
        for pod in &pods {
            if disrupted.is_some_and(|names| names.contains_key(&*pod.name)) {
                self.evicted.push(pod.uid().into());
            }
        }
        let expected = budget.number("/status/expectedPods").unwrap_or(0);
        let desired = match (budget.at("/spec/minAvailable"), budget.at("/spec/maxUnavailable")) {
            (Value::Null, most) => expected - amount(most, expected, Rounding::Up).unwrap_or(0),
            (least, _) => amount(least, expected, Rounding::Up).unwrap_or(0),
        };
        let left = pods
            .iter()
            .filter(|pod| is_active(pod) && is_ready(pod))
            .filter(|pod| !disrupted.is_some_and(|names| names.contains_key(&*pod.name)))
            .count();
        if self.disturbed + LATE < change.at && i64::try_from(left).is_ok_and(|left| left < desired) {
            return Err(format!("{} lets a pod go: {left} are left of {desired}", named(budget)));
        }
        Ok(())
    }
}
