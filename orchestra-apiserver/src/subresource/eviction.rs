//! `/eviction`: a removal that respects disruption budgets.

use http::Response;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::selector::LabelSelector;
use serde_json::Value;

use super::done;
use crate::body::Body;
use crate::negotiate::decode;
use crate::state::{Call, State};
use crate::status::{Cause, StatusError};
use crate::storage::meta;
use crate::verbs::delete::{self, DeleteOptions};
use crate::verbs::get;

const POLICY: GroupVersion = GroupVersion::new("policy", "v1");

/// POST of an `Eviction`.
pub(crate) async fn evict(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let eviction = decode::other(call, &POLICY, "Eviction")?.value;
    let name = meta::name(&eviction);
    if !name.is_empty() && name != call.name() {
        return Err(StatusError::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = eviction.get("deleteOptions").cloned().unwrap_or(Value::Null);
    let options = DeleteOptions::from_value(options)?;
    let pod = call.resource.tree(&get::entry(state, call).await?)?;
    if counts(&pod) {
        check_budgets(state, call, &pod).await?;
    }
    delete::remove(state, call, &options).await?;
    Ok(done())
}

/// Whether the pod's absence would disrupt anything.
fn counts(pod: &Value) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    !matches!(phase, "Succeeded" | "Failed" | "Pending") && !meta::is_terminating(pod)
}

async fn check_budgets(state: &State, call: &Call, pod: &Value) -> Result<(), StatusError> {
    let namespace = call.namespace().unwrap_or_default();
    if state.catalog.find(&POLICY, "poddisruptionbudgets").is_none() {
        return Ok(());
    }
    let budgets = state.reader.list(&POLICY, "poddisruptionbudgets", Some(namespace)).await?;
    let labels = meta::metadata(pod).and_then(|m| m.get("labels"));
    let covers = |budget: &&Value| {
        let selector = budget.pointer("/spec/selector").map(LabelSelector::from_json);
        matches!(selector, Some(Ok(selector)) if selector.matches(&labels))
    };
    let covering: Vec<&Value> = budgets.iter().filter(covers).collect();
    match covering.as_slice() {
        [] => Ok(()),
        [budget] => {
            let number = |at: &str| budget.pointer(at).and_then(Value::as_i64).unwrap_or(0);
            if number("/status/disruptionsAllowed") > 0 {
                return Ok(());
            }
            let refusal = "Cannot evict pod as it would violate the pod's disruption budget.";
            Err(StatusError::too_many_requests(refusal, 10).with_cause(Cause {
                reason: "DisruptionBudget".into(),
                message: format!(
                    "The disruption budget {} needs {} healthy pods and has {} currently",
                    meta::name(budget),
                    number("/status/desiredHealthy"),
                    number("/status/currentHealthy")
                ),
                field: String::new(),
            }))
        }
        _ => Err(StatusError::internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        )),
    }
}
