//! Services and their addresses.

mod matching;

use serde_json::{Value, json};

use crate::kind::{Kind, items, name, names, version};
use crate::world::{World, world};

const SELECTOR: &str = "labelSelector=special-label%3Dconformance";

fn services(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "Service", "services")
}

fn endpoints(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "v1", "Endpoints", "endpoints")
}

fn slices(world: &World) -> Kind<'_> {
    Kind::namespaced(world, "discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
}

#[tokio::test]
async fn api_server_should_provide_secure_master_service() {
    let world = world().await;
    let found = services(&world).inside("default").eventually("kubernetes", |_| true).await;
    assert_eq!(found["spec"]["ports"][0]["name"], "https");
    world.end().await;
}

#[tokio::test]
async fn api_server_should_have_endpoints_and_endpointslices_pointing_to_api_server() {
    let listen = "127.0.0.1:0".parse().unwrap();
    let world = crate::world::with(orchestra::Cluster::builder().without_nodes().listen(listen)).await;
    services(&world).inside("default").eventually("kubernetes", |_| true).await;
    let found = endpoints(&world).inside("default").eventually("kubernetes", |_| true).await;
    let subsets = found["subsets"].as_array().expect("subsets");
    let listed =
        slices(&world).inside("default").list("labelSelector=kubernetes.io/service-name%3Dkubernetes").await;
    let addresses = |list: &[Value], field: &str| -> Vec<(Value, Value, Value)> {
        list.iter()
            .flat_map(|each| each[field].as_array().into_iter().flatten().map(move |address| (each, address)))
            .map(|(each, address)| {
                let address = if field == "endpoints" { &address["addresses"][0] } else { &address["ip"] };
                (address.clone(), each["ports"][0]["port"].clone(), each["ports"][0]["name"].clone())
            })
            .collect()
    };
    let wanted = addresses(subsets, "addresses");
    assert!(!wanted.is_empty(), "{found}");
    assert_eq!(addresses(items(&listed), "endpoints"), wanted);
    world.end().await;
}

#[tokio::test]
async fn services_should_find_a_service_from_listing_all_namespaces() {
    let world = world().await;
    services(&world).inside("default").eventually("kubernetes", |_| true).await;
    let list = services(&world).list_everywhere("").await;
    assert!(
        items(&list).iter().any(|one| name(one) == "kubernetes" && one["metadata"]["namespace"] == "default")
    );
    world.end().await;
}

#[tokio::test]
async fn endpoints_should_test_the_lifecycle_of_an_endpoint() {
    let world = world().await;
    let kind = endpoints(&world);
    let selector = "labelSelector=test-endpoint-static%3Dtrue";
    let before = kind.list_everywhere(selector).await;
    let path = format!("{}?watch=true&resourceVersion={}&{selector}", kind.collection(), version(&before));
    let mut watch = world.watch(&path).await;
    let created = kind
        .create(json!({
            "metadata": { "name": "testservice", "labels": { "test-endpoint-static": "true" } },
            "subsets": [{
                "addresses": [{ "ip": "10.0.0.24" }],
                "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }],
            }],
        }))
        .await;
    watch.expect("ADDED", &created).await;

    let list = kind.list_everywhere(selector).await;
    let mut found = items(&list)[0].clone();
    assert_eq!(name(&found), "testservice");
    found["metadata"]["labels"]["test-service"] = "updated".into();
    found["apiVersion"] = "v1".into();
    found["kind"] = "Endpoints".into();
    let updated = world.put(&kind.path("testservice"), found).await;
    watch.expect("MODIFIED", &updated).await;
    assert_eq!(kind.get("testservice").await["metadata"]["labels"]["test-service"], "updated");

    // The list has no key to merge by: it is replaced.
    let patched = kind
        .strategic(
            "testservice",
            json!({
                "metadata": { "labels": { "test-service": "patched" } },
                "subsets": [{
                    "addresses": [{ "ip": "10.0.0.25" }],
                    "ports": [{ "name": "http-test", "port": 8080 }],
                }],
            }),
        )
        .await;
    watch.expect("MODIFIED", &patched).await;
    let found = kind.get("testservice").await;
    assert_eq!(found["metadata"]["labels"]["test-service"], "patched");
    let ports = json!([{ "name": "http-test", "port": 8080, "protocol": "TCP" }]);
    assert_eq!(found["subsets"], json!([{ "addresses": [{ "ip": "10.0.0.25" }], "ports": ports }]));

    kind.delete_collection(selector).await;
    watch.expect_named("DELETED", "testservice").await;
    assert!(!kind.exists("testservice").await);
    world.end().await;
}

