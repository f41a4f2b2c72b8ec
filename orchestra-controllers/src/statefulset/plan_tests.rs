use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::pod_named;

fn set(replicas: i32, policy: &str) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": {"name": "db", "namespace": "default", "uid": "s", "generation": 1},
        "spec": {"replicas": replicas, "serviceName": "db", "podManagementPolicy": policy,
                 "selector": {"matchLabels": {"app": "db"}},
                 "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                 "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}],
                 "template": {"metadata": {"labels": {"app": "db"}},
                              "spec": {"containers": [{"name": "c", "image": "a"}]}}},
    }))
    .unwrap()
}

struct Cluster {
    set: StatefulSet,
    pods: Vec<Arc<Pod>>,
    revisions: Vec<Arc<ControllerRevision>>,
    claims: BTreeMap<String, Arc<PersistentVolumeClaim>>,
}

impl Cluster {
    fn new(set: StatefulSet) -> Self {
        Self { set, pods: Vec::new(), revisions: Vec::new(), claims: BTreeMap::new() }
    }

    fn plan(&self) -> Vec<Action> {
        plan(&Observed {
            set: &self.set,
            pods: &self.pods,
            revisions: &self.revisions,
            claims: &self.claims,
            settled: true,
            now: "2026-01-01T01:00:00Z".parse().unwrap(),
        })
    }

    fn step(&mut self) -> Vec<Action> {
        let actions = self.plan();
        for action in actions.clone() {
            self.perform(action);
        }
        actions
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::CreateRevision(revision) => self.revisions.push(Arc::new(*revision)),
            Action::RaiseRevision(revision, number) => {
                let held = self
                    .revisions
                    .iter_mut()
                    .find(|held| held.metadata.name == revision.metadata.name)
                    .unwrap();
                *held = Arc::new(ControllerRevision { revision: number, ..ControllerRevision::clone(held) });
            }
            Action::DeleteRevision(revision) => {
                self.revisions.retain(|held| held.metadata.name != revision.metadata.name);
            }
            Action::Create(claims, pod) => {
                self.claim(claims);
                let mut pod = *pod;
                pod.metadata.uid.clone_from(&pod.metadata.name);
                pod.status = pod_named("x").build().status;
                assert!(
                    self.pods.iter().all(|held| held.metadata.name != pod.metadata.name),
                    "created twice"
                );
                self.pods.push(Arc::new(pod));
            }
            Action::CreateClaims(claims) => self.claim(claims),
            Action::Delete(pod) => {
                for held in &mut self.pods {
                    if held.metadata.name == pod.metadata.name {
                        let mut going = Pod::clone(held);
                        going.metadata.deletion_timestamp =
                            Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
                        *held = Arc::new(going);
                    }
                }
            }
            Action::DeleteClaim(claim) => {
                self.claims.remove(claim.metadata.name.as_deref().unwrap());
            }
            Action::SetStatus(status) => self.set.status = Some(*status),
            Action::Label(..) | Action::OwnClaim(..) | Action::LookAgain(_) => {}
        }
    }

    fn claim(&mut self, claims: Vec<PersistentVolumeClaim>) {
        let named = claims.into_iter().map(|claim| (claim.metadata.name.clone().unwrap(), Arc::new(claim)));
        self.claims.extend(named);
    }

    /// Starts pods and ends those that are being deleted; `ready` of them at most.
    fn kubelet(&mut self, ready: usize) {
        let mut budget = ready;
        self.pods.retain(|pod| {
            let goes = pod::is_terminating(pod) && budget > 0;
            budget -= usize::from(goes);
            !goes
        });
        for pod in &mut self.pods {
            if !pod::is_ready(pod) && !pod::is_terminating(pod) && budget > 0 {
                budget -= 1;
                let mut started = Pod::clone(pod);
                started.status = pod_named("x").ready_at("2026-01-01T00:00:00Z").build().status;
                *pod = Arc::new(started);
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            let before = self.pods.clone();
            let actions = self.step();
            self.kubelet(100);
            if actions.is_empty() && before == self.pods {
                return;
            }
        }
        panic!("never comes to rest: {:?}", self.plan());
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
        names.sort();
        names
    }

    fn set_image(&mut self, image: &str) {
        let spec = self.set.spec.as_mut().unwrap();
        spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
        self.set.metadata.generation = self.set.metadata.generation.map(|generation| generation + 1);
    }

    fn images(&self) -> Vec<String> {
        let mut pods: Vec<_> = self.pods.iter().collect();
        pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        pods.iter().map(|pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap()).collect()
    }
}

#[test]
fn pods_come_one_after_the_other_with_names_claims_and_host_names() {
    let mut cluster = Cluster::new(set(3, "OrderedReady"));
    cluster.step();
    assert_eq!(cluster.revisions.len(), 1);
    cluster.step();
    assert_eq!(cluster.names(), ["db-0"]);
    cluster.step();
    assert_eq!(cluster.names(), ["db-0"], "the first is not ready");
    let pod = &cluster.pods[0];
    let labels = pod.metadata.labels.clone().unwrap();
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "db-0");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "0");
    assert_eq!(Some(&labels["controller-revision-hash"]), cluster.revisions[0].metadata.name.as_ref());
    let spec = pod.spec.clone().unwrap();
    assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("db-0"), Some("db")));
    assert_eq!(spec.volumes.unwrap()[0].persistent_volume_claim.clone().unwrap().claim_name, "data-db-0");
    cluster.settle();
    assert_eq!(cluster.names(), ["db-0", "db-1", "db-2"]);
    assert_eq!(cluster.claims.keys().collect::<Vec<_>>(), ["data-db-0", "data-db-1", "data-db-2"]);
    let status = cluster.set.status.clone().unwrap();
    assert_eq!(
        (status.ready_replicas, status.updated_replicas, status.current_replicas),
        (Some(3), Some(3), Some(3))
    );
    assert_eq!(cluster.plan(), []);
}

