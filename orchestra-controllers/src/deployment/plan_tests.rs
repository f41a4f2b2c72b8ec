use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn deployment(replicas: i32, image: &str) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "d", "generation": 1},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                 "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                 "template": {"metadata": {"labels": {"app": "web"}},
                              "spec": {"containers": [{"name": "c", "image": image}]}}},
    }))
    .unwrap()
}

/// A server and a ReplicaSet controller in miniature.
struct Cluster {
    deployment: Deployment,
    sets: Vec<Arc<ReplicaSet>>,
    clock: i64,
    writes: usize,
}

impl Cluster {
    fn new(deployment: Deployment) -> Self {
        Self { deployment, sets: Vec::new(), clock: 1_767_225_600, writes: 0 }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.clock).unwrap()
    }

    fn plan(&self) -> Vec<Action> {
        plan(&Observed {
            deployment: &self.deployment,
            sets: &self.sets,
            pods: &[],
            settled: true,
            now: self.now(),
        })
    }

    fn step(&mut self) -> usize {
        let actions = self.plan();
        let mut writes = 0;
        for action in actions {
            writes += usize::from(!matches!(action, Action::LookAgain(_)));
            self.perform(action);
        }
        self.clock += 1;
        self.writes += writes;
        writes
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::CreateSet(set) => {
                let mut set = *set;
                set.metadata.uid = set.metadata.name.clone();
                set.metadata.creation_timestamp = Some(Time(self.now()));
                set.metadata.generation = Some(1);
                assert!(
                    self.sets.iter().all(|held| held.metadata.name != set.metadata.name),
                    "created twice"
                );
                self.sets.push(Arc::new(set));
            }
            Action::ChangeSet(set, change) => {
                let held = self.sets.iter_mut().find(|held| held.metadata.uid == set.metadata.uid).unwrap();
                let mut new = ReplicaSet::clone(held);
                new.metadata.annotations.get_or_insert_default().extend(change.annotations);
                let spec = new.spec.get_or_insert_default();
                if let Some(replicas) = change.replicas {
                    spec.replicas = Some(replicas);
                }
                if let Some(seconds) = change.min_ready_seconds {
                    spec.min_ready_seconds = Some(seconds);
                }
                *held = Arc::new(new);
            }
            Action::DeleteSet(set) => self.sets.retain(|held| held.metadata.uid != set.metadata.uid),
            Action::SetStatus { status, revision } => {
                self.deployment.status = Some(*status);
                if let Some(revision) = revision {
                    let annotations = self.deployment.metadata.annotations.get_or_insert_default();
                    annotations.insert(REVISION.into(), revision);
                }
            }
            Action::LookAgain(_) => {}
        }
    }

    /// The sets' pods are there; `ready` more of them become available.
    fn pods_follow(&mut self, mut ready: i32) {
        for set in &mut self.sets {
            let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
            let before =
                set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0).min(wanted);
            let more = (wanted - before).min(ready);
            ready -= more;
            let available = before + more;
            let mut new = ReplicaSet::clone(set);
            new.status = Some(ReplicaSetStatus {
                replicas: wanted,
                ready_replicas: pod::unless_zero(available),
                available_replicas: pod::unless_zero(available),
                terminating_replicas: Some(0),
                observed_generation: Some(1),
                ..ReplicaSetStatus::default()
            });
            *set = Arc::new(new);
        }
    }

    fn settle(&mut self) {
        for _ in 0..60 {
            let writes = self.step();
            let before = self.sets.clone();
            self.pods_follow(1000);
            if writes == 0 && before == self.sets {
                return;
            }
        }
        panic!("never comes to rest: {:?}", self.plan());
    }

    fn total(&self) -> i32 {
        self.sets.iter().filter_map(|set| set.spec.as_ref()?.replicas).sum()
    }

    fn available(&self) -> i32 {
        let available = |set: &Arc<ReplicaSet>| {
            let wanted = set.spec.as_ref()?.replicas?;
            Some(set.status.as_ref()?.available_replicas?.min(wanted))
        };
        self.sets.iter().filter_map(available).sum()
    }

    fn reason(&self, type_: &str) -> String {
        let conditions =
            self.deployment.status.as_ref().and_then(|status| status.conditions.as_ref()).unwrap();
        conditions
            .iter()
            .find(|condition| condition.type_ == type_)
            .and_then(|c| c.reason.clone())
            .unwrap_or_default()
    }

    fn edit(&mut self, change: impl FnOnce(&mut k8s_openapi::api::apps::v1::DeploymentSpec)) {
        change(self.deployment.spec.as_mut().unwrap());
        let generation = self.deployment.metadata.generation.unwrap();
        self.deployment.metadata.generation = Some(generation + 1);
    }

    fn set_image(&mut self, image: &str) {
        self.edit(|spec| spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.into()));
    }

    fn active(&self) -> Vec<&Arc<ReplicaSet>> {
        self.sets.iter().filter(|set| set.spec.as_ref().unwrap().replicas != Some(0)).collect()
    }
}

