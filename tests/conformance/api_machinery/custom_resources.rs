//! Definitions of custom resources and their objects.

use serde_json::{Value, json};

use super::definition::{DEFINITIONS, Definition, allow_all, lists, version};
use crate::world::{self, JSON_PATCH};

const GROUP: &str = "mygroup.example.com";

#[tokio::test]
async fn customresourcedefinition_resources_simple_customresourcedefinition_creating_deleting_custom_resource_definition_objects_works()
 {
    let world = world::world().await;
    let definition = Definition::named("foo", GROUP);
    definition.create(&world).await;
    definition.delete(&world).await;
    world.end().await;
}

#[tokio::test]
async fn customresourcedefinition_resources_simple_customresourcedefinition_listing_custom_resource_definition_objects_works()
 {
    let world = world::world().await;
    let selector = "labelSelector=e2e-list-test-uuid%3Dthese";
    let mut made = Vec::new();
    for number in 0..10 {
        let definition =
            Definition::named(&format!("foo{number}"), GROUP).labelled("e2e-list-test-uuid", "these");
        made.push(definition.create(&world).await);
    }
    let other = Definition::named("other", GROUP);
    other.create(&world).await;

    let list = world.get(&format!("{DEFINITIONS}?{selector}")).await;
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), made.len());
    for item in items {
        let same = made.iter().find(|one| one["metadata"]["name"] == item["metadata"]["name"]).unwrap();
        assert_eq!(item["spec"], same["spec"]);
    }
    world.delete(&format!("{DEFINITIONS}?{selector}")).await;
    for one in &made {
        world.gone(DEFINITIONS, one["metadata"]["name"].as_str().unwrap()).await;
    }
    let resources = world.get(&format!("/apis/{GROUP}/v1")).await;
    assert!(!lists(&resources, "foo0s") && lists(&resources, "others"), "{resources}");
    world.get(&other.path()).await;
    world.end().await;
}

#[tokio::test]
async fn customresourcedefinition_resources_simple_customresourcedefinition_getting_updating_patching_custom_resource_definition_status_sub_resource_works()
 {
    let world = world::world().await;
    let definition = Definition::named("foo", GROUP);
    let made = definition.create(&world).await;
    let status = format!("{}/status", definition.path());
    let condition = json!({"type": "", "status": "", "lastTransitionTime": null, "message": "updated"});
    let updated = world
        .update(&status, &status, |object| {
            assert_eq!(object["spec"], made["spec"]);
            object["status"]["conditions"].as_array_mut().unwrap().push(condition.clone());
        })
        .await;
    expect_condition(&updated, "updated");
    let patch = json!([{"op": "add", "path": "/status/conditions", "value": [{"message": "patched"}]}]);
    let patched = world.patch(&status, JSON_PATCH, patch).await;
    expect_condition(&patched, "patched");
    definition.delete(&world).await;
    world.end().await;
}

/// There is a condition that has this message and nothing else.
fn expect_condition(object: &Value, message: &str) {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|condition| condition["message"] == message);
    let found = found.unwrap_or_else(|| panic!("{object}"));
    for field in ["type", "status", "reason"] {
        assert!(found[field].as_str().unwrap_or_default().is_empty(), "{found}");
    }
    assert!(found["lastTransitionTime"].is_null(), "{found}");
}

#[tokio::test]
async fn customresourcedefinition_resources_should_include_custom_resource_definition_resources_in_discovery_documents()
 {
    let world = world::world().await;
    let group = "apiextensions.k8s.io";
    let list = world.get("/apis").await;
    let listed = list["groups"].as_array().unwrap().iter().find(|one| one["name"] == group).unwrap();
    let own = world.get(&format!("/apis/{group}")).await;
    assert_eq!(own["name"], group);
    for found in [listed, &own] {
        assert!(found["versions"].as_array().unwrap().iter().any(|version| version["version"] == "v1"));
    }
    let resources = world.get(&format!("/apis/{group}/v1")).await;
    assert_eq!(resources["groupVersion"], format!("{group}/v1"));
    assert!(lists(&resources, "customresourcedefinitions"));
    world.end().await;
}

