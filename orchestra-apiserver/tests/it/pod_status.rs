//! What a node reports of a pod is written without the pod's spec, and comes out as if it had been read.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use orchestra_apiserver::{Admission, AdmissionRequest, ApiServer, RuntimeClock, StatusError};
use orchestra_store::{Key, MemoryStore, ReadAt, Store, Txn};
use serde_json::{Value, json};

use crate::harness::{patch, post};

const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// A rule nobody knows, which has seen so many pods with their containers, and so many without.
#[derive(Clone, Debug, Default)]
struct Onlooker(Arc<Mutex<(usize, usize)>>);

#[async_trait]
impl Admission for Onlooker {
    fn name(&self) -> &str {
        "Onlooker"
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        if request.is_subresource("", "pods", "status") {
            let is_whole = |pod: &Value| pod.pointer("/spec/containers").is_some_and(Value::is_array);
            let mut seen = self.0.lock().unwrap();
            match is_whole(object) && request.old.is_some_and(is_whole) {
                true => seen.0 += 1,
                false => seen.1 += 1,
            }
        }
        Ok(())
    }
}

struct Cluster {
    server: ApiServer,
    store: Arc<MemoryStore>,
}

impl Cluster {
    async fn new(onlooker: Option<Onlooker>) -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = RuntimeClock::starting_at(Timestamp::UNIX_EPOCH);
        let builder = ApiServer::builder(store.clone()).seed(1).clock(clock);
        let builder = match onlooker {
            Some(onlooker) => builder.admission(onlooker),
            None => builder,
        };
        let server = builder.build().await.unwrap();
        let account = json!({"metadata": {"name": "default"}});
        post(&server, "/api/v1/namespaces/default/serviceaccounts", &account).await;
        Self { server, store }
    }

    async fn make(&self, name: &str, policy: &str) {
        let pod = json!({"metadata": {"name": name, "labels": {"a": "b"}, "finalizers": ["example.com/f"]}, "spec": {
            "restartPolicy": policy, "nodeName": "n",
            "initContainers": [{"name": "side", "image": "i", "restartPolicy": "Always"}],
            "containers": [{"name": "c", "image": "i"}]}});
        let (code, created) = post(&self.server, PODS, &pod).await;
        assert_eq!(code, 201, "{created}");
    }

    async fn report(&self, name: &str, change: &Value) -> (u16, Value) {
        patch(&self.server, &format!("{PODS}/{name}/status"), STRATEGIC, change).await
    }

    async fn stored(&self, name: &str) -> Bytes {
        self.store.get(&key(name), ReadAt::Latest).await.unwrap().value.unwrap().value
    }
}

fn key(name: &str) -> Key {
    Key::from(format!("/registry/core/pods/default/{name}"))
}

/// What nodes report and what they should not, one after another.
fn reports() -> Vec<Value> {
    let condition =
        |status: &str| json!({"type": "Ready", "status": status, "lastProbeTime": null, "reason": null});
    let ended = json!({"terminated": {"exitCode": 1}});
    let states = |state: &Value| json!([{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}]);
    let running = json!({"running": {}});
    let status = |status: Value| json!({"status": status});
    vec![
        status(
            json!({"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"$patch": "replace"}]}),
        ),
        status(
            json!({"conditions": [condition("False"), {"type": "Gone", "$patch": "delete"}], "unknown": 1}),
        ),
        status(json!({"conditions": [condition("True")]})),
        // Changes nothing.
        status(json!({"conditions": [condition("True")]})),
        status(json!({"containerStatuses": states(&ended), "initContainerStatuses": states(&ended)})),
        status(json!({"containerStatuses": states(&running)})),
        status(json!({"containerStatuses": null, "qosClass": "Guaranteed"})),
        status(json!({"initContainerStatuses": [
            {"name": "side", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": ended}]})),
        status(json!({"initContainerStatuses": [
            {"name": "side", "image": "i", "imageID": "", "ready": false, "restartCount": 1, "state": {"running": {}}}]})),
        status(json!({"phase": 3})),
        status(json!({"nominatedNodeName": "A_b"})),
        status(json!({"conditions": [{"status": "True"}]})),
        json!({"metadata": {"uid": "other"}, "status": {"phase": "Failed"}}),
        json!({"metadata": {"labels": {"c": "d"}, "generation": 7, "managedFields": null}}),
        json!({"metadata": {"finalizers": ["example.com/f", "example.com/g"], "annotations": {"a b": "c"}}}),
        json!({"metadata": {"name": "other"}}),
        json!({"metadata": null}),
        json!({"status": null}),
        json!({"$patch": "replace", "metadata": {}, "status": {"phase": "Running"}}),
        json!({"spec": {"nodeName": "m"}, "status": {"phase": "Failed"}}),
        json!({"kind": "Node", "status": {"phase": "Failed"}}),
        json!({"$retainKeys": ["status"], "status": {"phase": "Running"}}),
        json!({"status": {"$retainKeys": ["phase"], "phase": "Succeeded"}}),
        json!({}),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_report_comes_to_the_same_whether_or_not_the_whole_pod_is_looked_at() {
    let onlooker = Onlooker::default();
    let narrow = Cluster::new(None).await;
    let whole = Cluster::new(Some(onlooker.clone())).await;
    for policy in ["Always", "OnFailure", "Never"] {
        let name = policy.to_lowercase();
        for cluster in [&narrow, &whole] {
            cluster.make(&name, policy).await;
        }
        for report in reports() {
            tokio::time::advance(std::time::Duration::from_secs(2)).await;
            assert_eq!(narrow.report(&name, &report).await, whole.report(&name, &report).await, "{report}");
            assert_eq!(narrow.stored(&name).await, whole.stored(&name).await, "{report}");
        }
    }
    let (seen_whole, seen_in_part) = *onlooker.0.lock().unwrap();
    assert!(seen_whole > 20 && seen_in_part == 0, "{seen_whole} {seen_in_part}");
}

#[tokio::test]
async fn a_report_leaves_the_stored_text_of_the_spec_alone() {
    let cluster = Cluster::new(None).await;
    cluster.make("p", "Always").await;
    let text = String::from_utf8(cluster.stored("p").await.to_vec()).unwrap();
    let spaced = text.replace("\"containers\":[", "\"containers\":[  ");
    cluster.store.commit(Txn::new().put(key("p"), spaced)).await.unwrap();
    let (code, pod) = cluster.report("p", &json!({"status": {"phase": "Running"}})).await;
    assert_eq!((code, &pod["status"]["phase"]), (200, &json!("Running")));
    assert!(String::from_utf8_lossy(&cluster.stored("p").await).contains("\"containers\":[  "));
}
