//! How much a pod asks for: containers, init containers, sidecars, pod-level requests, overhead, resizes, ports.
//!
//! Follows `k8s.io/component-helpers/resource`: an init container runs beside the sidecars started before it,
//! sidecars run beside the app containers, and the pod needs the larger of the two at every moment.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::amount::amount;
use super::{HostPort, Protocol, ViewError};
use crate::unit::{Bytes, Millicores, NonZero, ResourceName, Resources};

/// What a container without a CPU request counts for in scoring.
const DEFAULT_CPU: i64 = 100;
/// What a container without a memory request counts for in scoring.
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

type Amounts = BTreeMap<ResourceName, i64>;

/// What a pod takes of its node: amounts, in the three ways the scheduler counts them, and ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Demand {
    /// What was really asked for.
    pub requests: Resources,
    /// What a node with this pod is taken to have in use by scorers.
    pub occupied: NonZero,
    /// What the pod itself is taken to need while nodes are scored for it.
    pub scored: NonZero,
    /// Ports of the node that it wants.
    pub host_ports: Box<[HostPort]>,
}

/// Requests that containers are taken to have made when they made none.
#[derive(Clone, Copy, Default)]
struct Defaults {
    cpu: bool,
    memory: bool,
}

struct Asked {
    amounts: Amounts,
    sidecar: bool,
}

/// Everything a pod specification (and, once assigned, its status) says about requests.
struct Statement {
    app: Vec<Amounts>,
    init: Vec<Asked>,
    pod_level: Amounts,
    overhead: Amounts,
    pod_level_set: bool,
}

impl Demand {
    /// Reads what `spec` asks for; `status` is given for pods that already have a node.
    pub(super) fn from_api(spec: &api::PodSpec, status: Option<&api::PodStatus>) -> Result<Self, ViewError> {
        let statement = Statement::read(spec, status)?;
        let requests = statement.total(Defaults::default());
        let always = Defaults { cpu: true, memory: true };
        let occupied = if statement.pod_level_set {
            let asked = |name| requests.contains_key(&name);
            Defaults { cpu: !asked(ResourceName::Cpu), memory: !asked(ResourceName::Memory) }
        } else {
            always
        };
        Ok(Self {
            occupied: non_zero(&statement.total(occupied)),
            scored: non_zero(&statement.total(always)),
            requests: resources(requests),
            host_ports: host_ports(spec),
        })
    }
}

/// Reads a list of resources of the API, leaving out names that scheduling does not count.
pub(super) fn resource_list(
    list: Option<&BTreeMap<String, Quantity>>,
    field: &str,
) -> Result<Amounts, ViewError> {
    let mut amounts = Amounts::new();
    for (key, quantity) in list.into_iter().flatten() {
        if let Some(name) = ResourceName::from_api(key) {
            let value = amount(&name, quantity, &format!("{field}[{key}]"))?;
            amounts.insert(name, value);
        }
    }
    Ok(amounts)
}

/// Amounts by name as one value.
pub(super) fn resources(amounts: Amounts) -> Resources {
    let mut resources = Resources::default();
    for (name, value) in amounts {
        resources.set(name, value);
    }
    resources
}

fn non_zero(amounts: &Amounts) -> NonZero {
    let of = |name| amounts.get(&name).copied().unwrap_or(0);
    NonZero { cpu: Millicores(of(ResourceName::Cpu)), memory: Bytes(of(ResourceName::Memory)) }
}