fn annotation<'a>(set: &'a ReplicaSet, key: &str) -> Option<&'a str> {
    set.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

#[test]
fn the_first_rollout_creates_one_set_of_full_size_and_becomes_available() {
    let mut cluster = Cluster::new(deployment(3, "a"));
    cluster.step();
    assert_eq!(cluster.reason("Progressing"), "NewReplicaSetCreated");
    assert_eq!(cluster.reason("Available"), "MinimumReplicasUnavailable");
    cluster.settle();
    assert_eq!((cluster.sets.len(), cluster.total()), (1, 3));
    assert_eq!(cluster.reason("Progressing"), "NewReplicaSetAvailable");
    assert_eq!(cluster.reason("Available"), "MinimumReplicasAvailable");
    let set = &cluster.sets[0];
    assert_eq!(annotation(set, "deployment.kubernetes.io/desired-replicas"), Some("3"));
    assert_eq!(annotation(set, "deployment.kubernetes.io/max-replicas"), Some("4"));
    assert_eq!(annotation(set, REVISION), Some("1"));
    let hash = set.metadata.labels.as_ref().unwrap()["pod-template-hash"].clone();
    assert_eq!(set.metadata.name, Some(format!("web-{hash}")));
    let status = cluster.deployment.status.clone().unwrap();
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!((status.replicas, status.unavailable_replicas), (Some(3), None));
    assert_eq!(cluster.plan(), []);
}

#[test]
fn a_changed_template_rolls_over_and_undo_reuses_the_old_set() {
    let mut cluster = Cluster::new(deployment(4, "a"));
    cluster.settle();
    cluster.set_image("b");
    cluster.settle();
    assert_eq!(cluster.sets.len(), 2);
    assert_eq!(cluster.deployment.metadata.annotations.as_ref().unwrap()[REVISION], "2");
    cluster.set_image("a");
    cluster.settle();
    assert_eq!(cluster.sets.len(), 2, "no third set");
    assert_eq!(cluster.deployment.metadata.annotations.as_ref().unwrap()[REVISION], "3");
    let active = cluster.active();
    assert_eq!(annotation(active[0], REVISION), Some("3"));
    assert_eq!(annotation(active[0], "deployment.kubernetes.io/revision-history"), Some("1"));
}

#[test]
fn a_finished_rollout_names_its_own_set_even_if_nothing_was_written_on_the_way() {
    let mut cluster = Cluster::new(deployment(1, "a"));
    cluster.settle();
    let before = cluster.deployment.status.clone();
    cluster.set_image("b");
    cluster.settle();
    let new = cluster.active()[0].metadata.name.clone().unwrap();
    cluster.deployment.status = before;
    cluster.settle();
    let status = cluster.deployment.status.as_ref().unwrap();
    let condition = status.conditions.iter().flatten().find(|condition| condition.type_ == "Progressing");
    let message = condition.unwrap().message.as_deref();
    assert_eq!(message, Some(format!("ReplicaSet \"{new}\" has successfully progressed.").as_str()));
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut cluster = Cluster::new(deployment(2, "a"));
    cluster.settle();
    cluster.edit(|spec| spec.paused = Some(true));
    cluster.set_image("b");
    cluster.edit(|spec| spec.replicas = Some(5));
    cluster.settle();
    assert_eq!((cluster.sets.len(), cluster.total()), (1, 5));
    assert_eq!(cluster.reason("Progressing"), "DeploymentPaused");
    cluster.edit(|spec| spec.paused = Some(false));
    cluster.settle();
    assert_eq!((cluster.sets.len(), cluster.total()), (2, 5));
    assert_eq!(cluster.reason("Progressing"), "NewReplicaSetAvailable");
}

