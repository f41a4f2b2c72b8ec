use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::pod_named;

fn service() -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "s", "labels": {"tier": "front"}},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"],
                 "ports": [{"name": "http", "port": 80, "targetPort": "web"}]},
    }))
    .unwrap()
}

fn pod(name: &str, ip: &str, port: i32) -> Pod {
    let mut pod = pod_named(name).on("n1").ready_at("2026-01-01T00:00:00Z").build();
    pod.status.as_mut().unwrap().pod_ip = Some(ip.into());
    pod.spec.as_mut().unwrap().containers =
        serde_json::from_value(json!([{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]))
            .unwrap();
    pod
}

#[derive(Default)]
struct Server {
    slices: Vec<Arc<EndpointSlice>>,
    number: usize,
}

impl Server {
    fn plan(&self, service: &Service, pods: &[Arc<Pod>]) -> Vec<Action> {
        let nodes = BTreeMap::new();
        plan(&Observed { service, pods, slices: &self.slices, nodes: &nodes, settled: true })
    }

    fn run(&mut self, service: &Service, pods: &[Arc<Pod>]) -> usize {
        let actions = self.plan(service, pods);
        let count = actions.len();
        for action in actions {
            match action {
                Action::Create(mut slice) => {
                    self.number += 1;
                    slice.metadata.name = Some(format!("web-{:03}", self.number));
                    self.slices.push(Arc::new(*slice));
                }
                Action::Update(slice) => {
                    let held = self.slices.iter_mut().find(|held| held.metadata.name == slice.metadata.name);
                    *held.unwrap() = Arc::new(*slice);
                }
                Action::Delete(slice) => self.slices.retain(|held| held.metadata.name != slice.metadata.name),
            }
        }
        count
    }

    fn addresses(&self) -> Vec<String> {
        let endpoints = self.slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
        let mut all: Vec<_> = endpoints.flat_map(|endpoint| endpoint.addresses.clone()).collect();
        all.sort();
        all
    }
}

#[test]
fn a_service_without_pods_has_one_empty_slice() {
    let (mut server, service) = (Server::default(), service());
    assert_eq!(server.run(&service, &[]), 1);
    let labels = server.slices[0].metadata.labels.clone().unwrap();
    assert_eq!(labels["kubernetes.io/service-name"], "web");
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.k8s.io");
    assert_eq!(labels["tier"], "front");
    assert_eq!(server.plan(&service, &[]), []);
}

#[test]
fn named_ports_are_looked_up_in_each_pod() {
    let (mut server, service) = (Server::default(), service());
    let pods = [Arc::new(pod("a", "10.1.0.1", 8080)), Arc::new(pod("b", "10.1.0.2", 9090))];
    server.run(&service, &pods);
    let ports: Vec<_> = server.slices.iter().map(|slice| slice.ports.as_ref().unwrap()[0].port).collect();
    assert_eq!(ports, [Some(8080), Some(9090)]);
}

#[test]
fn a_terminating_pod_serves_and_is_not_ready() {
    let (mut server, service) = (Server::default(), service());
    let mut going = pod("a", "10.1.0.1", 80);
    going.metadata.deletion_timestamp = pod_named("x").terminating().build().metadata.deletion_timestamp;
    server.run(&service, &[Arc::new(going)]);
    let endpoint = &server.slices[0].endpoints.as_ref().unwrap()[0];
    let conditions = endpoint.conditions.clone().unwrap();
    assert_eq!(
        (conditions.ready, conditions.serving, conditions.terminating),
        (Some(false), Some(true), Some(true))
    );
    assert_eq!(endpoint.node_name.as_deref(), Some("n1"));
}

#[test]
fn a_finished_pod_and_one_without_address_are_left_out() {
    let (mut server, service) = (Server::default(), service());
    let mut done = pod("a", "10.1.0.1", 80);
    done.status.as_mut().unwrap().phase = Some("Succeeded".into());
    server.run(&service, &[Arc::new(done), Arc::new(pod_named("b").build())]);
    assert_eq!(server.addresses(), Vec::<String>::new());
}

#[test]
fn one_pods_change_writes_one_slice_of_many() {
    let (mut server, service) = (Server::default(), service());
    let mut pods: Vec<_> = (0..250)
        .map(|i| Arc::new(pod(&format!("p{i}"), &format!("10.1.{}.{}", i / 200, i % 200), 80)))
        .collect();
    assert_eq!(server.run(&service, &pods), 3);
    assert!(server.slices.iter().all(|slice| slice.endpoints.as_ref().unwrap().len() <= 100));
    pods.remove(7);
    assert_eq!(server.run(&service, &pods), 1);
    assert_eq!(server.plan(&service, &pods), []);
}

proptest! {
    #[test]
    fn slices_always_say_exactly_who_answers(steps in proptest::collection::vec(
        proptest::collection::btree_map(0_u8..150, 1_i32..3, 0..150), 1..5)
    ) {
        let (mut server, service) = (Server::default(), service());
        for step in steps {
            let pods: Vec<_> = step
                .into_iter()
                .map(|(i, port)| Arc::new(pod(&format!("p{i}"), &format!("10.1.0.{i}"), port)))
                .collect();
            server.run(&service, &pods);
            let mut wanted: Vec<_> =
                pods.iter().map(|pod| pod.status.clone().unwrap().pod_ip.unwrap()).collect();
            wanted.sort();
            prop_assert_eq!(server.addresses(), wanted);
            prop_assert!(!server.slices.is_empty());
            prop_assert_eq!(server.plan(&service, &pods), []);
        }
    }
}