#[test]
fn parallel_sets_start_all_at_once() {
    let mut cluster = Cluster::new(set(4, "Parallel"));
    cluster.step();
    cluster.step();
    assert_eq!(cluster.names().len(), 4);
}

#[test]
fn shrinking_takes_the_highest_number_and_keeps_its_claim() {
    let mut cluster = Cluster::new(set(3, "OrderedReady"));
    cluster.settle();
    cluster.set.spec.as_mut().unwrap().replicas = Some(1);
    cluster.step();
    let going: Vec<_> = cluster.pods.iter().filter(|pod| pod::is_terminating(pod)).collect();
    assert_eq!(going.len(), 1);
    assert_eq!(going[0].metadata.name.as_deref(), Some("db-2"));
    cluster.settle();
    assert_eq!(cluster.names(), ["db-0"]);
    assert_eq!(cluster.claims.len(), 3);
}

#[test]
fn with_the_retention_policy_delete_claims_go_when_scaled_away() {
    let mut wanted = set(3, "OrderedReady");
    let policy = json!({"whenDeleted": "Retain", "whenScaled": "Delete"});
    wanted.spec.as_mut().unwrap().persistent_volume_claim_retention_policy =
        serde_json::from_value(policy).unwrap();
    let mut cluster = Cluster::new(wanted);
    cluster.settle();
    cluster.set.spec.as_mut().unwrap().replicas = Some(1);
    cluster.settle();
    assert_eq!(cluster.claims.keys().collect::<Vec<_>>(), ["data-db-0"]);
}

#[test]
fn an_update_runs_from_the_top_down_to_the_partition() {
    let mut cluster = Cluster::new(set(3, "OrderedReady"));
    cluster.settle();
    let rolling = cluster.set.spec.as_mut().unwrap().update_strategy.as_mut().unwrap();
    rolling.rolling_update.as_mut().unwrap().partition = Some(1);
    cluster.set_image("b");
    cluster.settle();
    assert_eq!(cluster.images(), ["a", "b", "b"]);
    let status = cluster.set.status.clone().unwrap();
    assert_ne!(status.current_revision, status.update_revision);
    let rolling = cluster.set.spec.as_mut().unwrap().update_strategy.as_mut().unwrap();
    rolling.rolling_update.as_mut().unwrap().partition = Some(0);
    cluster.settle();
    assert_eq!(cluster.images(), ["b", "b", "b"]);
    let status = cluster.set.status.clone().unwrap();
    assert_eq!(status.current_revision, status.update_revision);
    cluster.set_image("a");
    cluster.settle();
    assert_eq!(cluster.revisions.len(), 2, "the old revision is used again");
    assert_eq!(cluster.images(), ["a", "a", "a"]);
}

#[test]
fn a_failed_pod_is_replaced_under_its_name() {
    let mut cluster = Cluster::new(set(2, "OrderedReady"));
    cluster.settle();
    let mut failed = Pod::clone(&cluster.pods[1]);
    failed.status.as_mut().unwrap().phase = Some("Failed".into());
    cluster.pods[1] = Arc::new(failed);
    let actions = cluster.step();
    assert!(
        matches!(&actions[0], Action::Delete(pod) if pod.metadata.name.as_deref() == Some("db-1")),
        "{actions:?}"
    );
    cluster.settle();
    assert_eq!(cluster.names(), ["db-0", "db-1"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn order_is_kept_through_any_scaling_and_updating(
        edits in proptest::collection::vec((0_i32..6, 0_u8..2, 0_usize..3), 1..12)
    ) {
        let mut cluster = Cluster::new(set(3, "OrderedReady"));
        for (replicas, image, ready) in edits {
            cluster.set.spec.as_mut().unwrap().replicas = Some(replicas);
            cluster.set_image(&format!("i{image}"));
            for _ in 0..3 {
                let before = cluster.pods.clone();
                let actions = cluster.step();
                let creations = actions.iter().filter(|action| matches!(action, Action::Create(..))).count();
                let deletions = actions.iter().filter(|action| matches!(action, Action::Delete(_))).count();
                prop_assert!(creations + deletions <= 1, "{:?}", actions);
                for action in &actions {
                    let Action::Create(_, pod) = action else { continue };
                    let number = ordinal(&cluster.set, pod).unwrap();
                    let healthy_below = before.iter().filter(|held| {
                        pod::is_ready(held) && ordinal(&cluster.set, held).unwrap() < number
                    });
                    prop_assert_eq!(healthy_below.count(), usize::try_from(number).unwrap());
                }
                cluster.kubelet(ready);
            }
        }
        cluster.settle();
        let wanted = cluster.set.spec.as_ref().unwrap().replicas.unwrap();
        prop_assert_eq!(cluster.pods.len(), usize::try_from(wanted).unwrap());
        prop_assert_eq!(cluster.plan(), []);
    }
}
