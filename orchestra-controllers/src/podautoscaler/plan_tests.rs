//! What the plan of an autoscaler says, for each kind of metric and each state of pods.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::memory::Memory;
use super::plan::{Decision, Observed, Rescale, Target, done, is_measured, plan, refused};
use super::readings::{PodReading, Reading};

/// The moment of every test.
fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn autoscaler(metrics: Value) -> HorizontalPodAutoscaler {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"minReplicas": 1, "maxReplicas": 10, "metrics": metrics,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    }))
    .unwrap()
}

fn cpu(percent: i32) -> Value {
    json!([{"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": percent}}}])
}

/// A pod that requests a tenth of a processor, in this phase, ready or not since its start an hour ago.
fn pod(name: &str, phase: &str, ready: &str) -> Arc<Pod> {
    let hour = "2026-03-01T11:00:00Z";
    let pod = json!({
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "100m"}}}]},
        "status": {"phase": phase, "startTime": hour,
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": hour}]},
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn ready(count: usize) -> Vec<Arc<Pod>> {
    (0..count).map(|at| pod(&format!("p{at}"), "Running", "True")).collect()
}

/// What the first pods were measured to use.
fn used(milli: &[i64]) -> Result<Reading, String> {
    let taken = now() - SignedDuration::from_secs(10);
    let reading = |milli: &i64| PodReading { milli: *milli, taken, window: Duration::from_secs(30) };
    let named = milli.iter().enumerate().map(|(at, milli)| (format!("p{at}"), reading(milli)));
    Ok(Reading::Pods(named.collect::<BTreeMap<_, _>>()))
}

fn target(replicas: i32) -> Target<'static> {
    Target { wanted: replicas, there: replicas, selector: Some("app=web") }
}

fn decide(
    autoscaler: &HorizontalPodAutoscaler,
    replicas: i32,
    pods: &[Arc<Pod>],
    reading: Result<Reading, String>,
) -> Decision {
    let readings = [reading];
    let observed = Observed {
        autoscaler,
        target: Ok(target(replicas)),
        pods: Ok(pods),
        readings: &readings,
        now: now(),
    };
    plan(&observed, &mut Memory::default())
}

/// `status reason message` of a condition.
fn said(decision: &Decision, type_: &str) -> String {
    let conditions = decision.status.conditions.iter().flatten();
    let found = conditions.into_iter().find(|condition| condition.type_ == type_);
    found.map_or(String::new(), |found| {
        format!("{} {} {}", found.status, found.reason.as_deref().unwrap(), found.message.as_deref().unwrap())
    })
}

fn to(decision: &Decision) -> Option<(i32, &str)> {
    decision.rescale.as_ref().map(|rescale| (rescale.to, rescale.reason.as_str()))
}

#[test]
fn twice_the_use_takes_twice_the_pods() {
    let decision = decide(&autoscaler(cpu(50)), 2, &ready(2), used(&[100, 100]));
    assert_eq!(to(&decision), Some((4, "cpu resource utilization (percentage of request) above target")));
    assert_eq!(
        said(&decision, "AbleToScale"),
        "True SucceededRescale the HPA controller was able to update the target scale to 4"
    );
    assert_eq!(
        said(&decision, "ScalingActive"),
        "True ValidMetricFound the HPA was able to successfully calculate a \
        replica count from cpu resource utilization (percentage of request)"
    );
    assert_eq!(
        said(&decision, "ScalingLimited"),
        "False DesiredWithinRange the desired count is within the acceptable range"
    );
    let metric = decision.status.current_metrics.unwrap().remove(0).resource.unwrap();
    assert_eq!(metric.current.average_utilization, Some(100));
    assert_eq!(metric.current.average_value.unwrap().0, "100m");
    assert_eq!((decision.status.current_replicas, decision.status.desired_replicas), (Some(2), 4));
}

