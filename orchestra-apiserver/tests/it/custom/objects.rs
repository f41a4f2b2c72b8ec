//! Objects of custom kinds: every verb, validation, subresources, tables.

use http::Request;
use serde_json::{Value, json};

use super::{DEFINITIONS, LAMPS, define, lamp, lamps};
use crate::harness::{delete, get, json, patch, post, put, send, server};

const MERGE: &str = "application/merge-patch+json";

#[tokio::test]
async fn every_verb_works_on_custom_resources() {
    let server = server().await;
    define(&server, &lamps(json!({}))).await;
    let path = format!("{LAMPS}/desk");
    post(&server, LAMPS, &lamp("desk", json!({"watts": 5}))).await;
    let (_, mut read) = get(&server, &path).await;
    read["spec"]["colour"] = "warm".into();
    let (code, updated) = put(&server, &path, &read).await;
    assert_eq!((code, &updated["metadata"]["generation"]), (200, &json!(2)), "{updated}");
    let (code, stale) = put(&server, &path, &read).await;
    assert_eq!((code, &stale["reason"]), (409, &json!("Conflict")));
    read["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let (code, refused) = put(&server, &path, &read).await;
    assert_eq!(code, 422, "{refused}");
    let (code, patched) = patch(&server, &path, MERGE, &json!({"spec": {"watts": null}})).await;
    assert_eq!((code, &patched["spec"]["watts"]), (200, &json!(60)));
    let ops = json!([{"op": "replace", "path": "/spec/colour", "value": "cold"}]);
    assert_eq!(patch(&server, &path, "application/json-patch+json", &ops).await.0, 200);
    let (code, refused) =
        patch(&server, &path, "application/strategic-merge-patch+json", &json!({"spec": {}})).await;
    assert_eq!((code, &refused["reason"]), (415, &json!("UnsupportedMediaType")));
    let (code, gone) = delete(&server, &path).await;
    assert_eq!((code, &gone["status"]), (200, &json!("Success")));
    assert_eq!(get(&server, &path).await.1["message"], "lamps.example.com \"desk\" not found");
    for name in ["a", "b", "c"] {
        post(&server, LAMPS, &lamp(name, json!({}))).await;
    }
    let (_, page) = get(&server, &format!("{LAMPS}?limit=2")).await;
    assert_eq!(
        (page["items"].as_array().unwrap().len(), &page["metadata"]["remainingItemCount"]),
        (2, &json!(1))
    );
    let (_, everywhere) = get(&server, "/apis/example.com/v1/lamps").await;
    assert_eq!(everywhere["items"].as_array().unwrap().len(), 3);
    assert_eq!(delete(&server, LAMPS).await.0, 200);
    assert_eq!(get(&server, LAMPS).await.1["items"], json!([]));
    // A cluster-scoped object addressed through a namespace, and the other way round.
    assert_eq!(post(&server, "/apis/example.com/v1/lamps", &lamp("x", json!({}))).await.0, 405);
}

#[tokio::test]
async fn what_breaks_the_schema_is_refused_with_every_cause() {
    let server = server().await;
    define(&server, &lamps(json!({}))).await;
    let bad =
        lamp("desk", json!({"watts": 0, "colour": "blue", "bulbs": [{"name": "a"}, {"name": "a"}, {}]}));
    let (code, refused) = post(&server, LAMPS, &bad).await;
    assert_eq!(code, 422);
    let causes: Vec<(&str, &str)> = refused["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["field"].as_str().unwrap(), c["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(
        causes,
        [
            ("spec.bulbs[2].name", "FieldValueRequired"),
            ("spec.colour", "FieldValueNotSupported"),
            ("spec.watts", "FieldValueInvalid"),
            ("spec.bulbs[1]", "FieldValueDuplicate"),
        ]
    );
    assert!(refused["message"].as_str().unwrap().starts_with(
        "Lamp.example.com \"desk\" is invalid: [spec.bulbs[2].name: Required value, spec.colour: Unsupported value: \
         \"blue\": supported values: \"warm\", \"cold\", spec.watts: Invalid value: 0: spec.watts in body should be \
         greater than or equal to 1"
    ));
}

/// Conformance: "Server side field validation, unknown fields CR fails validation", "… valid CR with validation schema",
/// "… unknown fields CR no validation schema".
#[tokio::test]
async fn unknown_and_duplicate_fields_are_refused_warned_of_or_dropped() {
    let server = server().await;
    define(&server, &lamps(json!({}))).await;
    let body = r#"{"apiVersion":"example.com/v1","kind":"Lamp","metadata":{"name":"desk","nom":"x"},"spec":{"watts":1,"watts":2,"more":1}}"#;
    let send_with = async |validation: &str| {
        let request = Request::post(format!("{LAMPS}?dryRun=All{validation}"))
            .header("content-type", "application/json");
        let response = send(&server, request, body).await;
        let warnings: Vec<String> =
            response.headers().get_all("warning").iter().map(|w| w.to_str().unwrap().to_owned()).collect();
        (json(response).await, warnings)
    };
    let ((code, refused), _) = send_with("&fieldValidation=Strict").await;
    assert_eq!(code, 400);
    assert_eq!(
        refused["message"],
        r#"Lamp in version "v1" cannot be handled as a Lamp: strict decoding error: duplicate field "spec.watts", unknown field "spec.more", unknown field "metadata.nom""#
    );
    let ((code, made), warnings) = send_with("").await;
    assert_eq!((code, &made["spec"]), (201, &json!({"watts": 2})));
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    let ((code, _), warnings) = send_with("&fieldValidation=Ignore").await;
    assert_eq!((code, warnings.len()), (201, 0));
    let free = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let (code, _) = patch(
        &server,
        &format!("{DEFINITIONS}/lamps.example.com"),
        MERGE,
        &json!({"spec": {"versions": [{"name": "v1", "served": true, "storage": true, "schema": free}]}}),
    )
    .await;
    assert_eq!(code, 200);
    let (code, made) = post(
        &server,
        &format!("{LAMPS}?fieldValidation=Strict"),
        &lamp("free", json!({"any": {"thing": 1}})),
    )
    .await;
    assert_eq!((code, &made["spec"]), (201, &json!({"any": {"thing": 1}})));
}

#[tokio::test]
async fn bodies_come_as_yaml_but_not_as_protobuf() {
    let server = server().await;
    define(&server, &lamps(json!({}))).await;
    let yaml = "apiVersion: example.com/v1\nkind: Lamp\nmetadata:\n  name: desk\nspec:\n  watts: 7\n";
    let request = Request::post(LAMPS).header("content-type", "application/yaml");
    assert_eq!(json(send(&server, request, yaml).await).await.0, 201);
    let request = Request::post(LAMPS).header("content-type", "application/vnd.kubernetes.protobuf");
    assert_eq!(json(send(&server, request, "k8s\0").await).await.0, 415);
    let bomb =
        format!("a: &a [{}]\nb: &b [{}]\nc: [{}]\n", "x,".repeat(500), "*a,".repeat(500), "*b,".repeat(500));
    let request = Request::post(LAMPS).header("content-type", "application/yaml");
    assert_eq!(json(send(&server, request, bomb).await).await.0, 400);
    let deep = "[".repeat(100_000);
    let request = Request::post(LAMPS).header("content-type", "application/json");
    assert_eq!(json(send(&server, request, deep).await).await.0, 400);
    for odd in
        ["[]", "1", "null", "\"x\"", "{\"metadata\":1}", "{\"metadata\":{\"labels\":[]}}", "{\"spec\":[]}"]
    {
        let request = Request::post(LAMPS).header("content-type", "application/json");
        let (code, status) = json(send(&server, request, odd).await).await;
        assert!((400..=422).contains(&code), "{odd}: {code} {status}");
        assert_eq!(status["kind"], "Status", "{odd}");
    }
}

/// Conformance: "Custom Resource Definition, defaulting".
#[tokio::test]
async fn defaults_are_for_requests_and_for_what_was_stored_before_them() {
    let server = server().await;
    let mut crd = lamps(json!({}));
    let spec =
        &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    spec["watts"].as_object_mut().unwrap().remove("default");
    define(&server, &crd).await;
    let (_, made) = post(&server, LAMPS, &lamp("old", json!({"colour": "warm"}))).await;
    assert_eq!(made["spec"], json!({"colour": "warm"}));
    let add = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/watts/default", "value": 9},
        {"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/colour"}]);
    let path = format!("{DEFINITIONS}/lamps.example.com");
    assert_eq!(patch(&server, &path, "application/json-patch+json", &add).await.0, 200);
    assert_eq!(get(&server, &format!("{LAMPS}/old")).await.1["spec"], json!({"watts": 9}));
    assert_eq!(get(&server, LAMPS).await.1["items"][0]["spec"], json!({"watts": 9}));
    let (_, made) = post(&server, LAMPS, &lamp("new", json!({}))).await;
    assert_eq!(made["spec"], json!({"watts": 9}));
}