fn selects_nothing() -> Value {
    json!({
        "metadata": { "name": "example-empty-selector" },
        "spec": {
            "selector": { "does-not-match-anything": "endpoints-and-endpoint-slices-should-still-be-created" },
            "ports": [{ "name": "example", "port": 80, "protocol": "TCP" }],
        },
    })
}

#[tokio::test]
async fn endpointscontroller_should_create_and_delete_endpoints_for_a_service_with_a_selector_that_matches_no_pods()
 {
    let world = world().await;
    services(&world).create(selects_nothing()).await;
    let kind = endpoints(&world);
    kind.eventually("example-empty-selector", |_| true).await;
    services(&world).delete("example-empty-selector").await;
    kind.gone("example-empty-selector").await;
    world.end().await;
}

#[tokio::test]
async fn endpointslice_should_create_and_delete_endpointslices_for_a_service_with_a_selector_that_matches_no_pods()
 {
    let world = world().await;
    services(&world).create(selects_nothing()).await;
    let kind = slices(&world);
    let selector = "labelSelector=kubernetes.io/service-name%3Dexample-empty-selector";
    let mut watch = world.watch(&format!("{}?watch=true&{selector}", kind.collection())).await;
    let slice = watch.until(|event| event["type"] == "ADDED").await;
    let managed = &slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"];
    assert_eq!(managed, "endpointslice-controller.k8s.io");
    assert!(slice["endpoints"].as_array().is_none_or(Vec::is_empty), "{slice}");
    services(&world).delete("example-empty-selector").await;
    kind.emptied(selector).await;
    world.end().await;
}

#[tokio::test]
async fn endpointslice_should_support_creating_endpointslice_api_operations() {
    let world = world().await;
    let kind = slices(&world);
    kind.is_discovered(&[]).await;
    let slice = || {
        json!({
            "metadata": { "generateName": "e2e-example-ing", "labels": { "special-label": "conformance" } },
            "addressType": "IPv4",
            "endpoints": [
                { "addresses": ["1.2.3.4", "5.6.7.8"] },
                { "addresses": ["2.2.3.4", "6.6.7.8"] },
            ],
        })
    };
    let created = kind.operations([slice(), slice(), slice()], SELECTOR).await;
    kind.removal(name(&created), SELECTOR).await;
    world.end().await;
}

#[tokio::test]
async fn endpointslicemirroring_should_mirror_a_custom_endpoints_resource_through_create_update_and_delete() {
    let world = world().await;
    let service = "example-custom-endpoints";
    services(&world)
        .create(json!({
            "metadata": { "name": service },
            "spec": { "ports": [{ "name": "example", "port": 80, "protocol": "TCP" }] },
        }))
        .await;
    let custom = |address: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": { "name": service },
            "subsets": [{ "ports": [{ "port": 80 }], "addresses": [{ "ip": address }] }],
        })
    };
    let kind = slices(&world);
    let selector = format!("labelSelector=kubernetes.io/service-name%3D{service}");
    let mut watch = world.watch(&format!("{}?watch=true&{selector}", kind.collection())).await;
    let mirrored = |slice: &Value, address: &str| {
        let ports = slice["ports"].as_array().expect("ports");
        let found = slice["endpoints"].as_array().expect("endpoints");
        ports.len() == 1
            && ports[0]["port"] == 80
            && found.len() == 1
            && found[0]["addresses"] == json!([address])
    };
    endpoints(&world).create(custom("10.1.2.3")).await;
    let slice = watch.until(|event| event["type"] == "ADDED").await;
    assert!(mirrored(&slice, "10.1.2.3"), "{slice}");
    world.put(&endpoints(&world).path(service), custom("10.2.3.4")).await;
    watch.until(|event| event["type"] != "DELETED" && mirrored(&event["object"], "10.2.3.4")).await;
    assert_eq!(kind.count(&selector).await, 1);
    endpoints(&world).delete(service).await;
    kind.emptied(&selector).await;
    world.end().await;
}