#[test]
fn what_is_near_its_target_stays_and_a_steady_state_is_not_written_again() {
    let mut autoscaler = autoscaler(cpu(50));
    let first = decide(&autoscaler, 2, &ready(2), used(&[54, 54]));
    assert_eq!(first.rescale, None);
    assert_eq!(said(&first, "AbleToScale"), "True ReadyForNewScale recommended size matches current size");
    autoscaler.status = Some(first.status.clone());
    assert_eq!(decide(&autoscaler, 2, &ready(2), used(&[54, 54])).status, first.status);
}

#[test]
fn an_autoscaler_may_ask_to_be_more_exact() {
    let mut exact = autoscaler(cpu(50));
    let behavior = json!({"scaleUp": {"tolerance": "0.05"}});
    exact.spec.behavior = Some(serde_json::from_value(behavior).unwrap());
    assert_eq!(to(&decide(&exact, 2, &ready(2), used(&[54, 54]))).unwrap().0, 3);
}

#[test]
fn less_use_lets_go_of_pods_when_nothing_higher_was_recommended_lately() {
    let autoscaler = autoscaler(cpu(50));
    let pods = ready(4);
    let readings = [used(&[10, 10, 10, 10])];
    let mut memory = Memory::default();
    let at = |second| now() + SignedDuration::from_secs(second);
    let observed = |now| Observed {
        autoscaler: &autoscaler,
        target: Ok(target(4)),
        pods: Ok(&pods),
        readings: &readings,
        now,
    };
    let early = plan(&observed(at(0)), &mut memory);
    assert_eq!(early.rescale, None);
    assert!(said(&early, "AbleToScale").starts_with("True ScaleDownStabilized"));
    let late = plan(&observed(at(300)), &mut memory);
    assert_eq!(to(&late), Some((1, "All metrics below target")));
}

#[test]
fn a_pod_that_says_nothing_neither_adds_nor_removes_others() {
    let autoscaler = autoscaler(cpu(50));
    // Of three, one is silent. Two at double use: as if it used nothing.
    assert_eq!(to(&decide(&autoscaler, 3, &ready(3), used(&[100, 100]))).unwrap().0, 4);
    // Two at a tenth: as if it used all it may, which is more than enough for all.
    assert_eq!(decide(&autoscaler, 3, &ready(3), used(&[10, 10])).rescale, None);
}

