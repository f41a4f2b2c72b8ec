//! Fields that a kind does not have, and fields that stand twice.

use serde_json::{Value, json};

use super::definition::Definition;
use crate::wire::{self, Wire};
use crate::world::{self, APPLY_PATCH, World};

/// Creates a Deployment from this text, strictly, which must be refused; the message.
async fn refused_deployment(world: &World, metadata: &str, spec: &str) -> String {
    let deployment = format!(
        r#"{{"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {{"name": "my-dep", {metadata} "labels": {{"app": "nginx"}}}},
        "spec": {{{spec} "selector": {{"matchLabels": {{"app": "nginx"}}}}, "template": {{
            "metadata": {{"labels": {{"app": "nginx"}}}},
            "spec": {{"containers": [{{"name": "nginx", "image": "nginx:latest"}}]}}}}}}}}"#
    );
    let path = "/apis/apps/v1/namespaces/conformance/deployments\
        ?fieldManager=field_validation_mgr&fieldValidation=Strict";
    // A client that is given text says nothing of its form, and takes the answer as it takes all others.
    let (status, body) = world.raw("POST", path, &[("accept", Wire::Typed.accept())], &deployment).await;
    let answer = wire::read(&body);
    assert_eq!(status, 400, "{answer}");
    answer["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn fieldvalidation_should_detect_unknown_and_duplicate_fields_of_a_typed_object() {
    let world = world::world().await;
    let spec = r#""unknownField": "foo", "replicas": 2, "replicas": 3,"#;
    let message = refused_deployment(&world, "", spec).await;
    let wanted =
        r#"strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas""#;
    assert!(message.contains(wanted), "{message}");
    world.end().await;
}

#[tokio::test]
async fn fieldvalidation_should_detect_unknown_metadata_fields_of_a_typed_object() {
    let world = world::world().await;
    let message = refused_deployment(&world, r#""unknownMeta": "foo","#, "").await;
    let wanted = r#"strict decoding error: unknown field "metadata.unknownMeta""#;
    assert!(message.contains(wanted), "{message}");
    world.end().await;
}

/// The schema of a specification; `more` stands in it, and `properties` beside its own.
fn schema(more: Value, properties: Value) -> Value {
    let integer = json!({"type": "integer", "format": "int32"});
    let string = json!({"type": "string"});
    let mut spec = json!({
        "type": "object",
        "properties": {
            "foo": string,
            "cronSpec": {"type": "string", "pattern": "^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$"},
            "ports": {
                "type": "array",
                "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
                "x-kubernetes-list-type": "map",
                "items": {
                    "type": "object",
                    "required": ["containerPort", "protocol"],
                    "properties": {
                        "containerPort": integer, "hostIP": string, "hostPort": integer, "name": string,
                        "protocol": string,
                    },
                },
            },
        },
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec["properties"].as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
    json!({"type": "object", "properties": {"spec": spec}})
}

/// Defines a kind and applies an object of it, strictly; the status and the body as it came.
async fn apply(world: &World, schema: Option<Value>, metadata: &str, spec: &str) -> (u16, String) {
    let allowed = super::definition::allow_all();
    let schema = schema.unwrap_or(allowed);
    let definition = Definition::named("Noxu", "mygroup.example.com")
        .versions(&[("v1beta1", schema.clone()), ("v1", schema)]);
    definition.create_and_prime(world).await;
    let (group_version, kind) = (definition.group_version("v1beta1"), definition.kind());
    let object = format!(
        "
apiVersion: {group_version}
kind: {kind}
metadata:
  name: mytest
{metadata}  finalizers:
  - test-finalizer
{spec}  cronSpec: \"* * * * */5\"
  ports:
  - name: x
    containerPort: 80
    protocol: TCP"
    );
    let path = format!(
        "{}/mytest?fieldManager=field_validation_mgr&fieldValidation=Strict",
        definition.objects("v1beta1", "")
    );
    let (status, body) = world.raw("PATCH", &path, &[("content-type", APPLY_PATCH)], &object).await;
    (status, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn fieldvalidation_should_create_apply_a_valid_cr_for_crd_with_validation_schema() {
    let world = world::world().await;
    let (status, body) = apply(&world, Some(schema(json!({}), json!({}))), "", "spec:\n  foo: foo1\n").await;
    assert_eq!(status, 201, "{body}");
    world.end().await;
}

#[tokio::test]
async fn fieldvalidation_should_create_apply_a_cr_with_unknown_fields_for_crd_with_no_validation_schema() {
    let world = world::world().await;
    let (status, body) = apply(&world, None, "", "spec:\n  unknown: uk1\n").await;
    assert_eq!(status, 201, "{body}");
    world.end().await;
}

#[tokio::test]
async fn fieldvalidation_should_create_apply_an_invalid_cr_with_extra_properties_for_crd_with_validation_schema()
 {
    let world = world::world().await;
    let spec = "unknownField: unknown\nspec:\n  foo: foo1\n";
    let (status, body) = apply(&world, Some(schema(json!({}), json!({}))), "", spec).await;
    assert!(status >= 400 && body.contains(".unknownField: field not declared in schema"), "{status} {body}");
    world.end().await;
}

#[tokio::test]
async fn fieldvalidation_should_detect_unknown_metadata_fields_in_both_the_root_and_embedded_object_of_a_cr()
{
    let world = world::world().await;
    let template = json!({"template": {
        "type": "object",
        "x-kubernetes-embedded-resource": true,
        "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": {"type": "object"},
        },
    }});
    let schema = schema(json!({"x-kubernetes-preserve-unknown-fields": true}), template);
    let spec = "spec:
  template:
    apiversion: foo/v1
    kind: Sub
    metadata:
        unknownSubMeta: unknown
        name: subobject
        namespace: conformance
  foo: foo1
";
    let (status, body) = apply(&world, Some(schema), "  unknownMeta: unknown\n", spec).await;
    let sub = body.contains(".spec.template.metadata.unknownSubMeta: field not declared in schema");
    let own = body.contains(".metadata.unknownMeta: field not declared in schema");
    assert!(status >= 400 && (sub || own), "{status} {body}");
    world.end().await;
}

#[tokio::test]
async fn fieldvalidation_should_detect_duplicates_in_a_cr_when_preserving_unknown_fields() {
    let world = world::world().await;
    let schema = schema(json!({"x-kubernetes-preserve-unknown-fields": true}), json!({}));
    let spec = "spec:\n  unknown: uk1\n  foo: foo1\n  foo: foo2\n";
    let (status, body) = apply(&world, Some(schema), "", spec).await;
    assert!(status >= 400 && body.contains(r#"line 11: key \"foo\" already set in map"#), "{status} {body}");
    world.end().await;
}