#[tokio::test]
async fn ingress_api_should_support_creating_ingress_api_operations() {
    let world = world().await;
    let kind = Kind::namespaced(&world, "networking.k8s.io/v1", "Ingress", "ingresses");
    kind.is_discovered(&["status"]).await;
    let ingress = |host: &str| {
        let backend = |name: &str| json!({ "service": { "name": name, "port": { "number": 8080 } } });
        let path =
            json!({ "path": "/", "pathType": "ImplementationSpecific", "backend": backend("test-backend") });
        json!({
            "metadata": { "generateName": "e2e-example-ing", "labels": { "special-label": "conformance" } },
            "spec": {
                "defaultBackend": backend("default-backend"),
                "rules": [{ "host": host, "http": { "paths": [path] } }],
            },
            "status": { "loadBalancer": {} },
        })
    };
    let three = [ingress("host1.bar.com"), ingress("host2.bar.com"), ingress("host3.bar.com")];
    let created = kind.operations(three, SELECTOR).await;
    let status = format!("{}/status", name(&created));
    let given = json!({ "ingress": [{ "ip": "169.1.1.1" }] });
    let patched = kind
        .merge(
            &status,
            json!({
                "metadata": { "annotations": { "patchedstatus": "true" } },
                "status": { "loadBalancer": given },
            }),
        )
        .await;
    assert_eq!(patched["status"]["loadBalancer"], given);
    assert_eq!(patched["metadata"]["annotations"]["patchedstatus"], "true");
    let given = json!({ "ingress": [{ "ip": "169.1.1.2" }] });
    let updated =
        kind.update_status(name(&created), |ingress| ingress["status"]["loadBalancer"] = given.clone()).await;
    assert_eq!(updated["status"]["loadBalancer"], given);
    assert_eq!(kind.get(&status).await["metadata"]["uid"], created["metadata"]["uid"]);
    kind.removal(name(&created), SELECTOR).await;
    world.end().await;
}

#[tokio::test]
async fn ingressclass_api_should_support_creating_ingressclass_api_operations() {
    let world = world().await;
    let kind = Kind::cluster(&world, "networking.k8s.io/v1", "IngressClass", "ingressclasses");
    kind.is_discovered(&[]).await;
    let class = |name: &str| {
        json!({
            "metadata": { "name": name, "labels": { "special-label": "conformance" } },
            "spec": { "controller": "example.com/controller" },
        })
    };
    let created = kind.operations([class("one"), class("two"), class("three")], SELECTOR).await;
    kind.removal(name(&created), SELECTOR).await;
    world.end().await;
}

#[tokio::test]
async fn services_should_complete_a_service_status_lifecycle() {
    let world = world().await;
    let kind = services(&world);
    let selector = "labelSelector=test-service-static%3Dtrue";
    let before = kind.list_everywhere(selector).await;
    let path = format!("{}?watch=true&resourceVersion={}&{selector}", kind.collection(), version(&before));
    let mut watch = world.watch(&path).await;
    kind.create(json!({
        "metadata": { "name": "test-service", "labels": { "test-service-static": "true" } },
        "spec": {
            "type": "LoadBalancer",
            "loadBalancerClass": "example.com/internal-vip",
            "ports": [{ "name": "http", "protocol": "TCP", "port": 80, "targetPort": 80 }],
        },
    }))
    .await;
    watch.until(|event| event["object"]["metadata"]["name"] == "test-service").await;
    let found = kind.get("test-service/status").await;
    assert_eq!(found["status"], json!({ "loadBalancer": {} }));

    let balancer = json!({ "ingress": [{ "ip": "203.0.113.1" }] });
    kind.merge(
        "test-service/status",
        json!({
            "metadata": { "annotations": { "patchedstatus": "true" } },
            "status": { "loadBalancer": balancer },
        }),
    )
    .await;
    let seen =
        watch.until(|event| event["object"]["metadata"]["annotations"]["patchedstatus"] == "true").await;
    assert_eq!(seen["status"]["loadBalancer"]["ingress"][0]["ip"], "203.0.113.1");

    let condition = json!({
        "type": "StatusUpdate",
        "status": "True",
        "reason": "E2E",
        "message": "Set from a test",
        "lastTransitionTime": null,
    });
    kind.update_status("test-service", |service| {
        service["status"]["conditions"] = json!([condition]);
    })
    .await;
    watch
        .until(|event| {
            let condition = &event["object"]["status"]["conditions"][0];
            condition["type"] == "StatusUpdate" && condition["reason"] == "E2E"
        })
        .await;
    // A patch made from a whole Service sends what its type always sends.
    kind.strategic(
        "test-service",
        json!({
            "metadata": { "labels": { "test-service": "patched" } },
            "spec": {},
            "status": { "loadBalancer": {} },
        }),
    )
    .await;
    let seen = watch.until(|event| event["object"]["metadata"]["labels"]["test-service"] == "patched").await;
    assert_eq!(
        seen["status"]["loadBalancer"]["ingress"][0]["ip"], "203.0.113.1",
        "the status is not touched"
    );
    kind.delete("test-service").await;
    watch.until(|event| event["type"] == "DELETED").await;
    world.end().await;
}

