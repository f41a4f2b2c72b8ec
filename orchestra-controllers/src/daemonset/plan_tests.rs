use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::pod_named;

fn set(strategy: Value) -> DaemonSet {
    serde_json::from_value(json!({
        "metadata": {"name": "agent", "namespace": "default", "uid": "d", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "updateStrategy": strategy,
                 "template": {"metadata": {"labels": {"app": "agent"}},
                              "spec": {"containers": [{"name": "c", "image": "a"}]}}},
    }))
    .unwrap()
}

fn rolling(surge: i32, unavailable: i32) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

fn node(name: &str, taints: Value) -> Arc<Node> {
    Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"taints": taints}})).unwrap())
}

struct Cluster {
    set: DaemonSet,
    nodes: Vec<Arc<Node>>,
    pods: Vec<Arc<Pod>>,
    revisions: Vec<Arc<ControllerRevision>>,
    number: usize,
}

impl Cluster {
    fn new(set: DaemonSet, nodes: usize) -> Self {
        let nodes = (0..nodes).map(|i| node(&format!("n{i}"), json!([]))).collect();
        Self { set, nodes, pods: Vec::new(), revisions: Vec::new(), number: 0 }
    }

    fn plan(&self) -> Vec<Action> {
        plan(&Observed {
            set: &self.set,
            pods: &self.pods,
            revisions: &self.revisions,
            nodes: &self.nodes,
            settled: true,
            now: "2026-01-01T01:00:00Z".parse().unwrap(),
        })
    }

    fn step(&mut self) -> usize {
        let actions = self.plan();
        let count = actions.len();
        for action in actions {
            match action {
                Action::CreateRevision(revision) => self.revisions.push(Arc::new(*revision)),
                Action::RaiseRevision(revision, number) => {
                    for held in &mut self.revisions {
                        if held.metadata.name == revision.metadata.name {
                            *held = Arc::new(ControllerRevision {
                                revision: number,
                                ..ControllerRevision::clone(held)
                            });
                        }
                    }
                }
                Action::DeleteRevision(revision) => {
                    self.revisions.retain(|held| held.metadata.name != revision.metadata.name);
                }
                Action::Create(pods) => {
                    for mut pod in pods {
                        self.number += 1;
                        pod.metadata.name = Some(format!("agent-{}", self.number));
                        pod.status = pod_named("x").build().status;
                        self.pods.push(Arc::new(pod));
                    }
                }
                Action::Delete(doomed) => {
                    for held in self.pods.iter_mut().filter(|held| doomed.contains(held)) {
                        let mut going = Pod::clone(held);
                        going.metadata.deletion_timestamp =
                            Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
                        *held = Arc::new(going);
                    }
                }
                Action::SetStatus(status) => self.set.status = Some(*status),
                Action::LookAgain(_) => {}
            }
        }
        count
    }

    fn kubelet(&mut self, mut budget: usize) {
        self.pods.retain(|pod| {
            let goes = pod::is_terminating(pod) && budget > 0;
            budget -= usize::from(goes);
            !goes
        });
        for pod in &mut self.pods {
            if !pod::is_ready(pod) && budget > 0 {
                budget -= 1;
                let mut started = Pod::clone(pod);
                let node = target(pod).unwrap().to_owned();
                started.spec.get_or_insert_default().node_name = Some(node);
                started.status = pod_named("x").ready_at("2026-01-01T00:00:00Z").build().status;
                *pod = Arc::new(started);
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            let before = self.pods.clone();
            let writes = self.step();
            self.kubelet(100);
            if writes == 0 && before == self.pods {
                return;
            }
        }
        panic!("never comes to rest: {:?}", self.plan());
    }

    fn available(&self) -> i32 {
        let mut nodes: Vec<_> = self
            .pods
            .iter()
            .filter(|pod| pod::is_ready(pod) && !pod::is_terminating(pod))
            .filter_map(|pod| target(pod))
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        count(nodes.len())
    }

    fn set_image(&mut self, image: &str) {
        let template = &mut self.set.spec.as_mut().unwrap().template;
        template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
    }
}

#[test]
fn every_node_gets_one_pod_bound_to_it_by_affinity() {
    let mut cluster = Cluster::new(set(rolling(0, 1)), 3);
    cluster.settle();
    let mut targets: Vec<_> = cluster.pods.iter().filter_map(|pod| target(pod)).collect();
    targets.sort_unstable();
    assert_eq!(targets, ["n0", "n1", "n2"]);
    let tolerations = cluster.pods[0].spec.clone().unwrap().tolerations.unwrap();
    assert!(tolerations.iter().any(|t| t.key.as_deref() == Some("node.kubernetes.io/unschedulable")));
    let status = cluster.set.status.clone().unwrap();
    assert_eq!(
        (status.desired_number_scheduled, status.number_ready, status.number_unavailable),
        (3, 3, None)
    );
    assert_eq!(cluster.plan(), []);
}

#[test]
fn new_nodes_get_a_pod_and_pods_of_gone_nodes_go() {
    let mut cluster = Cluster::new(set(rolling(0, 1)), 2);
    cluster.settle();
    cluster.nodes.remove(0);
    cluster.nodes.push(node("n9", json!([])));
    cluster.settle();
    let mut targets: Vec<_> = cluster.pods.iter().filter_map(|pod| target(pod)).collect();
    targets.sort_unstable();
    assert_eq!(targets, ["n1", "n9"]);
}

#[test]
fn taints_keep_pods_off_or_let_them_stay() {
    let mut cluster = Cluster::new(set(rolling(0, 1)), 1);
    cluster.nodes.push(node("closed", json!([{"key": "mine", "effect": "NoSchedule"}])));
    cluster.settle();
    assert_eq!(cluster.pods.len(), 1);
    cluster.nodes[0] = node("n0", json!([{"key": "mine", "effect": "NoSchedule"}]));
    cluster.settle();
    assert_eq!(cluster.pods.len(), 1, "it may stay");
    cluster.nodes[0] = node("n0", json!([{"key": "mine", "effect": "NoExecute"}]));
    cluster.settle();
    assert_eq!(cluster.pods.len(), 0);
}

#[test]
fn with_on_delete_only_deleted_pods_are_renewed() {
    let mut cluster = Cluster::new(set(json!({"type": "OnDelete"})), 2);
    cluster.settle();
    cluster.set_image("b");
    cluster.settle();
    assert_eq!(cluster.set.status.clone().unwrap().updated_number_scheduled, None);
    cluster.pods.remove(0);
    cluster.settle();
    assert_eq!(cluster.set.status.clone().unwrap().updated_number_scheduled, Some(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn a_rolling_update_stays_within_its_bounds(
        nodes in 1_usize..8, surge in 0_i32..3, unavailable in 0_i32..4,
        budgets in proptest::collection::vec(0_usize..4, 1..20),
    ) {
        // Upstream allows only one of the two.
        let (surge, unavailable) = if surge > 0 { (surge, 0) } else { (0, unavailable.max(1)) };
        let mut cluster = Cluster::new(set(rolling(surge, unavailable)), nodes);
        cluster.settle();
        cluster.set_image("b");
        for budget in budgets {
            cluster.step();
            prop_assert!(cluster.available() >= count(nodes) - unavailable);
            prop_assert!(count(cluster.pods.iter().filter(|pod| !pod::is_terminating(pod)).count()) <= count(nodes) + surge);
            cluster.kubelet(budget);
        }
        cluster.settle();
        prop_assert_eq!(cluster.set.status.clone().unwrap().updated_number_scheduled, Some(count(nodes)));
        prop_assert_eq!(cluster.plan(), []);
    }
}