#[test]
fn a_rollout_that_stands_still_exceeds_its_deadline() {
    let mut cluster = Cluster::new(deployment(2, "a"));
    cluster.edit(|spec| spec.progress_deadline_seconds = Some(10));
    cluster.step();
    cluster.pods_follow(0);
    cluster.step();
    let again = cluster.plan();
    assert!(matches!(again[..], [Action::LookAgain(_)]), "{again:?}");
    cluster.clock += 12;
    cluster.step();
    assert_eq!(cluster.reason("Progressing"), "ProgressDeadlineExceeded");
    assert_eq!(cluster.plan(), []);
    cluster.settle();
    assert_eq!(cluster.reason("Progressing"), "NewReplicaSetAvailable");
}

#[test]
fn recreate_starts_nothing_before_the_last_old_pod_is_gone() {
    let mut cluster = Cluster::new(deployment(3, "a"));
    cluster.edit(|spec| {
        let strategy = spec.strategy.get_or_insert_default();
        (strategy.type_, strategy.rolling_update) = (Some("Recreate".into()), None);
    });
    cluster.settle();
    cluster.set_image("b");
    cluster.step();
    assert_eq!((cluster.sets.len(), cluster.total()), (1, 0));
    cluster.step();
    assert_eq!(cluster.sets.len(), 1, "its pods are still counted");
    cluster.pods_follow(0);
    let owner = cluster.sets[0].clone();
    let mut last = crate::testing::pod_named("last").running().terminating().build();
    last.metadata.owner_references = Some(vec![controller_reference(&*owner)]);
    let pods = [Arc::new(last)];
    let observed = Observed {
        deployment: &cluster.deployment,
        sets: &cluster.sets,
        pods: &pods,
        settled: true,
        now: cluster.now(),
    };
    let actions = plan(&observed);
    assert!(!actions.iter().any(|action| matches!(action, Action::CreateSet(_))), "{actions:?}");
    cluster.settle();
    assert_eq!((cluster.sets.len(), cluster.total()), (2, 3));
}

/// Found by a storm: its controller was just making pods, which nobody had seen, and made them after it was told to have none.
#[test]
fn recreate_starts_nothing_before_the_old_set_has_answered_that_it_has_no_pods() {
    let mut cluster = Cluster::new(deployment(3, "a"));
    cluster.edit(|spec| {
        let strategy = spec.strategy.get_or_insert_default();
        (strategy.type_, strategy.rolling_update) = (Some("Recreate".into()), None);
    });
    cluster.step();
    cluster.set_image("b");
    cluster.step();
    assert_eq!((cluster.sets.len(), cluster.total()), (1, 0));
    let mut shrunk = ReplicaSet::clone(&cluster.sets[0]);
    shrunk.metadata.generation = Some(2);
    shrunk.status = Some(ReplicaSetStatus { observed_generation: Some(1), ..ReplicaSetStatus::default() });
    cluster.sets[0] = Arc::new(shrunk.clone());
    cluster.step();
    assert_eq!(cluster.sets.len(), 1, "what its status counts was before it shrank");
    shrunk.status.get_or_insert_default().observed_generation = Some(2);
    cluster.sets[0] = Arc::new(shrunk);
    cluster.step();
    assert_eq!((cluster.sets.len(), cluster.total()), (2, 3));
}

