//! What the server says it serves: legacy and aggregated discovery, and its version.

use serde_json::Value;

use super::definition::{self, Definition};
use crate::world::{self, World};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// What a client of Go sends that takes either form.
const EITHER: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// A resource of each group that a cluster must serve.
const SERVED: [(&str, &str, &str); 18] = [
    ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "v1", "apiservices"),
    ("apps", "v1", "deployments"),
    ("authentication.k8s.io", "v1", "tokenreviews"),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews"),
    ("autoscaling", "v1", "horizontalpodautoscalers"),
    ("autoscaling", "v2", "horizontalpodautoscalers"),
    ("batch", "v1", "jobs"),
    ("certificates.k8s.io", "v1", "certificatesigningrequests"),
    ("coordination.k8s.io", "v1", "leases"),
    ("discovery.k8s.io", "v1", "endpointslices"),
    ("events.k8s.io", "v1", "events"),
    ("networking.k8s.io", "v1", "ingresses"),
    ("node.k8s.io", "v1", "runtimeclasses"),
    ("policy", "v1", "poddisruptionbudgets"),
    ("scheduling.k8s.io", "v1", "priorityclasses"),
    ("storage.k8s.io", "v1", "csinodes"),
];
const CORE: (&str, &str, &str) = ("", "v1", "namespaces");

/// The items at `path`; the content type must say that they are the aggregated form, else clients take them for the legacy one.
async fn aggregated(world: &World, path: &str, accept: &str) -> Vec<Value> {
    let request = http::Request::get(path).header("accept", accept);
    let response = world.client().send(request.body(kube::client::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    let media = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(media.contains("g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"), "{media}");
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let list: Value = serde_json::from_slice(&body).unwrap();
    list["items"].as_array().unwrap().clone()
}

fn present(items: &[Value], (group, version, resource): (&str, &str, &str)) -> bool {
    let of_group = items.iter().filter(|item| item["metadata"]["name"].as_str().unwrap_or_default() == group);
    of_group
        .flat_map(|item| item["versions"].as_array().unwrap())
        .filter(|found| found["version"] == version)
        .flat_map(|found| found["resources"].as_array().unwrap())
        .any(|found| found["resource"] == resource)
}

#[tokio::test]
async fn aggregateddiscovery_should_support_raw_aggregated_discovery_endpoint_accept_headers() {
    let world = world::world().await;
    let groups = aggregated(&world, "/apis", AGGREGATED).await;
    for served in SERVED {
        assert!(present(&groups, served), "{served:?}");
    }
    assert!(present(&aggregated(&world, "/api", AGGREGATED).await, CORE));
    world.end().await;
}

#[tokio::test]
async fn aggregateddiscovery_should_support_raw_aggregated_discovery_request_for_crds() {
    let world = world::world().await;
    let definition = Definition::named("testcrd", "group-raw.example.com").namespaced();
    definition.create_and_prime(&world).await;
    let groups = aggregated(&world, "/apis", AGGREGATED).await;
    assert!(present(&groups, ("group-raw.example.com", "v1", "testcrds")));
    definition.delete(&world).await;
    world.end().await;
}

#[tokio::test]
async fn aggregateddiscovery_should_support_aggregated_discovery_interface() {
    let world = world::world().await;
    let mut groups = aggregated(&world, "/apis", EITHER).await;
    groups.extend(aggregated(&world, "/api", EITHER).await);
    for served in SERVED.into_iter().chain([CORE]) {
        assert!(present(&groups, served), "{served:?}");
    }
    // Clients make the legacy documents out of it, and need of each resource what those have.
    for resource in groups
        .iter()
        .flat_map(|group| group["versions"].as_array().unwrap())
        .flat_map(|version| version["resources"].as_array().unwrap())
    {
        for field in ["resource", "scope", "singularResource"] {
            assert!(resource[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {resource}");
        }
        assert!(resource["responseKind"]["kind"].is_string(), "{resource}");
    }
    world.end().await;
}

#[tokio::test]
async fn aggregateddiscovery_should_support_aggregated_discovery_interface_for_crds() {
    let world = world::world().await;
    let definition = Definition::named("testcrd", "group-interface.example.com").namespaced();
    definition.create_and_prime(&world).await;
    let groups = aggregated(&world, "/apis", EITHER).await;
    assert!(present(&groups, ("group-interface.example.com", "v1", "testcrds")));
    definition.delete(&world).await;
    world.end().await;
}

#[tokio::test]
async fn discovery_should_validate_preferredversion_for_each_apigroup() {
    let world = world::world().await;
    let list = world.get("/apis/").await;
    let groups = list["groups"].as_array().unwrap();
    assert!(!groups.is_empty());
    for group in groups {
        let group = world.get(&format!("/apis/{}/", group["name"].as_str().unwrap())).await;
        let versions = group["versions"].as_array().unwrap();
        let preferred = &group["preferredVersion"]["groupVersion"];
        assert!(preferred.is_string(), "{group}");
        assert!(versions.iter().any(|version| version["groupVersion"] == *preferred), "{group}");
    }
    world.end().await;
}

#[tokio::test]
async fn discovery_should_locate_the_groupversion_and_a_resource_within_each_apigroup() {
    let world = world::world().await;
    for (group, version, resource) in SERVED.into_iter().chain([CORE]) {
        let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let root = if group.is_empty() { "/api" } else { "/apis" };
        let list = world.get(&format!("{root}/{group_version}")).await;
        assert_eq!(list["groupVersion"], *group_version);
        assert!(definition::lists(&list, resource), "{resource}: {list}");
    }
    world.end().await;
}

#[tokio::test]
async fn server_version_should_find_the_server_version() {
    let world = world::world().await;
    let version = world.get("/version").await;
    for field in ["major", "minor"] {
        let number = version[field].as_str().unwrap();
        assert!(!number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()), "{version}");
    }
    world.end().await;
}
