//! What the controllers write of the pods that a Service selects.

use orchestra::runtime::backend::sim::SimRuntime;
use orchestra::{Cluster, Node};
use serde_json::{Value, json};

use super::{endpoints, services, slices};
use crate::kind::{Kind, items, name};
use crate::world::{World, with};

async fn with_a_node() -> World {
    with(Cluster::builder().node(Node::named("node-1").runtime(SimRuntime::default()))).await
}

/// Two pods with a port of one name and other numbers, once they have addresses.
async fn two_pods(world: &World) -> [Value; 2] {
    let pods = Kind::namespaced(world, "v1", "Pod", "pods");
    let pod = |name: &str, ports: Value| {
        json!({
            "metadata": { "name": name, "labels": { "foo.example.com/own": name, "foo.example.com/shared": "bar" } },
            "spec": { "containers": [{ "name": "container1", "image": "nginx", "ports": ports }] },
        })
    };
    let port = |name: &str, number: u32| json!({ "name": name, "containerPort": number });
    pods.create(pod("pod1", json!([port("example-name", 3000)]))).await;
    pods.create(pod("pod2", json!([port("example-name", 3001), port("other-port", 3002)]))).await;
    let has_address = |pod: &Value| pod["status"]["podIPs"].as_array().is_some_and(|all| !all.is_empty());
    [pods.eventually("pod1", has_address).await, pods.eventually("pod2", has_address).await]
}

/// The suite's three Services: of one pod by number, of both by name, of none.
async fn three_services(world: &World) {
    for (called, selector, port, target) in [
        ("example-int-port", json!({ "foo.example.com/own": "pod1" }), "example", json!(3000)),
        ("example-named-port", json!({ "foo.example.com/shared": "bar" }), "http", json!("example-name")),
        ("example-no-match", json!({ "foo.example.com/own": "pod3" }), "example-no-match", json!(8080)),
    ] {
        let port = json!({ "name": port, "port": 80, "targetPort": target, "protocol": "TCP" });
        let spec = json!({ "selector": selector, "publishNotReadyAddresses": true, "ports": [port] });
        services(world).create(json!({ "metadata": { "name": called }, "spec": spec })).await;
    }
}

/// What is said of one address: where it is, the pod, the port's name and number.
type Said = (String, String, String, u64);

/// What must be said of a pod behind a port of this name.
fn of(pod: &Value, port: &str, number: u64) -> Said {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&pod["status"]["podIP"]), text(&pod["metadata"]["uid"]), port.to_owned(), number)
}

fn said(address: &Value, reference: &Value, ports: &Value) -> Said {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert_eq!(ports.as_array().map(Vec::len), Some(1), "one port, as the Service: {ports}");
    assert_eq!((&ports[0]["protocol"], &reference["kind"]), (&json!("TCP"), &json!("Pod")));
    assert_eq!(reference["namespace"], "conformance");
    let number = ports[0]["port"].as_u64().expect("a number");
    (text(address), text(&reference["uid"]), text(&ports[0]["name"]), number)
}

/// Waits until the Endpoints of this name say so.
async fn endpoints_say(world: &World, called: &str, wanted: &[Said]) {
    endpoints(world)
        .eventually(called, |found| {
            let mut all: Vec<Said> = Vec::new();
            for subset in found["subsets"].as_array().into_iter().flatten() {
                for which in ["addresses", "notReadyAddresses"] {
                    for address in subset[which].as_array().into_iter().flatten() {
                        all.push(said(&address["ip"], &address["targetRef"], &subset["ports"]));
                    }
                }
            }
            all.sort();
            all == wanted
        })
        .await;
}

fn selector(service: &str) -> String {
    format!("labelSelector=kubernetes.io/service-name%3D{service}")
}

