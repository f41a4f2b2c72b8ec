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
    let world = world::world().await;
    let selectors = json!([{"cel": {"expression": "true"}}, {"cel": {"expression": "device.driver == 'a'"}}]);
    let mut patches: Vec<Patch<'_>> = every_merge(&json!({"spec": {"selectors": selectors}}));
    patches.push((JSON_PATCH, json!([{"op": "replace", "path": "/spec/selectors", "value": selectors}])));
    let class = Crud {
        group_version: GROUP_VERSION,
        plural: "deviceclasses",
        kind: "DeviceClass",
        namespaced: false,
        object: json!({"spec": {"selectors": [{"cel": {"expression": "true"}}]}}),
        update: &|object| object["spec"]["selectors"] = selectors.clone(),
        patches,
        status: None,
    };
    class.check(&world).await;
    world.end().await;
}

#[tokio::test]
async fn crud_tests_resource_k8s_io_v1_resourceclaim() {
    let world = world::world().await;
    let allocation = json!({"devices": {"results": [{
        "request": "req-0", "driver": "dra.example.com", "pool": "some-pool", "device": "some-device",
    }]}});
    let mut status = every_merge(&json!({"status": {"allocation": allocation}}));
    status.push((JSON_PATCH, json!([{"op": "add", "path": "/status", "value": {"allocation": allocation}}])));
    let claim = Crud {
        group_version: GROUP_VERSION,
        plural: "resourceclaims",
        kind: "ResourceClaim",
        namespaced: true,
        object: json!({"spec": devices()}),
        update: &label,
        patches: label_patches("test.dra.example.com", "test"),
        status: Some((&|object| object["status"] = json!({"allocation": allocation}), status)),
    };
    claim.check(&world).await;
    world.end().await;
}

#[tokio::test]
async fn crud_tests_resource_k8s_io_v1_resourceclaimtemplate() {
    let world = world::world().await;
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
    let world = world::world().await;
    let devices = json!([{"name": "device-0"}, {"name": "device-1"}]);
    let mut patches: Vec<Patch<'_>> = every_merge(&json!({"spec": {
        "driver": "dra.example.com", "nodeName": "no-such-node",
        "pool": {"name": "some-pool", "generation": 1, "resourceSliceCount": 1}, "devices": devices,
    }}));
    patches.push((JSON_PATCH, json!([{"op": "replace", "path": "/spec/devices", "value": devices}])));
    let slice = Crud {
        group_version: GROUP_VERSION,
        plural: "resourceslices",
        kind: "ResourceSlice",
        namespaced: false,
        object: json!({"spec": {
            "driver": "dra.example.com", "nodeName": "no-such-node",
            "pool": {"name": "some-pool", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "device-0"}],
        }}),
        update: &|object| object["spec"]["devices"] = devices.clone(),
        patches,
        status: None,
    };
    slice.check(&world).await;
    world.end().await;
}
