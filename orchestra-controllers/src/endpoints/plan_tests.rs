use serde_json::{Value, json};

use super::*;
use crate::testing::pod_named;

fn service(spec: Value) -> Service {
    let mut full = json!({"selector": {"app": "web"}, "clusterIP": "10.0.0.1", "ports": [{"port": 80, "targetPort": "web"}]});
    full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "s", "labels": {"tier": "front"}},
        "spec": full,
    }))
    .unwrap()
}

fn pod(name: &str, ip: &str, port: i32, is_ready: bool) -> Pod {
    let pod = pod_named(name).on("n1");
    let mut pod = if is_ready { pod.ready_at("2026-01-01T00:00:00Z") } else { pod.running() }.build();
    pod.status.as_mut().unwrap().pod_ip = Some(ip.into());
    pod.spec.as_mut().unwrap().containers =
        serde_json::from_value(json!([{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]))
            .unwrap();
    pod
}

fn made(service: &Service, pods: &[Pod]) -> Endpoints {
    let pods: Vec<_> = pods.iter().cloned().map(Arc::new).collect();
    match plan(&Observed { service: Some(service), pods: &pods, held: None }) {
        Some(Action::Create(made)) => {
            let again = plan(&Observed { service: Some(service), pods: &pods, held: Some(&made) });
            assert_eq!(again, None, "converged, nothing is to be done");
            *made
        }
        other => panic!("{other:?}"),
    }
}

/// `ready|not ready:port` of each subset.
fn shown(endpoints: &Endpoints) -> Vec<String> {
    let join = |list: &Option<Vec<EndpointAddress>>| {
        list.iter().flatten().map(|address| address.ip.clone()).collect::<Vec<_>>().join(",")
    };
    let show = |subset: &EndpointSubset| {
        let ports: Vec<_> = subset.ports.iter().flatten().map(|port| port.port.to_string()).collect();
        format!("{}|{}:{}", join(&subset.addresses), join(&subset.not_ready_addresses), ports.join(","))
    };
    endpoints.subsets.iter().flatten().map(show).collect()
}

#[test]
fn pods_that_serve_the_same_ports_are_one_subset_in_the_order_of_their_addresses() {
    let pods = [
        pod("a", "10.1.0.10", 8080, true),
        pod("b", "10.1.0.9", 8080, true),
        pod("c", "10.1.0.3", 8080, false),
        pod("d", "10.1.0.4", 9090, true),
        pod_named("no-address").running().build(),
    ];
    let made = made(&service(json!({})), &pods);
    assert_eq!(shown(&made), ["10.1.0.9,10.1.0.10|10.1.0.3:8080", "10.1.0.4|:9090"]);
    let labels = made.metadata.labels.unwrap();
    assert_eq!((labels["tier"].as_str(), labels[MANAGED_BY].as_str()), ("front", MANAGER));
}

#[test]
fn pods_that_end_are_listed_only_where_unready_ones_are_published() {
    let mut ending = pod("a", "10.1.0.1", 80, true);
    ending.metadata.deletion_timestamp = pod_named("x").terminating().build().metadata.deletion_timestamp;
    let pods = [ending, pod("b", "10.1.0.2", 80, false)];
    assert_eq!(shown(&made(&service(json!({})), &pods)), ["|10.1.0.2:80"]);
    let publishes = service(json!({"publishNotReadyAddresses": true}));
    assert_eq!(shown(&made(&publishes, &pods)), ["10.1.0.1,10.1.0.2|:80"]);
}

#[test]
fn a_headless_service_may_have_no_ports_and_names_its_pods() {
    let mut named = pod("a", "10.1.0.1", 80, true);
    let spec = named.spec.as_mut().unwrap();
    (spec.hostname, spec.subdomain) = (Some("a-0".into()), Some("web".into()));
    let made = made(&service(json!({"clusterIP": "None", "ports": null})), &[named]);
    assert_eq!(shown(&made), ["10.1.0.1|:"]);
    let address = &made.subsets.as_ref().unwrap()[0].addresses.as_ref().unwrap()[0];
    assert_eq!((address.hostname.as_deref(), address.node_name.as_deref()), (Some("a-0"), Some("n1")));
    assert_eq!(made.metadata.labels.unwrap()[HEADLESS], "");
}

#[test]
fn services_without_pods_of_their_own_are_left_alone_and_what_is_left_of_a_service_goes() {
    for spec in [json!({"selector": null}), json!({"type": "ExternalName"})] {
        assert_eq!(plan(&Observed { service: Some(&service(spec)), pods: &[], held: None }), None);
    }
    let held = made(&service(json!({})), &[]);
    assert_eq!((held.subsets.as_ref(), is_ours(&held)), (None, true));
    assert_eq!(plan(&Observed { service: None, pods: &[], held: Some(&held) }), Some(Action::Delete));
    assert_eq!(plan(&Observed { service: None, pods: &[], held: None }), None);
}

#[test]
fn more_than_a_thousand_are_cut_by_shares_and_those_not_ready_first() {
    let many = |count: u16, port: i32, is_ready: bool| {
        (0..count).map(move |n| {
            let net = format!("10.{port}.{}.{}", n / 250 + if is_ready { 0 } else { 100 }, n % 250 + 1);
            pod(&net, &net, port, is_ready)
        })
    };
    let counts = |endpoints: &Endpoints| -> Vec<(usize, usize)> {
        let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
        let subsets = endpoints.subsets.iter().flatten();
        subsets.map(|subset| (count(&subset.addresses), count(&subset.not_ready_addresses))).collect()
    };
    let pods: Vec<_> = many(900, 80, true).chain(many(300, 80, false)).collect();
    let over = made(&service(json!({})), &pods);
    assert_eq!(counts(&over), [(900, 100)]);
    assert_eq!(over.metadata.annotations.as_ref().unwrap()[OVER_CAPACITY], "truncated");
    let pods: Vec<_> = many(900, 80, true).chain(many(300, 81, true)).chain(many(9, 80, false)).collect();
    assert_eq!(counts(&made(&service(json!({})), &pods)), [(750, 0), (250, 0)]);

    let few = plan(&Observed { service: Some(&service(json!({}))), pods: &[], held: Some(&over) });
    let Some(Action::Update(few)) = few else { panic!() };
    assert_eq!((few.metadata.annotations, few.subsets), (None, None));
}
