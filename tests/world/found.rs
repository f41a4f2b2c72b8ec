//! What storms have found, each told again in its least form.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::Api;
use kube::api::Patch;
use kube::client::Body;
use orchestra::world::{Tamper, Tampered, World, WriteLog};
use serde_json::json;

/// Refuses some writes with a conflict, as the server does when somebody else writes at the same time.
struct Conflicts {
    is_meant: fn(&str, &Request<Body>) -> bool,
    left: AtomicU32,
}

impl Tamper for Conflicts {
    fn request(&self, component: &str, request: Request<Body>, _: &WriteLog) -> Tampered {
        let take = |left: u32| left.checked_sub(1);
        if !(self.is_meant)(component, &request)
            || self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err()
        {
            return Tampered::Pass(request);
        }
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409,
            "metadata": {}, "message": "the object has been modified",
        });
        Tampered::json(StatusCode::CONFLICT, &status)
    }

    fn said(&self, _: &str, _: &str, piece: Bytes) -> Bytes {
        piece
    }
}

#[test]
fn a_node_agent_whose_report_meets_a_conflict_reports_again() {
    let is_report = |component: &str, request: &Request<Body>| {
        component == "node-1"
            && request.method() == Method::PATCH
            && request.uri().path().ends_with("/p/status")
    };
    let tamper = Conflicts { is_meant: is_report, left: AtomicU32::new(2) };
    let outcome = World::seeded(1).nodes(1).tamper(tamper).run(async |world| {
        let pods: Api<Pod> = Api::default_namespaced(world.client());
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        pods.create(&Default::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        world.settle(Duration::from_secs(30), Duration::from_secs(300)).await.unwrap();
        pods.get("p").await.unwrap().status.unwrap().phase
    });
    assert_eq!(outcome.value.as_deref(), Some("Running"));
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
