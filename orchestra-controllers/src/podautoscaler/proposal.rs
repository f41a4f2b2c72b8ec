//! How many replicas one metric asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, ExternalMetricStatus, MetricIdentifier, MetricSpec, MetricStatus,
    MetricTarget, MetricValueStatus, ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use orchestra_core::quantity::Quantity;

use super::behavior::Tolerance;
use super::readings::{PodReading, Reading, sort};
use crate::family::Known;
use crate::pod;

/// What a proposal is made from besides the reading.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) namespace: &'a str,
    /// The replicas the target is told to have.
    pub(super) wanted: i32,
    /// The replicas the target says it has.
    pub(super) there: i32,
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) tolerance: Tolerance,
    pub(super) now: Timestamp,
}

/// How many replicas bring a metric to its target.
#[derive(Clone, Debug)]
pub(super) struct Proposal {
    pub(super) replicas: i32,
    /// What the metric is called in messages.
    pub(super) name: String,
    pub(super) status: MetricStatus,
}

/// Why a metric says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// The message as part of the account of all metrics.
    pub(super) account: String,
}

/// The smallest whole number that is not less.
pub(super) fn ceiling(number: f64) -> i32 {
    number.ceil() as i32
}

/// What `metric` asks for, given what was read of it.
pub(super) fn propose(
    metric: &MetricSpec,
    reading: &Result<Reading, String>,
    facts: &Facts<'_>,
) -> Result<Proposal, Failure> {
    match metric.type_.as_str() {
        "Resource" => of_resource(metric, reading, facts),
        "ContainerResource" => of_container(metric, reading, facts),
        "Pods" => of_pods(metric, reading, facts),
        "Object" => of_object(metric, reading, facts),
        "External" => of_external(metric, reading, facts),
        other => {
            let message = format!("unknown metric source type {other:?}");
            Err(Failure { reason: "InvalidMetricSourceType", account: message.clone(), message })
        }
    }
}

fn of_resource(
    metric: &MetricSpec,
    reading: &Result<Reading, String>,
    facts: &Facts<'_>,
) -> Result<Proposal, Failure> {
    let source = metric.resource.as_ref();
    let name = source.map_or("", |source| &source.name);
    let found = resource_usage(name, None, source.map(|source| &source.target), reading, facts);
    let (replicas, current, label) = found.map_err(|message| Failure {
        reason: "FailedGetResourceMetric",
        account: format!("failed to get {name} resource metric value: {message}"),
        message,
    })?;
    let status = ResourceMetricStatus { name: name.to_owned(), current };
    Ok(Proposal { replicas, name: label, status: MetricStatus { resource: Some(status), ..typed(metric) } })
}

fn of_container(
    metric: &MetricSpec,
    reading: &Result<Reading, String>,
    facts: &Facts<'_>,
) -> Result<Proposal, Failure> {
    let source = metric.container_resource.as_ref();
    let (name, container) = source.map_or(("", ""), |source| (&*source.name, &*source.container));
    let found = resource_usage(name, Some(container), source.map(|source| &source.target), reading, facts);
    let (replicas, current, label) = found.map_err(|message| Failure {
        reason: "FailedGetContainerResourceMetric",
        account: format!("failed to get {name} container metric value: {message}"),
        message,
    })?;
    let (name, container) = (name.to_owned(), container.to_owned());
    let status = ContainerResourceMetricStatus { name, container, current };
    Ok(Proposal {
        replicas,
        name: label,
        status: MetricStatus { container_resource: Some(status), ..typed(metric) },
    })
}

