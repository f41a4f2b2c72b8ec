//! What a disruption budget says to an eviction: the pure part.

use serde_json::{Value, json};

use crate::status::{Cause, GroupResource, StatusError};
use crate::storage::meta;

/// A budget notes no more evictions than this that have yet to come about.
const MAX_DISRUPTED: usize = 2000;
const REFUSAL: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// What stands between a pod and its eviction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Guard {
    Nothing,
    /// Nothing, as long as the pod is not ready.
    Unready,
    /// The budget of this name, which has to be charged.
    Budget(String),
}

/// Who guards a pod that `budgets` speak of.
pub(super) fn guard(pod: &Value, budgets: &[Value]) -> Result<Guard, StatusError> {
    let budget = match budgets {
        [] => return Ok(Guard::Nothing),
        [budget] => budget,
        _ => {
            return Err(StatusError::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
    };
    if !is_ready(pod) {
        let policy = budget.pointer("/spec/unhealthyPodEvictionPolicy").and_then(Value::as_str);
        let (healthy, needed) = (count(budget, "currentHealthy"), count(budget, "desiredHealthy"));
        if policy == Some("AlwaysAllow") || (healthy >= needed && needed > 0) {
            return Ok(Guard::Unready);
        }
    }
    Ok(Guard::Budget(meta::name(budget).to_owned()))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|held| held["type"] == "Ready" && held["status"] == "True")
}

fn count(budget: &Value, field: &str) -> i64 {
    budget.get("status").and_then(|status| status.get(field)).and_then(Value::as_i64).unwrap_or(0)
}

/// The budget after the eviction of `pod`, if it allows that.
pub(super) fn charge(budget: &Value, pod: &str, now: &str) -> Result<Value, StatusError> {
    let name = meta::name(budget);
    let refusal = |retry_after, message| {
        StatusError::too_many_requests(REFUSAL, retry_after).with_cause(Cause {
            reason: "DisruptionBudget".into(),
            message,
            field: String::new(),
        })
    };
    let forbidden =
        |why| Err(StatusError::forbidden(&GroupResource::new("policy", "poddisruptionbudget"), name, why));
    let seen = count(budget, "observedGeneration");
    if seen < meta::number(budget, "generation").unwrap_or(0) {
        let message = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refusal(10, message));
    }
    let allowed = count(budget, "disruptionsAllowed");
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    let noted = budget.pointer("/status/disruptedPods").and_then(Value::as_object);
    if noted.map_or(0, serde_json::Map::len) > MAX_DISRUPTED {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return Err(refusal(0, exhausted(budget, name)));
    }
    let mut new = budget.clone();
    let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) else {
        return Err(refusal(0, exhausted(budget, name)));
    };
    status.insert("disruptionsAllowed".into(), (allowed - 1).into());
    let mut noted = noted.cloned().unwrap_or_default();
    noted.insert(pod.to_owned(), now.into());
    status.insert("disruptedPods".into(), noted.into());
    if allowed == 1 {
        let mut conditions = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        conditions.retain(|held| held["type"] != "DisruptionAllowed");
        conditions.push(json!({
            "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
            "lastTransitionTime": now, "observedGeneration": seen,
        }));
        status.insert("conditions".into(), conditions.into());
    }
    Ok(new)
}

fn exhausted(budget: &Value, name: &str) -> String {
    let conditions = budget.pointer("/status/conditions").and_then(Value::as_array);
    let failed = conditions
        .into_iter()
        .flatten()
        .find(|held| held["type"] == "DisruptionAllowed" && held["reason"] == "SyncFailed");
    if let Some(failed) = failed {
        let why = failed["message"].as_str().unwrap_or_default();
        return format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {why}"
        );
    }
    format!(
        "The disruption budget {name} needs {} healthy pods and has {} currently",
        count(budget, "desiredHealthy"),
        count(budget, "currentHealthy")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn budget(allowed: i64) -> Value {
        json!({"metadata": {"name": "b", "generation": 2}, "spec": {}, "status": {
            "observedGeneration": 2, "disruptionsAllowed": allowed, "desiredHealthy": 2, "currentHealthy": 2 + allowed}})
    }

    fn pod(ready: &str) -> Value {
        json!({"metadata": {"name": "p"}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
    }

    #[test]
    fn each_eviction_is_taken_off_and_noted() {
        let once = charge(&budget(2), "p", NOW).unwrap();
        assert_eq!(
            (&once["status"]["disruptionsAllowed"], &once["status"]["disruptedPods"]),
            (&json!(1), &json!({"p": NOW}))
        );
        assert_eq!(once["status"].get("conditions"), None);
        let twice = charge(&once, "q", NOW).unwrap();
        assert_eq!(twice["status"]["conditions"][0]["reason"], "InsufficientPods");
        let refused = charge(&twice, "r", NOW).unwrap_err();
        assert_eq!(refused.code().as_u16(), 429);
        assert!(format!("{refused:?}").contains(REFUSAL));
    }

    #[test]
    fn a_budget_that_nobody_has_looked_at_yet_allows_nothing() {
        let mut new = budget(2);
        new["metadata"]["generation"] = 3.into();
        assert_eq!(charge(&new, "p", NOW).unwrap_err().code().as_u16(), 429);
        assert_eq!(charge(&budget(-1), "p", NOW).unwrap_err().code().as_u16(), 403);
    }

    #[test]
    fn a_pod_that_is_not_ready_costs_nothing_while_enough_are() {
        let mut short = budget(0);
        assert_eq!(guard(&pod("True"), &[short.clone()]).unwrap(), Guard::Budget("b".into()));
        assert_eq!(guard(&pod("False"), &[short.clone()]).unwrap(), Guard::Unready);
        short["status"]["currentHealthy"] = 1.into();
        assert_eq!(guard(&pod("False"), &[short.clone()]).unwrap(), Guard::Budget("b".into()));
        short["spec"]["unhealthyPodEvictionPolicy"] = "AlwaysAllow".into();
        assert_eq!(guard(&pod("False"), &[short.clone()]).unwrap(), Guard::Unready);
        assert_eq!(guard(&pod("True"), &[short.clone()]).unwrap(), Guard::Budget("b".into()));
        assert_eq!(guard(&pod("True"), &[short.clone(), short]).unwrap_err().code().as_u16(), 500);
        assert_eq!(guard(&pod("True"), &[]).unwrap(), Guard::Nothing);
    }
}