#[test]
fn pods_that_do_not_work_yet_hold_back_growth_and_do_not_count_otherwise() {
    let autoscaler = autoscaler(cpu(50));
    let mut pods = ready(2);
    pods.push(pod("p2", "Pending", "False"));
    assert_eq!(to(&decide(&autoscaler, 3, &pods, used(&[100, 100]))).unwrap().0, 4);
    let starting = json!({"phase": "Running", "startTime": "2026-03-01T11:59:00Z",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T11:59:40Z"}]});
    let mut young = Pod::clone(&pods[1]);
    young.status = Some(serde_json::from_value(starting).unwrap());
    // What it was measured to use began before it was ready.
    let decision = decide(&autoscaler, 2, &[pods[0].clone(), Arc::new(young)], used(&[50, 1000]));
    assert_eq!(decision.rescale, None);
}

#[test]
fn bounds_come_before_metrics_and_zero_means_off() {
    let autoscaler = autoscaler(cpu(50));
    assert!(!is_measured(&autoscaler, &target(11)) && is_measured(&autoscaler, &target(10)));
    let none = || Err("not asked".to_owned());
    assert_eq!(
        to(&decide(&autoscaler, 12, &[], none())),
        Some((10, "Current number of replicas above Spec.MaxReplicas"))
    );
    let off = decide(&autoscaler, 0, &[], none());
    assert_eq!(off.rescale, None);
    assert_eq!(
        said(&off, "ScalingActive"),
        "False ScalingDisabled scaling is disabled since the replica count of the target is zero"
    );
    let mut wide = autoscaler.clone();
    wide.spec.min_replicas = Some(3);
    assert_eq!(
        to(&decide(&wide, 2, &[], none())),
        Some((3, "Current number of replicas below Spec.MinReplicas"))
    );
}

#[test]
fn without_metrics_nothing_changes_and_people_are_told_why() {
    let why =
        "unable to fetch metrics from resource metrics API: the server could not find the requested resource";
    let decision = decide(&autoscaler(cpu(50)), 2, &ready(2), Err(why.into()));
    let message = format!("failed to get cpu utilization: unable to get metrics for resource cpu: {why}");
    assert_eq!(
        said(&decision, "ScalingActive"),
        format!("False FailedGetResourceMetric the HPA was unable to compute the replica count: {message}")
    );
    assert_eq!(
        decision.warnings,
        [
            ("FailedGetResourceMetric", message.clone()),
            (
                "FailedComputeMetricsReplicas",
                format!(
                    "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: {message}"
                )
            ),
        ]
    );
    assert_eq!((decision.rescale, decision.status.current_replicas), (None, Some(2)));
}

#[test]
fn one_broken_metric_stops_shrinking_and_not_growing() {
    let mut metrics = cpu(50);
    metrics
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "External", "external": {"metric": {"name": "queue"},
        "target": {"type": "AverageValue", "averageValue": "10"}}}));
    let autoscaler = autoscaler(metrics);
    let pods = ready(2);
    let with = |milli: i64| {
        let readings =
            [used(&[milli, milli]), Err("unable to fetch metrics from external metrics API: gone".into())];
        let observed = Observed {
            autoscaler: &autoscaler,
            target: Ok(target(2)),
            pods: Ok(&pods),
            readings: &readings,
            now: now(),
        };
        plan(&observed, &mut Memory::default())
    };
    assert_eq!(to(&with(100)).unwrap().0, 4);
    let shrinking = with(10);
    assert_eq!(shrinking.rescale, None);
    assert!(said(&shrinking, "ScalingActive").contains("unable to get external metric shop/queue/nil"));
}

#[test]
fn pods_objects_and_external_metrics_are_held_against_values() {
    let metric = |source: Value| autoscaler(json!([source]));
    let pods = metric(json!({"type": "Pods", "pods": {"metric": {"name": "requests"},
        "target": {"type": "AverageValue", "averageValue": "100"}}}));
    assert_eq!(
        to(&decide(&pods, 2, &ready(2), used(&[200_000, 200_000]))),
        Some((4, "pods metric requests above target"))
    );
    let object = metric(json!({"type": "Object", "object": {"metric": {"name": "hits"},
        "describedObject": {"kind": "Ingress", "name": "front", "apiVersion": "networking.k8s.io/v1"},
        "target": {"type": "Value", "value": "10"}}}));
    let hits = decide(&object, 2, &ready(2), Ok(Reading::Value(20_000)));
    assert_eq!(to(&hits), Some((4, "Ingress metric hits above target")));
    assert_eq!(
        hits.status.current_metrics.unwrap()[0].object.as_ref().unwrap().current.value.as_ref().unwrap().0,
        "20"
    );
    let external = metric(json!({"type": "External", "external": {"metric": {"name": "queue"},
        "target": {"type": "AverageValue", "averageValue": "10"}}}));
    assert_eq!(
        to(&decide(&external, 2, &ready(2), Ok(Reading::Value(35_000)))),
        Some((4, "external metric queue(nil) above target"))
    );
}

#[test]
fn one_container_alone_can_decide() {
    let one = autoscaler(
        json!([{"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "main",
        "target": {"type": "Utilization", "averageUtilization": 50}}}]),
    );
    assert_eq!(
        to(&decide(&one, 2, &ready(2), used(&[100, 100]))),
        Some((4, "cpu container resource utilization (percentage of request) above target"))
    );
}

#[test]
fn a_container_without_a_request_has_no_share() {
    let mut bare = Pod::clone(&ready(1)[0]);
    bare.spec.as_mut().unwrap().containers[0].resources = None;
    let decision = decide(&autoscaler(cpu(50)), 1, &[Arc::new(bare)], used(&[100]));
    assert!(
        said(&decision, "ScalingActive")
            .ends_with("failed to get cpu utilization: missing request for cpu in container main of Pod p0")
    );
}