/// Replicas, current value and the metric's name, for a resource of whole pods or of one container in each.
fn resource_usage(
    resource: &str,
    container: Option<&str>,
    target: Option<&MetricTarget>,
    reading: &Result<Reading, String>,
    facts: &Facts<'_>,
) -> Result<(i32, MetricValueStatus, String), String> {
    let of_container = if container.is_some() { "container " } else { "" };
    let readings = |what: &str| match reading {
        Ok(Reading::Pods(readings)) => Ok(readings.clone()),
        Ok(Reading::Value(_)) => Err(format!("failed to get {resource} {what}: not a value for each pod")),
        Err(said) => Err(format!(
            "failed to get {resource} {what}: unable to get metrics for resource {resource}: {said}"
        )),
    };
    if let Some(wanted) = target.and_then(|target| milli(target.average_value.as_ref())) {
        let (replicas, average) = plain(readings("usage")?, wanted, resource == "cpu", facts)
            .map_err(|said| format!("failed to get {resource} usage: {said}"))?;
        return Ok((replicas, average_value(average), format!("{resource} {of_container}resource")));
    }
    let Some(wanted) = target.and_then(|target| target.average_utilization) else {
        return Err("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set".into());
    };
    let (replicas, percent, average) = relative(readings("utilization")?, wanted, resource, container, facts)
        .map_err(|said| format!("failed to get {resource} utilization: {said}"))?;
    let current = MetricValueStatus { average_utilization: Some(percent), ..average_value(average) };
    Ok((replicas, current, format!("{resource} {of_container}resource utilization (percentage of request)")))
}

fn of_pods(
    metric: &MetricSpec,
    reading: &Result<Reading, String>,
    facts: &Facts<'_>,
) -> Result<Proposal, Failure> {
    let failure = |message: String| Failure {
        reason: "FailedGetPodsMetric",
        account: format!("failed to get pods metric value: {message}"),
        message,
    };
    let Some(source) = &metric.pods else { return Err(failure("no metric is named".into())) };
    let name = &source.metric.name;
    let readings = match reading {
        Ok(Reading::Pods(readings)) => readings.clone(),
        Ok(Reading::Value(_)) => {
            return Err(failure(format!("unable to get metric {name}: not a value for each pod")));
        }
        Err(said) => return Err(failure(format!("unable to get metric {name}: {said}"))),
    };
    let wanted = milli(source.target.average_value.as_ref()).unwrap_or_default();
    let (replicas, average) = plain(readings, wanted, false, facts).map_err(failure)?;
    let status = PodsMetricStatus { metric: source.metric.clone(), current: average_value(average) };
    let status = MetricStatus { pods: Some(status), ..typed(metric) };
    Ok(Proposal { replicas, name: format!("pods metric {name}"), status })
}

fn of_object(
    metric: &MetricSpec,
    reading: &Result<Reading, String>,
    facts: &Facts<'_>,
) -> Result<Proposal, Failure> {
    let failure = |message: String| Failure {
        reason: "FailedGetObjectMetric",
        account: format!("failed to get object metric value: {message}"),
        message,
    };
    let Some(source) = &metric.object else { return Err(failure("no object is named".into())) };
    let (name, object) = (&source.metric.name, &source.described_object);
    let unable = |said: &str| {
        failure(format!(
            "unable to get metric {name}: {said} on {} {}/{}",
            object.kind, facts.namespace, object.name
        ))
    };
    let value = match reading {
        Ok(Reading::Value(value)) => *value,
        Ok(Reading::Pods(_)) => return Err(unable("not one value")),
        Err(said) => return Err(unable(said)),
    };
    let Some((replicas, current, is_whole)) = single(&source.target, value, facts).map_err(failure)? else {
        return Err(failure(
            "invalid object metric source: neither a value target nor an average value target was set".into(),
        ));
    };
    // Upstream calls the average of an object's metric so.
    let label =
        if is_whole { format!("{} metric {name}", object.kind) } else { external_name(&source.metric) };
    let status =
        ObjectMetricStatus { metric: source.metric.clone(), described_object: object.clone(), current };
    Ok(Proposal { replicas, name: label, status: MetricStatus { object: Some(status), ..typed(metric) } })
}

