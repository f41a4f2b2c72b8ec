//! Extended resources that a device class may stand for: by which names containers ask for them, and which class it is.
//!
//! Upstream: <https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#extended-resource>

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;

use super::amount::amount;
use super::{ClusterView, DeviceClassView, PodView, ViewError};
use crate::unit::ResourceName;

/// In front of the name of a class: what it is asked for by where it says nothing else.
const IMPLICIT: &str = "deviceclass.resource.kubernetes.io/";

/// Whether a device class can stand for a resource of this name (upstream's `IsDRAExtendedResourceName`).
#[must_use]
pub fn may_be_devices(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    name.starts_with(IMPLICIT) || !(native || name.starts_with("requests."))
}

/// Whether this is the name that a class goes by where it says nothing else.
pub(crate) fn is_named_for(resource: &str, class: &DeviceClassView) -> bool {
    resource.strip_prefix(IMPLICIT) == Some(&*class.name)
}

/// What one container asks for of resources that device classes may stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerDevices {
    /// Its place among the init containers with the app containers behind them.
    pub place: usize,
    /// Its name.
    pub name: Box<str>,
    /// Whether it ends before the app containers start, so that they can have what it had.
    pub passes: bool,
    /// What it asks for, by name; never nothing of it.
    pub wanted: Vec<WantedDevices>,
}

/// So much of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WantedDevices {
    /// Of which.
    pub resource: Arc<str>,
    /// Its place among all requests of the container, by name.
    pub place: usize,
    /// How many devices.
    pub count: i64,
}

impl ContainerDevices {
    /// The containers of a pod that ask for such resources.
    ///
    /// # Errors
    /// When a quantity does not parse.
    pub(super) fn from_api(spec: &api::PodSpec) -> Result<Vec<Self>, ViewError> {
        let passing = |container: &api::Container| container.restart_policy.as_deref() != Some("Always");
        let init = spec.init_containers.iter().flatten().map(|container| (container, passing(container)));
        let all = init.chain(spec.containers.iter().map(|container| (container, false)));
        let mut found = Vec::new();
        for (place, (container, passes)) in all.enumerate() {
            let wanted = wanted(container)?;
            if !wanted.is_empty() {
                found.push(Self { place, name: container.name.as_str().into(), passes, wanted });
            }
        }
        Ok(found)
    }
}

fn wanted(container: &api::Container) -> Result<Vec<WantedDevices>, ViewError> {
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let mut wanted = Vec::new();
    for (place, (name, quantity)) in requests.into_iter().flatten().enumerate() {
        if !may_be_devices(name) {
            continue;
        }
        let resource: Arc<str> = name.as_str().into();
        let field = format!("resources.requests[{name}]");
        let count = amount(&ResourceName::Scalar(resource.clone()), quantity, &field)?;
        if count != 0 {
            wanted.push(WantedDevices { resource, place, count });
        }
    }
    Ok(wanted)
}

/// The classes by the names of resources that they stand for.
pub(super) type Standing = BTreeMap<Arc<str>, Arc<DeviceClassView>>;

/// Who stands for what. Of classes that name the same resource it is the newest, so that one class can be put in the place
/// of another; of those made at the same time the first by name.
pub(super) fn standing<'a>(classes: impl Iterator<Item = &'a Arc<DeviceClassView>>) -> Standing {
    let mut standing = Standing::new();
    let rank = |class: &DeviceClassView| (class.created, Reverse(class.name.clone()));
    for class in classes {
        standing.insert(format!("{IMPLICIT}{}", class.name).into(), class.clone());
        let Some(name) = class.spec.extended_resource_name.as_deref() else { continue };
        match standing.get(name) {
            Some(other) if rank(other) > rank(class) => {}
            _ => drop(standing.insert(name.into(), class.clone())),
        }
    }
    standing
}

impl PodView {
    /// The resources that the pod asks for and a class stands for, which nodes may have as devices instead.
    pub fn class_resources<'a>(
        &'a self,
        cluster: &'a ClusterView,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<DeviceClassView>)> {
        // Most pods ask for nothing of the kind, and those that have a node do not any more.
        let may = !self.rules.devices.is_empty();
        let asked = self
            .demand
            .requests
            .scalars
            .iter()
            .filter(move |(name, amount)| may && **amount != 0 && may_be_devices(name));
        asked.filter_map(move |(name, _)| Some((name, cluster.class_for(name)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cluster, device_class, pod};
    use serde_json::json;

    #[test]
    fn classes_stand_for_extended_resources_and_for_their_own_names() {
        let names = ["x.io/gpu", "deviceclass.resource.kubernetes.io/gpu"];
        assert!(names.into_iter().all(may_be_devices));
        for name in
            ["cpu", "hugepages-2Mi", "kubernetes.io/batch", "requests.x.io/gpu", "attachable-volumes-x"]
        {
            assert!(!may_be_devices(name), "{name}");
        }
        let mut cluster = cluster([]);
        cluster.keep(device_class(
            json!({"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "x.io/gpu"}}),
        ));
        for name in names {
            assert_eq!(cluster.class_for(name).map(|class| &*class.name), Some("gpu"), "{name}");
        }
        assert_eq!(cluster.class_for("gpu"), None);
        cluster.forget::<DeviceClassView>(&"gpu".into());
        assert!(names.into_iter().all(|name| cluster.class_for(name).is_none()));
    }

    #[test]
    fn of_classes_for_one_resource_the_newest_stands_for_it_then_the_first_by_name() {
        let made = |name: &str, second: u8| {
            device_class(
                json!({"metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:0{second}Z")},
                "spec": {"extendedResourceName": "x.io/gpu"}}),
            )
        };
        let mut cluster = cluster([]);
        let standing =
            |cluster: &ClusterView| cluster.class_for("x.io/gpu").map(|class| class.name.to_string());
        for (name, second, expected) in
            [("b", 1, "b"), ("c", 1, "b"), ("a", 0, "b"), ("d", 2, "d"), ("0", 2, "0")]
        {
            cluster.keep(made(name, second));
            assert_eq!(standing(&cluster).as_deref(), Some(expected), "after {name}");
        }
        cluster.forget::<DeviceClassView>(&"0".into());
        cluster.forget::<DeviceClassView>(&"d".into());
        assert_eq!(standing(&cluster).as_deref(), Some("b"), "what is left is asked again");
    }

    #[test]
    fn requests_of_containers_have_their_places_among_all_requests() {
        let asking = |name: &str, requests: serde_json::Value| json!({"name": name, "resources": {"requests": requests}});
        let mut side = asking("side", json!({"x.io/a": "1"}));
        side["restartPolicy"] = json!("Always");
        let pod = pod(json!({"spec": {
            "initContainers": [asking("first", json!({"x.io/a": "2"})), side],
            "containers": [asking("plain", json!({"cpu": "1", "x.io/a": "0"})),
                asking("app", json!({"cpu": "1", "memory": "1", "x.io/a": "3", "b.io/z": "1"}))],
        }}));
        let told: Vec<_> = pod
            .rules
            .devices
            .iter()
            .map(|one| (one.place, &*one.name, one.passes, one.wanted.len()))
            .collect();
        assert_eq!(told, [(0, "first", true, 1), (1, "side", false, 1), (3, "app", false, 2)]);
        let places: Vec<_> =
            pod.rules.devices[2].wanted.iter().map(|one| (&*one.resource, one.place, one.count)).collect();
        assert_eq!(places, [("b.io/z", 0, 1), ("x.io/a", 3, 3)]);
    }
}
