//! Where metrics are read: the three groups that metrics servers serve.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use http::Request;
use jiff::SignedDuration;
use k8s_openapi::api::autoscaling::v2::{MetricIdentifier, MetricSpec};
use k8s_openapi::apimachinery::pkg::api::resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use kube::Client;
use orchestra_core::quantity::Quantity;
use orchestra_core::selector;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::proposal::total;
use super::readings::{PodReading, Reading};
use crate::error::Error;

/// The time a custom metric was taken over, when it does not say.
const CUSTOM_WINDOW: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

/// `PodMetrics` of `metrics.k8s.io/v1beta1`.
#[derive(Deserialize)]
struct PodMetrics {
    metadata: ObjectMeta,
    timestamp: Time,
    window: String,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Deserialize)]
struct ContainerMetrics {
    name: String,
    #[serde(default)]
    usage: BTreeMap<String, resource::Quantity>,
}

/// `MetricValue` of `custom.metrics.k8s.io/v1beta2`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetricValue {
    described_object: Described,
    timestamp: Time,
    window_seconds: Option<u64>,
    value: resource::Quantity,
}

#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    name: String,
}

/// `ExternalMetricValue` of `external.metrics.k8s.io/v1beta1`.
#[derive(Deserialize)]
struct ExternalValue {
    value: resource::Quantity,
}

/// The plural of the object an `Object` metric describes, with its group, as the custom metrics API wants it.
pub(super) type Plural = Result<String, String>;

/// Reads one metric for the pods that `selector` chooses.
pub(super) async fn read(
    client: &Client,
    namespace: &str,
    selector: &str,
    metric: &MetricSpec,
    plural: impl AsyncFnOnce(&str, &str) -> Plural,
) -> Result<Reading, String> {
    match metric.type_.as_str() {
        "Resource" => {
            let name = metric.resource.as_ref().map_or("", |source| &source.name);
            of_resource(client, namespace, selector, name, None).await
        }
        "ContainerResource" => {
            let source = metric.container_resource.as_ref();
            let (name, container) = source.map_or(("", ""), |source| (&*source.name, &*source.container));
            of_resource(client, namespace, selector, name, Some(container)).await
        }
        "Pods" => {
            let Some(source) = &metric.pods else { return Err("no metric is named".into()) };
            let values = custom(client, namespace, "pods/*", &source.metric, Some(selector)).await?;
            let readings = values.into_iter().filter_map(|value| {
                let window = value.window_seconds.map_or(CUSTOM_WINDOW, Duration::from_secs);
                let reading = PodReading { milli: milli(&value.value)?, taken: value.timestamp.0, window };
                Some((value.described_object.name, reading))
            });
            Ok(Reading::Pods(readings.collect()))
        }
        "Object" => {
            let Some(source) = &metric.object else { return Err("no object is named".into()) };
            let object = &source.described_object;
            let path = if object.kind == "Namespace" {
                // Of a namespace itself.
                "metrics".to_owned()
            } else {
                let api_version = object.api_version.as_deref().unwrap_or_default();
                format!("{}/{}", plural(api_version, &object.kind).await?, escaped(&object.name))
            };
            let values = custom(client, namespace, &path, &source.metric, None).await?;
            let value = values.first().and_then(|value| milli(&value.value));
            value.map(Reading::Value).ok_or_else(|| "no metrics returned from custom metrics API".into())
        }
        "External" => {
            let Some(source) = &metric.external else { return Err("no metric is named".into()) };
            let mut path = format!(
                "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{}",
                escaped(&source.metric.name)
            );
            query(&mut path, &[("labelSelector", text(source.metric.selector.as_ref())?)]);
            let list: List<ExternalValue> = get(client, path)
                .await
                .map_err(|said| format!("unable to fetch metrics from external metrics API: {said}"))?;
            if list.items.is_empty() {
                return Err("no metrics returned from external metrics API".into());
            }
            let values: Vec<i64> = list.items.iter().filter_map(|item| milli(&item.value)).collect();
            Ok(Reading::Value(total(&values)))
        }
        other => Err(format!("unknown metric source type {other:?}")),
    }
}

