//! What storms have found, each told again in its least form.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::Api;
use kube::api::{DeleteParams, Patch};
use kube::client::Body;
use orchestra::world::{Deed, Tamper, Tampered, World, WriteLog};
use serde_json::json;

/// Refuses some requests, as a server does that has too much to do, or when somebody else writes at the same time.
struct Refusing {
    is_meant: fn(&str, &Request<Body>) -> bool,
    code: StatusCode,
    reason: &'static str,
    /// So many are refused.
    left: Arc<AtomicU32>,
}

impl Tamper for Refusing {
    fn request(&self, component: &str, request: Request<Body>, _: &WriteLog) -> Tampered {
        let take = |left: u32| left.checked_sub(1);
        if !(self.is_meant)(component, &request)
            || self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err()
        {
            return Tampered::Pass(request);
        }
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": self.reason,
            "code": self.code.as_u16(), "metadata": {}, "message": "not now",
        });
        Tampered::json(self.code, &status)
    }

    fn said(&self, _: &str, _: &str, piece: Bytes) -> Bytes {
        piece
    }
}

impl Refusing {
    fn busy(is_meant: fn(&str, &Request<Body>) -> bool, left: &Arc<AtomicU32>) -> Self {
        let (code, reason) = (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
        Self { is_meant, code, reason, left: left.clone() }
    }
}

#[test]
fn a_node_agent_whose_report_meets_a_conflict_reports_again() {
    let is_report = |component: &str, request: &Request<Body>| {
        component == "node-1"
            && request.method() == Method::PATCH
            && request.uri().path().ends_with("/p/status")
    };
    let (code, left) = (StatusCode::CONFLICT, Arc::new(AtomicU32::new(2)));
    let tamper = Refusing { is_meant: is_report, code, reason: "Conflict", left };
    let outcome = World::seeded(1).nodes(1).tamper(tamper).run(async |world| {
        let pods: Api<Pod> = Api::default_namespaced(world.client());
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        pods.create(&Default::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        world.settle(Duration::from_secs(30), Duration::from_secs(300)).await.unwrap();
        pods.get("p").await.unwrap().status.unwrap().phase
    });
    assert_eq!(outcome.value.as_deref(), Some("Running"));
}

/// A set that was told to have no pods was still making them, and the other set's pods came beside them.
#[test]
fn recreate_keeps_versions_apart_however_soon_the_template_changes() {
    let deployment = |image: &str| {
        json!({"metadata": {"name": "d"}, "spec": {
            "replicas": 2, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": image}]},
            },
        }})
    };
    for delay in (0..60).step_by(6) {
        let outcome = World::seeded(delay).nodes(2).invariants().run(async |world| {
            let deployments: Api<Deployment> = Api::default_namespaced(world.client());
            let first = serde_json::from_value(deployment("a")).unwrap();
            deployments.create(&Default::default(), &first).await.unwrap();
            tokio::time::sleep(Duration::from_millis(delay)).await;
            let second = Patch::Merge(deployment("b"));
            deployments.patch("d", &Default::default(), &second).await.unwrap();
            world.settle(Duration::from_secs(30), Duration::from_secs(300)).await.unwrap();
            world.say_at_rest();
        });
        assert_eq!(outcome.violations, [], "changed {delay} ms after it was made");
    }
}

/// What upstream tells its users to undo by hand, as "forced rollback"; the world does not ask for more.
#[test]
fn an_ordered_stateful_set_waits_for_a_pod_that_never_becomes_ready_though_its_version_is_past() {
    let template = |image: &str, ready_after: &str| {
        let probe = json!({"exec": {"command": ["true"]}, "periodSeconds": 2});
        json!({
            "metadata": {"labels": {"app": "t"}, "annotations": {"sim.orchestra.dev/ready-after": ready_after}},
            "spec": {"containers": [{"name": "c", "image": image, "readinessProbe": probe}]},
        })
    };
    let outcome = World::seeded(1).nodes(1).invariants().run(async |world| {
        let sets: Api<StatefulSet> = Api::default_namespaced(world.client());
        let set = json!({"metadata": {"name": "t"}, "spec": {
            "replicas": 1, "serviceName": "t", "selector": {"matchLabels": {"app": "t"}},
            "template": template("broken", "1000000"),
        }});
        sets.create(&Default::default(), &serde_json::from_value(set).unwrap()).await.unwrap();
        world.settle(Duration::from_secs(30), Duration::from_secs(300)).await.unwrap();
        let mended = Patch::Strategic(json!({"spec": {"template": template("mended", "0")}}));
        sets.patch("t", &Default::default(), &mended).await.unwrap();
        world.settle(Duration::from_secs(30), Duration::from_secs(300)).await.unwrap();
        world.say_at_rest();
        let pods: Api<Pod> = Api::default_namespaced(world.client());
        pods.get("t-0").await.unwrap().spec.unwrap().containers.remove(0).image
    });
    assert_eq!(outcome.violations, []);
    assert_eq!(outcome.value.as_deref(), Some("broken"));
}

#[test]
fn a_daemon_set_that_a_quota_leaves_without_pods_is_no_fault_of_its_controller() {
    let outcome = World::seeded(1).nodes(2).invariants().run(async |world| {
        let client = world.client();
        let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}});
        let quotas: Api<ResourceQuota> = Api::default_namespaced(client.clone());
        quotas.create(&Default::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
        world.settle(Duration::from_secs(30), Duration::from_secs(300)).await.unwrap();
        let set = json!({"metadata": {"name": "a"}, "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {
                "metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        }});
        let sets: Api<DaemonSet> = Api::default_namespaced(client.clone());
        sets.create(&Default::default(), &serde_json::from_value(set).unwrap()).await.unwrap();
        world.settle(Duration::from_secs(30), Duration::from_secs(300)).await.unwrap();
        world.say_at_rest();
        Api::<Pod>::default_namespaced(client).list(&Default::default()).await.unwrap().items.len()
    });
    assert_eq!(outcome.violations, []);
    assert_eq!(outcome.value, 1);
}

/// It was said at the next attempt to make the rest, minutes later.
#[test]
fn a_pod_is_said_to_be_available_in_time_while_others_are_refused() {
    let outcome = World::seeded(1).nodes(1).run(async |world| {
        let client = world.client();
        let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}});
        let quotas: Api<ResourceQuota> = Api::default_namespaced(client.clone());
        quotas.create(&Default::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
        world.settle(Duration::from_secs(30), Duration::from_secs(300)).await.unwrap();
        let probe = json!({"exec": {"command": ["true"]}, "periodSeconds": 1});
        let set = json!({"metadata": {"name": "r"}, "spec": {
            "replicas": 2, "minReadySeconds": 10, "selector": {"matchLabels": {"app": "r"}},
            "template": {
                "metadata": {
                    "labels": {"app": "r"}, "annotations": {"sim.orchestra.dev/ready-after": "100"},
                },
                "spec": {"containers": [{"name": "c", "image": "i", "readinessProbe": probe}]},
            },
        }});
        let sets: Api<ReplicaSet> = Api::default_namespaced(client);
        sets.create(&Default::default(), &serde_json::from_value(set).unwrap()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(115)).await;
        let status = sets.get("r").await.unwrap().status.unwrap();
        (status.replicas, status.ready_replicas, status.available_replicas)
    });
    assert_eq!(outcome.value, (1, Some(1), Some(1)));
}