impl Statement {
    fn read(spec: &api::PodSpec, status: Option<&api::PodStatus>) -> Result<Self, ViewError> {
        let infeasible = status.is_some_and(resize_is_infeasible);
        let mut app = Vec::with_capacity(spec.containers.len());
        for (index, container) in spec.containers.iter().enumerate() {
            let field = format!("spec.containers[{index}].resources.requests");
            let current =
                status.and_then(|status| reported(status.container_statuses.as_ref(), &container.name));
            app.push(container_amounts(container, current, infeasible, &field)?);
        }
        let mut init = Vec::new();
        for (index, container) in spec.init_containers.iter().flatten().enumerate() {
            let field = format!("spec.initContainers[{index}].resources.requests");
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            let current = status
                .filter(|_| sidecar)
                .and_then(|status| reported(status.init_container_statuses.as_ref(), &container.name));
            init.push(Asked { amounts: container_amounts(container, current, infeasible, &field)?, sidecar });
        }
        let pod_requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let mut pod_level = resource_list(pod_requests, "spec.resources.requests")?;
        if let Some(status) = status.filter(|_| !pod_level.is_empty()) {
            let granted = status.resources.as_ref().and_then(|resources| resources.requests.as_ref());
            let allocated = status.allocated_resources.as_ref();
            if infeasible && (granted.is_some() || allocated.is_some()) {
                pod_level.clear();
            }
            raise(&mut pod_level, &resource_list(granted, "status.resources.requests")?);
            raise(&mut pod_level, &resource_list(allocated, "status.allocatedResources")?);
        }
        pod_level.retain(|name, _| match name {
            ResourceName::Cpu | ResourceName::Memory => true,
            ResourceName::EphemeralStorage => false,
            ResourceName::Scalar(name) => name.starts_with("hugepages-"),
        });
        Ok(Self {
            app,
            init,
            pod_level_set: !pod_level.is_empty(),
            pod_level,
            overhead: resource_list(spec.overhead.as_ref(), "spec.overhead")?,
        })
    }

    /// The whole pod's requests, with `defaults` put in where a container names none.
    fn total(&self, defaults: Defaults) -> Amounts {
        let fill = |amounts: &Amounts| {
            let mut filled = amounts.clone();
            if defaults.cpu {
                filled.entry(ResourceName::Cpu).or_insert(DEFAULT_CPU);
            }
            if defaults.memory {
                filled.entry(ResourceName::Memory).or_insert(DEFAULT_MEMORY);
            }
            filled
        };
        let mut base = Amounts::new();
        for amounts in &self.app {
            add(&mut base, &fill(amounts));
        }
        let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
        for asked in &self.init {
            let own = fill(&asked.amounts);
            let mut step = sidecars.clone();
            add(&mut step, &own);
            if asked.sidecar {
                add(&mut base, &own);
                sidecars.clone_from(&step);
            }
            raise(&mut peak, &step);
        }
        raise(&mut base, &peak);
        base.extend(self.pod_level.iter().map(|(name, value)| (name.clone(), *value)));
        add(&mut base, &self.overhead);
        base
    }
}

fn resize_is_infeasible(status: &api::PodStatus) -> bool {
    status.conditions.iter().flatten().any(|condition| {
        condition.type_ == "PodResizePending" && condition.reason.as_deref() == Some("Infeasible")
    })
}

fn reported<'a>(
    statuses: Option<&'a Vec<api::ContainerStatus>>,
    name: &str,
) -> Option<&'a api::ContainerStatus> {
    statuses?.iter().find(|status| status.name == name && status.resources.is_some())
}

/// One container's requests; while a resize is under way the most that was asked for or is granted counts.
fn container_amounts(
    container: &api::Container,
    current: Option<&api::ContainerStatus>,
    infeasible: bool,
    field: &str,
) -> Result<Amounts, ViewError> {
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let asked = resource_list(requests, field)?;
    let Some(current) = current else { return Ok(asked) };
    let mut amounts = if infeasible { Amounts::new() } else { asked };
    let granted = current.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    raise(&mut amounts, &resource_list(granted, "status.containerStatuses[].resources.requests")?);
    let allocated = current.allocated_resources.as_ref();
    raise(&mut amounts, &resource_list(allocated, "status.containerStatuses[].allocatedResources")?);
    Ok(amounts)
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, value) in more {
        let total = sum.entry(name.clone()).or_default();
        *total = total.saturating_add(*value);
    }
}

fn raise(most: &mut Amounts, other: &Amounts) {
    for (name, value) in other {
        let highest = most.entry(name.clone()).or_insert(*value);
        *highest = (*highest).max(*value);
    }
}

