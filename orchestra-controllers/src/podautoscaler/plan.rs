//! What an autoscaler needs done: the pure part.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerSpec,
    HorizontalPodAutoscalerStatus, MetricSpec, MetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::behavior::{Bounds, Tolerance, rescaled, settle};
use super::memory::Memory;
use super::proposal::{Facts, propose};
use super::readings::Reading;
use crate::events::Mood;

/// The scale of what is to be scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The replicas it is told to have.
    pub wanted: i32,
    /// The replicas it says it has.
    pub there: i32,
    /// Which pods are its own, if it says.
    pub selector: Option<&'a str>,
}

/// What is known when an autoscaler is planned.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The autoscaler.
    pub autoscaler: &'a HorizontalPodAutoscaler,
    /// Its target, or why that cannot be seen.
    pub target: Result<Target<'a>, &'a str>,
    /// What the target's selector chooses, or what is wrong with it: a reason and a message.
    pub pods: Result<&'a [Arc<Pod>], (&'static str, &'a str)>,
    /// For each metric of the spec what was read of it; needed only if [`is_measured`] says so.
    pub readings: &'a [Result<Reading, String>],
    /// The present moment.
    pub now: Timestamp,
}

/// What is to become of an autoscaler and its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// To be written if it is another than the one there is.
    pub status: HorizontalPodAutoscalerStatus,
    /// To be done first; see [`refused`] if it fails.
    pub rescale: Option<Rescale>,
    /// Warnings to record: reason and message.
    pub warnings: Vec<(&'static str, String)>,
}

/// How many replicas the target is to have, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescale {
    /// So many.
    pub to: i32,
    /// Why, as the event says it.
    pub reason: String,
}

impl Rescale {
    /// What people are told when it was done.
    pub(super) fn words(&self) -> (Mood, &'static str, String) {
        (Mood::Normal, "SuccessfulRescale", format!("New size: {}; reason: {}", self.to, self.reason))
    }
}

/// What follows from the bounds alone.
enum Course {
    /// Nothing is scaled that has been scaled to nothing.
    Disabled,
    /// The target is out of bounds.
    Clamp(Rescale),
    /// The metrics decide.
    Measure,
}

fn course(spec: &HorizontalPodAutoscalerSpec, wanted: i32) -> Course {
    let least = spec.min_replicas.unwrap_or(1);
    let clamp = |to, which: &str| {
        Course::Clamp(Rescale { to, reason: format!("Current number of replicas {which}Replicas") })
    };
    if wanted == 0 && least != 0 {
        Course::Disabled
    } else if wanted > spec.max_replicas {
        clamp(spec.max_replicas, "above Spec.Max")
    } else if wanted < least {
        clamp(least, "below Spec.Min")
    } else {
        Course::Measure
    }
}

/// Whether the metrics decide, so that they have to be read.
pub fn is_measured(autoscaler: &HorizontalPodAutoscaler, target: &Target<'_>) -> bool {
    matches!(course(&autoscaler.spec, target.wanted), Course::Measure)
}

/// What to do for an autoscaler now. Earlier recommendations and rescales count; this one is remembered.
pub fn plan(observed: &Observed<'_>, memory: &mut Memory) -> Decision {
    let &Observed { autoscaler, now, .. } = observed;
    let held = autoscaler.status.clone().unwrap_or_default();
    let mut draft = Draft { status: held, warnings: Vec::new(), now };
    let spec = &autoscaler.spec;
    let target = match observed.target {
        Ok(target) => target,
        Err(said) => {
            let message = format!("the HPA controller was unable to get the target's current scale: {said}");
            draft.condition("AbleToScale", false, "FailedGetScale", message);
            draft.warnings.push(("FailedGetScale", said.to_owned()));
            return draft.decide(None);
        }
    };
    let able = "the HPA controller was able to get the target's current scale";
    draft.condition("AbleToScale", true, "SucceededGetScale", able.into());
    memory.begin(target.wanted, now);
    draft.status.current_replicas = Some(target.wanted);
    let (rescale, metrics) = match course(spec, target.wanted) {
        Course::Disabled => {
            let message = "scaling is disabled since the replica count of the target is zero";
            draft.condition("ScalingActive", false, "ScalingDisabled", message.into());
            (None, Vec::new())
        }
        Course::Clamp(rescale) => (Some(rescale), Vec::new()),
        Course::Measure => match measure(observed, spec, target, &mut draft, memory) {
            Some(measured) => measured,
            None => return draft.decide(None),
        },
    };
    draft.status.desired_replicas = rescale.as_ref().map_or(target.wanted, |rescale| rescale.to);
    draft.status.current_metrics = (!metrics.is_empty()).then_some(metrics);
    if let Some(rescale) = &rescale {
        let message = format!("the HPA controller was able to update the target scale to {}", rescale.to);
        draft.condition("AbleToScale", true, "SucceededRescale", message);
        draft.status.last_scale_time = Some(Time(now));
    }
    draft.decide(rescale)
}

/// Remembers that a rescale was done, because policies limit how much may be done in their period.
pub fn done(observed: &Observed<'_>, rescale: &Rescale, memory: &mut Memory) {
    if let Ok(target) = &observed.target {
        let behavior = observed.autoscaler.spec.behavior.as_ref();
        rescaled(behavior, target.wanted, rescale.to, memory, observed.now);
    }
}

