//! Several versions of one custom kind.

use serde_json::json;

use super::{DEFINITIONS, LAMPS, define, definition, lamp, lamps};
use crate::harness::{get, patch, post, send, server};

#[tokio::test]
async fn objects_are_the_same_in_every_version_but_for_its_name() {
    let server = server().await;
    let mut crd = lamps(json!({}));
    let mut beta = crd["spec"]["versions"][0].clone();
    beta["name"] = "v1beta1".into();
    beta["storage"] = false.into();
    beta["deprecated"] = true.into();
    crd["spec"]["versions"].as_array_mut().unwrap().insert(0, beta);
    define(&server, &crd).await;
    let (_, made) = post(&server, LAMPS, &lamp("desk", json!({}))).await;
    let (_, old) = get(&server, "/apis/example.com/v1beta1/namespaces/default/lamps/desk").await;
    assert_eq!(old["apiVersion"], "example.com/v1beta1");
    assert_eq!(old["metadata"]["uid"], made["metadata"]["uid"]);
    let (_, groups) = get(&server, "/apis/example.com").await;
    assert_eq!(groups["preferredVersion"]["version"], "v1");
    let response =
        send(&server, http::Request::get("/apis/example.com/v1beta1/namespaces/default/lamps"), "").await;
    assert_eq!(response.headers()["warning"], "299 - \"example.com/v1beta1 Lamp is deprecated\"");
    // What was stored under one name is written under the other from now on.
    let swap = json!([{"op": "replace", "path": "/spec/versions/0/storage", "value": true},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": false}]);
    let path = format!("{DEFINITIONS}/lamps.example.com");
    assert_eq!(patch(&server, &path, "application/json-patch+json", &swap).await.0, 200);
    assert_eq!(definition(&server).await["status"]["storedVersions"], json!(["v1", "v1beta1"]));
    assert_eq!(get(&server, &format!("{LAMPS}/desk")).await.1["apiVersion"], "example.com/v1");
    let unserve = json!([{"op": "replace", "path": "/spec/versions/1/served", "value": false}]);
    assert_eq!(patch(&server, &path, "application/json-patch+json", &unserve).await.0, 200);
    assert_eq!(get(&server, LAMPS).await.0, 404);
    assert_eq!(get(&server, "/apis/example.com/v1beta1/namespaces/default/lamps/desk").await.0, 200);
}
