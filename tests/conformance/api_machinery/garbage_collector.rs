//! What happens to those whose owner goes. No pod need run for it, so there is no node.

use serde_json::{Value, json};

use crate::world::{self, STRATEGIC_PATCH, World};

const CONTROLLERS: &str = "/api/v1/namespaces/conformance/replicationcontrollers";
const PODS: &str = "/api/v1/namespaces/conformance/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/conformance/deployments";
const SETS: &str = "/apis/apps/v1/namespaces/conformance/replicasets";
/// How many pods the suite makes where it wants many.
const MANY: usize = 10;

fn template(label: &str) -> Value {
    json!({
        "metadata": {"labels": {"gctest": label}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "nginx", "image": "nginx"}],
        },
    })
}

async fn make_controller(world: &World, name: &str, replicas: usize, label: &str) -> Value {
    let controller = json!({
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"gctest": label}, "template": template(label)},
    });
    world.post(CONTROLLERS, controller).await
}

async fn full(world: &World, collection: &str, name: &str, replicas: usize) {
    world.eventually(collection, name, |object| object["status"]["replicas"] == replicas).await;
}

/// Deletes an object, and no other of its name, with this policy.
async fn delete(world: &World, collection: &str, object: &Value, policy: &str) {
    let name = object["metadata"]["name"].as_str().unwrap();
    let options = json!({"propagationPolicy": policy, "preconditions": {"uid": object["metadata"]["uid"]}});
    world.delete_with(&format!("{collection}/{name}"), options).await;
}

async fn items(world: &World, collection: &str) -> Vec<Value> {
    world.get(collection).await["items"].as_array().unwrap().clone()
}

/// Waits until a collection is empty.
async fn empty(world: &World, collection: &str) {
    for object in items(world, collection).await {
        world.gone(collection, object["metadata"]["name"].as_str().unwrap()).await;
    }
    assert_eq!(items(world, collection).await, Vec::<Value>::new());
}

async fn first_of(world: &World, collection: &str) -> Value {
    let mut watch = world.watch(&format!("{collection}?watch=true")).await;
    watch.until(|event| event["type"] == "ADDED").await
}

#[tokio::test]
async fn garbage_collector_should_delete_pods_created_by_rc_when_not_orphaning() {
    let world = world::world().await;
    let controller = make_controller(&world, "simpletest.rc", 2, "delete_pods").await;
    // Not all of them: it may go before it has what it wants.
    first_of(&world, PODS).await;
    delete(&world, CONTROLLERS, &controller, "Background").await;
    empty(&world, CONTROLLERS).await;
    // A pod that was on its way may come after the controller has gone, and goes too.
    let mut watch = world.watch(&format!("{PODS}?watch=true")).await;
    while !items(&world, PODS).await.is_empty() {
        watch.next().await;
    }
    world.end().await;
}

#[tokio::test]
async fn garbage_collector_should_orphan_pods_created_by_rc_if_delete_options_say_so() {
    let world = world::world().await;
    let controller = make_controller(&world, "simpletest.rc", MANY, "orphan_pods").await;
    full(&world, CONTROLLERS, "simpletest.rc", MANY).await;
    delete(&world, CONTROLLERS, &controller, "Orphan").await;
    world.gone(CONTROLLERS, "simpletest.rc").await;
    // Whoever would have taken the orphans has by now taken what was left of a later one.
    let later = make_controller(&world, "later", 1, "later").await;
    full(&world, CONTROLLERS, "later", 1).await;
    delete(&world, CONTROLLERS, &later, "Foreground").await;
    world.gone(CONTROLLERS, "later").await;
    let pods = items(&world, PODS).await;
    assert_eq!(pods.len(), MANY);
    assert!(pods.iter().all(|pod| pod["metadata"].get("deletionTimestamp").is_none()));
    world.end().await;
}

#[tokio::test]
async fn garbage_collector_should_keep_the_rc_around_until_all_its_pods_are_deleted_if_the_deleteoptions_says_so()
 {
    let world = world::world().await;
    let controller = make_controller(&world, "simpletest.rc", MANY, "delete_pods_foreground").await;
    full(&world, CONTROLLERS, "simpletest.rc", MANY).await;
    delete(&world, CONTROLLERS, &controller, "Foreground").await;
    world.gone(CONTROLLERS, "simpletest.rc").await;
    assert_eq!(items(&world, PODS).await, Vec::<Value>::new());
    world.end().await;
}

