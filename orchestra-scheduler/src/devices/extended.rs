//! Extended resources said as requests of a claim: who gets devices of its own, and who takes those of others.
//!
//! A container that ends before others start leaves its devices to them: so an ordinary init container first takes what the
//! containers behind it that stay are going to have, and of what is still lacking only the most is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::ContainerExtendedResourceRequest as Mapping;
use k8s_openapi::api::resource::v1::{DeviceRequest, ExactDeviceRequest};

use crate::view::{ContainerDevices, TranslatedClaim, WantedDevices};

/// A request of so many devices.
#[derive(Clone, Debug)]
struct Own {
    name: String,
    count: i64,
}

/// The claim that stands for these resources of a pod; `classes` names the class of each.
pub(crate) fn translate(
    containers: &[ContainerDevices],
    classes: &BTreeMap<Arc<str>, Arc<str>>,
) -> TranslatedClaim {
    let (mut requests, mut mappings) = (Vec::new(), Vec::new());
    for (resource, class) in classes {
        let (own, said) = of_resource(containers, resource);
        requests.extend(own.into_iter().map(|own| request(own, class)));
        mappings.extend(said);
    }
    requests.sort_by(|left, right| left.name.cmp(&right.name));
    TranslatedClaim { requests, mappings }
}

fn request(own: Own, class: &str) -> DeviceRequest {
    DeviceRequest {
        name: own.name,
        exactly: Some(ExactDeviceRequest {
            device_class_name: class.to_owned(),
            allocation_mode: Some("ExactCount".to_owned()),
            count: Some(own.count),
            ..ExactDeviceRequest::default()
        }),
        ..DeviceRequest::default()
    }
}

