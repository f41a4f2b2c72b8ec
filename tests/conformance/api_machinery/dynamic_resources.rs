//! The kinds of dynamic resource allocation.

use serde_json::{Value, json};

use crate::crud::{Crud, Patch, every_merge, label_patches};
use crate::world::{self, JSON_PATCH};

const GROUP_VERSION: &str = "resource.k8s.io/v1";

fn label(object: &mut Value) {
    object["metadata"]["labels"]["test.dra.example.com"] = "test".into();
}

fn devices() -> Value {
    json!({"devices": {"requests": [{"name": "req-0", "exactly": {"deviceClassName": "dra.example.com"}}]}})
}

#[tokio::test]
async fn crud_tests_resource_k8s_io_v1_deviceclass() {
    let world = world::world().await.dynamic();
    // Neither selects any device; the second has to be compiled to know.
    let selectors = json!([{"cel": {"expression": "1 == 0"}}]);
    let mut patches: Vec<Patch<'_>> = every_merge(&json!({"spec": {"selectors": selectors}}));
    patches.push((JSON_PATCH, json!([{"op": "replace", "path": "/spec/selectors", "value": selectors}])));
    let class = Crud {
        group_version: GROUP_VERSION,
        plural: "deviceclasses",
        kind: "DeviceClass",
        namespaced: false,
        object: json!({"spec": {"selectors": [{"cel": {"expression": "false"}}]}}),
        update: &|object| object["spec"]["selectors"][0]["cel"]["expression"] = "1 == 0".into(),
        patches,
        status: None,
    };
    class.check(&world).await;
    world.end().await;
}

#[tokio::test]
async fn crud_tests_resource_k8s_io_v1_resourceclaim() {
    let world = world::world().await.dynamic();
    // That nothing is allocated is an allocation, and a status is there to be added to before anybody wrote one.
    let mut status = every_merge(&json!({"status": {"allocation": {}}}));
    status.push((JSON_PATCH, json!([{"op": "add", "path": "/status/allocation", "value": {}}])));
    let claim = Crud {
        group_version: GROUP_VERSION,
        plural: "resourceclaims",
        kind: "ResourceClaim",
        namespaced: true,
        object: json!({"spec": devices()}),
        update: &label,
        patches: label_patches("test.dra.example.com", "test"),
        status: Some((&|object| object["status"]["allocation"] = json!({}), status)),
    };
    claim.check(&world).await;
    world.end().await;
}

#[tokio::test]
async fn crud_tests_resource_k8s_io_v1_resourceclaimtemplate() {
    let world = world::world().await.dynamic();
    let template = Crud {
        group_version: GROUP_VERSION,
        plural: "resourceclaimtemplates",
        kind: "ResourceClaimTemplate",
        namespaced: true,
        object: json!({"spec": {"spec": devices()}}),
        update: &label,
        patches: label_patches("test.dra.example.com", "test"),
        status: None,
    };
    template.check(&world).await;
    world.end().await;
}

#[tokio::test]
async fn crud_tests_resource_k8s_io_v1_resourceslice() {
    let world = world::world().await.dynamic();
    let devices = json!([{"name": "device-0"}]);
    let mut patches: Vec<Patch<'_>> = every_merge(&json!({"spec": {"devices": devices}}));
    patches.push((JSON_PATCH, json!([{"op": "add", "path": "/spec/devices", "value": devices}])));
    let slice = Crud {
        group_version: GROUP_VERSION,
        plural: "resourceslices",
        kind: "ResourceSlice",
        namespaced: false,
        // Of a pool in which there is nothing yet.
        object: json!({"spec": {
            "driver": "dra.example.com", "nodeName": "no-such-node",
            "pool": {"name": "cluster", "generation": 1, "resourceSliceCount": 1},
        }}),
        update: &|object| object["spec"]["devices"] = devices.clone(),
        patches,
        status: None,
    };
    slice.check(&world).await;
    world.end().await;
}