#[tokio::test]
async fn garbage_collector_should_not_delete_dependents_that_have_both_valid_owner_and_owner_that_s_waiting_for_dependents_to_be_deleted()
 {
    let world = world::world().await;
    let goes = make_controller(&world, "simpletest-rc-to-be-deleted", MANY, "goes").await;
    let stays = make_controller(&world, "simpletest-rc-to-stay", 0, "stays").await;
    full(&world, CONTROLLERS, "simpletest-rc-to-be-deleted", MANY).await;
    let owner = json!({
        "apiVersion": "v1", "kind": "ReplicationController",
        "name": stays["metadata"]["name"], "uid": stays["metadata"]["uid"],
    });
    for pod in items(&world, PODS).await.iter().take(MANY / 2) {
        let path = format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap());
        let patch = json!({"metadata": {"ownerReferences": [owner]}});
        let patched = world.patch(&path, STRATEGIC_PATCH, patch).await;
        assert_eq!(patched["metadata"]["ownerReferences"].as_array().unwrap().len(), 2);
    }
    delete(&world, CONTROLLERS, &goes, "Foreground").await;
    world.gone(CONTROLLERS, "simpletest-rc-to-be-deleted").await;
    let pods = items(&world, PODS).await;
    assert_eq!(pods.len(), MANY / 2);
    for pod in pods {
        assert!(pod["metadata"].get("deletionTimestamp").is_none(), "{pod}");
        assert_eq!(pod["metadata"]["ownerReferences"].as_array().unwrap().len(), 1, "{pod}");
    }
    world.end().await;
}

#[tokio::test]
async fn garbage_collector_should_not_be_blocked_by_dependency_circle() {
    let world = world::world().await;
    let mut pods = Vec::new();
    for name in ["pod1", "pod2", "pod3"] {
        let pod = json!({
            "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "nginx", "image": "nginx"}]},
        });
        pods.push(world.post(PODS, pod).await["metadata"].clone());
    }
    for (pod, owner) in [(0, 2), (1, 0), (2, 1)] {
        let path = format!("{PODS}/{}", pods[pod]["name"].as_str().unwrap());
        let owner = json!({
            "apiVersion": "v1", "kind": "Pod", "name": pods[owner]["name"], "uid": pods[owner]["uid"],
            "controller": true, "blockOwnerDeletion": true,
        });
        let patch = json!({"metadata": {"ownerReferences": [owner]}});
        world.patch(&path, STRATEGIC_PATCH, patch).await;
    }
    delete(&world, PODS, &json!({"metadata": pods[0]}), "Foreground").await;
    empty(&world, PODS).await;
    world.end().await;
}

async fn make_deployment(world: &World, label: &str) -> Value {
    let deployment = json!({
        "metadata": {"name": "simpletest.deployment"},
        "spec": {
            "replicas": 2,
            "strategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": {"gctest": label}},
            "template": template(label),
        },
    });
    world.post(DEPLOYMENTS, deployment).await
}

#[tokio::test]
async fn garbage_collector_should_delete_rs_created_by_deployment_when_not_orphaning() {
    let world = world::world().await;
    let deployment = make_deployment(&world, "delete_rs").await;
    first_of(&world, SETS).await;
    delete(&world, DEPLOYMENTS, &deployment, "Background").await;
    world.gone(DEPLOYMENTS, "simpletest.deployment").await;
    empty(&world, SETS).await;
    let mut watch = world.watch(&format!("{PODS}?watch=true")).await;
    while !items(&world, PODS).await.is_empty() {
        watch.next().await;
    }
    world.end().await;
}

#[tokio::test]
async fn garbage_collector_should_orphan_rs_created_by_deployment_when_deleteoptions_propagationpolicy_is_orphan()
 {
    let world = world::world().await;
    let deployment = make_deployment(&world, "orphan_rs").await;
    let set = first_of(&world, SETS).await;
    full(&world, SETS, set["metadata"]["name"].as_str().unwrap(), 2).await;
    delete(&world, DEPLOYMENTS, &deployment, "Orphan").await;
    world.gone(DEPLOYMENTS, "simpletest.deployment").await;
    let sets = items(&world, SETS).await;
    assert_eq!((sets.len(), items(&world, PODS).await.len()), (1, 2));
    let owners = sets[0]["metadata"]["ownerReferences"].as_array();
    assert!(
        owners.is_none_or(|owners| owners.iter().all(|owner| owner["controller"] != true)),
        "{}",
        sets[0]
    );
    world.end().await;
}