/// Host ports of app containers and sidecars; ordinary init containers are gone when those run.
fn host_ports(spec: &api::PodSpec) -> Box<[HostPort]> {
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = u16::try_from(port.host_port?).ok().filter(|number| *number > 0)?;
            let address = port.host_ip.as_deref().and_then(|text| text.parse::<IpAddr>().ok());
            Some(HostPort {
                protocol: match port.protocol.as_deref() {
                    Some("UDP") => Protocol::Udp,
                    Some("SCTP") => Protocol::Sctp,
                    _ => Protocol::Tcp,
                },
                address: address.filter(|address| *address != IpAddr::from([0, 0, 0, 0])),
                port: number,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(spec: Value, status: Option<Value>) -> Demand {
        let spec: api::PodSpec = serde_json::from_value(spec).unwrap();
        let status: Option<api::PodStatus> = status.map(|status| serde_json::from_value(status).unwrap());
        Demand::from_api(&spec, status.as_ref()).unwrap()
    }

    fn asks(name: &str, cpu: &str) -> Value {
        json!({"name": name, "resources": {"requests": {"cpu": cpu}}})
    }

    fn sidecar(name: &str, cpu: &str) -> Value {
        json!({"name": name, "restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn base_is_the_sum_of_app_containers() {
        let demand = read(json!({"containers": [asks("a", "100m"), asks("b", "200m")]}), None);
        assert_eq!(demand.requests.cpu, Millicores(300));
    }

    #[test]
    fn an_ordinary_init_container_counts_with_the_sidecars_before_it() {
        let spec = json!({
            "containers": [asks("app", "100m")],
            "initContainers": [sidecar("s1", "50m"), asks("init", "500m"), sidecar("s2", "70m")],
        });
        // base 100 + 50 + 70 = 220; init step 500 + 50 = 550.
        assert_eq!(read(spec, None).requests.cpu, Millicores(550));
    }

    #[test]
    fn a_sidecar_step_counts_itself_and_the_sidecars_before_it() {
        let spec = json!({"containers": [asks("app", "0")], "initContainers": [sidecar("a", "50m"), sidecar("b", "60m")]});
        assert_eq!(read(spec, None).requests.cpu, Millicores(110));
    }

    #[test]
    fn pod_level_requests_replace_the_aggregate_and_overhead_comes_on_top() {
        let spec = json!({
            "containers": [asks("app", "900m")],
            "resources": {"requests": {"cpu": "500m"}},
            "overhead": {"cpu": "10m"},
        });
        assert_eq!(read(spec, None).requests.cpu, Millicores(510));
    }

    #[test]
    fn an_absent_key_counts_as_100m_and_200_mib_but_an_explicit_zero_stays_zero() {
        let demand = read(json!({"containers": [{"name": "a"}, asks("b", "0")]}), None);
        let expected = NonZero { cpu: Millicores(100), memory: Bytes(2 * 200 * 1024 * 1024) };
        assert_eq!((demand.occupied, demand.scored), (expected, expected));
        assert_eq!(demand.requests, Resources::default());
    }

    #[test]
    fn with_pod_level_requests_the_node_view_and_the_scored_view_can_differ() {
        let spec = json!({
            "containers": [asks("a", "100m"), {"name": "b"}],
            "resources": {"requests": {"memory": "1Gi"}},
        });
        let demand = read(spec, None);
        assert_eq!(demand.occupied, NonZero { cpu: Millicores(100), memory: Bytes(1 << 30) });
        assert_eq!(demand.scored, NonZero { cpu: Millicores(200), memory: Bytes(1 << 30) });
    }

    #[test]
    fn a_resize_under_way_counts_the_most_of_asked_granted_and_allocated() {
        let status = |conditions: Value| {
            json!({"conditions": conditions, "containerStatuses": [{
                "name": "a", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                "resources": {"requests": {"cpu": "300m"}}, "allocatedResources": {"cpu": "400m"},
            }]})
        };
        let spec = json!({"containers": [asks("a", "900m")]});
        assert_eq!(read(spec.clone(), Some(status(json!([])))).requests.cpu, Millicores(900));
        let infeasible = json!([{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]);
        assert_eq!(read(spec, Some(status(infeasible))).requests.cpu, Millicores(400));
    }

    #[test]
    fn pod_level_requests_are_resized_by_the_same_rule() {
        let status = |reason: &str| {
            json!({"conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}],
                "resources": {"requests": {"cpu": "300m"}}, "allocatedResources": {"cpu": "400m"}})
        };
        let spec = json!({"containers": [{"name": "a"}], "resources": {"requests": {"cpu": "900m"}}});
        assert_eq!(read(spec.clone(), Some(status("Deferred"))).requests.cpu, Millicores(900));
        assert_eq!(read(spec.clone(), Some(status("Infeasible"))).requests.cpu, Millicores(400));
        assert_eq!(read(spec, None).requests.cpu, Millicores(900));
        let plain = json!({"containers": [asks("a", "100m")]});
        assert_eq!(read(plain, Some(status("Deferred"))).requests.cpu, Millicores(100), "none were made");
    }

    #[test]
    fn a_resize_of_a_sidecar_counts_and_one_of_an_ordinary_init_container_does_not() {
        let granted = |name: &str| {
            json!({"name": name, "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                "resources": {"requests": {"cpu": "900m"}}})
        };
        let spec = json!({"containers": [asks("app", "100m")], "initContainers": [sidecar("s", "50m"), asks("i", "10m")]});
        let status = json!({"initContainerStatuses": [granted("s")]});
        assert_eq!(read(spec.clone(), Some(status)).requests.cpu, Millicores(1000));
        let status = json!({"initContainerStatuses": [granted("i")]});
        assert_eq!(read(spec, Some(status)).requests.cpu, Millicores(150));
    }

    #[test]
    fn scalars_keep_their_name_and_unknown_plain_names_do_not_count() {
        let spec = json!({"containers": [{"name": "a", "resources": {"requests": {
            "nvidia.com/gpu": "2", "hugepages-2Mi": "4Mi", "pods": "3", "requests.cpu": "1"}}}]});
        let scalars = read(spec, None).requests.scalars;
        let names: Vec<_> = scalars.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["hugepages-2Mi", "nvidia.com/gpu"]);
    }

    #[test]
    fn the_most_of_the_init_containers_is_taken_resource_by_resource() {
        let asking = |name: &str, cpu: &str, memory: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu, "memory": memory}}});
        for (memory, expected) in [("10", 500), ("600", 600)] {
            let spec = json!({"containers": [asking("app", "100m", memory)],
                "initContainers": [asking("a", "900m", "1"), asking("b", "1m", "500")]});
            let requests = read(spec, None).requests;
            assert_eq!((requests.cpu, requests.memory), (Millicores(900), Bytes(expected)));
        }
    }

    #[test]
    fn init_containers_that_say_nothing_count_100m_and_200_mib_too() {
        let demand = read(json!({"containers": [asks("app", "0")], "initContainers": [{"name": "i"}]}), None);
        assert_eq!(demand.scored, NonZero { cpu: Millicores(100), memory: Bytes(200 * 1024 * 1024) });
        assert_eq!(demand.occupied, demand.scored);
    }

    #[test]
    fn of_the_requests_of_the_pod_only_cpu_memory_and_huge_pages_count() {
        let spec = json!({
            "containers": [{"name": "a", "resources": {"requests": {
                "hugepages-2Mi": "4Mi", "ephemeral-storage": "1", "x.io/a": "3"}}}],
            "resources": {"requests": {"hugepages-2Mi": "8Mi", "ephemeral-storage": "9", "x.io/a": "9"}},
        });
        let requests = read(spec, None).requests;
        assert_eq!(requests.ephemeral_storage, Bytes(1));
        let scalars: Vec<_> =
            requests.scalars.iter().map(|(name, amount)| (name.to_string(), *amount)).collect();
        assert_eq!(scalars, [("hugepages-2Mi".to_owned(), 8 << 20), ("x.io/a".to_owned(), 3)]);
    }

    #[test]
    fn what_a_status_grants_counts_only_once_the_pod_has_a_node() {
        let requested = |node: &str| {
            let object = json!({"metadata": {"name": "p"}, "spec": {"nodeName": node, "containers": [asks("a", "1")]},
                "status": {"containerStatuses": [{"name": "a", "image": "i", "imageID": "", "ready": true,
                    "restartCount": 0, "resources": {"requests": {"cpu": "3"}}}]}});
            crate::testing::pod(object).demand.requests.cpu
        };
        assert_eq!((requested(""), requested("n")), (Millicores(1000), Millicores(3000)));
    }
}
