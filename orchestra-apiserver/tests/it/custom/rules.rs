//! Rules in CEL, through the server.

use serde_json::{Value, json};

use super::{DEFINITIONS, LAMPS, define, lamp, lamps};
use crate::harness::{patch, post, put, server};

fn ruled(spec: Value, rules: Value) -> Value {
    lamps(
        json!({"subresources": {"status": {}}, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": spec, "x-kubernetes-validations": rules},
            "status": {"type": "object", "properties": {"hours": {"type": "integer",
                "x-kubernetes-validations": [{"rule": "self >= oldSelf", "message": "time does not run backwards"}]}}},
        }}}}),
    )
}

#[tokio::test]
async fn what_a_rule_refuses_is_told_as_upstream_tells_it() {
    let server = server().await;
    let watts = json!({"watts": {"type": "integer"}, "limit": {"type": "integer"}});
    let rules = json!([
        {"rule": "self.watts <= self.limit", "messageExpression": "'at most ' + string(self.limit)", "fieldPath": ".watts"},
        {"rule": "!has(oldSelf.limit) || self.limit == oldSelf.limit", "message": "limit is fixed",
            "reason": "FieldValueForbidden"},
    ]);
    define(&server, &ruled(watts, rules)).await;
    let (code, refused) = post(&server, LAMPS, &lamp("desk", json!({"watts": 9, "limit": 5}))).await;
    assert_eq!(code, 422);
    assert_eq!(
        refused["message"],
        "Lamp.example.com \"desk\" is invalid: spec.watts: Invalid value: at most 5"
    );
    assert_eq!(
        refused["details"]["causes"],
        json!([{"reason": "FieldValueInvalid", "field": "spec.watts", "message": "Invalid value: at most 5"}])
    );
    assert_eq!(post(&server, LAMPS, &lamp("desk", json!({"watts": 4, "limit": 5}))).await.0, 201);
    let path = format!("{LAMPS}/desk");
    let merge = "application/merge-patch+json";
    let (code, refused) = patch(&server, &path, merge, &json!({"spec": {"limit": 6}})).await;
    assert_eq!(
        (code, &refused["message"]),
        (422, &json!("Lamp.example.com \"desk\" is invalid: spec: Forbidden: limit is fixed"))
    );
    let status = format!("{path}/status");
    assert_eq!(patch(&server, &status, merge, &json!({"status": {"hours": 5}})).await.0, 200);
    let (code, refused) = patch(&server, &status, merge, &json!({"status": {"hours": 4}})).await;
    assert_eq!(code, 422);
    assert_eq!(refused["details"]["causes"][0]["message"], "Invalid value: 4: time does not run backwards");
}

#[tokio::test]
async fn a_rule_that_does_not_fit_the_schema_is_refused_with_its_definition() {
    let server = server().await;
    let definition = ruled(json!({"watts": {"type": "integer"}}), json!([{"rule": "self.wats < 100"}]));
    let (code, refused) = post(&server, DEFINITIONS, &definition).await;
    assert_eq!(code, 422);
    assert_eq!(
        refused["details"]["causes"],
        json!([{
            "reason": "FieldValueInvalid",
            "field": "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule",
            "message": "Invalid value: {\"Rule\":\"self.wats < 100\",\"Message\":\"\",\"MessageExpression\":\"\",\
                \"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}: compilation failed: ERROR: <input>:1:5: \
                undefined field 'wats'\n | self.wats < 100\n | ....^",
        }])
    );
}

#[tokio::test]
async fn a_bomb_of_comprehensions_ends_with_a_refusal() {
    let server = server().await;
    let numbers = json!({"n": {"type": "array", "maxItems": 100, "items": {"type": "integer"}}});
    let bomb =
        "self.n.all(a, self.n.all(b, self.n.all(c, self.n.all(d, self.n.all(e, a + b + c + d + e >= 0)))))";
    let (code, refused) = post(&server, DEFINITIONS, &ruled(numbers, json!([{"rule": bomb}]))).await;
    assert_eq!(code, 422, "{refused:#}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("estimated rule cost exceeds budget by factor of more than 100x"), "{message}");
    // What is estimated to be cheap, and is not.
    let numbers = json!({"n": {"type": "integer"}});
    let bomb = "lists.range(self.n).size() >= 0";
    define(&server, &ruled(numbers, json!([{"rule": bomb}]))).await;
    let (code, refused) = post(&server, LAMPS, &lamp("desk", json!({"n": i64::MAX}))).await;
    assert_eq!(code, 422);
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("operation cancelled: actual cost limit exceeded"), "{message}");
}

#[tokio::test]
async fn an_object_that_a_new_rule_refuses_can_still_be_changed_elsewhere() {
    let server = server().await;
    let fields = json!({"watts": {"type": "integer"}, "colour": {"type": "string"}});
    define(&server, &ruled(fields, json!([]))).await;
    let (_, made) = post(&server, LAMPS, &lamp("desk", json!({"watts": 200}))).await;
    let path = format!("{DEFINITIONS}/lamps.example.com");
    let rule = json!([{"op": "add",
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/watts/x-kubernetes-validations",
        "value": [{"rule": "self < 100"}]}]);
    assert_eq!(patch(&server, &path, "application/json-patch+json", &rule).await.0, 200);
    let mut changed = made;
    changed["spec"]["colour"] = json!("warm");
    let (code, changed) = put(&server, &format!("{LAMPS}/desk"), &changed).await;
    assert_eq!(code, 200, "{changed:#}");
    let mut worse = changed;
    worse["spec"]["watts"] = json!(300);
    assert_eq!(put(&server, &format!("{LAMPS}/desk"), &worse).await.0, 422);
}