#[test]
fn a_target_that_cannot_be_seen_and_one_that_cannot_be_changed_are_told_apart() {
    let autoscaler = autoscaler(cpu(50));
    let blind = Observed {
        autoscaler: &autoscaler,
        target: Err("deployments.apps \"web\" not found"),
        pods: Ok(&[]),
        readings: &[],
        now: now(),
    };
    let decision = plan(&blind, &mut Memory::default());
    assert_eq!(
        said(&decision, "AbleToScale"),
        "False FailedGetScale the HPA controller was unable to get the target's \
        current scale: deployments.apps \"web\" not found"
    );
    let pods = ready(2);
    let readings = [used(&[100, 100])];
    let seen = Observed { target: Ok(target(2)), pods: Ok(&pods), readings: &readings, ..blind };
    let decision = plan(&seen, &mut Memory::default());
    let rescale = decision.rescale.clone().unwrap();
    let failed = refused(&seen, &decision, &rescale, "no");
    assert_eq!(
        said(&failed, "AbleToScale"),
        "False FailedUpdateScale the HPA controller was unable to update the target scale: no"
    );
    assert_eq!(
        (failed.rescale, failed.status.desired_replicas, failed.status.last_scale_time),
        (None, 0, None)
    );
    assert_eq!(
        failed.warnings.last().unwrap().1,
        "New size: 4; reason: cpu resource utilization (percentage of request) above target; error: no"
    );
}

#[test]
fn pods_of_two_autoscalers_are_scaled_by_neither() {
    let autoscaler = autoscaler(cpu(50));
    let why = "pods by selector app=web are controlled by multiple HPAs: [shop/a shop/web]";
    let observed = Observed {
        autoscaler: &autoscaler,
        target: Ok(target(2)),
        pods: Err(("AmbiguousSelector", why)),
        readings: &[],
        now: now(),
    };
    let decision = plan(&observed, &mut Memory::default());
    assert_eq!(said(&decision, "ScalingActive"), format!("False AmbiguousSelector {why}"));
    assert_eq!(decision.rescale, None);
}

#[test]
fn what_was_done_is_held_against_policies() {
    let mut slow = autoscaler(cpu(50));
    let behavior = json!({"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}});
    slow.spec.behavior = Some(serde_json::from_value(behavior).unwrap());
    slow.status = Some(HorizontalPodAutoscalerStatus::default());
    let (pods, readings) = (ready(2), [used(&[100, 100])]);
    let observed = Observed {
        autoscaler: &slow,
        target: Ok(target(2)),
        pods: Ok(&pods),
        readings: &readings,
        now: now(),
    };
    let mut memory = Memory::default();
    let first = plan(&observed, &mut memory);
    assert_eq!(to(&first).unwrap().0, 3);
    assert!(said(&first, "ScalingLimited").starts_with("True ScaleUpLimit"));
    let rescale: Rescale = first.rescale.unwrap();
    done(&observed, &rescale, &mut memory);
    let soon = Observed { target: Ok(target(3)), now: now() + SignedDuration::from_secs(15), ..observed };
    assert_eq!(plan(&soon, &mut memory).rescale, None);
}

#[test]
fn absurd_readings_end_at_the_bounds() {
    let pods = ready(3);
    let decision = decide(&autoscaler(cpu(50)), 3, &pods, used(&[i64::MAX, i64::MAX, i64::MAX]));
    assert_eq!(to(&decision).unwrap().0, 6);
    let average = json!([{"type": "Resource", "resource": {"name": "memory",
        "target": {"type": "AverageValue", "averageValue": "1"}}}]);
    let decision = decide(&autoscaler(average), 3, &pods, used(&[i64::MAX, i64::MAX, i64::MAX]));
    assert_eq!(to(&decision).unwrap().0, 6);
}
