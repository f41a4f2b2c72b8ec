//! Schemas of custom resources in the documents of OpenAPI, and what kubectl makes of them.

use serde_json::{Value, json};

use super::command::{fail, succeed};
use super::definition::{DEFINITIONS, Definition, allow_all};
use crate::world::{self, JSON_PATCH, World};

/// A cluster that kubectl reaches.
async fn listening() -> World {
    world::with(orchestra::Cluster::builder().without_nodes().listen(([127, 0, 0, 1], 0).into())).await
}

fn text(description: &str) -> Value {
    json!({"description": description, "type": "string"})
}

fn foo() -> Value {
    let bar = json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": text("Name of Bar."),
            "age": text("Age of Bar."),
            "feeling": {"description": "Whether Bar is feeling great.", "type": "string", "enum": ["Great", "Down"]},
            "bazs": {"description": "List of Bazs.", "items": {"type": "string"}, "type": "array"},
        },
    });
    let status = json!({
        "type": "object",
        "properties": {
            "name": text("Name of Bar."),
            "available": {"description": "Whether the Bar is installed.", "type": "boolean"},
            "quxType": {
                "description": "Indicates to external qux type.", "pattern": "in-tree|out-of-tree", "type": "string",
            },
        },
    });
    let list =
        |description: &str, item: Value| json!({"description": description, "type": "array", "items": item});
    json!({
        "description": "Foo CRD for Testing",
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "description": "Specification of Foo",
                "properties": {"bars": list("List of Bars and their specs.", bar)},
            },
            "status": {
                "description": "Status of Foo",
                "type": "object",
                "properties": {"bars": list("List of Bars and their statuses.", status)},
            },
        },
    })
}

fn waldo(description: &str) -> Value {
    json!({
        "description": description,
        "type": "object",
        "properties": {
            "spec": {
                "description": "Specification of Waldo",
                "type": "object",
                "properties": {"dummy": {"description": "Dummy property.", "type": "object"}},
            },
            "status": {
                "description": "Status of Waldo",
                "type": "object",
                "properties": {"bars": {
                    "description": "List of Bars and their statuses.", "type": "array", "items": {"type": "object"},
                }},
            },
        },
    })
}

/// Defines a kind in namespaces, of a group with this suffix, whose versions have one schema; waits until each is published
/// as `expected`, if that is told.
async fn set_up(
    world: &World,
    name: &str,
    suffix: &str,
    versions: &[&str],
    schema: Value,
    expected: Option<&Value>,
) -> Definition {
    let versions: Vec<(&str, Value)> = versions.iter().map(|version| (*version, schema.clone())).collect();
    let group = format!("crd-publish-openapi-test-{suffix}.example.com");
    let definition = Definition::named(name, &group).namespaced().versions(&versions);
    definition.create(world).await;
    for (version, _) in versions {
        published(world, &definition, version, expected).await;
    }
    definition
}

/// What the schema of a version is called: the group's domain from its end, the version, the kind.
fn definition_name(definition: &Definition, version: &str) -> String {
    let group = definition.0["spec"]["group"].as_str().unwrap();
    let domain: Vec<&str> = group.split('.').rev().collect();
    format!("{}.{version}.{}", domain.join("."), definition.kind())
}

async fn find(world: &World, name: &str) -> Option<Value> {
    let document = world.get("/openapi/v2").await;
    document["definitions"].get(name).cloned()
}

