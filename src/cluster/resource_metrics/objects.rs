//! From what an agent says to the objects of the API.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use orchestra_core::quantity::{Format, Quantity};
use orchestra_runtime::agent::{CpuUsage, MemoryUsage, NodeUsage, PodUsage, Summary};
use serde_json::{Value, json};

/// The window of an agent that does not tell: the kubelet's.
const USUAL_WINDOW: Duration = Duration::from_secs(10);

/// What was measured, when, and over which time.
struct Measured {
    usage: Value,
    time: Time,
    window: Duration,
}

impl Measured {
    /// Nothing unless both processors and memory are known.
    fn of(cpu: Option<&CpuUsage>, memory: Option<&MemoryUsage>) -> Option<Self> {
        let (cpu, memory) = (cpu?, memory?);
        let bytes = i64::try_from(memory.working_set_bytes?).unwrap_or(i64::MAX);
        let processors = Quantity::parse(&format!("{}n", cpu.usage_nano_cores?)).ok()?;
        let memory = Quantity::new(bytes, Format::BinarySi);
        Some(Self {
            usage: json!({"cpu": processors.to_string(), "memory": memory.to_string()}),
            time: cpu.time.clone(),
            window: cpu.window_nano_seconds.map_or(USUAL_WINDOW, Duration::from_nanos),
        })
    }
}

/// `NodeMetrics`, without metadata.
pub(super) fn node(node: &NodeUsage) -> Option<Value> {
    let Measured { usage, time, window } = Measured::of(node.cpu.as_ref(), node.memory.as_ref())?;
    Some(json!({"timestamp": time, "window": shown(window), "usage": usage}))
}

/// `PodMetrics`, without metadata. A pod of which one container is not known is not known: its sum would be too small.
pub(super) fn pod(pod: &PodUsage) -> Option<Value> {
    let measured = pod.containers.iter().map(|container| {
        let measured = Measured::of(container.cpu.as_ref(), container.memory.as_ref())?;
        Some((container.name.as_str(), measured))
    });
    let measured = measured.collect::<Option<Vec<_>>>()?;
    let (_, oldest) = measured.iter().min_by_key(|(_, measured)| measured.time.0)?;
    let window = measured.iter().map(|(_, measured)| measured.window).max()?;
    let time = oldest.time.clone();
    let containers: Vec<Value> =
        measured.into_iter().map(|(name, of)| json!({"name": name, "usage": of.usage})).collect();
    Some(json!({"timestamp": time, "window": shown(window), "containers": containers}))
}

/// The pods of these nodes by namespace and name; of two lives of a name, the later.
pub(super) fn by_name<'a>(
    summaries: impl Iterator<Item = &'a Summary>,
) -> HashMap<(&'a str, &'a str), &'a PodUsage> {
    let mut found: HashMap<(&str, &str), &PodUsage> = HashMap::new();
    for pod in summaries.flat_map(|summary| &summary.pods) {
        let name = (pod.pod_ref.namespace.as_str(), pod.pod_ref.name.as_str());
        if found.get(&name).is_none_or(|other| other.start_time.0 < pod.start_time.0) {
            found.insert(name, pod);
        }
    }
    found
}

/// A time as Go writes it, to the millisecond: `10.015s`, `1m0s`, `850ms`.
fn shown(window: Duration) -> String {
    let millis = window.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let (seconds, rest) = (millis / 1000 % 60, millis % 1000);
    let fraction =
        if rest == 0 { String::new() } else { format!(".{rest:03}").trim_end_matches('0').to_owned() };
    let seconds = format!("{seconds}{fraction}s");
    match (millis / 3_600_000, millis / 60_000 % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(containers: Value) -> Summary {
        serde_json::from_value(json!({
            "node": {"nodeName": "n", "startTime": "2026-01-01T00:00:00Z"},
            "pods": [{
                "podRef": {"name": "web", "namespace": "default", "uid": "u"},
                "startTime": "2026-01-01T00:00:00Z", "containers": containers,
            }],
        }))
        .unwrap()
    }

    fn container(name: &str, cpu: Value) -> Value {
        let time = "2026-01-01T00:01:00Z";
        json!({
            "name": name, "startTime": "2026-01-01T00:00:00Z",
            "cpu": {"time": time, "usageNanoCores": cpu, "windowNanoSeconds": 10_015_000_000u64},
            "memory": {"time": time, "workingSetBytes": 1536},
        })
    }

    #[test]
    fn a_pod_is_known_when_all_its_containers_are() {
        let known = summary(json!([container("a", json!(63_718_327)), container("b", json!(250_000_000))]));
        assert_eq!(
            pod(&known.pods[0]),
            Some(json!({
                "timestamp": "2026-01-01T00:01:00Z", "window": "10.015s", "containers": [
                    {"name": "a", "usage": {"cpu": "63718327n", "memory": "1536"}},
                    {"name": "b", "usage": {"cpu": "250m", "memory": "1536"}},
                ],
            }))
        );
        let half = summary(json!([container("a", json!(1)), container("b", Value::Null)]));
        assert_eq!((pod(&half.pods[0]), node(&half.node)), (None, None));
        assert_eq!(pod(&summary(json!([])).pods[0]), None);
    }

    #[test]
    fn the_later_of_two_lives_of_a_name_counts() {
        let (mut early, late) = (summary(json!([])), summary(json!([])));
        early.pods[0].start_time = serde_json::from_value(json!("2025-01-01T00:00:00Z")).unwrap();
        early.pods[0].pod_ref.uid = "early".into();
        for order in [[&early, &late], [&late, &early]] {
            assert_eq!(by_name(order.into_iter())[&("default", "web")].pod_ref.uid, "u");
        }
    }

    #[test]
    fn windows_are_written_as_go_writes_them() {
        let written = |millis| shown(Duration::from_millis(millis));
        assert_eq!([written(850), written(10_015), written(10_500)], ["850ms", "10.015s", "10.5s"]);
        assert_eq!([written(60_000), written(3_723_000)], ["1m0s", "1h2m3s"]);
    }
}
