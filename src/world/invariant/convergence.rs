//! What was asked for comes to be.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::log::{Object, WriteLog};
use super::super::{Happening, Invariant};
use super::deployment::Bounds;
use super::order::ordinal;
use super::{is_active, is_ready, limited, named, pods_of, selects};

/// At rest, every workload has as many ready pods as it asks for, of its present template, and says so; and the slices of a
/// Service hold the pods it selects.
///
/// A workload that cannot get there is left out: one that is paused, whose pods never become ready (annotated with a
/// `sim.orchestra.dev/ready-after` beyond an hour), or in whose namespace a quota stands; and a StatefulSet that keeps a pod
/// of an earlier version that never becomes ready. One that keeps its order waits for that pod before it does anything else,
/// and upstream's does, too: `processReplica` in `stateful_set_control.go`, told to users as
/// [forced rollback](https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback).
#[derive(Debug)]
pub struct Convergence;

impl Invariant for Convergence {
    fn name(&self) -> &'static str {
        "what was asked for comes to be"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        let Happening::AtRest = happening else { return Ok(()) };
        let limited = limited(log);
        let judged = |object: &&Object| !limited.contains(&*object.namespace) && can_be_ready(object);
        for deployment in log.of("deployments.apps").filter(judged) {
            rolled_out(deployment, log)?;
        }
        for set in log.of("replicasets.apps").filter(judged) {
            enough(set, set.number("/spec/replicas").unwrap_or(1), log)?;
        }
        for set in log.of("statefulsets.apps").filter(judged).filter(|set| !waits_for_ever(set, log)) {
            enough(set, set.number("/spec/replicas").unwrap_or(1), log)?;
            counts(set, "replicas", set.number("/spec/replicas").unwrap_or(1))?;
        }
        for service in log.of("services") {
            answered(service, log)?;
        }
        Ok(())
    }
}

/// Whether its pods become ready at all.
pub(super) fn can_be_ready(object: &Object) -> bool {
    becomes_ready(object.at("/spec/template/metadata/annotations"))
}

fn becomes_ready(annotations: &Value) -> bool {
    let after =
        annotations["sim.orchestra.dev/ready-after"].as_str().and_then(|text| text.parse::<f64>().ok());
    after.is_none_or(|seconds| seconds < 3600.0)
}

/// Whether a StatefulSet has a pod that never becomes ready and that it does not replace: because it keeps its order, or
/// because its partition says so.
fn waits_for_ever(set: &Object, log: &WriteLog) -> bool {
    let first = set.number("/spec/ordinals/start").unwrap_or(0);
    let partition = first + set.number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    let is_ordered = set.text("/spec/podManagementPolicy") == "OrderedReady";
    pods_of(log, set.uid()).any(|pod| {
        let is_kept = is_ordered || ordinal(pod).is_some_and(|ordinal| ordinal < partition);
        is_kept && !becomes_ready(pod.at("/metadata/annotations"))
    })
}

fn rolled_out(deployment: &Object, log: &WriteLog) -> Result<(), String> {
    let wanted = deployment.number("/spec/replicas").unwrap_or(1);
    let sets = log.of("replicasets.apps").filter(|set| set.controller() == Some(deployment.uid()));
    let sizes: Vec<i64> =
        sets.map(|set| set.number("/spec/replicas").unwrap_or(0)).filter(|size| *size > 0).collect();
    let sum: i64 = sizes.iter().sum();
    let is_paused = deployment.at("/spec/paused") == true;
    // One that was paused between two versions stays between its bounds.
    let bounds = Bounds::of(deployment);
    let may_be = if is_paused && sizes.len() > 1 { bounds.least..=bounds.most } else { wanted..=wanted };
    if !may_be.contains(&sum) {
        return Err(format!("{} has sets of {sum} pods and wants {wanted}", named(deployment)));
    }
    if is_paused {
        return Ok(());
    }
    counts(deployment, "updatedReplicas", wanted)?;
    counts(deployment, "availableReplicas", wanted)?;
    counts(deployment, "replicas", wanted)
}

fn counts(object: &Object, field: &str, wanted: i64) -> Result<(), String> {
    if object.number("/status/observedGeneration") != object.number("/metadata/generation") {
        return Err(format!("{} was not looked at since it changed", named(object)));
    }
    match object.number(&format!("/status/{field}")).unwrap_or(0) {
        said if said == wanted => Ok(()),
        said => Err(format!("{} says {field}: {said}, and wants {wanted}", named(object))),
    }
}

fn enough(set: &Object, wanted: i64, log: &WriteLog) -> Result<(), String> {
    let pods: Vec<&Object> = pods_of(log, set.uid()).filter(|pod| is_active(pod)).collect();
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    if i64::try_from(pods.len()) != Ok(wanted) || ready != pods.len() {
        return Err(format!(
            "{} has {} pods, {ready} of them ready, and wants {wanted}",
            named(set),
            pods.len()
        ));
    }
    Ok(())
}

fn answered(service: &Object, log: &WriteLog) -> Result<(), String> {
    let selector = service.at("/spec/selector");
    if selector.is_null() {
        return Ok(());
    }
    let selector = serde_json::json!({ "matchLabels": selector });
    let wanted: BTreeSet<&str> = log
        .of("pods")
        .filter(|pod| pod.namespace == service.namespace && selects(&selector, pod))
        .filter(|pod| is_active(pod) && is_ready(pod))
        .map(|pod| &*pod.name)
        .collect();
    let slices =
        log.of("endpointslices.discovery.k8s.io").filter(|slice| slice.controller() == Some(service.uid()));
    let endpoints = slices.flat_map(|slice| slice.at("/endpoints").as_array().into_iter().flatten());
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    let found: BTreeSet<&str> = ready.filter_map(|endpoint| endpoint["targetRef"]["name"].as_str()).collect();
    if found != wanted {
        return Err(format!("{} leads to {found:?} and selects {wanted:?}", named(service)));
    }
    Ok(())
}