#[tokio::test]
async fn a_change_elsewhere_is_not_refused_for_what_was_wrong_before() {
    let server = server().await;
    define(&server, &lamps(json!({}))).await;
    post(&server, LAMPS, &lamp("desk", json!({"watts": 5}))).await;
    let stricter = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/watts",
        "value": {"type": "integer", "minimum": 10}}]);
    patch(&server, &format!("{DEFINITIONS}/lamps.example.com"), "application/json-patch+json", &stricter)
        .await;
    let path = format!("{LAMPS}/desk");
    assert_eq!(patch(&server, &path, MERGE, &json!({"spec": {"colour": "cold"}})).await.0, 200);
    assert_eq!(patch(&server, &path, MERGE, &json!({"spec": {"watts": 6}})).await.0, 422);
}

#[tokio::test]
async fn status_and_scale_are_subresources_where_the_definition_says_so() {
    let server = server().await;
    let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"});
    define(&server, &lamps(json!({"subresources": {"status": {}, "scale": scale}}))).await;
    let mut object = lamp("desk", json!({}));
    object["status"] = json!({"hours": 3});
    let (_, made) = post(&server, LAMPS, &object).await;
    assert_eq!(made.get("status"), None);
    let path = format!("{LAMPS}/desk");
    let (code, refused) = get(&server, &format!("{path}/scale")).await;
    assert_eq!(code, 500, "{refused}");
    let status = json!({"spec": {"watts": 1}, "status": {"hours": 3, "replicas": 2, "selector": "a=b"}});
    let (code, written) = patch(&server, &format!("{path}/status"), MERGE, &status).await;
    assert_eq!((code, &written["status"]["hours"], &written["spec"]["watts"]), (200, &json!(3), &json!(60)));
    assert_eq!(written["metadata"]["generation"], 1);
    let (code, scaled) =
        patch(&server, &format!("{path}/scale"), MERGE, &json!({"spec": {"replicas": 4}})).await;
    assert_eq!(code, 200, "{scaled}");
    assert_eq!(scaled["spec"], json!({"replicas": 4}));
    assert_eq!(scaled["status"], json!({"replicas": 2, "selector": "a=b"}));
    let (_, read) = get(&server, &path).await;
    assert_eq!((&read["spec"]["replicas"], &read["metadata"]["generation"]), (&json!(4), &json!(2)));
    assert_eq!(get(&server, &format!("{path}/log")).await.0, 404);
}

