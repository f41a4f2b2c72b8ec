//! Parts of objects with paths of their own, kinds in two versions, and kinds without objects.

use http::Request;
use serde_json::{Value, json};

use crate::harness::{get, json as read, patch, post, put, send, server};

const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MERGE: &str = "application/merge-patch+json";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn with_pod() -> orchestra_apiserver::ApiServer {
    let server = server().await;
    post(&server, "/api/v1/namespaces/default/serviceaccounts", &json!({"metadata": {"name": "default"}}))
        .await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i",
        "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}}]}});
    let (code, created) = post(&server, PODS, &pod).await;
    assert_eq!(code, 201, "{created}");
    server
}

#[tokio::test]
async fn containers_are_added_to_a_pod_through_their_own_path_alone() {
    let server = with_pod().await;
    let add =
        json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "j", "targetContainerName": "c"}]}});
    let (code, refused) = patch(&server, &format!("{PODS}/p"), STRATEGIC, &add).await;
    assert_eq!(code, 422, "{refused}");
    let path = format!("{PODS}/p/ephemeralcontainers");
    let (code, pod) = patch(&server, &path, STRATEGIC, &add).await;
    assert_eq!(code, 200, "{pod}");
    assert_eq!(pod["kind"], "Pod");
    assert_eq!(pod["metadata"]["generation"], 2);
    assert_eq!(pod["spec"]["ephemeralContainers"][0]["terminationMessagePolicy"], "File");
    assert_eq!(get(&server, &path).await.1, pod);
    let mut without = pod.clone();
    without["spec"]["ephemeralContainers"] = json!([]);
    without["metadata"]["labels"] = json!({"a": "b"});
    let (code, refused) = put(&server, &path, &without).await;
    assert_eq!(code, 422, "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("existing ephemeral containers \"d\" may not be removed"), "{message}");
    let at_once = json!({"metadata": {"name": "q"}, "spec": {"containers": [{"name": "c", "image": "i"}],
        "ephemeralContainers": [{"name": "d", "image": "j"}]}});
    let (code, refused) = post(&server, PODS, &at_once).await;
    assert_eq!(code, 422);
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("spec.ephemeralContainers: Forbidden: cannot be set on create"), "{message}");
}

#[tokio::test]
async fn a_pod_is_resized_through_its_own_path_alone() {
    let server = with_pod().await;
    let more = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "150m"}}}]}});
    assert_eq!(patch(&server, &format!("{PODS}/p"), STRATEGIC, &more).await.0, 422);
    let (code, pod) = patch(&server, &format!("{PODS}/p/resize"), STRATEGIC, &more).await;
    assert_eq!(code, 200, "{pod}");
    let resources = &pod["spec"]["containers"][0]["resources"];
    assert_eq!(*resources, json!({"requests": {"cpu": "150m"}, "limits": {"cpu": "200m"}}));
    assert_eq!(
        (&pod["metadata"]["generation"], &pod["status"]["qosClass"]),
        (&json!(2), &json!("Burstable"))
    );
    let same = json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "150m", "memory": "1Gi"},
        "requests": {"memory": "1Gi"}}}]}});
    let (code, refused) = patch(&server, &format!("{PODS}/p/resize"), STRATEGIC, &same).await;
    assert_eq!(code, 422);
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("Pod QOS Class may not change as a result of resizing"), "{message}");
    // What lies below a limit of the namespace is refused as for a new pod.
    let range =
        json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}});
    assert_eq!(post(&server, "/api/v1/namespaces/default/limitranges", &range).await.0, 201);
    let much = json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]}});
    let (code, refused) = patch(&server, &format!("{PODS}/p/resize"), STRATEGIC, &much).await;
    assert_eq!(code, 403, "{refused}");
}

