//! `/eviction`: a removal that respects disruption budgets.
//!
//! The budget is charged before the pod goes, in one write that fails if another eviction was quicker: two evictions
//! at the same time never take what is enough for one. The pod then says in its conditions that it was evicted.

mod budget;

use async_trait::async_trait;
use http::{Response, StatusCode};
use orchestra_core::gvk::GroupVersion;
use orchestra_core::selector::LabelSelector;
use serde_json::{Value, json};

use self::budget::{Guard, charge, guard};
use super::{complete, done};
use crate::admission::Operation;
use crate::body::Body;
use crate::clock::stamp;
use crate::negotiate::decode;
use crate::state::{Call, State};
use crate::status::StatusError;
use crate::storage::meta;
use crate::storage::writer::{Edit, Step};
use crate::verbs::delete::{self, DeleteOptions};
use crate::verbs::get;

const POLICY: GroupVersion = GroupVersion::new("policy", "v1");
const BUDGETS: &str = "poddisruptionbudgets";
/// How often an eviction begins anew because the pod changed under it.
const TRIES: usize = 20;

/// POST of an `Eviction`.
pub(crate) async fn evict(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let mut eviction = decode::other(call, &POLICY, "Eviction")?.value;
    let name = meta::name(&eviction);
    if !name.is_empty() && name != call.name() {
        return Err(StatusError::bad_request("name in URL does not match name in Eviction object"));
    }
    complete(call, &mut eviction);
    call.admit_as(state, Operation::Create, (&POLICY, "Eviction"), &mut eviction, None).await?;
    call.check_as(state, Operation::Create, (&POLICY, "Eviction"), &eviction, None).await?;
    let options = eviction.get("deleteOptions").cloned().unwrap_or(Value::Null);
    let options = DeleteOptions::from_value(options)?;
    for _ in 1..TRIES {
        match attempt(state, call, &options).await {
            Ok(Attempt::Changed) => {}
            Ok(Attempt::Evicted) => return Ok(done()),
            Err(error) => return Err(error),
        }
    }
    Err(StatusError::modified(&call.resource.gr, call.name()))
}

enum Attempt {
    Evicted,
    /// What was decided on the pod no longer holds.
    Changed,
}

async fn attempt(state: &State, call: &Call, options: &DeleteOptions) -> Result<Attempt, StatusError> {
    let pod = call.resource.tree(&get::entry(state, call).await?)?;
    // Before a budget is charged for a pod that is not meant.
    options.check(&call.resource.gr, call.name(), &pod)?;
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    let has_ended = matches!(phase, "Succeeded" | "Failed") || meta::is_terminating(&pod);
    let budgets =
        if has_ended || phase == "Pending" { Vec::new() } else { covering(state, call, &pod).await? };
    let guard = guard(&pod, &budgets)?;
    let dry_run = call.options.dry_run || options.is_dry_run();
    if let Guard::Budget(budget) = &guard {
        let resource =
            state.catalog.find(&POLICY, BUDGETS).ok_or_else(|| StatusError::internal("no budgets"))?;
        let edit = Charge { pod: call.name(), now: stamp(state.clock.now()) };
        let key = resource.key(call.namespace(), budget);
        state.writer.update(&resource, key, budget, dry_run.into(), &edit).await?;
    }
    // A pod that was not ready or had not begun may have become so, and then its budget speaks for it.
    let must_stay = guard == Guard::Unready || (phase == "Pending" && !has_ended);
    let read = meta::text(&pod, "resourceVersion").to_owned();
    let mut last = read.clone();
    if !has_ended {
        let unchanged_since = (must_stay || options.names_version()).then_some(read);
        let uid = meta::text(&pod, "uid").to_owned();
        let edit = Mark { call, uid, unchanged_since, now: stamp(state.clock.now()) };
        let key = call.resource.key(call.namespace(), call.name());
        match state.writer.update(&call.resource, key, call.name(), dry_run.into(), &edit).await {
            Ok(written) => {
                let marked: Value =
                    serde_json::from_slice(&written.into_encoded().json()).map_err(StatusError::internal)?;
                meta::text(&marked, "resourceVersion").clone_into(&mut last);
            }
            Err(error) if must_stay && error.code() == StatusCode::CONFLICT => return Ok(Attempt::Changed),
            Err(error) => return Err(error),
        }
    }
    if !must_stay {
        // The mark made a new version of the one that was meant.
        let options = if options.names_version() { &options.clone().at_version(last) } else { options };
        delete::remove(state, call, options).await?;
        return Ok(Attempt::Evicted);
    }
    match delete::remove(state, call, &options.clone().at_version(last)).await {
        Ok(_) => Ok(Attempt::Evicted),
        Err(error) if error.code() == StatusCode::CONFLICT && !options.names_version() => {
            Ok(Attempt::Changed)
        }
        Err(error) => Err(error),
    }
}

/// The budgets that speak of a pod.
async fn covering(state: &State, call: &Call, pod: &Value) -> Result<Vec<Value>, StatusError> {
    if state.catalog.find(&POLICY, BUDGETS).is_none() {
        return Ok(Vec::new());
    }
    let mut budgets = state.reader.list(&POLICY, BUDGETS, call.namespace()).await?;
    let labels = meta::metadata(pod).and_then(|m| m.get("labels"));
    budgets.retain(|budget| {
        let selector = budget.pointer("/spec/selector").map(LabelSelector::from_json);
        matches!(selector, Some(Ok(selector)) if selector.matches(&labels))
    });
    Ok(budgets)
}

/// Takes one eviction off a budget.
struct Charge<'a> {
    pod: &'a str,
    now: String,
}

#[async_trait]
impl Edit for Charge<'_> {
    async fn edit(&self, current: &Value) -> Result<Step, StatusError> {
        charge(current, self.pod, &self.now).map(Step::Put)
    }

    async fn create(&self) -> Result<Option<Value>, StatusError> {
        Ok(None)
    }
}

/// Says in a pod's conditions that it was evicted.
struct Mark<'a> {
    call: &'a Call,
    uid: String,
    unchanged_since: Option<String>,
    now: String,
}

#[async_trait]
impl Edit for Mark<'_> {
    async fn edit(&self, current: &Value) -> Result<Step, StatusError> {
        let version = meta::text(current, "resourceVersion");
        if self.uid != meta::text(current, "uid")
            || self.unchanged_since.as_deref().is_some_and(|read| read != version)
        {
            return Err(StatusError::modified(&self.call.resource.gr, self.call.name()));
        }
        let mut new = current.clone();
        let said = json!({
            "type": "DisruptionTarget", "status": "True", "lastTransitionTime": self.now,
            "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        });
        let held = new.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut conditions: Vec<Value> =
            held.into_iter().filter(|held| held["type"] != said["type"]).collect();
        conditions.push(said);
        if let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) {
            status.insert("conditions".into(), conditions.into());
        }
        Ok(Step::Put(new))
    }

    async fn create(&self) -> Result<Option<Value>, StatusError> {
        Ok(None)
    }
}