#[tokio::test]
async fn services_should_delete_a_collection_of_services() {
    let world = world().await;
    let kind = services(&world);
    for (name, label) in [("e2e-svc-a", "deleted"), ("e2e-svc-b", "deleted"), ("e2e-svc-c", "kept")] {
        kind.create(json!({
            "metadata": { "name": name, "labels": { "e2e-test": label } },
            "spec": {
                "type": "ClusterIP",
                "ports": [{ "name": "http", "protocol": "TCP", "port": 80, "targetPort": 80 }],
            },
        }))
        .await;
    }
    assert_eq!(kind.count("").await, 3);
    kind.delete_collection("labelSelector=e2e-test%3Ddeleted").await;
    assert_eq!(names(&kind.list("").await), ["e2e-svc-c"]);
    world.end().await;
}

#[tokio::test]
async fn servicecidr_and_ipaddress_api_should_support_servicecidr_api_operations() {
    let world = world().await;
    let kind = Kind::cluster(&world, "networking.k8s.io/v1", "ServiceCIDR", "servicecidrs");
    kind.is_discovered(&["status"]).await;
    // There is one from the start.
    assert_eq!(kind.get("kubernetes").await["metadata"]["name"], "kubernetes");
    let patched =
        kind.merge("kubernetes", json!({ "metadata": { "annotations": { "patched": "true" } } })).await;
    assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
    let updated =
        kind.update("kubernetes", |cidr| cidr["metadata"]["annotations"]["updated"] = "true".into()).await;
    assert_eq!(updated["metadata"]["annotations"]["updated"], "true");
    assert!(!items(&kind.list("").await).is_empty());
    let mut watch = world.watch(&format!("{}?watch=true", kind.collection())).await;
    watch.expect_named("ADDED", "kubernetes").await;
    world.end().await;
}

#[tokio::test]
async fn servicecidr_and_ipaddress_api_should_support_ipaddress_api_operations() {
    let world = world().await;
    let kind = Kind::cluster(&world, "networking.k8s.io/v1", "IPAddress", "ipaddresses");
    kind.is_discovered(&[]).await;
    let address = |name: &str, label: &str| {
        json!({
            "metadata": { "name": name, "labels": { "type": label } },
            "spec": { "parentRef": {
                "group": "mygroup", "resource": "myresources", "namespace": "foo", "name": "bar",
            } },
        })
    };
    kind.create(address("255.255.255.255", "broadcast")).await;
    kind.create(address("fe80::42:1dff:fe84:f9e2", "link-local")).await;
    let broadcast = "255.255.255.255";
    let patched =
        kind.merge(broadcast, json!({ "metadata": { "annotations": { "patched": "true" } } })).await;
    assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
    let updated = kind.update(broadcast, |ip| ip["metadata"]["annotations"]["updated"] = "true".into()).await;
    assert_eq!(updated["metadata"]["annotations"]["updated"], "true");
    kind.get(broadcast).await;
    assert_eq!(names(&kind.list("labelSelector=type%3Dbroadcast").await), [broadcast]);
    let mut watch =
        world.watch(&format!("{}?watch=true&labelSelector=type%3Dbroadcast", kind.collection())).await;
    watch.expect_named("ADDED", broadcast).await;
    kind.delete(broadcast).await;
    watch.expect_named("DELETED", broadcast).await;
    kind.delete_collection("labelSelector=type%3Dlink-local").await;
    assert_eq!(kind.count("labelSelector=type%3Dlink-local").await, 0);
    world.end().await;
}