fn of_external(
    metric: &MetricSpec,
    reading: &Result<Reading, String>,
    facts: &Facts<'_>,
) -> Result<Proposal, Failure> {
    let failure = |message: String| Failure {
        reason: "FailedGetExternalMetric",
        account: format!("failed to get external metric value: {message}"),
        message,
    };
    let Some(source) = &metric.external else { return Err(failure("no metric is named".into())) };
    let name = &source.metric.name;
    let value = match reading {
        Ok(Reading::Value(value)) => *value,
        other => {
            let said = other.as_ref().err().map_or("not one value", String::as_str);
            let selector = shown(source.metric.selector.as_ref());
            return Err(failure(format!(
                "unable to get external metric {}/{name}/{selector}: {said}",
                facts.namespace
            )));
        }
    };
    let Some((replicas, current, _)) = single(&source.target, value, facts).map_err(failure)? else {
        return Err(failure(
            "invalid external metric source: neither a value target nor an average value target was set"
                .into(),
        ));
    };
    let status = ExternalMetricStatus { metric: source.metric.clone(), current };
    let status = MetricStatus { external: Some(status), ..typed(metric) };
    Ok(Proposal { replicas, name: external_name(&source.metric), status })
}

/// What one value for all pods asks for: replicas, the value as shown, and whether it is held against a target as a whole
/// rather than per pod. `None` without a target.
fn single(
    target: &MetricTarget,
    value: i64,
    facts: &Facts<'_>,
) -> Result<Option<(i32, MetricValueStatus, bool)>, String> {
    if let Some(wanted) = milli(target.average_value.as_ref()) {
        let ratio = value as f64 / (wanted as f64 * f64::from(facts.there));
        let enough = facts.tolerance.allows(ratio);
        let replicas = if enough { facts.there } else { ceiling(value as f64 / wanted as f64) };
        let average = (value as f64 / f64::from(facts.there)).ceil() as i64;
        return Ok(Some((replicas, average_value(average), false)));
    }
    let Some(wanted) = milli(target.value.as_ref()) else { return Ok(None) };
    let ratio = value as f64 / wanted as f64;
    let replicas = if facts.wanted == 0 {
        ceiling(ratio)
    } else if facts.tolerance.allows(ratio) {
        facts.wanted
    } else {
        if facts.pods.is_empty() {
            return Err("unable to calculate ready pods: no pods returned by selector while calculating replica count".into());
        }
        let works = |pod: &&Arc<Pod>| pod::phase(pod) == "Running" && pod::is_ready(pod);
        ceiling(ratio * facts.pods.iter().filter(works).count() as f64)
    };
    let current = MetricValueStatus { value: Some(quantity(value)), ..MetricValueStatus::default() };
    Ok(Some((replicas, current, true)))
}

/// What values held against an amount for each pod ask for, and their average.
fn plain(
    readings: BTreeMap<String, PodReading>,
    wanted: i64,
    is_cpu: bool,
    facts: &Facts<'_>,
) -> Result<(i32, i64), String> {
    let ratio = |used: &BTreeMap<String, i64>| {
        let average = total(used.values()) / i64::try_from(used.len()).unwrap_or(i64::MAX).max(1);
        Ok((average as f64 / wanted as f64, 0, average))
    };
    let replicas = weigh(readings, is_cpu, facts, |_| wanted, ratio)?;
    Ok((replicas.0, replicas.2))
}

/// What values held against a share of what the pods request ask for; the share and the average.
fn relative(
    readings: BTreeMap<String, PodReading>,
    wanted: i32,
    resource: &str,
    container: Option<&str>,
    facts: &Facts<'_>,
) -> Result<(i32, i32, i64), String> {
    if facts.pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".into());
    }
    let mut requests = BTreeMap::new();
    for pod in facts.pods {
        requests.insert(pod.name().to_owned(), request(pod, resource, container)?);
    }
    let ratio = |used: &BTreeMap<String, i64>| {
        let known = || used.iter().filter_map(|(name, used)| Some((used, requests.get(name)?)));
        let requested = total(known().map(|(_, requested)| requested));
        if requested == 0 {
            return Err("no metrics returned matched known pods".to_owned());
        }
        let used = total(known().map(|(used, _)| used));
        let percent = i128::from(used) * 100 / i128::from(requested);
        let percent = i32::try_from(percent).unwrap_or(i32::MAX);
        let count = i64::try_from(known().count()).unwrap_or(i64::MAX);
        Ok((f64::from(percent) / f64::from(wanted), percent, used / count))
    };
    weigh(readings, resource == "cpu", facts, |name| requests.get(name).copied().unwrap_or_default(), ratio)
}