/// The requests for one resource, and who uses which of them.
fn of_resource(containers: &[ContainerDevices], resource: &Arc<str>) -> (Vec<Own>, Vec<Mapping>) {
    let wanting: Vec<(&ContainerDevices, &WantedDevices)> = containers
        .iter()
        .filter_map(|one| Some((one, one.wanted.iter().find(|wanted| wanted.resource == *resource)?)))
        .collect();
    let named = |container: &ContainerDevices, wanted: &WantedDevices| {
        format!("container-{}-request-{}", container.place, wanted.place)
    };
    let says = |container: &ContainerDevices, request: &str| Mapping {
        container_name: container.name.to_string(),
        resource_name: resource.to_string(),
        request_name: request.to_owned(),
    };
    let staying: Vec<(usize, Own)> = wanting
        .iter()
        .filter(|(container, _)| !container.passes)
        .map(|(container, wanted)| {
            (container.place, Own { name: named(container, wanted), count: wanted.count })
        })
        .collect();
    let stay = wanting.iter().filter(|(container, _)| !container.passes);
    let mut mappings: Vec<Mapping> =
        stay.map(|(container, wanted)| says(container, &named(container, wanted))).collect();
    let (mut most, mut extra): (Option<Own>, BTreeSet<String>) = (None, BTreeSet::new());
    let mut passing = Vec::new();
    for (container, wanted) in wanting.iter().filter(|(container, _)| container.passes) {
        let mut lacking = wanted.count;
        for (_, other) in staying.iter().filter(|(place, _)| *place > container.place) {
            if lacking <= 0 {
                break;
            }
            passing.push(says(container, &other.name));
            lacking = lacking.saturating_sub(other.count);
        }
        if lacking <= 0 {
            continue;
        }
        let own = Own { name: named(container, wanted), count: lacking };
        passing.push(says(container, &own.name));
        extra.insert(own.name.clone());
        if most.as_ref().is_none_or(|most| most.count < own.count) {
            most = Some(own);
        }
    }
    if let Some(most) = &most {
        // The others take part of it.
        let others = passing.iter_mut().filter(|mapping| extra.contains(&mapping.request_name));
        others.for_each(|mapping| mapping.request_name.clone_from(&most.name));
    }
    mappings.extend(passing);
    let own = most.into_iter().chain(staying.into_iter().map(|(_, own)| own));
    (own.collect(), mappings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod;
    use serde_json::{Value, json};

    fn asking(name: &str, count: &str) -> Value {
        json!({"name": name, "resources": {"requests": {"cpu": "1", "x.io/gpu": count}}})
    }

    fn sidecar(name: &str, count: &str) -> Value {
        let mut container = asking(name, count);
        container["restartPolicy"] = json!("Always");
        container
    }

    /// Requests as `NAME=COUNT of CLASS`, and mappings as `CONTAINER: RESOURCE from NAME`.
    fn told(init: Vec<Value>, app: Vec<Value>) -> (Vec<String>, Vec<String>) {
        let pod = pod(json!({"spec": {"initContainers": init, "containers": app}}));
        let classes = BTreeMap::from([("x.io/gpu".into(), "gpu".into()), ("x.io/net".into(), "net".into())]);
        let claim = translate(&pod.rules.devices, &classes);
        let requests = claim.requests.into_iter().map(|request| {
            let exactly = request.exactly.unwrap();
            assert_eq!(exactly.allocation_mode.as_deref(), Some("ExactCount"));
            format!("{}={} of {}", request.name, exactly.count.unwrap(), exactly.device_class_name)
        });
        let mappings = claim.mappings.into_iter();
        let mappings = mappings
            .map(|one| format!("{}: {} from {}", one.container_name, one.resource_name, one.request_name));
        (requests.collect(), mappings.collect())
    }

    #[test]
    fn each_container_that_stays_has_a_request_of_its_own_named_by_its_place() {
        let both =
            json!({"name": "b", "resources": {"requests": {"cpu": "1", "x.io/gpu": "1", "x.io/net": "2"}}});
        let (requests, mappings) = told(vec![sidecar("side", "1")], vec![asking("a", "2"), both]);
        let expected = [
            "container-0-request-1=1 of gpu",
            "container-1-request-1=2 of gpu",
            "container-2-request-1=1 of gpu",
            "container-2-request-2=2 of net",
        ];
        assert_eq!(requests, expected);
        let expected = [
            "side: x.io/gpu from container-0-request-1",
            "a: x.io/gpu from container-1-request-1",
            "b: x.io/gpu from container-2-request-1",
            "b: x.io/net from container-2-request-2",
        ];
        assert_eq!(mappings, expected);
    }

    #[test]
    fn an_init_container_takes_the_devices_of_those_behind_it_that_stay() {
        // The sidecar in front of it keeps its own; the one behind it and the app have theirs later.
        let init = vec![sidecar("before", "4"), asking("init", "3"), sidecar("behind", "1")];
        let (requests, mappings) = told(init, vec![asking("app", "2"), asking("more", "1")]);
        assert_eq!(requests.len(), 4, "{requests:?}");
        assert!(!requests.iter().any(|request| request.starts_with("container-1-")), "{requests:?}");
        let of_init: Vec<_> = mappings.iter().filter(|one| one.starts_with("init:")).collect();
        assert_eq!(
            of_init,
            ["init: x.io/gpu from container-2-request-1", "init: x.io/gpu from container-3-request-1"]
        );
        assert!(
            mappings[0].starts_with("before:") && mappings[4].starts_with("init:"),
            "those that stay come first"
        );
    }

    #[test]
    fn of_what_init_containers_lack_the_most_is_asked_for_and_all_take_part_of_it() {
        let init = vec![asking("small", "2"), asking("large", "5"), asking("same", "5")];
        let (requests, mappings) = told(init, vec![asking("app", "1")]);
        assert_eq!(requests, ["container-1-request-1=4 of gpu", "container-3-request-1=1 of gpu"]);
        let expected = [
            "app: x.io/gpu from container-3-request-1",
            "small: x.io/gpu from container-3-request-1",
            "small: x.io/gpu from container-1-request-1",
            "large: x.io/gpu from container-3-request-1",
            "large: x.io/gpu from container-1-request-1",
            "same: x.io/gpu from container-3-request-1",
            "same: x.io/gpu from container-1-request-1",
        ];
        assert_eq!(mappings, expected);
    }

    #[test]
    fn requests_are_in_the_order_of_their_names_as_texts() {
        let app = (0..11).map(|at| asking(&format!("c{at}"), "1")).collect();
        let (requests, _) = told(Vec::new(), app);
        let names: Vec<_> = requests.iter().filter_map(|request| request.split('=').next()).collect();
        assert_eq!(
            names[..4],
            [
                "container-0-request-1",
                "container-1-request-1",
                "container-10-request-1",
                "container-2-request-1"
            ]
        );
    }
}
