//! Server-side apply of custom resources.

use serde_json::{Value, json};

use super::{LAMPS, define, lamp, lamps};
use crate::harness::{get, patch, server};

const APPLY: &str = "application/apply-patch+yaml";

async fn apply(server: &orchestra_apiserver::ApiServer, manager: &str, spec: Value) -> (u16, Value) {
    patch(server, &format!("{LAMPS}/desk?fieldManager={manager}"), APPLY, &lamp("desk", spec)).await
}

#[tokio::test]
async fn managers_share_a_list_whose_items_have_keys() {
    let server = server().await;
    define(&server, &lamps(json!({}))).await;
    assert_eq!(apply(&server, "one", json!({"bulbs": [{"name": "a", "lumen": 1}]})).await.0, 201);
    let (code, both) = apply(&server, "two", json!({"bulbs": [{"name": "b"}], "colour": "warm"})).await;
    assert_eq!(code, 200, "{both}");
    assert_eq!(both["spec"]["bulbs"], json!([{"name": "a", "lumen": 1}, {"name": "b"}]));
    let fields = &both["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    assert_eq!(
        fields["f:bulbs"],
        json!({"k:{\"name\":\"a\"}": {".": {}, "f:lumen": {}, "f:name": {}}}),
        "{both}"
    );
    let (code, refused) = apply(&server, "two", json!({"bulbs": [{"name": "a", "lumen": 2}]})).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
    assert_eq!(
        refused["details"]["causes"][0],
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"one\"",
            "field": ".spec.bulbs[name=\"a\"].lumen"})
    );
    assert_eq!(apply(&server, "one", json!({})).await.0, 200);
    assert_eq!(get(&server, &format!("{LAMPS}/desk")).await.1["spec"]["bulbs"], json!([{"name": "b"}]));
}

#[tokio::test]
async fn a_configuration_that_does_not_fit_the_schema_is_told_why() {
    let server = server().await;
    define(&server, &lamps(json!({}))).await;
    let (code, status) = apply(&server, "one", json!({"sockets": 1})).await;
    assert_eq!(code, 500);
    assert_eq!(
        status["message"],
        "failed to create typed patch object (/desk; example.com/v1, Kind=Lamp): .spec.sockets: field not declared in schema"
    );
    let (_, status) = apply(&server, "one", json!({"watts": "many"})).await;
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .ends_with(".spec.watts: expected numeric (int or float), got string"),
        "{status}"
    );
}
