//! The driver against the real API server, in process, over the memory store.
#![allow(clippy::unwrap_used, reason = "all of this binary is tests")]

mod beside;
mod cluster;
mod devices;
mod extenders;
mod killed;
mod slow;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use orchestra_scheduler::plugin::{Cycle, Filter, Plugin};
use orchestra_scheduler::verdict::Verdict;
use orchestra_scheduler::view::{NodeView, PodView};
use orchestra_scheduler::{Profile, Scheduler};
use serde_json::json;

use cluster::{Cluster, node_of, pod_scheduled};

#[tokio::test]
async fn pods_are_bound_with_an_event() {
    let cluster = Cluster::with_nodes(&["node-1"]).await;
    let _scheduler = cluster.schedule(Scheduler::default());
    cluster.pod("x", json!({})).await;
    let pod = cluster.until("x", |pod| node_of(pod).is_some()).await;
    assert_eq!(node_of(&pod), Some("node-1"));
    assert_eq!(pod_scheduled(&pod).unwrap().status, "True");
    let event = cluster.event("Scheduled").await;
    assert_eq!(event.note.as_deref(), Some("Successfully assigned default/x to node-1"));
    assert_eq!(event.type_.as_deref(), Some("Normal"));
    assert_eq!(event.reporting_controller.as_deref(), Some("default-scheduler"));
    assert_eq!(event.regarding.unwrap().name.as_deref(), Some("x"));
}

#[tokio::test]
async fn an_unschedulable_pod_says_why_and_is_bound_when_a_node_appears() {
    let cluster = Cluster::with_nodes(&["small"]).await;
    cluster.node(json!({"metadata": {"name": "tainted"}, "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})).await;
    let _scheduler = cluster.schedule(Scheduler::default());
    cluster
        .pod(
            "big",
            json!({"containers": [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": "64"}}}]}),
        )
        .await;
    let pod = cluster.until("big", |pod| pod_scheduled(pod).is_some_and(|one| one.status == "False")).await;
    let condition = pod_scheduled(&pod).unwrap();
    let message = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s).";
    assert_eq!(condition.reason.as_deref(), Some("Unschedulable"));
    assert!(condition.message.as_deref().unwrap().starts_with(message), "{condition:?}");
    let event = cluster.event("FailedScheduling").await;
    assert_eq!(event.note, condition.message);
    assert_eq!(event.action.as_deref(), Some("Scheduling"));
    cluster.node(json!({"metadata": {"name": "large"}, "status": {"allocatable": {"cpu": "64", "memory": "1Gi", "pods": "10"}}})).await;
    let pod = cluster.until("big", |pod| node_of(pod).is_some()).await;
    assert_eq!(node_of(&pod), Some("large"));
}

#[tokio::test]
async fn a_pod_made_before_any_node_is_bound_when_the_first_one_comes() {
    let cluster = Cluster::with_nodes(&[]).await;
    let _scheduler = cluster.schedule(Scheduler::default());
    cluster.pod("x", json!({})).await;
    let pod = cluster.until("x", |pod| pod_scheduled(pod).is_some()).await;
    assert_eq!(pod_scheduled(&pod).unwrap().message.as_deref(), Some("no nodes available to schedule pods"));
    cluster.node(json!({"metadata": {"name": "n"}})).await;
    cluster.until("x", |pod| node_of(pod) == Some("n")).await;
}

#[tokio::test]
async fn taints_are_respected_until_they_are_taken_away() {
    let cluster = Cluster::with_nodes(&[]).await;
    cluster.node(json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}})).await;
    let _scheduler = cluster.schedule(Scheduler::default());
    cluster.pod("tolerant", json!({"tolerations": [{"key": "k", "operator": "Exists"}]})).await;
    cluster.pod("intolerant", json!({})).await;
    cluster.until("tolerant", |pod| node_of(pod) == Some("n")).await;
    cluster.until("intolerant", |pod| pod_scheduled(pod).is_some_and(|one| one.status == "False")).await;
    let nodes: Api<Node> = Api::all(cluster.client());
    let patch = Patch::Merge(json!({"spec": {"taints": null}}));
    nodes.patch("n", &PatchParams::default(), &patch).await.unwrap();
    cluster.until("intolerant", |pod| node_of(pod) == Some("n")).await;
}

#[tokio::test]
async fn more_important_pods_get_the_room() {
    let cluster = Cluster::with_nodes(&["n"]).await;
    let classes: Api<PriorityClass> = Api::all(cluster.client());
    let class = json!({"metadata": {"name": "vip"}, "value": 1000});
    let class = serde_json::from_value(class).unwrap();
    classes.create(&PostParams::default(), &class).await.unwrap();
    for (name, class) in [("low", None), ("high", Some("vip"))] {
        let spec = json!({"priorityClassName": class, "containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": "3"}}}]});
        cluster.pod(name, spec).await;
    }
    let _scheduler = cluster.schedule(Scheduler::default());
    cluster.until("high", |pod| node_of(pod).is_some()).await;
    let low = cluster.until("low", |pod| pod_scheduled(pod).is_some()).await;
    assert_eq!(node_of(&low), None);
}