async fn of_resource(
    client: &Client,
    namespace: &str,
    selector: &str,
    resource: &str,
    container: Option<&str>,
) -> Result<Reading, String> {
    let mut path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
    query(&mut path, &[("labelSelector", selector.to_owned())]);
    let list: List<PodMetrics> = get(client, path)
        .await
        .map_err(|said| format!("unable to fetch metrics from resource metrics API: {said}"))?;
    if list.items.is_empty() {
        return Err("no metrics returned from resource metrics API".into());
    }
    let mut readings = BTreeMap::new();
    for pod in list.items {
        let name = pod.metadata.name.unwrap_or_default();
        let used = |container: &ContainerMetrics| container.usage.get(resource).and_then(milli);
        let sum = match container {
            // A pod of which one container is not known is not known.
            None => pod.containers.iter().map(used).collect::<Option<Vec<i64>>>().map(|each| total(&each)),
            Some(wanted) => match pod.containers.iter().find(|container| container.name == wanted) {
                Some(container) => used(container),
                None => {
                    return Err(format!(
                        "failed to get container metrics: container {wanted} not present in metrics for pod {namespace}/{name}"
                    ));
                }
            },
        };
        let window = window(&pod.window);
        let Some(milli) = sum.filter(|_| !pod.containers.is_empty()) else { continue };
        readings.insert(name, PodReading { milli, taken: pod.timestamp.0, window });
    }
    Ok(Reading::Pods(readings))
}

async fn custom(
    client: &Client,
    namespace: &str,
    of: &str,
    metric: &MetricIdentifier,
    selector: Option<&str>,
) -> Result<Vec<MetricValue>, String> {
    let mut path =
        format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/{of}/{}", escaped(&metric.name));
    let wanted = selector.unwrap_or_default().to_owned();
    query(&mut path, &[("labelSelector", wanted), ("metricLabelSelector", text(metric.selector.as_ref())?)]);
    let list: List<MetricValue> = get(client, path)
        .await
        .map_err(|said| format!("unable to fetch metrics from custom metrics API: {said}"))?;
    if list.items.is_empty() {
        return Err("no metrics returned from custom metrics API".into());
    }
    Ok(list.items)
}

async fn get<T: DeserializeOwned>(client: &Client, path: String) -> Result<T, String> {
    let request = Request::get(path).body(Vec::new()).map_err(|problem| problem.to_string())?;
    client.request(request).await.map_err(|problem| Error::from(problem).said())
}

fn milli(quantity: &resource::Quantity) -> Option<i64> {
    Some(Quantity::try_from(quantity).ok()?.milli_value())
}

/// A duration as Go writes it; the usual half minute where it cannot be read.
fn window(text: &str) -> Duration {
    let span = text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    span.unwrap_or(Duration::from_secs(30))
}

fn text(selector: Option<&LabelSelector>) -> Result<String, String> {
    let Some(selector) = selector else { return Ok(String::new()) };
    let read = selector::LabelSelector::from_typed(Some(selector)).map_err(|problem| problem.to_string())?;
    Ok(read.to_string())
}

/// Adds what is not empty as the query of a path.
fn query(path: &mut String, parameters: &[(&str, String)]) {
    let mut mark = '?';
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        path.push(mark);
        mark = '&';
        path.push_str(name);
        path.push('=');
        path.push_str(&escaped(value));
    }
}

/// Percent-encoded but for what needs it nowhere in an address.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_escaped_and_empty_ones_left_out() {
        let mut path = "/m".to_owned();
        query(&mut path, &[("a", String::new()), ("b", "app in (x,y)".into()), ("c", "d=e".into())]);
        assert_eq!(path, "/m?b=app%20in%20%28x%2Cy%29&c=d%3De");
    }
}