/// Waits until the slices of this Service together say so; there is always one.
async fn slices_say(world: &World, service: &str, wanted: &[Said]) {
    let kind = slices(world);
    let mut watch = world.watch(&format!("{}?watch=true&{}", kind.collection(), selector(service))).await;
    loop {
        let list = kind.list(&selector(service)).await;
        let mut all: Vec<Said> = Vec::new();
        for slice in items(&list) {
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                all.push(said(&endpoint["addresses"][0], &endpoint["targetRef"], &slice["ports"]));
            }
        }
        all.sort();
        if !items(&list).is_empty() && all == wanted {
            return;
        }
        watch.next().await;
    }
}

#[tokio::test]
async fn endpointscontroller_should_create_endpoints_for_pods_matching_a_service() {
    let world = with_a_node().await;
    let [first, second] = two_pods(&world).await;
    three_services(&world).await;
    endpoints_say(&world, "example-int-port", &[of(&first, "example", 3000)]).await;
    let mut both = [of(&first, "http", 3000), of(&second, "http", 3001)];
    both.sort();
    endpoints_say(&world, "example-named-port", &both).await;
    endpoints_say(&world, "example-no-match", &[]).await;
    world.end().await;
}

#[tokio::test]
async fn endpointslice_should_create_endpoints_and_endpointslices_for_pods_matching_a_service() {
    let world = with_a_node().await;
    let [first, second] = two_pods(&world).await;
    three_services(&world).await;
    let one = [of(&first, "example", 3000)];
    slices_say(&world, "example-int-port", &one).await;
    endpoints_say(&world, "example-int-port", &one).await;
    let mut both = [of(&first, "http", 3000), of(&second, "http", 3001)];
    both.sort();
    slices_say(&world, "example-named-port", &both).await;
    endpoints_say(&world, "example-named-port", &both).await;
    slices_say(&world, "example-no-match", &[]).await;
    endpoints_say(&world, "example-no-match", &[]).await;
    let empty = slices(&world).list(&selector("example-no-match")).await;
    assert!(
        items(&empty).len() == 1 && items(&empty)[0]["ports"].as_array().is_none_or(Vec::is_empty),
        "{empty}"
    );

    // What is taken away comes back.
    for slice in items(&slices(&world).list(&selector("example-named-port")).await) {
        slices(&world).delete(name(slice)).await;
    }
    slices_say(&world, "example-named-port", &both).await;
    world.end().await;
}

/// As the suite: so many Services of one running pod, one after the other; half of them have an address within 20
/// seconds, and all but a hundredth within 50.
#[tokio::test]
async fn service_endpoints_latency_should_not_be_very_high() {
    const TRIALS: usize = 200;
    let world = with_a_node().await;
    let labels = json!({ "name": "svc-latency-rc" });
    let controllers = Kind::namespaced(&world, "v1", "ReplicationController", "replicationcontrollers");
    let template = json!({
        "metadata": { "labels": labels },
        "spec": { "containers": [{ "name": "pause", "image": "pause" }] },
    });
    controllers
        .create(json!({
            "metadata": { "name": "svc-latency-rc" },
            "spec": { "replicas": 1, "selector": labels, "template": template },
        }))
        .await;
    controllers.eventually("svc-latency-rc", |one| one["status"]["readyReplicas"] == 1).await;
    let kind = slices(&world);
    let mut taken = Vec::new();
    for _ in 0..TRIALS {
        let spec = json!({
            "ports": [{ "protocol": "TCP", "port": 80 }], "selector": labels, "type": "ClusterIP",
            "sessionAffinity": "None",
        });
        let began = std::time::Instant::now();
        let service = json!({ "metadata": { "generateName": "latency-svc-" }, "spec": spec });
        let made = services(&world).create(service).await;
        let path = format!("{}?watch=true&{}", kind.collection(), selector(name(&made)));
        let has_address =
            |event: &Value| event["object"]["endpoints"].as_array().is_some_and(|all| !all.is_empty());
        world.watch(&path).await.until(has_address).await;
        taken.push(began.elapsed());
    }
    taken.sort_unstable();
    let (half, most) = (taken[TRIALS / 2], taken[TRIALS * 99 / 100]);
    assert!(half.as_secs() < 20 && most.as_secs() < 50, "{half:?} {most:?}");
    world.end().await;
}
