//! What may not change once it says so.

use serde_json::{Value, json};

use crate::kind::{Kind, name};
use crate::world::world;

#[tokio::test]
async fn configmap_should_be_immutable_if_immutable_field_is_set() {
    let world = world().await;
    let kind = Kind::namespaced(&world, "v1", "ConfigMap", "configmaps");
    becomes_immutable(&world, &kind, json!({ "data-1": "value-1", "data-2": "value-2" }), "value-4").await;
    world.end().await;
}

#[tokio::test]
async fn secrets_should_be_immutable_if_immutable_field_is_set() {
    let world = world().await;
    let kind = Kind::namespaced(&world, "v1", "Secret", "secrets");
    becomes_immutable(&world, &kind, json!({ "data-1": "dmFsdWUtMQ==" }), "dmFsdWUtNA==").await;
    world.end().await;
}

async fn becomes_immutable(world: &crate::world::World, kind: &Kind<'_>, data: Value, further: &str) {
    let created = kind.create(json!({ "metadata": { "name": "immutable" }, "data": data })).await;
    let path = kind.path(name(&created));
    kind.update("immutable", |object| object["data"]["data-4"] = further.into()).await;
    kind.update("immutable", |object| object["immutable"] = true.into()).await;

    let current = kind.get("immutable").await;
    assert_eq!(current["immutable"], true);
    let refused = async |change: fn(&mut Value)| {
        let mut object = current.clone();
        change(&mut object);
        let (status, answer) = world.ask("PUT", &path, object).await;
        assert_eq!((status, &answer["reason"]), (422, &json!("Invalid")), "{answer}");
    };
    refused(|object| object["data"]["data-5"] = "dmFsdWUtNQ==".into()).await;
    refused(|object| object["immutable"] = false.into()).await;
    refused(|object| drop(object.as_object_mut().and_then(|object| object.remove("immutable")))).await;

    // Metadata are no contents, and it may go.
    kind.update("immutable", |object| object["metadata"]["labels"] = json!({ "label1": "value1" })).await;
    kind.delete("immutable").await;
    assert!(!kind.exists("immutable").await);
}
