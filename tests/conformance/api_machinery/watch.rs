//! Watches of ConfigMaps. Where the suite waits to see that no event comes, a test here shows what comes next instead.

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::watching::Watch;
use crate::world::{self, World};

const MAPS: &str = "/api/v1/namespaces/conformance/configmaps";
const KEY: &str = "watch-this-configmap";

/// A watch of the ConfigMaps that have one of these labels.
async fn watch(world: &World, version: Option<&str>, labels: &str) -> Watch {
    let from = version.map(|version| format!("&resourceVersion={version}")).unwrap_or_default();
    world.watch(&format!("{MAPS}?labelSelector={KEY}+in+%28{labels}%29&watch=true{from}")).await
}

async fn make(world: &World, name: &str, label: &str) -> Value {
    world.post(MAPS, json!({"metadata": {"name": name, "labels": {KEY: label}}})).await
}

async fn change(world: &World, name: &str, pointer: &str, value: &str) -> Value {
    let path = format!("{MAPS}/{name}");
    world
        .update(&path, &path, |map| {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            if map.pointer(parent).is_none() {
                map[parent.trim_start_matches('/')] = json!({});
            }
            map.pointer_mut(parent).unwrap()[key] = value.into();
        })
        .await
}

async fn mutate(world: &World, name: &str, value: &str) -> Value {
    change(world, name, "/data/mutation", value).await
}

async fn relabel(world: &World, name: &str, value: &str) -> Value {
    change(world, name, &format!("/metadata/labels/{KEY}"), value).await
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

#[tokio::test]
async fn watchers_should_observe_add_update_and_delete_watch_notifications_on_configmaps() {
    let world = world::world().await;
    let (name_a, name_b) = ("e2e-watch-test-configmap-a", "e2e-watch-test-configmap-b");
    let mut watch_a = watch(&world, None, "multiple-watchers-A").await;
    let mut watch_b = watch(&world, None, "multiple-watchers-B").await;
    let mut watch_both = watch(&world, None, "multiple-watchers-A,multiple-watchers-B").await;

    let made = make(&world, name_a, "multiple-watchers-A").await;
    watch_a.expect("ADDED", &made).await;
    watch_both.expect("ADDED", &made).await;
    for mutation in ["1", "2"] {
        let changed = mutate(&world, name_a, mutation).await;
        watch_a.expect("MODIFIED", &changed).await;
        watch_both.expect("MODIFIED", &changed).await;
    }
    world.delete(&format!("{MAPS}/{name_a}")).await;
    watch_a.expect_named("DELETED", name_a).await;
    watch_both.expect_named("DELETED", name_a).await;

    // The first that the watch of B sees of all this is B.
    let made = make(&world, name_b, "multiple-watchers-B").await;
    watch_b.expect("ADDED", &made).await;
    watch_both.expect("ADDED", &made).await;
    world.delete(&format!("{MAPS}/{name_b}")).await;
    watch_b.expect_named("DELETED", name_b).await;
    watch_both.expect_named("DELETED", name_b).await;

    // And the watch of A has seen nothing of B.
    let last = make(&world, "last", "multiple-watchers-A").await;
    watch_a.expect("ADDED", &last).await;
    world.end().await;
}

#[tokio::test]
async fn watchers_should_be_able_to_start_watching_from_a_specific_resource_version() {
    let world = world::world().await;
    let name = "e2e-watch-test-resource-version";
    make(&world, name, "from-resource-version").await;
    let first = mutate(&world, name, "1").await;
    let second = mutate(&world, name, "2").await;
    world.delete(&format!("{MAPS}/{name}")).await;
    let mut watch = watch(&world, Some(version(&first)), "from-resource-version").await;
    watch.expect("MODIFIED", &second).await;
    watch.expect_named("DELETED", name).await;
    world.end().await;
}

#[tokio::test]
async fn watchers_should_be_able_to_restart_watching_from_the_last_resource_version_observed_by_the_previous_watch()
 {
    let world = world::world().await;
    let (name, label) = ("e2e-watch-test-watch-closed", "watch-closed-and-restarted");
    let mut broken = watch(&world, None, label).await;
    let made = make(&world, name, label).await;
    mutate(&world, name, "1").await;
    broken.expect("ADDED", &made).await;
    let last = broken.expect_named("MODIFIED", name).await;
    drop(broken);
    let second = mutate(&world, name, "2").await;
    let mut restarted = watch(&world, Some(version(&last)), label).await;
    world.delete(&format!("{MAPS}/{name}")).await;
    restarted.expect("MODIFIED", &second).await;
    restarted.expect_named("DELETED", name).await;
    world.end().await;
}

#[tokio::test]
async fn watchers_should_observe_an_object_deletion_if_it_stops_meeting_the_requirements_of_the_selector() {
    let world = world::world().await;
    let (name, label) = ("e2e-watch-test-label-changed", "label-changed-and-restored");
    let mut watch = watch(&world, None, label).await;
    let made = make(&world, name, label).await;
    let first = mutate(&world, name, "1").await;
    relabel(&world, name, "wrong-value").await;
    watch.expect("ADDED", &made).await;
    watch.expect("MODIFIED", &first).await;
    watch.expect_named("DELETED", name).await;
    // What happens meanwhile is not seen: the next event is its return.
    mutate(&world, name, "2").await;
    let restored = relabel(&world, name, label).await;
    let third = mutate(&world, name, "3").await;
    world.delete(&format!("{MAPS}/{name}")).await;
    watch.expect("ADDED", &restored).await;
    watch.expect("MODIFIED", &third).await;
    watch.expect_named("DELETED", name).await;
    world.end().await;
}

#[tokio::test]
async fn watchers_should_receive_events_on_concurrent_watches_in_same_order() {
    let world = world::world().await;
    let mut from = version(&world.get(MAPS).await).to_owned();
    let (permits, mut granted) = mpsc::channel::<()>(3);
    let producer = async {
        let mut existing = Vec::new();
        let mut turn: usize = 0;
        while granted.recv().await.is_some() {
            turn += 1;
            // A fixed mixture of the three operations.
            let choice = if existing.is_empty() { 0 } else { turn * turn % 7 % 3 };
            let picked = turn % existing.len().max(1);
            match choice {
                0 => {
                    let name = format!("cm-{turn}");
                    world.post(MAPS, json!({"metadata": {"name": name}})).await;
                    existing.push(name);
                }
                1 => {
                    let name: &String = &existing[picked];
                    let map = json!({"metadata": {"name": name}, "data": {"turn": turn.to_string()}});
                    world.put(&format!("{MAPS}/{name}"), map).await;
                }
                _ => {
                    world.delete(&format!("{MAPS}/{}", existing.remove(picked))).await;
                }
            }
        }
    };
    let watchers = async {
        let mut watches: Vec<Watch> = Vec::new();
        for _ in 0..100 {
            permits.send(()).await.unwrap();
            let path = format!("{MAPS}?watch=true&allowWatchBookmarks=true&resourceVersion={from}");
            watches.push(world.watch(&path).await);
            let mut seen = Vec::new();
            for watch in &mut watches {
                seen.push(version(&watch.next().await["object"]).to_owned());
            }
            assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
            from = seen.swap_remove(0);
        }
        drop(permits);
    };
    tokio::join!(producer, watchers);
    world.end().await;
}