/// Found by a storm: the set was shrunk, its pods were on their way out, and its status did not say so yet.
#[test]
fn old_sets_are_not_shrunk_for_pods_that_are_on_their_way_out() {
    let mut cluster = Cluster::new(deployment(6, "a"));
    cluster.settle();
    cluster.set_image("b");
    cluster.step();
    assert_eq!(sizes(&cluster), [5, 2]);
    // The new pods are there at once; of the old set nobody has heard since.
    let mut new = ReplicaSet::clone(&cluster.sets[1]);
    new.status = Some(ReplicaSetStatus {
        replicas: 2,
        ready_replicas: Some(2),
        available_replicas: Some(2),
        ..ReplicaSetStatus::default()
    });
    cluster.sets[1] = Arc::new(new);
    cluster.step();
    assert_eq!(
        sizes(&cluster),
        [3, 3],
        "three old pods and two new ones are left available: one less than six"
    );
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    let mut cluster = Cluster::new(deployment(10, "a"));
    cluster.edit(|spec| {
        let rolling = spec.strategy.get_or_insert_default().rolling_update.get_or_insert_default();
        rolling.max_surge = Some(IntOrString::Int(3));
        rolling.max_unavailable = Some(IntOrString::Int(2));
    });
    cluster.settle();
    cluster.set_image("b");
    cluster.step();
    cluster.pods_follow(0);
    cluster.step();
    assert_eq!(sizes(&cluster), [8, 5]);
    cluster.edit(|spec| spec.replicas = Some(15));
    cluster.step();
    assert_eq!(sizes(&cluster), [11, 7]);
}

fn sizes(cluster: &Cluster) -> Vec<i32> {
    cluster.sets.iter().map(|set| set.spec.as_ref().unwrap().replicas.unwrap()).collect()
}

#[test]
fn keeps_only_as_much_history_as_wished() {
    let mut cluster = Cluster::new(deployment(1, "a"));
    cluster.edit(|spec| spec.revision_history_limit = Some(2));
    for image in ["b", "c", "d", "e"] {
        cluster.settle();
        cluster.set_image(image);
    }
    cluster.settle();
    assert_eq!(cluster.sets.len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn surge_and_unavailable_bounds_are_never_broken(
        replicas in 1_i32..12, surge in 0_i32..4, unavailable in 0_i32..4,
        readiness in proptest::collection::vec(0_i32..5, 1..30),
    ) {
        prop_assume!(surge + unavailable > 0);
        let mut cluster = Cluster::new(deployment(replicas, "a"));
        cluster.edit(|spec| {
            let rolling = spec.strategy.get_or_insert_default().rolling_update.get_or_insert_default();
            rolling.max_surge = Some(IntOrString::Int(surge));
            rolling.max_unavailable = Some(IntOrString::Int(unavailable));
        });
        cluster.settle();
        cluster.set_image("b");
        for ready in readiness {
            cluster.step();
            prop_assert!(cluster.total() <= replicas + surge, "{} pods", cluster.total());
            prop_assert!(cluster.available() >= replicas - unavailable, "{} available", cluster.available());
            cluster.pods_follow(ready);
        }
        cluster.settle();
        prop_assert_eq!(cluster.total(), replicas);
        prop_assert_eq!(cluster.active().len(), 1);
        prop_assert_eq!(cluster.plan(), []);
    }

    #[test]
    fn any_sequence_of_edits_comes_to_rest(
        edits in proptest::collection::vec((0_i32..8, 0_u8..3, any::<bool>(), 0_i32..6), 1..8)
    ) {
        let mut cluster = Cluster::new(deployment(3, "a"));
        for (replicas, image, paused, ready) in edits {
            cluster.edit(|spec| (spec.replicas, spec.paused) = (Some(replicas), Some(paused)));
            cluster.set_image(&format!("i{image}"));
            cluster.step();
            cluster.pods_follow(ready);
        }
        cluster.edit(|spec| spec.paused = Some(false));
        cluster.settle();
        let wanted = cluster.deployment.spec.as_ref().unwrap().replicas.unwrap();
        prop_assert_eq!(cluster.total(), wanted);
        prop_assert_eq!(cluster.plan(), []);
    }
}
