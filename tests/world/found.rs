//! What storms have found, each told again in its least form.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
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