/// It was lost: the agent knew what ran when it began, but not yet whose it was.
#[test]
fn what_ends_while_an_agent_begins_anew_and_has_not_seen_its_pods_is_reported() {
    let is_list = |component: &str, request: &Request<Body>| {
        component == "node-1" && request.method() == Method::GET && request.uri().path().ends_with("/pods")
    };
    let refused = Arc::new(AtomicU32::new(0));
    let tamper = Refusing::busy(is_list, &refused);
    let outcome = World::seeded(1).nodes(1).tamper(tamper).run(async |world| {
        let pods: Api<Pod> = Api::default_namespaced(world.client());
        let pod = json!({
            "metadata": {"name": "p", "annotations": {"sim.orchestra.dev/exit-after": "20"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
        });
        pods.create(&Default::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        let phase = async || pods.get("p").await.unwrap().status.unwrap().phase;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = phase().await;
        refused.store(u32::MAX, Ordering::SeqCst);
        world.kill("node-1");
        tokio::time::sleep(Duration::from_secs(30)).await;
        refused.store(0, Ordering::SeqCst);
        world.settle(Duration::from_secs(60), Duration::from_secs(600)).await.unwrap();
        (before, phase().await)
    });
    assert_eq!(outcome.value, (Some("Running".to_owned()), Some("Succeeded".to_owned())));
}

/// Whose the name is it was not told, and went on removing it.
#[test]
fn an_agent_leaves_a_pod_of_another_node_alone_that_has_the_name_of_its_own() {
    let is_removal = |component: &str, request: &Request<Body>| {
        component == "node-2" && request.method() == Method::DELETE
    };
    let refused = Arc::new(AtomicU32::new(u32::MAX));
    let tamper = Refusing::busy(is_removal, &refused);
    let outcome = World::seeded(1).nodes(2).tamper(tamper).run(async |world| {
        let pods: Api<Pod> = Api::default_namespaced(world.client());
        let pod_on = |node: &str| {
            let pod = json!({
                "metadata": {"name": "p"},
                "spec": {
                    "nodeName": node, "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "c", "image": "i"}],
                },
            });
            serde_json::from_value::<Pod>(pod).unwrap()
        };
        pods.create(&Default::default(), &pod_on("node-2")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        pods.delete("p", &Default::default()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
        pods.create(&Default::default(), &pod_on("node-1")).await.unwrap();
        refused.store(0, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(300)).await;
        pods.get("p").await.unwrap().status.unwrap().phase
    });
    assert_eq!(outcome.value.as_deref(), Some("Running"));
    let removals = outcome.deeds.iter().filter(|deed| deed.method == Method::DELETE);
    let answers: Vec<_> = removals.filter_map(|deed| deed.status).collect();
    assert_eq!(answers.iter().filter(|answer| **answer == StatusCode::CONFLICT).count(), 1, "{answers:?}");
}

/// What the watch told late made it look after them once more.
#[test]
fn an_agent_has_done_with_pods_that_it_removed() {
    let outcome = World::seeded(1).nodes(1).run(async |world| {
        let pods: Api<Pod> = Api::default_namespaced(world.client());
        for number in 0..8 {
            let pod = json!({
                "metadata": {"name": format!("p{number}")},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "i"}]},
            });
            pods.create(&Default::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        }
        world.settle(Duration::from_secs(30), Duration::from_secs(300)).await.unwrap();
        let all = pods.list(&Default::default()).await.unwrap().items;
        for pod in &all {
            pods.delete(pod.metadata.name.as_deref().unwrap(), &Default::default()).await.unwrap();
        }
        world.settle(Duration::from_secs(30), Duration::from_secs(300)).await.unwrap();
        (all.len(), pods.list(&Default::default()).await.unwrap().items.len())
    });
    assert_eq!(outcome.value, (8, 0));
    let vain = |deed: &&Deed| deed.status == Some(StatusCode::NOT_FOUND);
    assert_eq!(outcome.deeds.iter().filter(vain).map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
}
