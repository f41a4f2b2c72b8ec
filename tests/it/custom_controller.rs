//! A kind made with `kube-derive` and a controller for it, as whoever writes an operator has them: status, finalizer, owners.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher;
use kube::{Client, CustomResourceExt as _, Resource as _, ResourceExt as _};
use kube_derive::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;

use crate::harness::{Cluster, PATIENCE};
use crate::watchers::client;

const FINALIZER: &str = "example.com/farewell";

/// So many beds, each of which is a map that belongs to the garden.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize)]
#[kube(group = "example.com", version = "v1", kind = "Garden", namespaced)]
#[kube(status = "GardenStatus", shortname = "gd", schema = "disabled")]
#[kube(printcolumn = r#"{"name": "Beds", "type": "integer", "jsonPath": ".spec.beds"}"#)]
struct GardenSpec {
    /// How many beds there are to be.
    beds: u32,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
struct GardenStatus {
    planted: u32,
}

/// The definition that was derived, with a schema of our own.
fn definition() -> CustomResourceDefinition {
    let mut definition = Garden::crd();
    let schema = json!({ "openAPIV3Schema": {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object",
                "required": ["beds"],
                "properties": { "beds": { "type": "integer", "minimum": 0, "maximum": 9 } },
            },
            "status": { "type": "object", "properties": { "planted": { "type": "integer" } } },
        },
    } });
    for version in &mut definition.spec.versions {
        version.schema = Some(serde_json::from_value(schema.clone()).unwrap());
    }
    definition
}

async fn reconcile(garden: Arc<Garden>, client: Arc<Client>) -> Result<Action, Problem> {
    let gardens: Api<Garden> = Api::default_namespaced(Client::clone(&client));
    finalizer(&gardens, FINALIZER, garden, |event| async {
        match event {
            Event::Apply(garden) => plant(&garden, Client::clone(&client)).await,
            Event::Cleanup(garden) => take_leave(&garden, Client::clone(&client)).await,
        }
    })
    .await
    .map_err(|problem| Problem(problem.to_string()))
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Problem(String);

/// The beds that are missing are made, those that are too many taken away, and how many there are is told.
async fn plant(garden: &Garden, client: Client) -> Result<Action, kube::Error> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let bed = |number: u32| format!("{}-{number}", garden.name_any());
    for number in 0..garden.spec.beds {
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": bed(number),
                "labels": { "garden": garden.name_any() },
                "ownerReferences": [garden.controller_owner_ref(&())],
            },
        });
        maps.patch(&bed(number), &PatchParams::apply("gardener").force(), &Patch::Apply(map)).await?;
    }
    for number in garden.spec.beds..10 {
        if maps.get_opt(&bed(number)).await?.is_some() {
            maps.delete(&bed(number), &DeleteParams::default()).await?;
        }
    }
    let status = json!({ "status": GardenStatus { planted: garden.spec.beds } });
    let gardens: Api<Garden> = Api::default_namespaced(client);
    gardens.patch_status(&garden.name_any(), &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(Action::await_change())
}

async fn take_leave(garden: &Garden, client: Client) -> Result<Action, kube::Error> {
    let name = format!("farewell-{}", garden.name_any());
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    maps.patch(&name, &PatchParams::apply("gardener").force(), &Patch::Apply(map)).await?;
    Ok(Action::await_change())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_derived_kind_has_a_controller_with_status_finalizer_and_owners() {
    let cluster = Cluster::start();
    let client = client(&cluster, None).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &definition()).await.unwrap();
    let established = await_condition(definitions, Garden::crd_name(), conditions::is_crd_established());
    timeout(PATIENCE, established).await.unwrap().unwrap();

    let gardens: Api<Garden> = Api::default_namespaced(client.clone());
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let controller = Controller::new(gardens.clone(), watcher::Config::default().streaming_lists())
        .owns(maps.clone(), watcher::Config::default());
    let again = |_: Arc<Garden>, _: &Problem, _: Arc<Client>| Action::requeue(Duration::from_millis(50));
    let running = tokio::spawn(controller.run(reconcile, again, Arc::new(client)).for_each(|_| async {}));

    // What the schema says of a field is held to.
    let too_many = gardens.create(&PostParams::default(), &Garden::new("g", GardenSpec { beds: 10 })).await;
    let why = too_many.unwrap_err().to_string();
    assert!(
        why.contains("spec.beds: Invalid value: 10: spec.beds in body should be less than or equal to 9"),
        "{why}"
    );

    gardens.create(&PostParams::default(), &Garden::new("g", GardenSpec { beds: 3 })).await.unwrap();
    is_planted(&gardens, 3).await;
    let beds = ListParams::default().labels("garden=g");
    assert_eq!(maps.list(&beds).await.unwrap().items.len(), 3);
    let columns = cluster.kubectl(&["get", "gd"]);
    assert_eq!(columns.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(), ["NAME", "BEDS"]);

    // A change of the status is no change of what is wanted; one of what is wanted is told by the generation.
    let before = gardens.get("g").await.unwrap();
    assert_eq!(before.metadata.generation, Some(1));
    let fewer = json!({ "spec": { "beds": 1 }, "status": { "planted": 7 } });
    let after = gardens.patch("g", &PatchParams::default(), &Patch::Merge(fewer)).await.unwrap();
    assert_eq!((after.metadata.generation, after.status.unwrap().planted), (Some(2), 3));
    is_planted(&gardens, 1).await;
    assert_eq!(maps.list(&beds).await.unwrap().items.len(), 1);

    // What somebody takes away from the garden comes back.
    maps.delete("g-0", &DeleteParams::default()).await.unwrap();
    let there = await_condition(maps.clone(), "g-0", |map: Option<&ConfigMap>| {
        map.is_some_and(|map| map.metadata.deletion_timestamp.is_none())
    });
    timeout(PATIENCE, there).await.unwrap().unwrap();

    // The garden stays until its finalizer has run; then what it owned is collected.
    let uid = gardens.get("g").await.unwrap().uid().unwrap();
    gardens.delete("g", &DeleteParams::default()).await.unwrap();
    let gone = await_condition(gardens, "g", conditions::is_deleted(&uid));
    timeout(PATIENCE, gone).await.unwrap().unwrap();
    maps.get("farewell-g").await.unwrap();
    let collected = await_condition(maps.clone(), "g-0", |map: Option<&ConfigMap>| map.is_none());
    timeout(PATIENCE, collected).await.unwrap().unwrap();
    running.abort();
}

async fn is_planted(gardens: &Api<Garden>, beds: u32) {
    let planted = await_condition(gardens.clone(), "g", move |garden: Option<&Garden>| {
        garden.is_some_and(|garden| garden.status == Some(GardenStatus { planted: beds }))
    });
    timeout(PATIENCE, planted).await.unwrap().unwrap();
}
