//! The kubelet's `/stats/summary`, as far as it is about processors and memory.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use super::{Rate, Reading};
use crate::runtime::{ContainerStats, PodMeta};

/// What a node and its pods use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The node as a whole.
    pub node: NodeUsage,
    /// Its pods that have a running container.
    #[serde(default)]
    pub pods: Vec<PodUsage>,
}

/// What a node uses: all programs of the machine, or all containers where they are not real.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeUsage {
    /// Which.
    pub node_name: String,
    /// Since when it is measured.
    pub start_time: Time,
    /// Its processors; absent while nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuUsage>,
    /// Its memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryUsage>,
}

/// What a pod uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodUsage {
    /// Which.
    pub pod_ref: PodReference,
    /// When the first of its running containers started.
    pub start_time: Time,
    /// Its running containers.
    #[serde(default)]
    pub containers: Vec<ContainerUsage>,
    /// Their processor time together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuUsage>,
    /// Their memory together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryUsage>,
}

/// Names a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodReference {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
}

/// What a container uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerUsage {
    /// Its name in the pod.
    pub name: String,
    /// When it started.
    pub start_time: Time,
    /// Its processor time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuUsage>,
    /// Its memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryUsage>,
}

/// Use of processors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuUsage {
    /// When it was read.
    pub time: Time,
    /// Billionths of a processor; absent until it was measured over some time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_nano_cores: Option<u64>,
    /// In all, in nanoseconds of one processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_core_nano_seconds: Option<u64>,
    /// Over how long `usage_nano_cores` was measured. The kubelet does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_nano_seconds: Option<u64>,
}

/// Use of memory, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryUsage {
    /// When it was read.
    pub time: Time,
    /// What could still be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// What cannot be taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_set_bytes: Option<u64>,
}

impl Summary {
    /// Before anything is known.
    pub(super) fn nothing(node: &str, since: Timestamp) -> Self {
        let node = NodeUsage { node_name: node.to_owned(), start_time: Time(since), cpu: None, memory: None };
        Self { node, pods: Vec::new() }
    }

    pub(super) fn new(node: &str, since: Timestamp, latest: &Reading, before: Option<&Reading>) -> Self {
        let mut containers: Vec<&ContainerStats> = latest.containers.values().collect();
        containers.sort_by_key(|stats| (&stats.pod.namespace, &stats.pod.name, &stats.name, &stats.id));
        let mut by_pod: BTreeMap<(&str, &str, &str), Vec<ContainerUsage>> = BTreeMap::new();
        for stats in containers {
            let PodMeta { namespace, name, uid } = &stats.pod;
            by_pod.entry((namespace, name, uid)).or_default().push(container(stats, latest, before));
        }
        let pods: Vec<PodUsage> = by_pod
            .into_iter()
            .map(|((namespace, name, uid), containers)| PodUsage {
                pod_ref: PodReference { name: name.into(), namespace: namespace.into(), uid: uid.into() },
                start_time: Time(containers.iter().map(|c| c.start_time.0).min().unwrap_or(latest.taken)),
                cpu: together(containers.iter().map(|c| c.cpu.as_ref())),
                memory: memory_together(containers.iter().map(|c| c.memory.as_ref())),
                containers,
            })
            .collect();
        let mut whole = Self::nothing(node, since).node;
        (whole.cpu, whole.memory) = match latest.machine {
            Some(machine) => (
                Some(cpu(machine.cpu.as_nanos(), Rate::of_machine(latest, before), latest)),
                Some(MemoryUsage {
                    time: Time(latest.taken),
                    available_bytes: Some(machine.available),
                    working_set_bytes: Some(machine.memory),
                }),
            ),
            None => {
                let none = cpu(0, Some(Rate { nano_cores: 0, window: super::USUAL_INTERVAL }), latest);
                let empty = memory(0, latest);
                (
                    together(std::iter::once(Some(&none)).chain(pods.iter().map(|pod| pod.cpu.as_ref()))),
                    memory_together(
                        std::iter::once(Some(&empty)).chain(pods.iter().map(|pod| pod.memory.as_ref())),
                    ),
                )
            }
        };
        Self { node: whole, pods }
    }
}

fn container(stats: &ContainerStats, latest: &Reading, before: Option<&Reading>) -> ContainerUsage {
    ContainerUsage {
        name: stats.name.clone(),
        start_time: Time(stats.started_at),
        cpu: Some(cpu(stats.cpu.as_nanos(), Rate::of(stats, latest, before), latest)),
        memory: Some(memory(stats.memory, latest)),
    }
}

fn cpu(nanos: u128, rate: Option<Rate>, reading: &Reading) -> CpuUsage {
    let small = |nanos: u128| u64::try_from(nanos).unwrap_or(u64::MAX);
    CpuUsage {
        time: Time(reading.taken),
        usage_nano_cores: rate.map(|rate| rate.nano_cores),
        usage_core_nano_seconds: Some(small(nanos)),
        window_nano_seconds: rate.map(|rate| small(rate.window.as_nanos())),
    }
}

fn memory(bytes: u64, reading: &Reading) -> MemoryUsage {
    MemoryUsage { time: Time(reading.taken), available_bytes: None, working_set_bytes: Some(bytes) }
}

/// The sum, as long as every part is known. The window is the longest.
fn together<'a>(parts: impl Iterator<Item = Option<&'a CpuUsage>>) -> Option<CpuUsage> {
    let add = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
    let parts = parts.collect::<Option<Vec<_>>>()?;
    parts.into_iter().cloned().reduce(|sum, more| CpuUsage {
        time: sum.time,
        usage_nano_cores: add(sum.usage_nano_cores, more.usage_nano_cores),
        usage_core_nano_seconds: add(sum.usage_core_nano_seconds, more.usage_core_nano_seconds),
        window_nano_seconds: sum.window_nano_seconds.max(more.window_nano_seconds),
    })
}

fn memory_together<'a>(parts: impl Iterator<Item = Option<&'a MemoryUsage>>) -> Option<MemoryUsage> {
    let add = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
    let parts = parts.collect::<Option<Vec<_>>>()?;
    parts.into_iter().cloned().reduce(|sum, more| MemoryUsage {
        time: sum.time,
        available_bytes: None,
        working_set_bytes: add(sum.working_set_bytes, more.working_set_bytes),
    })
}