#[tokio::test]
async fn a_restart_midway_binds_every_pod_once_and_nowhere_over_capacity() {
    let cluster = Cluster::with_nodes(&["a", "b", "c"]).await;
    for index in 0..60 {
        cluster
            .pod(
                &format!("p{index}"),
                json!({"containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": "200m"}}}]}),
            )
            .await;
    }
    // Few bindings at a time, so that the first scheduler is stopped in the middle.
    let first = cluster.schedule(Scheduler::default().parallel_bindings(2));
    cluster.until("p5", |pod| node_of(pod).is_some()).await;
    first.stop().await;
    let before = cluster.placements().await;
    let _second = cluster.schedule(Scheduler::default());
    for index in 0..60 {
        cluster.until(&format!("p{index}"), |pod| node_of(pod).is_some()).await;
    }
    let after = cluster.placements().await;
    assert!(before.iter().all(|(pod, node)| after.get(pod) == Some(node)));
    let mut load: BTreeMap<&String, u32> = BTreeMap::new();
    after.values().for_each(|node| *load.entry(node).or_default() += 1);
    assert!(load.values().all(|count| *count <= 20), "{load:?}");
}

#[tokio::test]
async fn a_late_claim_gets_its_node_and_the_pod_follows() {
    let cluster = Cluster::with_nodes(&["n"]).await;
    let classes: Api<StorageClass> = Api::all(cluster.client());
    let class = json!({"metadata": {"name": "late"}, "provisioner": "x.io/y", "volumeBindingMode": "WaitForFirstConsumer"});
    classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(cluster.client());
    let claim = json!({"metadata": {"name": "data"}, "spec": {"storageClassName": "late",
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    claims.create(&PostParams::default(), &serde_json::from_value(claim).unwrap()).await.unwrap();
    let _scheduler = cluster.schedule(Scheduler::default());
    cluster
        .pod("x", json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}))
        .await;
    let selected = |claim: &PersistentVolumeClaim| {
        claim.annotations().get("volume.kubernetes.io/selected-node").map(String::as_str) == Some("n")
    };
    cluster.until_any::<PersistentVolumeClaim>(claims.clone(), "data", selected).await;
    // Where it is going is said while it is waited for.
    let going = |pod: &Pod| pod.status.as_ref().and_then(|status| status.nominated_node_name.clone());
    cluster.until("x", |pod| going(pod).as_deref() == Some("n")).await;
    cluster.bind_claim("data", "pv").await;
    cluster.until("x", |pod| node_of(pod) == Some("n")).await;
}

/// Panics over pods that ask for it.
#[derive(Debug)]
struct Touchy;

impl Plugin for Touchy {
    fn name(&self) -> &str {
        "Touchy"
    }
}

impl Filter for Touchy {
    fn filter(&self, _: &Cycle<'_>, pod: &PodView, _: &NodeView) -> Verdict {
        assert!(!pod.labels.contains_key("touch"), "do not touch");
        Verdict::Pass
    }
}

#[tokio::test]
async fn a_panicking_plugin_fails_its_pod_and_not_the_scheduler() {
    let cluster = Cluster::with_nodes(&["n"]).await;
    let _scheduler = cluster.schedule(Scheduler::default().filter(Touchy));
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    let touched = json!({"metadata": {"name": "touched", "labels": {"touch": "me"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    pods.create(&PostParams::default(), &serde_json::from_value(touched).unwrap()).await.unwrap();
    let pod = cluster.until("touched", |pod| pod_scheduled(pod).is_some()).await;
    let condition = pod_scheduled(&pod).unwrap();
    assert_eq!(condition.reason.as_deref(), Some("SchedulerError"));
    assert_eq!(condition.message.as_deref(), Some("plugin \"Touchy\" panicked in Filter: do not touch"));
    cluster.pod("calm", json!({})).await;
    cluster.until("calm", |pod| node_of(pod).is_some()).await;
}

#[tokio::test]
async fn profiles_serve_the_pods_that_name_them() {
    let cluster = Cluster::with_nodes(&["n"]).await;
    let second = Profile::default().named("second");
    let _scheduler = cluster.schedule(Scheduler::default().profile(second));
    cluster.pod("nobodys", json!({"schedulerName": "nobody"})).await;
    cluster.pod("x", json!({"schedulerName": "second"})).await;
    cluster.until("x", |pod| node_of(pod).is_some()).await;
    assert_eq!(cluster.event("Scheduled").await.reporting_controller.as_deref(), Some("second"));
    assert!(!cluster.placements().await.contains_key("nobodys"));
}

#[tokio::test]
async fn repeated_failures_are_counted_up_in_one_event() {
    let cluster = Cluster::with_nodes(&["n"]).await;
    let _scheduler = cluster.schedule(Scheduler::default());
    cluster.pod("other", json!({})).await;
    cluster.until("other", |pod| node_of(pod).is_some()).await;
    cluster
        .pod(
            "big",
            json!({"containers": [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": "64"}}}]}),
        )
        .await;
    let event = cluster.event("FailedScheduling").await;
    // Whoever leaves a node may make room, so that the pod is tried again, in vain.
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    pods.delete("other", &DeleteParams::default().grace_period(0)).await.unwrap();
    let events: Api<Event> = Api::default_namespaced(cluster.client());
    let counted = |event: &Event| event.series.as_ref().is_some_and(|series| series.count == 2);
    cluster.until_any(events, &event.name_any(), counted).await;
}

#[tokio::test]
async fn a_more_important_pod_takes_the_place_of_a_lesser_one() {
    let cluster = Cluster::with_nodes(&["n"]).await;
    let classes: Api<PriorityClass> = Api::all(cluster.client());
    let class = serde_json::from_value(json!({"metadata": {"name": "vip"}, "value": 1000})).unwrap();
    classes.create(&PostParams::default(), &class).await.unwrap();
    let _scheduler = cluster.schedule(Scheduler::default());
    let asking = |class: Option<&str>| {
        json!({"priorityClassName": class, "terminationGracePeriodSeconds": 0, "containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": "3"}}}]})
    };
    cluster.pod("low", asking(None)).await;
    cluster.until("low", |pod| node_of(pod).is_some()).await;
    cluster.pod("high", asking(Some("vip"))).await;
    let event = cluster.event("Preempted").await;
    assert_eq!(event.regarding.unwrap().name.as_deref(), Some("low"));
    assert_eq!(event.related.unwrap().name.as_deref(), Some("high"));
    assert_eq!((event.type_.as_deref(), event.action.as_deref()), (Some("Normal"), Some("Preempting")));
    let high = cluster.until("high", |pod| node_of(pod).is_some()).await;
    let note = format!("Preempted by pod {} on node n", high.metadata.uid.unwrap());
    assert_eq!(event.note, Some(note));
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    assert!(pods.get_opt("low").await.unwrap().is_none());
}

#[tokio::test]
async fn a_victim_with_grace_says_why_it_goes_and_its_place_is_kept() {
    let cluster = Cluster::with_nodes(&["n"]).await;
    let classes: Api<PriorityClass> = Api::all(cluster.client());
    let class = serde_json::from_value(json!({"metadata": {"name": "vip"}, "value": 1000})).unwrap();
    classes.create(&PostParams::default(), &class).await.unwrap();
    let asking = |class: Option<&str>, cpu: &str| {
        json!({"priorityClassName": class, "containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]})
    };
    let _scheduler = cluster.schedule(Scheduler::default());
    cluster.pod("low", asking(None, "4")).await;
    cluster.until("low", |pod| node_of(pod).is_some()).await;
    cluster.pod("high", asking(Some("vip"), "3")).await;
    let nominated = |pod: &Pod| pod.status.as_ref().and_then(|status| status.nominated_node_name.clone());
    cluster.until("high", |pod| nominated(pod).as_deref() == Some("n")).await;
    let low = cluster.until("low", |pod| pod.metadata.deletion_timestamp.is_some()).await;
    let conditions = low.status.unwrap().conditions.unwrap();
    let condition = conditions.iter().find(|one| one.type_ == "DisruptionTarget").unwrap();
    assert_eq!(condition.reason.as_deref(), Some("PreemptionByScheduler"));
    let message = "default-scheduler: preempting to accommodate a higher priority pod";
    assert_eq!(condition.message.as_deref(), Some(message));
    // Nobody runs pods here, so the end of the grace period is brought about.
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    pods.delete("low", &DeleteParams::default().grace_period(0)).await.unwrap();
    cluster.until("high", |pod| node_of(pod) == Some("n")).await;
}

#[tokio::test]
async fn pods_that_want_distance_and_even_zones_get_both() {
    let cluster = Cluster::with_nodes(&[]).await;
    for (name, zone) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")] {
        cluster
            .node(
                json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "zone": zone}}}),
            )
            .await;
    }
    let _scheduler = cluster.schedule(Scheduler::default());
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    let selector = json!({"matchLabels": {"app": "web"}});
    for index in 0..4 {
        let pod = json!({"metadata": {"name": format!("web-{index}"), "labels": {"app": "web"}}, "spec": {
            "containers": [{"name": "c", "image": "i"}],
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": selector}],
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}]}}}});
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        cluster.until(&format!("web-{index}"), |pod| node_of(pod).is_some()).await;
        let placements = cluster.placements().await;
        let in_a = placements.values().filter(|node| node.starts_with('a')).count();
        assert!(in_a.abs_diff(placements.len() - in_a) <= 1, "{placements:?}");
    }
    let nodes: std::collections::BTreeSet<String> = cluster.placements().await.into_values().collect();
    assert_eq!(nodes.len(), 4);
}