/// Waits until the schema of a version is published, and compares it but for what the server adds.
async fn published(world: &World, definition: &Definition, version: &str, expected: Option<&Value>) {
    let name = definition_name(definition, version);
    loop {
        if let Some(mut found) = find(world, &name).await {
            let Some(expected) = expected else { return };
            let fields = found.as_object_mut().unwrap();
            fields.remove("x-kubernetes-group-version-kind");
            if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
                for added in ["metadata", "apiVersion", "kind"] {
                    properties.remove(added);
                }
            }
            assert_eq!(found, *expected, "{name}");
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn withdrawn(world: &World, definition: &Definition, version: &str) {
    let name = definition_name(definition, version);
    while find(world, &name).await.is_some() {
        tokio::task::yield_now().await;
    }
}

async fn clean_up(world: &World, definition: &Definition, versions: &[&str]) {
    world.delete(&definition.path()).await;
    world.gone(DEFINITIONS, definition.name()).await;
    for version in versions {
        withdrawn(world, definition, version).await;
    }
}

/// kubectl creates, deletes, applies and deletes an object.
async fn accepted(world: &World, definition: &Definition, name: &str, more: Value) {
    let object = definition.object("v1", name, more).to_string();
    let plural = definition.0["spec"]["names"]["plural"].as_str().unwrap();
    for verb in ["create", "apply"] {
        succeed(world, &[verb, "-f", "-"], &object).await;
        succeed(world, &["delete", plural, name], "").await;
    }
}

/// kubectl neither creates nor applies an object, and says why.
async fn rejected(world: &World, definition: &Definition, more: Value, why: &[&str]) {
    let object = definition.object("v1", "test-foo", more).to_string();
    for verb in ["create", "apply"] {
        let said = fail(world, &[verb, "-f", "-"], &object).await;
        assert!(why.iter().any(|why| said.contains(why)), "{said}");
    }
}

/// `kubectl explain` prints these one after the other.
async fn explained(world: &World, what: &str, wanted: &[&str]) {
    let printed = succeed(world, &["explain", what], "").await;
    let mut rest = printed.as_str();
    for part in wanted {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} in its place:\n{printed}"));
        rest = &rest[at + part.len()..];
    }
}

#[tokio::test]
async fn customresourcepublishopenapi_works_for_crd_with_validation_schema() {
    let world = listening().await;
    let definition = set_up(&world, "e2e-test-foo-crd", "foo", &["v1"], foo(), Some(&foo())).await;
    let plural = "e2e-test-foo-crds";
    let bars = |bar: Value| json!({"spec": {"bars": [bar]}});
    accepted(&world, &definition, "test-foo", bars(json!({"name": "test-bar"}))).await;
    let feeling = json!({"name": "test-bar", "feeling": "NonExistentValue"});
    rejected(&world, &definition, bars(feeling), &[r#"Unsupported value: "NonExistentValue""#]).await;
    let unknown = [r#"unknown field "foo""#, r#"unknown field "spec.foo""#];
    rejected(&world, &definition, json!({"spec": {"foo": true}}), &unknown).await;
    let missing = [r#"missing required field "name""#, "spec.bars[0].name: Required value"];
    rejected(&world, &definition, bars(json!({"age": "10"})), &missing).await;

    let wanted = [
        "DESCRIPTION:",
        "Foo CRD for Testing",
        "FIELDS:",
        "apiVersion",
        "<string>",
        "APIVersion defines",
        "spec",
        "<Object>",
        "Specification of Foo",
    ];
    explained(&world, plural, &wanted).await;
    let wanted = [
        "DESCRIPTION:",
        "Standard object's metadata",
        "FIELDS:",
        "creationTimestamp",
        "<string>",
        "CreationTimestamp is a timestamp",
    ];
    explained(&world, &format!("{plural}.metadata"), &wanted).await;
    let wanted = [
        "DESCRIPTION:",
        "Specification of Foo",
        "FIELDS:",
        "bars",
        "<[]Object>",
        "List of Bars and their specs",
    ];
    explained(&world, &format!("{plural}.spec"), &wanted).await;
    let wanted = [
        "FIELD:",
        "bars",
        "<[]Object>",
        "DESCRIPTION:",
        "List of Bars and their specs",
        "FIELDS:",
        "bazs",
        "<[]string>",
        "List of Bazs",
        "name",
        "<string>",
        "Name of Bar",
    ];
    explained(&world, &format!("{plural}.spec.bars"), &wanted).await;
    let said = fail(&world, &["explain", &format!("{plural}.spec.bars2")], "").await;
    assert!(said.contains(r#"field "bars2" does not exist"#), "{said}");
    clean_up(&world, &definition, &["v1"]).await;
    world.end().await;
}

#[tokio::test]
async fn customresourcepublishopenapi_works_for_crd_without_validation_schema() {
    let world = listening().await;
    let expected = json!({"type": "object"});
    let definition =
        set_up(&world, "e2e-test-empty-crd", "empty", &["v1"], allow_all(), Some(&expected)).await;
    accepted(&world, &definition, "test-cr", json!({"a": {"b": [{"c": "d"}]}})).await;
    explained(&world, "e2e-test-empty-crds", &["DESCRIPTION:", "<empty>"]).await;
    clean_up(&world, &definition, &["v1"]).await;
    world.end().await;
}

#[tokio::test]
async fn customresourcepublishopenapi_works_for_crd_preserving_unknown_fields_at_the_schema_root() {
    let world = listening().await;
    let mut schema = waldo("preserve-unknown-properties at root for Testing");
    schema["x-kubernetes-preserve-unknown-fields"] = true.into();
    let definition = set_up(&world, "e2e-test-root-crd", "unknown-at-root", &["v1"], schema, None).await;
    accepted(&world, &definition, "test-cr", json!({"a": {"b": [{"c": "d"}]}})).await;
    explained(&world, "e2e-test-root-crds", &["KIND:", definition.kind()]).await;
    clean_up(&world, &definition, &["v1"]).await;
    world.end().await;
}

#[tokio::test]
async fn customresourcepublishopenapi_works_for_crd_preserving_unknown_fields_in_an_embedded_object() {
    let world = listening().await;
    let mut schema = waldo("preserve-unknown-properties in nested field for Testing");
    schema["properties"]["spec"]["x-kubernetes-preserve-unknown-fields"] = true.into();
    let definition = set_up(&world, "e2e-test-nested-crd", "unknown-in-nested", &["v1"], schema, None).await;
    accepted(&world, &definition, "test-cr", json!({"spec": {"a": null, "b": [{"c": "d"}]}})).await;
    let wanted = ["DESCRIPTION:", "preserve-unknown-properties in nested field for Testing"];
    explained(&world, "e2e-test-nested-crds", &wanted).await;
    clean_up(&world, &definition, &["v1"]).await;
    world.end().await;
}

const WALDO: &str = "Waldo CRD for Testing";

/// Two kinds beside each other, each with its schema.
async fn two(world: &World, foo_at: (&str, &str), waldo_at: (&str, &str)) {
    let second = waldo(WALDO);
    let one = set_up(world, "e2e-test-foo-crd", foo_at.0, &[foo_at.1], foo(), Some(&foo())).await;
    let other =
        set_up(world, "e2e-test-waldo-crd", waldo_at.0, &[waldo_at.1], second.clone(), Some(&second)).await;
    published(world, &other, waldo_at.1, Some(&second)).await;
    published(world, &one, foo_at.1, Some(&foo())).await;
    clean_up(world, &one, &[foo_at.1]).await;
    clean_up(world, &other, &[waldo_at.1]).await;
}

#[tokio::test]
async fn customresourcepublishopenapi_works_for_multiple_crds_of_different_groups() {
    let world = world::world().await;
    two(&world, ("foo", "v1"), ("waldo", "v1beta1")).await;
    world.end().await;
}

#[tokio::test]
async fn customresourcepublishopenapi_works_for_multiple_crds_of_same_group_but_different_versions() {
    let world = world::world().await;
    let versions = ["v2", "v3"];
    let definition = set_up(&world, "e2e-test-multi-crd", "multi-ver", &versions, foo(), Some(&foo())).await;
    clean_up(&world, &definition, &versions).await;
    two(&world, ("common-group", "v4"), ("common-group", "v5")).await;
    world.end().await;
}

#[tokio::test]
async fn customresourcepublishopenapi_works_for_multiple_crds_of_same_group_and_version_but_different_kinds()
{
    let world = world::world().await;
    two(&world, ("common-group", "v6"), ("common-group", "v6")).await;
    world.end().await;
}

#[tokio::test]
async fn customresourcepublishopenapi_updates_the_published_spec_when_one_version_gets_renamed() {
    let world = world::world().await;
    let schema = foo();
    let definition =
        set_up(&world, "e2e-test-multi-crd", "multi-ver", &["v2", "v3"], foo(), Some(&schema)).await;
    let patch = json!([
        {"op": "test", "path": "/spec/versions/1/name", "value": "v3"},
        {"op": "replace", "path": "/spec/versions/1/name", "value": "v4"},
    ]);
    world.patch(&definition.path(), JSON_PATCH, patch).await;
    published(&world, &definition, "v4", Some(&schema)).await;
    withdrawn(&world, &definition, "v3").await;
    published(&world, &definition, "v2", Some(&schema)).await;
    clean_up(&world, &definition, &["v2", "v4"]).await;
    world.end().await;
}

#[tokio::test]
async fn customresourcepublishopenapi_removes_definition_from_spec_when_one_version_gets_changed_to_not_be_served()
 {
    let world = world::world().await;
    let schema = foo();
    let versions = ["v5", "v6alpha1"];
    let definition =
        set_up(&world, "e2e-test-multi-crd", "multi-to-single-ver", &versions, foo(), Some(&schema)).await;
    let path = definition.path();
    world.update(&path, &path, |object| object["spec"]["versions"][1]["served"] = false.into()).await;
    withdrawn(&world, &definition, "v6alpha1").await;
    published(&world, &definition, "v5", Some(&schema)).await;
    clean_up(&world, &definition, &["v5"]).await;
    world.end().await;
}
