use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodStatus;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::spec::{FINALIZER, INDEX};
use super::*;

/// A Job, its pods, and the clock, moved on by the plan and by the tests.
struct Stage {
    job: Job,
    pods: Vec<Arc<Pod>>,
    now: Timestamp,
    born: usize,
    told: Vec<Fate>,
}

fn stage(spec: Value) -> Stage {
    let mut whole = json!({"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
        "suspend": false, "podReplacementPolicy": "TerminatingOrFailed",
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main"}]}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let job = json!({"metadata": {"name": "work", "namespace": "default", "uid": "j"}, "spec": whole});
    Stage {
        job: serde_json::from_value(job).unwrap(),
        pods: Vec::new(),
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        born: 0,
        told: Vec::new(),
    }
}

impl Stage {
    fn plan(&self) -> Vec<Action> {
        plan(&Observed { job: &self.job, pods: &self.pods, settled: true, refused: false, now: self.now })
    }

    /// Does what the plan says until it says no more, or until so many single steps are done.
    fn settle_within(&mut self, mut steps: usize) -> Option<Duration> {
        for _ in 0..50 {
            let actions = self.plan();
            if actions.iter().all(|action| matches!(action, Action::LookAgain(_))) {
                return actions.iter().find_map(|action| match action {
                    Action::LookAgain(wait) => Some(*wait),
                    _ => None,
                });
            }
            for action in actions {
                if steps == 0 {
                    return None;
                }
                steps -= 1;
                self.act(action);
            }
        }
        panic!("never comes to rest: {:#?}", self.plan());
    }

    fn settle(&mut self) -> Option<Duration> {
        self.settle_within(usize::MAX)
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Create(pods) => {
                for mut pod in pods {
                    let name = format!("{}{}", pod.metadata.generate_name.clone().unwrap(), self.born);
                    self.born += 1;
                    pod.metadata.uid = Some(name.clone());
                    pod.metadata.name = Some(name);
                    pod.metadata.creation_timestamp = Some(Time(self.now));
                    pod.status = Some(PodStatus { phase: Some("Pending".into()), ..PodStatus::default() });
                    self.pods.push(Arc::new(pod));
                }
            }
            Action::Discard(pods) => {
                self.act(Action::Release(pods.clone()));
                self.act(Action::Delete(pods));
            }
            Action::Delete(pods) => {
                let now = self.now;
                for pod in pods {
                    self.change(pod.uid(), |pod| pod.metadata.deletion_timestamp = Some(Time(now)));
                }
            }
            Action::Release(pods) => {
                for pod in pods {
                    self.change(pod.uid(), |pod| {
                        pod.metadata.finalizers.get_or_insert_default().retain(|held| held != FINALIZER);
                    });
                }
            }
            Action::SetStatus(status) => self.job.status = Some(*status),
            Action::Tell(fate) => self.told.push(fate),
            Action::LookAgain(_) => {}
        }
    }

    fn change(&mut self, uid: &str, change: impl Fn(&mut Pod)) {
        for pod in self.pods.iter_mut().filter(|pod| pod.uid() == uid) {
            change(Arc::make_mut(pod));
        }
    }

    fn end(&mut self, number: usize, code: i32) {
        let Some(uid) = self.pods.get(number).map(|pod| pod.uid().to_owned()) else { return };
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        let status = json!({"phase": phase, "containerStatuses": [{"name": "main", "image": "", "imageID": "",
            "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "finishedAt": Time(self.now)}}}]});
        self.change(&uid, |pod| pod.status = serde_json::from_value(status.clone()).unwrap());
    }

    /// What was told to end has ended, and is gone if it need not be counted.
    fn sweep(&mut self) {
        let going: Vec<usize> = (0..self.pods.len()).filter(|&number| is_going(&self.pods[number])).collect();
        going.into_iter().for_each(|number| self.end(number, 137));
        self.pods.retain(|pod| !pod::is_terminating(pod) || is_tracked(pod));
    }

    fn active(&self) -> Vec<usize> {
        (0..self.pods.len()).filter(|&number| pod::is_active(&self.pods[number])).collect()
    }

    fn status(&self) -> JobStatus {
        self.job.status.clone().unwrap_or_default()
    }

    fn ended_by(&self) -> Vec<(String, String)> {
        let conditions = self.status().conditions.unwrap_or_default().into_iter();
        conditions.map(|held| (held.type_, held.reason.unwrap_or_default())).collect()
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn says(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(type_, reason)| ((*type_).to_owned(), (*reason).to_owned())).collect()
}

#[test]
fn a_job_runs_its_pods_a_few_at_a_time_and_completes() {
    let mut stage = stage(json!({"completions": 3, "parallelism": 2}));
    stage.settle();
    assert_eq!(stage.active().len(), 2);
    let status = stage.status();
    assert_eq!((status.active, status.ready, status.terminating), (Some(2), Some(0), Some(0)));
    assert_eq!(status.start_time, Some(Time(stage.now)));
    stage.end(0, 0);
    stage.settle();
    assert_eq!((stage.active().len(), stage.status().succeeded), (2, Some(1)));
    stage.end(1, 0);
    stage.settle();
    assert_eq!((stage.active().len(), stage.status().succeeded), (1, Some(2)));
    stage.pass(5);
    stage.end(2, 0);
    stage.settle();
    let status = stage.status();
    assert_eq!((status.active, status.succeeded, status.failed), (None, Some(3), None));
    assert_eq!(status.completion_time, Some(Time(stage.now)));
    assert_eq!(status.uncounted_terminated_pods, Some(Default::default()));
    assert_eq!(
        stage.ended_by(),
        says(&[("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")])
    );
    assert_eq!(stage.told, [Fate::Completed]);
    assert!(stage.pods.iter().all(|pod| !is_tracked(pod)));
}

#[test]
fn a_pod_is_named_in_the_status_before_its_finalizer_goes_and_counted_after() {
    let mut stage = stage(json!({"completions": 2}));
    stage.settle();
    stage.end(0, 0);
    // First the next pod; then the count.
    assert!(matches!(&stage.plan()[..], [Action::Create(_)]));
    stage.settle_within(1);
    let actions = stage.plan();
    let [Action::SetStatus(before), Action::Release(pods), Action::SetStatus(after)] = &actions[..] else {
        panic!("{actions:#?}")
    };
    let uncounted = before.uncounted_terminated_pods.clone().unwrap();
    assert_eq!((uncounted.succeeded, before.succeeded), (Some(vec![pods[0].uid().to_owned()]), None));
    assert_eq!(
        (after.uncounted_terminated_pods.clone(), after.succeeded),
        (Some(Default::default()), Some(1))
    );
}

#[test]
fn failed_pods_are_replaced_ever_later_until_the_limit_is_passed() {
    let mut stage = stage(json!({"backoffLimit": 2}));
    let mut waits = Vec::new();
    for number in 0..3 {
        stage.settle();
        stage.end(number, 1);
        let wait = stage.settle();
        waits.push(wait.map(|wait| wait.as_secs()));
        stage.pass(wait.map_or(0, |wait| wait.as_secs()));
    }
    assert_eq!(waits, [Some(10), Some(20), None]);
    assert_eq!((stage.status().failed, stage.born), (Some(3), 3));
    let reason = "BackoffLimitExceeded";
    assert_eq!(stage.ended_by(), says(&[("FailureTarget", reason), ("Failed", reason)]));
    let message = "Job has reached the specified backoff limit".to_owned();
    assert_eq!(stage.told, [Fate::Failed { reason: reason.into(), message }]);
    assert_eq!(stage.status().completion_time, None);
}

#[test]
fn a_failed_job_waits_for_its_pods_to_be_gone() {
    let mut stage = stage(json!({"completions": 3, "parallelism": 3, "backoffLimit": 0}));
    stage.settle();
    stage.end(1, 1);
    stage.settle();
    let status = stage.status();
    assert_eq!((status.active, status.failed, status.terminating), (None, Some(3), Some(2)));
    assert_eq!(stage.ended_by(), says(&[("FailureTarget", "BackoffLimitExceeded")]));
    stage.sweep();
    stage.settle();
    assert_eq!(stage.ended_by()[1], ("Failed".to_owned(), "BackoffLimitExceeded".to_owned()));
    assert_eq!((stage.status().failed, stage.status().terminating), (Some(3), Some(0)));
}

#[test]
fn a_job_past_its_deadline_fails() {
    let mut stage = stage(json!({"activeDeadlineSeconds": 30}));
    assert_eq!(stage.settle(), Some(Duration::from_secs(30)));
    stage.pass(30);
    stage.settle();
    stage.sweep();
    stage.settle();
    assert_eq!(stage.ended_by()[1], ("Failed".to_owned(), "DeadlineExceeded".to_owned()));
}

#[test]
fn restarts_in_place_count_too() {
    let template = json!({"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "main"}]}});
    let mut stage = stage(json!({"backoffLimit": 2, "template": template}));
    stage.settle();
    let uid = stage.pods[0].uid().to_owned();
    let restarted = |count: i32| {
        json!({"phase": "Running", "containerStatuses": [{"name": "main", "image": "", "imageID": "",
            "ready": true, "restartCount": count}]})
    };
    stage.change(&uid, |pod| pod.status = serde_json::from_value(restarted(1)).unwrap());
    stage.settle();
    assert_eq!(stage.ended_by(), []);
    stage.change(&uid, |pod| pod.status = serde_json::from_value(restarted(2)).unwrap());
    stage.settle();
    assert_eq!(stage.ended_by(), says(&[("FailureTarget", "BackoffLimitExceeded")]));
}

#[test]
fn indexes_complete_each_once_whatever_the_order() {
    let mut stage = stage(json!({"completionMode": "Indexed", "completions": 5, "parallelism": 3}));
    stage.settle();
    let indexes: Vec<i32> = stage.pods.iter().map(|pod| number(pod, INDEX)).collect();
    assert_eq!(indexes, [0, 1, 2]);
    stage.end(1, 0);
    stage.end(2, 0);
    stage.settle();
    assert_eq!(stage.status().completed_indexes.as_deref(), Some("1,2"));
    let indexes: Vec<i32> = stage.pods.iter().skip(3).map(|pod| number(pod, INDEX)).collect();
    assert_eq!(indexes, [3, 4]);
    for number in [0, 3, 4] {
        stage.end(number, 0);
    }
    stage.settle();
    assert_eq!(stage.status().completed_indexes.as_deref(), Some("0-4"));
    assert_eq!(stage.status().succeeded, Some(5));
    assert_eq!(stage.ended_by()[1].0, "Complete");
}

#[test]
fn each_index_has_a_limit_of_its_own() {
    let mut stage = stage(json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2,
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": 1}));
    stage.settle();
    stage.end(1, 0);
    stage.end(0, 1);
    assert_eq!(stage.settle(), Some(Duration::from_secs(10)));
    // The failed pod stays until its successor knows of its failure.
    assert!(is_tracked(&stage.pods[0]));
    stage.pass(10);
    stage.settle();
    assert!(!is_tracked(&stage.pods[0]));
    assert_eq!((number(&stage.pods[2], INDEX), number(&stage.pods[2], FAILURES)), (0, 1));
    stage.end(2, 1);
    stage.settle();
    let status = stage.status();
    assert_eq!(
        (status.completed_indexes.as_deref(), status.failed_indexes.as_deref()),
        (Some("1"), Some("0"))
    );
    assert_eq!(stage.ended_by()[1], ("Failed".to_owned(), "FailedIndexes".to_owned()));
}

#[test]
fn too_many_failed_indexes_end_the_job_early() {
    let mut stage = stage(json!({"completionMode": "Indexed", "completions": 4, "parallelism": 4,
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": 0, "maxFailedIndexes": 1}));
    stage.settle();
    stage.end(3, 1);
    stage.settle();
    assert_eq!((stage.ended_by(), stage.status().failed_indexes.as_deref()), (Vec::new(), Some("3")));
    stage.end(0, 1);
    stage.settle();
    assert_eq!(stage.ended_by(), says(&[("FailureTarget", "MaxFailedIndexesExceeded")]));
    assert_eq!(stage.status().failed_indexes.as_deref(), Some("0,3"));
}

#[test]
fn a_failure_policy_ignores_some_failures_and_ends_the_job_at_others() {
    let rule = |action: &str, code: i32| json!({"action": action, "onExitCodes": {"operator": "In", "values": [code]}});
    let rules = json!({"rules": [rule("Ignore", 3), rule("FailJob", 42)]});
    let mut stage =
        stage(json!({"backoffLimit": 0, "podFailurePolicy": rules, "podReplacementPolicy": "Failed"}));
    stage.settle();
    stage.end(0, 3);
    stage.settle();
    assert_eq!((stage.status().failed, stage.ended_by()), (None, Vec::new()));
    stage.pass(600);
    stage.settle();
    assert_eq!(stage.born, 2);
    stage.end(1, 42);
    stage.settle();
    assert_eq!(
        stage.ended_by(),
        says(&[("FailureTarget", "PodFailurePolicy"), ("Failed", "PodFailurePolicy")])
    );
    assert_eq!(stage.status().failed, Some(1));
}

#[test]
fn a_success_policy_ends_the_job_before_all_indexes_are_done() {
    let policy = json!({"rules": [{"succeededIndexes": "1"}]});
    let mut stage = stage(
        json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3, "successPolicy": policy}),
    );
    stage.settle();
    stage.end(1, 0);
    stage.settle();
    assert_eq!(stage.ended_by(), says(&[("SuccessCriteriaMet", "SuccessPolicy")]));
    assert_eq!((stage.status().terminating, stage.active().len()), (Some(2), 0));
    stage.sweep();
    stage.settle();
    assert_eq!(stage.ended_by()[1], ("Complete".to_owned(), "SuccessPolicy".to_owned()));
    assert_eq!((stage.status().succeeded, stage.status().failed), (Some(1), None));
}

#[test]
fn terminating_pods_are_replaced_at_once_or_when_they_have_failed() {
    for (policy, born) in [("TerminatingOrFailed", 2), ("Failed", 1)] {
        let mut stage = stage(json!({"podReplacementPolicy": policy}));
        stage.settle();
        let (uid, now) = (stage.pods[0].uid().to_owned(), stage.now);
        stage.change(&uid, |pod| pod.metadata.deletion_timestamp = Some(Time(now)));
        stage.settle();
        stage.pass(10);
        stage.settle();
        assert_eq!(stage.born, born, "{policy}");
        stage.sweep();
        stage.settle();
        stage.pass(10);
        stage.settle();
        assert_eq!((stage.born, stage.status().failed), (2, Some(1)), "{policy}");
    }
}

#[test]
fn a_suspended_job_stops_and_starts_afresh() {
    let mut stage = stage(json!({"suspend": true, "activeDeadlineSeconds": 30}));
    stage.settle();
    assert_eq!(
        (stage.born, stage.status().start_time, stage.ended_by()),
        (0, None, says(&[("Suspended", "JobSuspended")]))
    );
    let suspend = |stage: &mut Stage, suspend| stage.job.spec.as_mut().unwrap().suspend = Some(suspend);
    suspend(&mut stage, false);
    stage.pass(60);
    stage.settle();
    assert_eq!((stage.active().len(), stage.status().start_time), (1, Some(Time(stage.now))));
    suspend(&mut stage, true);
    stage.settle();
    assert_eq!((stage.active().len(), stage.status().terminating), (0, Some(1)));
    stage.sweep();
    stage.settle();
    // Stopped pods are neither successes nor failures, and the deadline does not run.
    assert_eq!((stage.status().failed, stage.pods.len()), (None, 0));
    stage.pass(60);
    suspend(&mut stage, false);
    stage.settle();
    assert_eq!((stage.active().len(), stage.status().start_time), (1, Some(Time(stage.now))));
    assert_eq!(stage.told, [Fate::Suspended, Fate::Resumed, Fate::Suspended, Fate::Resumed]);
}

#[test]
fn a_work_queue_is_done_when_one_pod_has_succeeded_and_none_runs() {
    let mut stage = stage(json!({"completions": null, "parallelism": 2}));
    stage.settle();
    stage.end(0, 0);
    stage.settle();
    assert_eq!((stage.active().len(), stage.ended_by()), (1, Vec::new()));
    stage.end(1, 0);
    stage.settle();
    assert_eq!((stage.status().succeeded, stage.ended_by().len()), (Some(2), 2));
}

#[test]
fn less_parallelism_stops_pods_without_counting_them() {
    let mut stage = stage(json!({"completions": 5, "parallelism": 4}));
    stage.settle();
    stage.job.spec.as_mut().unwrap().parallelism = Some(1);
    stage.settle();
    stage.sweep();
    stage.settle();
    assert_eq!((stage.active().len(), stage.status().active, stage.status().failed), (1, Some(1), None));
}

#[test]
fn a_refused_pod_leaves_a_status_that_says_when_the_job_began() {
    let stage = stage(json!({}));
    let observed = Observed { job: &stage.job, pods: &[], settled: false, refused: true, now: stage.now };
    let actions = plan(&observed);
    let [Action::SetStatus(status)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(
        (status.start_time.clone(), status.active, status.ready),
        (Some(Time(stage.now)), None, Some(0))
    );
}

#[test]
fn the_jobs_of_others_and_finished_ones_are_left_alone() {
    let foreign = stage(json!({"managedBy": "example.com/kueue"}));
    assert_eq!(foreign.plan(), []);
    let ours = stage(json!({"managedBy": "kubernetes.io/job-controller"}));
    assert_eq!(ours.plan().len(), 1);
    let mut done = stage(json!({}));
    let conditions = json!([{"type": "Complete", "status": "True"}]);
    done.job.status.get_or_insert_default().conditions = serde_json::from_value(conditions).unwrap();
    assert_eq!(done.plan(), []);
}

proptest! {
    /// Whatever ends how and when, and wherever the controller dies, every pod that ended is counted once.
    #[test]
    fn every_pod_is_counted_exactly_once(
        moves in prop::collection::vec((0_usize..6, 0_i32..3, 0_usize..7), 1..40),
        is_indexed in any::<bool>(),
    ) {
        let mode = if is_indexed { "Indexed" } else { "NonIndexed" };
        let mut stage = stage(json!({"completions": 6, "parallelism": 3, "backoffLimit": 1000, "completionMode": mode}));
        let mut done: BTreeSet<String> = BTreeSet::new();
        for (which, code, steps) in moves {
            stage.settle_within(steps);
            let active = stage.active();
            if let Some(&number) = active.get(which) {
                done.insert(stage.pods[number].uid().to_owned());
                stage.end(number, code);
            }
            stage.pass(700);
        }
        for _ in 0..6 {
            stage.settle();
            if let Some(&number) = stage.active().first() {
                done.insert(stage.pods[number].uid().to_owned());
                stage.end(number, 0);
            }
        }
        stage.settle();
        stage.sweep();
        stage.settle();
        let ended = |phase: &str| stage.pods.iter().filter(|pod| pod::phase(pod) == phase && done.contains(pod.uid())).count();
        let status = stage.status();
        prop_assert_eq!(status.failed.unwrap_or(0), i32::try_from(ended("Failed")).unwrap());
        prop_assert_eq!(status.succeeded, Some(i32::try_from(ended("Succeeded")).unwrap()));
        prop_assert_eq!(status.succeeded, Some(6));
        prop_assert!(holds(&status, "Complete").is_some());
        prop_assert_eq!(stage.plan(), []);
        if is_indexed {
            prop_assert_eq!(status.completed_indexes.as_deref(), Some("0-5"));
        }
    }
}
