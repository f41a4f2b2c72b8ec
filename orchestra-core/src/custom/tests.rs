use serde_json::{Value, json};

use super::CustomKind;
use crate::kind::Kind;

fn lamp(version: Value) -> CustomKind {
    let mut version = version;
    for (field, value) in [("name", json!("v1")), ("served", json!(true)), ("storage", json!(true))] {
        version[field] = value;
    }
    let definition = json!({"spec": {
        "group": "example.com", "scope": "Cluster",
        "names": {"plural": "lamps", "singular": "lamp", "kind": "Lamp", "listKind": "LampList"},
        "versions": [version],
    }});
    CustomKind::of_definition(&definition).remove(0)
}

fn schema() -> Value {
    json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "watts": {"type": "integer", "minimum": 1}, "since": {"type": "string"}, "on": {"type": "boolean"}}},
        "status": {"type": "object", "properties": {"hours": {"type": "integer"}}},
    }}})
}

#[test]
fn generations_count_everything_but_metadata_and_a_status_of_its_own() {
    let kind = lamp(json!({"schema": schema(), "subresources": {"status": {}}}));
    let old = json!({"metadata": {"name": "x", "generation": 4, "labels": {"a": "b"}}, "spec": {"watts": 1}, "status": {"hours": 1}});
    let mut new = old.clone();
    new["metadata"]["labels"]["a"] = "c".into();
    new["status"]["hours"] = 2.into();
    kind.prepare_update(&mut new, &old);
    assert_eq!(new["metadata"]["generation"], 4);
    assert_eq!(new["status"], old["status"]);
    new["spec"]["watts"] = 2.into();
    kind.prepare_update(&mut new, &old);
    assert_eq!(new["metadata"]["generation"], 5);
    let mut status = old.clone();
    status["spec"]["watts"] = 9.into();
    status["metadata"]["labels"]["a"] = "z".into();
    status["status"]["hours"] = 7.into();
    kind.prepare_status_update(&mut status, &old);
    assert_eq!(status["spec"], old["spec"]);
    assert_eq!(status["metadata"], old["metadata"]);
    assert_eq!(status["status"]["hours"], 7);
}

#[test]
fn columns_are_read_from_the_object() {
    let kind = lamp(json!({"schema": schema(), "additionalPrinterColumns": [
        {"name": "Watts", "type": "integer", "jsonPath": ".spec.watts"},
        {"name": "Since", "type": "date", "jsonPath": ".spec.since", "priority": 1},
        {"name": "On", "type": "boolean", "jsonPath": ".spec.on"},
        {"name": "Spec", "type": "string", "jsonPath": ".spec", "description": "all of it"},
        {"name": "None", "type": "string", "jsonPath": ".spec.none"},
    ]}));
    let object = json!({"metadata": {"name": "x"}, "spec": {"watts": 60, "since": "1970-01-01T00:00:00Z", "on": true}});
    let row = kind.row(&object, 120);
    assert_eq!(row[..4], [json!("x"), json!(60), json!("2m"), json!(true)]);
    assert!(row[4].as_str().unwrap().contains("\"watts\":60"));
    assert_eq!(row[5], Value::Null);
    assert_eq!(kind.columns()[2].priority, 1);
    assert_eq!(kind.columns()[4].description, "all of it");
    let plain = lamp(json!({"schema": schema()}));
    let names: Vec<&str> = plain.columns().iter().map(|column| column.name.as_ref()).collect();
    assert_eq!(names, ["Name", "Age"]);
}

#[test]
fn metadata_has_the_type_it_has_everywhere() {
    let kind = lamp(json!({"schema": schema()}));
    let mut object = json!({"metadata": {"name": "x", "nom": "y", "labels": {}}, "spec": {"watt": 1}});
    let problems: Vec<String> = kind.conform(&mut object).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(problems, [r#"unknown field "spec.watt""#, r#"unknown field "metadata.nom""#]);
    assert_eq!(object, json!({"metadata": {"name": "x"}, "spec": {}}));
    assert!(kind.conform(&mut json!({"metadata": {"labels": {"a": 1}}})).is_err());
}

#[test]
fn a_scale_has_whole_numbers() {
    let kind = lamp(
        json!({"schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        "subresources": {"scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n", "labelSelectorPath": ".status.s"}}}),
    );
    let said = |spec: Value| -> Vec<String> {
        let object = json!({"metadata": {"name": "x"}, "spec": {"n": spec}, "status": {"s": 1}});
        kind.validate_create(&object).iter().map(ToString::to_string).collect()
    };
    assert_eq!(said(json!(-1))[0], ".spec.n: Invalid value: -1: should be a non-negative integer");
    assert_eq!(said(json!(3)).len(), 1);
}
