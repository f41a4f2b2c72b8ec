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

/// Conformance: "Custom Resource OpenAPI Publish, with validation schema", "… varying groups", "… varying versions",
/// "… varying kinds", "… version rename", "… stop serving version".
#[tokio::test]
async fn openapi_describes_what_is_served_now() {
    let server = server().await;
    let described = async |gv: &str, name: &str| {
        let (code, document) = get(&server, &format!("/openapi/v3/apis/{gv}")).await;
        let v3 = document["components"]["schemas"][name].clone();
        let v2 = get(&server, "/openapi/v2").await.1["definitions"][name].clone();
        (code, v3, v2)
    };
    define(&server, &lamps(json!({}))).await;
    let mut other = lamps(json!({}));
    other["metadata"]["name"] = "lamps.example.org".into();
    other["spec"]["group"] = "example.org".into();
    define(&server, &other).await;
    for (gv, name) in [("example.com/v1", "com.example.v1.Lamp"), ("example.org/v1", "org.example.v1.Lamp")] {
        let (code, v3, v2) = described(gv, name).await;
        assert_eq!(code, 200);
        for schema in [&v3, &v2] {
            assert_eq!(schema["properties"]["spec"]["properties"]["watts"]["minimum"], 1, "{schema}");
            assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "Lamp");
        }
    }
    let (_, index) = get(&server, "/openapi/v3").await;
    let before = index["paths"]["apis/example.com/v1"]["serverRelativeURL"].clone();
    let path = format!("{DEFINITIONS}/lamps.example.com");
    let rename = json!([{"op": "replace", "path": "/spec/versions/0/served", "value": false},
        {"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "add", "path": "/spec/versions/-", "value": {"name": "v4", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}]);
    let (code, answer) = patch(&server, &path, "application/json-patch+json", &rename).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(described("example.com/v1", "com.example.v1.Lamp").await.0, 404);
    let (code, v3, v2) = described("example.com/v4", "com.example.v4.Lamp").await;
    assert_eq!((code, &v3["x-kubernetes-preserve-unknown-fields"]), (200, &json!(true)));
    assert_eq!(v2["type"], "object");
    let (_, index) = get(&server, "/openapi/v3").await;
    assert_ne!(index["paths"]["apis/example.com/v4"]["serverRelativeURL"], before);
    crate::harness::delete(&server, &path).await;
    while get(&server, &path).await.0 == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(described("example.com/v4", "com.example.v4.Lamp").await.0, 404);
    assert_eq!(described("example.com/v4", "com.example.v4.Lamp").await.2, json!(null));
}
