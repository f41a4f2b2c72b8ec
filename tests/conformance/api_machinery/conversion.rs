//! Objects of several versions, between which a webhook converts.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::definition::Definition;
use super::webhooks::serve;
use crate::hook::{Hook, Said};
use crate::watching::Watch;
use crate::world::{self, World};

const SERVICE: &str = "e2e-test-crd-conversion-webhook";
const GROUP: &str = "stable.example.com";

/// What the suite's program does: `hostPort` of v1 is `host` and `port` of v2.
fn convert(mut object: Value, desired: &str) -> Value {
    let fields = object.as_object_mut().unwrap();
    if desired.ends_with("/v2") {
        if let Some(both) = fields.remove("hostPort") {
            let (host, port) = both.as_str().unwrap().split_once(':').unwrap();
            fields.insert("host".to_owned(), host.into());
            fields.insert("port".to_owned(), port.into());
        }
    } else {
        let part = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned));
        let (host, port) = (part(fields.remove("host")), part(fields.remove("port")));
        if host.is_some() || port.is_some() {
            let both = format!("{}:{}", host.unwrap_or_default(), port.unwrap_or_default());
            fields.insert("hostPort".to_owned(), both.into());
        }
    }
    fields.insert("apiVersion".to_owned(), desired.into());
    object
}

fn answer(asked: &Value) -> Said {
    assert!(asked["uri"].as_str().unwrap().starts_with("/crdconvert"));
    let desired = asked["desiredAPIVersion"].as_str().unwrap();
    let objects = asked["objects"].as_array().unwrap();
    let converted: Vec<Value> = objects.iter().map(|object| convert(object.clone(), desired)).collect();
    let response =
        json!({"uid": asked["uid"], "convertedObjects": converted, "result": {"status": "Success"}});
    let review = json!({"kind": "ConversionReview", "apiVersion": asked["apiVersion"], "response": response});
    Said::Raw(200, review.to_string())
}

fn schema(fields: &[&str]) -> Value {
    let properties: serde_json::Map<String, Value> =
        fields.iter().map(|field| ((*field).to_owned(), json!({"type": "string"}))).collect();
    json!({"type": "object", "properties": properties})
}

/// Deploys the program, defines a kind that it converts, and waits until an object of v2 can be made.
async fn deploy(world: &World, change: impl FnOnce(&mut Value)) -> Definition {
    let hook = Hook::start(&[&format!("{SERVICE}.conformance.svc")], answer).await;
    serve(world, SERVICE, &hook).await;
    let versions = [("v1", schema(&["hostPort"])), ("v2", schema(&["host", "port"]))];
    let mut definition =
        Definition::named("E2e-test-crd-webhook-crd", GROUP).namespaced().versions(&versions);
    definition.0["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "clientConfig": {
            "caBundle": hook.ca,
            "service": {"namespace": "conformance", "name": SERVICE, "path": "/crdconvert", "port": 8443},
        },
        "conversionReviewVersions": ["v1", "v1beta1"],
    }});
    definition.0["spec"]["preserveUnknownFields"] = false.into();
    change(&mut definition.0);
    definition.create(world).await;
    let objects = definition.objects("v2", "conformance");
    let stub = definition.object("v2", "stub", json!({}));
    while world.ask("POST", &objects, stub.clone()).await.0 != 201 {
        tokio::task::yield_now().await;
    }
    world.delete(&format!("{objects}/stub")).await;
    definition
}

fn check_v1(object: &Value) {
    assert_eq!(object["apiVersion"], "stable.example.com/v1");
    assert_eq!(object["hostPort"], "localhost:8080");
    assert!(object.get("host").is_none() && object.get("port").is_none(), "{object}");
}

fn check_v2(object: &Value) {
    assert_eq!(object["apiVersion"], "stable.example.com/v2");
    assert!(object.get("hostPort").is_none(), "{object}");
    assert_eq!((&object["host"], &object["port"]), (&json!("localhost"), &json!("8080")));
}

#[tokio::test]
async fn customresourceconversionwebhook_should_be_able_to_convert_from_cr_v1_to_cr_v2() {
    let world = world::world().await;
    let definition = deploy(&world, |_| {}).await;
    let object = definition.object("v1", "cr-instance-1", json!({"hostPort": "localhost:8080"}));
    world.post(&definition.objects("v1", "conformance"), object).await;
    let path = format!("{}/cr-instance-1", definition.objects("v2", "conformance"));
    check_v2(&world.get(&path).await);
    world.end().await;
}