#[tokio::test]
async fn a_scaler_is_one_object_in_two_versions() {
    let server = server().await;
    let place =
        |version: &str| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers");
    let (code, group) = get(&server, "/apis/autoscaling").await;
    assert_eq!(code, 200);
    assert_eq!(group["preferredVersion"]["version"], "v2");
    assert_eq!(group["versions"][1]["version"], "v1");
    let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}});
    let (code, old) = post(&server, &place("v1"), &json!({"metadata": {"name": "s"}, "spec": spec})).await;
    assert_eq!(code, 201, "{old}");
    assert_eq!(old["apiVersion"], "autoscaling/v1");
    assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 80);
    let (code, new) = get(&server, &format!("{}/s", place("v2"))).await;
    assert_eq!((code, &new["apiVersion"]), (200, &json!("autoscaling/v2")));
    assert_eq!(new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    assert_eq!(new["metadata"]["uid"], old["metadata"]["uid"]);
    let behavior = json!({"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}}});
    let (code, changed) = patch(&server, &format!("{}/s", place("v2")), MERGE, &behavior).await;
    assert_eq!(code, 200, "{changed}");
    let conditions = json!({"status": {"currentReplicas": 1, "desiredReplicas": 1, "conditions": [
        {"type": "AbleToScale", "status": "True", "lastTransitionTime": null}]}});
    assert_eq!(patch(&server, &format!("{}/s/status", place("v2")), MERGE, &conditions).await.0, 200);
    let (_, old) = get(&server, &format!("{}/s", place("v1"))).await;
    let annotations = old["metadata"]["annotations"].as_object().unwrap();
    assert!(annotations.contains_key("autoscaling.alpha.kubernetes.io/behavior"), "{annotations:?}");
    assert!(annotations.contains_key("autoscaling.alpha.kubernetes.io/conditions"), "{annotations:?}");
    // Written back in the old form, nothing of that is lost.
    let target = json!({"spec": {"targetCPUUtilizationPercentage": 40}});
    let (code, _) = patch(&server, &format!("{}/s", place("v1")), MERGE, &target).await;
    assert_eq!(code, 200);
    let (_, new) = get(&server, &format!("{}/s", place("v2"))).await;
    assert_eq!(new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 40);
    assert_eq!(new["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 5);
    assert_eq!(new["status"]["conditions"][0]["type"], "AbleToScale");
    let (_, list) = get(&server, &place("v1")).await;
    assert_eq!(
        (&list["kind"], list["items"].as_array().map(Vec::len)),
        (&json!("HorizontalPodAutoscalerList"), Some(1))
    );
}

#[tokio::test]
async fn a_binding_may_name_its_pod_itself() {
    let server = with_pod().await;
    let bindings = "/api/v1/namespaces/default/bindings";
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    let (code, done) = post(&server, bindings, &binding).await;
    assert_eq!((code, &done["status"]), (201, &json!("Success")));
    assert_eq!(get(&server, &format!("{PODS}/p")).await.1["spec"]["nodeName"], "n");
    let absent = json!({"metadata": {"name": "absent"}, "target": {"kind": "Node", "name": "n"}});
    assert_eq!(post(&server, bindings, &absent).await.0, 404);
    assert_eq!(get(&server, bindings).await.0, 405);
}

#[tokio::test]
async fn the_parts_of_the_control_plane_are_told_with_a_warning() {
    let server = server().await;
    let response = send(&server, Request::get("/api/v1/componentstatuses"), "").await;
    let warning = response.headers()["warning"].to_str().unwrap().to_owned();
    assert!(warning.contains("v1 ComponentStatus is deprecated in v1.19+"), "{warning}");
    let (code, list) = read(response).await;
    assert_eq!((code, &list["kind"]), (200, &json!("ComponentStatusList")));
    assert_eq!(list["items"][0]["metadata"]["name"], "etcd-0");
    let healthy = json!({"type": "Healthy", "status": "True", "message": "ok"});
    assert_eq!(list["items"][0]["conditions"], json!([healthy]));
    assert_eq!(get(&server, "/api/v1/componentstatuses/etcd-0").await.1["kind"], "ComponentStatus");
    assert_eq!(get(&server, "/api/v1/componentstatuses/other").await.0, 404);
    assert_eq!(post(&server, "/api/v1/componentstatuses", &Value::Null).await.0, 405);
}