/// What becomes of `decision` when its rescale was refused.
pub fn refused(observed: &Observed<'_>, decision: &Decision, rescale: &Rescale, said: &str) -> Decision {
    let held = observed.autoscaler.status.clone().unwrap_or_default();
    let status = HorizontalPodAutoscalerStatus {
        desired_replicas: held.desired_replicas,
        last_scale_time: held.last_scale_time,
        ..decision.status.clone()
    };
    let mut draft = Draft { status, warnings: decision.warnings.clone(), now: observed.now };
    let message = format!("the HPA controller was unable to update the target scale: {said}");
    draft.condition("AbleToScale", false, "FailedUpdateScale", message);
    let message = format!("New size: {}; reason: {}; error: {said}", rescale.to, rescale.reason);
    draft.warnings.push(("FailedRescale", message));
    draft.decide(None)
}

/// What the metrics ask for, and their state; `None` if nothing can be said.
fn measure(
    observed: &Observed<'_>,
    spec: &HorizontalPodAutoscalerSpec,
    target: Target<'_>,
    draft: &mut Draft,
    memory: &mut Memory,
) -> Option<(Option<Rescale>, Vec<MetricStatus>)> {
    let pods = match observed.pods {
        Ok(pods) => pods,
        Err((reason, message)) => {
            let (event, shown) = match reason {
                "InvalidSelector" if target.selector.is_none_or(str::is_empty) => {
                    ("SelectorRequired", "the HPA target's scale is missing a selector")
                }
                _ => (reason, message),
            };
            draft.condition("ScalingActive", false, reason, shown.to_owned());
            draft.warnings.push((event, message.to_owned()));
            draft.warnings.push(("FailedComputeMetricsReplicas", message.to_owned()));
            return None;
        }
    };
    let behavior = spec.behavior.as_ref();
    let facts = Facts {
        namespace: observed.autoscaler.metadata.namespace.as_deref().unwrap_or_default(),
        wanted: target.wanted,
        there: target.there,
        pods,
        tolerance: Tolerance::of(behavior),
        now: observed.now,
    };
    let metrics = spec.metrics.as_deref().unwrap_or_default();
    let (proposed, name, statuses) = strongest(metrics, observed.readings, &facts, draft)?;
    let reason = if proposed > target.wanted {
        format!("{name} above target")
    } else {
        "All metrics below target".to_owned()
    };
    let bounds =
        Bounds { current: target.wanted, least: spec.min_replicas.unwrap_or(1), most: spec.max_replicas };
    let settled = settle(behavior, bounds, proposed, memory, observed.now);
    draft.condition("AbleToScale", true, settled.able.0, settled.able.1.into());
    let (is_limited, (why, message)) = settled.limited;
    draft.condition("ScalingLimited", is_limited, why, message.into());
    let rescale = (settled.replicas != target.wanted).then_some(Rescale { to: settled.replicas, reason });
    Some((rescale, statuses))
}

/// The proposal for the most replicas. Metrics that say nothing do not keep others from asking for more, but from asking for
/// less.
fn strongest(
    metrics: &[MetricSpec],
    readings: &[Result<Reading, String>],
    facts: &Facts<'_>,
    draft: &mut Draft,
) -> Option<(i32, String, Vec<MetricStatus>)> {
    let (mut most, mut name, mut first, mut invalid) = (0, String::new(), None, 0);
    let mut statuses = Vec::new();
    for (metric, reading) in metrics.iter().zip(readings) {
        match propose(metric, reading, facts) {
            Ok(proposal) => {
                if most == 0 || proposal.replicas > most {
                    (most, name) = (proposal.replicas, proposal.name);
                }
                statuses.push(proposal.status);
            }
            Err(failure) => {
                draft.warnings.push((failure.reason, failure.message.clone()));
                invalid += 1;
                first.get_or_insert(failure);
            }
        }
    }
    if let Some(failure) = first {
        let count = metrics.len();
        let said = format!(
            "invalid metrics ({invalid} invalid out of {count}), first error is: {}",
            failure.account
        );
        draft.warnings.push(("FailedComputeMetricsReplicas", said));
        if invalid >= count || most < facts.wanted {
            let message = format!("the HPA was unable to compute the replica count: {}", failure.message);
            draft.condition("ScalingActive", false, failure.reason, message);
            draft.status.current_metrics = (!statuses.is_empty()).then_some(statuses);
            return None;
        }
    }
    let message = format!("the HPA was able to successfully calculate a replica count from {name}");
    draft.condition("ScalingActive", true, "ValidMetricFound", message);
    Some((most, name, statuses))
}

/// A decision in the making.
struct Draft {
    status: HorizontalPodAutoscalerStatus,
    warnings: Vec<(&'static str, String)>,
    now: Timestamp,
}

impl Draft {
    /// Sets a condition; its time changes with its status.
    fn condition(&mut self, type_: &str, is_true: bool, reason: &str, message: String) {
        let conditions = self.status.conditions.get_or_insert_default();
        let at = conditions.iter().position(|held| held.type_ == type_).unwrap_or_else(|| {
            let fresh = HorizontalPodAutoscalerCondition { type_: type_.to_owned(), ..Default::default() };
            conditions.push(fresh);
            conditions.len() - 1
        });
        let Some(held) = conditions.get_mut(at) else { return };
        let status = if is_true { "True" } else { "False" };
        if held.status != status {
            held.status = status.to_owned();
            held.last_transition_time = Some(Time(self.now));
        }
        held.reason = Some(reason.to_owned());
        held.message = Some(message);
    }

    fn decide(self, rescale: Option<Rescale>) -> Decision {
        Decision { status: self.status, rescale, warnings: self.warnings }
    }
}