#[tokio::test]
async fn tables_have_the_columns_of_the_definition() {
    let server = server().await;
    define(
        &server,
        &lamps(json!({"additionalPrinterColumns": [{"name": "Watts", "type": "integer", "jsonPath": ".spec.watts"},
            {"name": "Colour", "type": "string", "jsonPath": ".spec.colour", "priority": 1}]})),
    )
    .await;
    post(&server, LAMPS, &lamp("desk", json!({"colour": "warm"}))).await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let (_, table) = json(send(&server, Request::get(LAMPS).header("accept", accept), "").await).await;
    let names: Vec<&Value> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["Name", "Watts", "Colour"]);
    assert_eq!(table["rows"][0]["cells"], json!(["desk", 60, "warm"]));
}

/// Conformance: "custom-resource-definition-field-selectors-list-watch-register-informers".
#[tokio::test]
async fn fields_that_the_definition_names_can_be_selected_by() {
    let server = server().await;
    define(
        &server,
        &lamps(json!({"selectableFields": [{"jsonPath": ".spec.colour"}, {"jsonPath": ".spec.watts"}]})),
    )
    .await;
    post(&server, LAMPS, &lamp("a", json!({"colour": "warm"}))).await;
    post(&server, LAMPS, &lamp("b", json!({"colour": "cold", "watts": 5}))).await;
    for (selector, names) in
        [("spec.colour%3Dwarm", vec!["a"]), ("spec.watts%3D5", vec!["b"]), ("spec.colour!%3Dwarm", vec!["b"])]
    {
        let (_, list) = get(&server, &format!("{LAMPS}?fieldSelector={selector}")).await;
        let found: Vec<&Value> =
            list["items"].as_array().unwrap().iter().map(|i| &i["metadata"]["name"]).collect();
        assert_eq!(found, names, "{selector}");
    }
    assert_eq!(get(&server, &format!("{LAMPS}?fieldSelector=spec.replicas%3D1")).await.0, 400);
}