#[tokio::test]
async fn customresourceconversionwebhook_should_be_able_to_convert_a_non_homogeneous_list_of_crs() {
    let world = world::world().await;
    let definition = deploy(&world, |_| {}).await;
    let objects = definition.objects("v1", "conformance");
    let object = |name: &str| definition.object("v1", name, json!({"hostPort": "localhost:8080"}));
    world.post(&objects, object("cr-instance-1")).await;
    let path = definition.path();
    world
        .update(&path, &path, |definition| {
            definition["spec"]["versions"][0]["storage"] = false.into();
            definition["spec"]["versions"][1]["storage"] = true.into();
        })
        .await;
    world.post(&objects, object("cr-instance-2")).await;
    for (version, check) in [("v1", check_v1 as fn(&Value)), ("v2", check_v2 as fn(&Value))] {
        let list = world.get(&definition.objects(version, "conformance")).await;
        let items = list["items"].as_array().unwrap();
        assert_eq!(names(items), set(&["cr-instance-1", "cr-instance-2"]));
        items.iter().for_each(check);
    }
    world.end().await;
}

fn names(items: &[Value]) -> BTreeSet<&str> {
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

fn set<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
    names.iter().copied().collect()
}

/// A watch that has seen these come, and sees these go.
struct Selected {
    watch: Watch,
    names: BTreeSet<&'static str>,
}

impl Selected {
    /// A watch as clients make it, or as informers do: with all that is there first, and a mark behind it.
    async fn start(
        world: &World,
        objects: &str,
        selector: &str,
        informer: bool,
        names: &[&'static str],
    ) -> Self {
        let more = if informer {
            "&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        } else {
            ""
        };
        let watch = world.watch(&format!("{objects}?watch=true&fieldSelector={selector}{more}")).await;
        Self { watch, names: set(names) }
    }

    /// Waits until all of them have this event, and nobody else.
    async fn all(&mut self, kind: &str) {
        let mut seen = BTreeSet::new();
        while seen.len() < self.names.len() {
            let event = self.watch.next().await;
            if event["type"] == "BOOKMARK" || event["type"] == "MODIFIED" {
                continue;
            }
            assert_eq!(event["type"], kind, "{event}");
            let name = event["object"]["metadata"]["name"].as_str().unwrap().to_owned();
            assert!(self.names.contains(name.as_str()) && seen.insert(name.clone()), "{event}");
        }
    }
}

#[tokio::test]
async fn customresourcefieldselectors_customresourcefieldselectors_must_list_and_watch_custom_resources_matching_the_field_selector()
 {
    let world = world::world().await;
    let definition = deploy(&world, |definition| {
        let fields = |paths: &[&str]| paths.iter().map(|path| json!({"jsonPath": path})).collect::<Vec<_>>();
        definition["spec"]["versions"][0]["selectableFields"] = fields(&[".hostPort"]).into();
        definition["spec"]["versions"][1]["selectableFields"] = fields(&[".host", ".port"]).into();
    })
    .await;
    let (v1, v2) = (definition.objects("v1", "conformance"), definition.objects("v2", "conformance"));
    let (host, both, joined) = ("host%3Dhost1", "host%3Dhost1%2Cport%3D80", "hostPort%3Dhost1%3A80");
    let mut watches = [
        Selected::start(&world, &v2, host, false, &["one", "two"]).await,
        Selected::start(&world, &v2, both, false, &["one"]).await,
        Selected::start(&world, &v1, joined, false, &["one"]).await,
        Selected::start(&world, &v2, host, true, &["one", "two"]).await,
        Selected::start(&world, &v2, both, true, &["one"]).await,
    ];
    for (name, fields) in [
        ("one", json!({"host": "host1", "port": "80"})),
        ("two", json!({"host": "host1", "port": "8080"})),
        ("three", json!({"host": "host2"})),
    ] {
        world.post(&v2, definition.object("v2", name, fields)).await;
    }
    let listed = async |objects: &str, selector: &str, wanted: &[&str]| {
        let list = world.get(&format!("{objects}?fieldSelector={selector}")).await;
        assert_eq!(names(list["items"].as_array().unwrap()), set(wanted), "{selector}");
    };
    listed(&v2, host, &["one", "two"]).await;
    listed(&v2, both, &["one"]).await;
    listed(&v1, joined, &["one"]).await;
    listed(&v1, "hostPort%3Dhost1%3A8080", &["two"]).await;
    for watch in &mut watches {
        watch.all("ADDED").await;
    }

    // One goes, and the other is selected no more.
    world.delete_with(&format!("{v2}?fieldSelector={both}"), json!({"gracePeriodSeconds": 0})).await;
    let path = format!("{v2}/two");
    world.update(&path, &path, |object| object["host"] = "host2".into()).await;
    listed(&v2, host, &[]).await;
    listed(&v2, both, &[]).await;
    for watch in &mut watches {
        watch.all("DELETED").await;
    }
    world.end().await;
}