#[tokio::test]
async fn a_node_whose_capacity_makes_no_sense_is_refused_with_an_event_and_used_once_it_does() {
    let cluster = Cluster::with_nodes(&[]).await;
    let nonsense = json!({"allocatable": {"cpu": "-4", "memory": "8Gi", "pods": "110"}});
    cluster.node(json!({"metadata": {"name": "odd"}, "status": nonsense})).await;
    let _scheduler = cluster.schedule(Scheduler::default());
    let event = cluster.event("CannotBeScheduledWith").await;
    assert_eq!(event.note.as_deref(), Some("status.allocatable[cpu]: must not be negative"));
    let about = event.regarding.unwrap();
    assert_eq!((about.kind.as_deref(), about.name.as_deref()), (Some("Node"), Some("odd")));
    cluster.pod("x", json!({})).await;
    let pod = cluster.until("x", |pod| pod_scheduled(pod).is_some()).await;
    let message = pod_scheduled(&pod).unwrap().message.as_deref();
    assert_eq!(message, Some("no nodes available to schedule pods"));
    let nodes: Api<Node> = Api::all(cluster.client());
    let sense = Patch::Merge(json!({"status": {"allocatable": {"cpu": "4"}}}));
    nodes.patch_status("odd", &PatchParams::default(), &sense).await.unwrap();
    cluster.until("x", |pod| node_of(pod) == Some("odd")).await;
}
