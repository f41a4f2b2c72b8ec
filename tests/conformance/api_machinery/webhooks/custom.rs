//! What webhooks do to custom resources and their definitions.

use serde_json::{Value, json};

use super::super::definition::{DEFINITIONS, Definition, allow_all};
use super::{Hooked, MUTATING, VALIDATING, hooked};
use crate::world::{JSON_PATCH, STRATEGIC_PATCH};

const GROUP: &str = "webhook.example.com";

/// Defines a kind of two versions, in namespaces.
async fn defined(hooked: &Hooked, schema: &Value) -> Definition {
    let versions = [("v1", schema.clone()), ("v2", schema.clone())];
    let definition = Definition::named("E2e-test-webhook-crd", GROUP).namespaced().versions(&versions);
    definition.create(&hooked.world).await;
    definition
}

fn data(definition: &Definition, name: &str, key: &str, value: &str) -> Value {
    definition.object("v1", name, json!({"data": {key: value}}))
}

/// Two webhooks that change objects one after the other; the second one only new ones.
async fn register_mutating(hooked: &Hooked) {
    let stage = |number: u8, operations: &[&str]| {
        let name = format!("mutate-custom-resource-data-stage-{number}.k8s.io");
        let mut hook = hooked.webhook(
            &name,
            "/mutating-custom-resource",
            operations,
            (GROUP, "v1", &["e2e-test-webhook-crds"]),
        );
        hook["rules"][0]["apiVersions"] = json!(["v1", "v2"]);
        hook
    };
    let stages = vec![stage(1, &["CREATE", "UPDATE"]), stage(2, &["CREATE"])];
    hooked.register(MUTATING, "unique", stages).await;
}

#[tokio::test]
async fn admissionwebhook_should_be_able_to_deny_custom_resource_creation_update_and_deletion() {
    let hooked = hooked().await;
    let definition = defined(&hooked, &allow_all()).await;
    let objects = definition.objects("v1", "conformance");
    let about: (&str, &str, &[&str]) = (GROUP, "v1", &["e2e-test-webhook-crds"]);
    let operations = &["CREATE", "UPDATE", "DELETE"];
    let hook =
        hooked.webhook("deny-unwanted-custom-resource-data.k8s.io", "/custom-resource", operations, about);
    hooked.register(VALIDATING, "unique", vec![hook]).await;

    let unwanted = data(&definition, "cr-instance-1", "webhook-e2e-test", "webhook-disallow");
    let said = hooked.refused("POST", &objects, unwanted).await;
    assert!(said.contains("the custom resource contains unwanted data"), "{said}");

    let kept = data(&definition, "cr-instance-2", "webhook-e2e-test", "webhook-nondeletable");
    let mut made = hooked.world.post(&objects, kept).await;
    let path = format!("{objects}/cr-instance-2");
    made["data"]["webhook-e2e-test"] = "webhook-disallow".into();
    let said = hooked.refused("PUT", &path, made).await;
    assert!(said.contains("the custom resource contains unwanted data"), "{said}");
    let said = hooked.refused("DELETE", &path, Value::Null).await;
    let wanted = "the custom resource cannot be deleted because it contains unwanted key and value";
    assert!(said.contains(wanted), "{said}");
    hooked
        .world
        .update(&path, &path, |object| object["data"]["webhook-e2e-test"] = "webhook-allow".into())
        .await;
    hooked.world.delete(&path).await;
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_mutate_custom_resource() {
    let hooked = hooked().await;
    let definition = defined(&hooked, &allow_all()).await;
    register_mutating(&hooked).await;
    let object = data(&definition, "cr-instance-1", "mutation-start", "yes");
    let made = hooked.world.post(&definition.objects("v1", "conformance"), object).await;
    let all = json!({"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"});
    assert_eq!(made["data"], all);
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_mutate_custom_resource_with_pruning() {
    let hooked = hooked().await;
    // What the second webhook adds is not in the schema.
    let known = json!({"mutation-start": {"type": "string"}, "mutation-stage-1": {"type": "string"}});
    let schema = json!({"type": "object", "properties": {"data": {"type": "object", "properties": known}}});
    let definition = defined(&hooked, &schema).await;
    register_mutating(&hooked).await;
    let object = data(&definition, "cr-instance-1", "mutation-start", "yes");
    let made = hooked.world.post(&definition.objects("v1", "conformance"), object).await;
    assert_eq!(made["data"], json!({"mutation-start": "yes", "mutation-stage-1": "yes"}));
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_mutate_custom_resource_with_different_stored_version() {
    let hooked = hooked().await;
    let definition = defined(&hooked, &allow_all()).await;
    register_mutating(&hooked).await;
    let object = data(&definition, "cr-instance-1", "mutation-start", "yes");
    hooked.world.post(&definition.objects("v1", "conformance"), object).await;
    let version = |name: &str, stored: bool| json!({"name": name, "storage": stored, "served": true, "schema": {"openAPIV3Schema": allow_all()}});
    let patch = json!({"spec": {"versions": [version("v1", false), version("v2", true)]}});
    hooked.world.patch(&definition.path(), STRATEGIC_PATCH, patch).await;
    let path = format!("{}/cr-instance-1", definition.objects("v2", "conformance"));
    let patch = json!([{"op": "add", "path": "/dummy", "value": "test"}]);
    let patched = hooked.world.patch(&path, JSON_PATCH, patch).await;
    let all = json!({"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"});
    assert_eq!((&patched["data"], &patched["dummy"]), (&all, &json!("test")));
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_deny_crd_creation() {
    let hooked = hooked().await;
    let mut hook = hooked.webhook(
        "deny-crd-with-unwanted-label.k8s.io",
        "/crd",
        &["CREATE"],
        ("apiextensions.k8s.io", "*", &["customresourcedefinitions"]),
    );
    hook.as_object_mut().unwrap().remove("namespaceSelector");
    hook["objectSelector"] = json!({"matchLabels": {"unique": "true"}});
    hooked.register(VALIDATING, "unique", vec![hook]).await;
    let definition = Definition::named("E2e-test-webhook-deny-crd", GROUP)
        .namespaced()
        .labelled("unique", "true")
        .labelled("webhook-e2e-test", "webhook-disallow");
    let said = hooked.refused("POST", DEFINITIONS, definition.0).await;
    assert!(said.contains("the crd contains unwanted label"), "{said}");
    hooked.world.end().await;
}
