//! The configurations themselves.

use serde_json::{Value, json};

use super::super::definition::lists;
use super::{Hooked, MUTATING, VALIDATING, hooked, message};
use crate::world;

const GROUP: &str = "admissionregistration.k8s.io";

#[tokio::test]
async fn admissionwebhook_should_include_webhook_resources_in_discovery_documents() {
    let world = world::world().await;
    let groups = world.get("/apis").await;
    let listed = groups["groups"].as_array().unwrap().iter().find(|group| group["name"] == GROUP).unwrap();
    let own = world.get(&format!("/apis/{GROUP}")).await;
    assert_eq!(own["name"], GROUP);
    for group in [listed, &own] {
        assert!(group["versions"].as_array().unwrap().iter().any(|version| version["version"] == "v1"));
    }
    let resources = world.get(&format!("/apis/{GROUP}/v1")).await;
    assert_eq!(resources["groupVersion"], format!("{GROUP}/v1"));
    assert!(lists(&resources, "mutatingwebhookconfigurations"));
    assert!(lists(&resources, "validatingwebhookconfigurations"));
    world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_not_be_able_to_mutate_or_prevent_deletion_of_webhook_configuration_objects()
{
    let hooked = hooked().await;
    let configurations: &[&str] = &["validatingwebhookconfigurations", "mutatingwebhookconfigurations"];
    let about = (GROUP, "*", configurations);
    let deny =
        hooked.webhook("deny-webhook-configuration-deletions.k8s.io", "/always-deny", &["DELETE"], about);
    let label =
        hooked.webhook("add-label-to-webhook-configurations.k8s.io", "/add-label", &["CREATE"], about);
    for (collection, mut webhook) in [(VALIDATING, deny), (MUTATING, label)] {
        webhook["failurePolicy"] = "Fail".into();
        // No namespace is left out: what is cluster-wide is selected by any selector.
        hooked.register(collection, "uniqueblocking", vec![webhook]).await;
    }
    for (collection, name) in
        [(VALIDATING, "dummy-validating-webhook.k8s.io"), (MUTATING, "dummy-mutating-webhook.k8s.io")]
    {
        let mut dummy = hooked.webhook(name, "", &["CREATE"], ("", "v1", &["invalid"]));
        dummy["clientConfig"].as_object_mut().unwrap().remove("caBundle");
        dummy["failurePolicy"] = "Ignore".into();
        let made = hooked.register(collection, "unique", vec![dummy]).await;
        assert!(made["metadata"].get("labels").is_none(), "{made}");
        hooked.world.delete(&format!("{collection}/unique")).await;
    }
    hooked.world.end().await;
}

/// A configuration with these conditions.
fn with_conditions(hooked: &Hooked, conditions: &Value) -> Value {
    let path = "/always-deny";
    let mut webhook = hooked.about_maps("webhook-with-match-conditions.k8s.io", path, &["CREATE"]);
    webhook["matchConditions"] = conditions.clone();
    json!({"metadata": {"name": "unique"}, "webhooks": [webhook, hooked.marker()]})
}

async fn create_and_update(hooked: &Hooked, collection: &str) {
    let condition = |number: u8, namespace: &str| {
        json!({
            "name": format!("expression-{number}"),
            "expression": format!("object.metadata.namespace == '{namespace}'"),
        })
    };
    let first = json!([condition(1, "production")]);
    let path = format!("{collection}/unique");
    hooked.world.post(collection, with_conditions(hooked, &first)).await;
    let mut found = hooked.world.get(&path).await;
    assert_eq!(found["webhooks"][0]["matchConditions"], first);
    let second = json!([condition(1, "production"), condition(2, "staging")]);
    found["webhooks"][0]["matchConditions"] = second.clone();
    hooked.world.put(&path, found).await;
    assert_eq!(hooked.world.get(&path).await["webhooks"][0]["matchConditions"], second);
}

async fn reject(hooked: &Hooked, collection: &str) {
    let invalid = json!([{"name": "invalid-expression-1", "expression": "... [] bad expression"}]);
    let (status, answer) = hooked.world.ask("POST", collection, with_conditions(hooked, &invalid)).await;
    assert_eq!(status, 422, "{answer}");
    assert!(message(&answer).contains("compilation failed"), "{answer}");
}

#[tokio::test]
async fn admissionwebhook_should_be_able_to_create_and_update_validating_webhook_configurations_with_match_conditions()
 {
    let hooked = hooked().await;
    create_and_update(&hooked, VALIDATING).await;
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_be_able_to_create_and_update_mutating_webhook_configurations_with_match_conditions()
 {
    let hooked = hooked().await;
    create_and_update(&hooked, MUTATING).await;
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_reject_validating_webhook_configurations_with_invalid_match_conditions() {
    let hooked = hooked().await;
    reject(&hooked, VALIDATING).await;
    hooked.world.end().await;
}

#[tokio::test]
async fn admissionwebhook_should_reject_mutating_webhook_configurations_with_invalid_match_conditions() {
    let hooked = hooked().await;
    reject(&hooked, MUTATING).await;
    hooked.world.end().await;
}