/// Replicas, share and average. Pods that say nothing count as if they used all they should when that keeps them, and nothing
/// when fewer would be added; pods that do not work yet use nothing.
fn weigh(
    readings: BTreeMap<String, PodReading>,
    is_cpu: bool,
    facts: &Facts<'_>,
    whole: impl Fn(&str) -> i64,
    ratio: impl Fn(&BTreeMap<String, i64>) -> Result<(f64, i32, i64), String>,
) -> Result<(i32, i32, i64), String> {
    if facts.pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".into());
    }
    let sorted = sort(facts.pods, &readings, is_cpu, facts.now);
    let mut used: BTreeMap<String, i64> =
        readings.into_iter().map(|(name, reading)| (name, reading.milli)).collect();
    used.retain(|name, _| !sorted.unready.contains(name));
    if used.is_empty() {
        return Err("did not receive metrics for any ready pods".into());
    }
    let (first, percent, average) = ratio(&used)?;
    let stay = Ok((facts.wanted, percent, average));
    let has_unready = !sorted.unready.is_empty() && first > 1.0;
    if !has_unready && sorted.silent.is_empty() {
        if facts.tolerance.allows(first) {
            return stay;
        }
        return Ok((ceiling(first * sorted.ready as f64), percent, average));
    }
    for name in &sorted.silent {
        if first != 1.0 {
            used.insert(name.clone(), if first < 1.0 { whole(name) } else { 0 });
        }
    }
    if has_unready {
        used.extend(sorted.unready.iter().map(|name| (name.clone(), 0)));
    }
    let (second, ..) = ratio(&used)?;
    let turned = (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0);
    if facts.tolerance.allows(second) || turned {
        return stay;
    }
    let replicas = ceiling(second * used.len() as f64);
    let turned = (second < 1.0 && replicas > facts.wanted) || (second > 1.0 && replicas < facts.wanted);
    if turned { stay } else { Ok((replicas, percent, average)) }
}

/// A sum of what others say, which may be more than there are numbers for.
pub(super) fn total<'a>(values: impl IntoIterator<Item = &'a i64>) -> i64 {
    values.into_iter().fold(0, |sum: i64, value| sum.saturating_add(*value))
}

/// What a pod, or one container of it, requests of a resource, in thousandths.
fn request(pod: &Pod, resource: &str, container: Option<&str>) -> Result<i64, String> {
    let Some(spec) = &pod.spec else { return Ok(0) };
    let of_pod = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get(resource));
    if let (None, Some(whole)) = (container, of_pod.and_then(|quantity| Quantity::try_from(quantity).ok())) {
        return Ok(whole.milli_value());
    }
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
    let mut sum = 0;
    for each in spec.containers.iter().chain(sidecars) {
        if container.is_some_and(|wanted| wanted != each.name) {
            continue;
        }
        let requests = each.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let Some(requested) = milli(requests.and_then(|requests| requests.get(resource))) else {
            return Err(format!(
                "missing request for {resource} in container {} of Pod {}",
                each.name,
                pod.name()
            ));
        };
        sum = total([&sum, &requested]);
    }
    Ok(sum)
}

fn milli(quantity: Option<&resource::Quantity>) -> Option<i64> {
    Some(Quantity::try_from(quantity?).ok()?.milli_value())
}

fn quantity(milli: i64) -> resource::Quantity {
    Quantity::from_milli(milli).into()
}

fn average_value(milli: i64) -> MetricValueStatus {
    MetricValueStatus { average_value: Some(quantity(milli)), ..MetricValueStatus::default() }
}

fn typed(metric: &MetricSpec) -> MetricStatus {
    MetricStatus { type_: metric.type_.clone(), ..MetricStatus::default() }
}

fn external_name(metric: &MetricIdentifier) -> String {
    format!("external metric {}({})", metric.name, shown(metric.selector.as_ref()))
}

/// A selector as upstream's messages show it, which is how Go prints the struct.
fn shown(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "nil".into() };
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},"));
    let expressions = selector.match_expressions.iter().flatten().map(|one| {
        let values = one.values.as_deref().unwrap_or_default().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", one.key, one.operator)
    });
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        labels.collect::<String>(),
        expressions.collect::<String>()
    )
}