#[tokio::test]
async fn customresourcedefinition_resources_custom_resource_defaulting_for_requests_and_from_storage_works() {
    let world = world::world().await;
    let mut schema = allow_all();
    schema["properties"] = json!({"a": {"type": "string"}, "b": {"type": "string"}});
    let definition = Definition::named("foo", GROUP).versions(&[("v1", schema)]);
    definition.create(&world).await;
    let objects = definition.objects("v1", "");
    world.post(&objects, definition.object("v1", "cr-1", json!({}))).await;

    let at = |field: &str| format!("/spec/versions/0/schema/openAPIV3Schema/properties/{field}/default");
    let patch = json!([{"op": "add", "path": at("a"), "value": "A"}]);
    world.patch(&definition.path(), JSON_PATCH, patch).await;
    // What is stored without it is read with it.
    let first = until_field(&world, &format!("{objects}/cr-1"), "a").await;
    assert_eq!(first["a"], "A");

    let second = world.post(&objects, definition.object("v1", "cr-2", json!({}))).await;
    assert_eq!(second["a"], "A");
    let patch = json!([{"op": "remove", "path": at("a")}, {"op": "add", "path": at("b"), "value": "B"}]);
    world.patch(&definition.path(), JSON_PATCH, patch).await;
    let second = until_field(&world, &format!("{objects}/cr-2"), "b").await;
    // What was stored with a default keeps it.
    assert_eq!((&second["a"], &second["b"]), (&json!("A"), &json!("B")));
    definition.delete(&world).await;
    world.end().await;
}

/// Reads until the object has this field: a changed definition comes into force at once, but after its answer.
async fn until_field(world: &world::World, path: &str, field: &str) -> Value {
    loop {
        let object = world.get(path).await;
        if object.get(field).is_some() {
            return object;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn customresourcedefinition_watch_customresourcedefinition_watch_watch_on_custom_resource_definition_objects()
 {
    let world = world::world().await;
    let mut definition = Definition::named("WishIHadChosenNoxu", GROUP);
    definition.0["metadata"]["name"] = format!("noxus.{GROUP}").into();
    definition.0["spec"]["names"] = json!({
        "plural": "noxus", "singular": "nonenglishnoxu", "kind": "WishIHadChosenNoxu",
        "shortNames": ["foo", "bar", "abc", "def"], "listKind": "NoxuItemList",
    });
    definition.0["spec"]["versions"] = json!([version("v1beta1", allow_all())]);
    definition.create_and_prime(&world).await;
    let objects = definition.objects("v1beta1", "");
    let watch = async |name: &str| {
        world
            .watch(&format!("{objects}?fieldSelector=metadata.name%3D{name}&timeoutSeconds=600&watch=true"))
            .await
    };
    let names = ["name1", "name2"];
    let mut watches = [watch(names[0]).await, watch(names[1]).await];
    // Each watch sees its own object in order, and so nothing of the other's.
    for (name, watch) in names.iter().zip(&mut watches) {
        let more = json!({"content": {"key": "value"}, "num": {"num1": i64::MAX, "num2": 1_000_000}});
        let made = world.post(&objects, definition.object("v1beta1", name, more)).await;
        assert!(made["metadata"]["uid"].is_string());
        assert_eq!(made["num"]["num1"], json!(i64::MAX));
        watch.expect("ADDED", &made).await;
    }
    for (name, watch) in names.iter().zip(&mut watches) {
        let patch = json!([{"op": "add", "path": "/dummy", "value": "test"}]);
        let patched = world.patch(&format!("{objects}/{name}"), JSON_PATCH, patch).await;
        watch.expect("MODIFIED", &patched).await;
    }
    for (name, watch) in names.iter().zip(&mut watches) {
        world.delete(&format!("{objects}/{name}")).await;
        watch.expect_named("DELETED", name).await;
    }
    definition.delete(&world).await;
    world.end().await;
}
