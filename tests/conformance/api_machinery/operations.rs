//! What the suite does with a kind whose operations it wants to see: the same for each, cluster-wide, by label.

use serde_json::{Value, json};

use super::definition::lists;
use crate::world::{MERGE_PATCH, World};

/// A kind, an object of it, and how it changes.
pub(super) struct Operations<'a> {
    pub(super) group: &'a str,
    pub(super) plural: &'a str,
    pub(super) kind: &'a str,
    pub(super) spec: Value,
    /// A merge patch of the specification.
    pub(super) patch: Value,
    /// Where in the specification the patch and the later update write, what the patch writes there, and the update.
    pub(super) field: &'a str,
    pub(super) patched: Value,
    pub(super) updated: Value,
    /// A condition in the status, if the kind has one.
    pub(super) condition: Option<Value>,
}

impl Operations<'_> {
    pub(super) async fn check(&self, world: &World) {
        self.check_discovery(world).await;
        let collection = format!("/apis/{}/v1/{}", self.group, self.plural);
        let of_ours = format!("{collection}?labelSelector=example-e2e-label%3Dvalue");
        let template = json!({
            "apiVersion": format!("{}/v1", self.group), "kind": self.kind, "spec": self.spec,
            "metadata": {"generateName": "e2e-example-", "labels": {"example-e2e-label": "value"}},
        });
        for _ in 0..2 {
            world.post(&collection, template.clone()).await;
        }
        let made = world.post(&collection, template).await;
        let path = format!("{collection}/{}", made["metadata"]["name"].as_str().unwrap());
        assert_eq!(world.get(&path).await["metadata"]["uid"], made["metadata"]["uid"]);
        let list = world.get(&of_ours).await;
        assert_eq!(list["items"].as_array().unwrap().len(), 3);

        let from = list["metadata"]["resourceVersion"].as_str().unwrap();
        let mut watch = world.watch(&format!("{of_ours}&watch=true&resourceVersion={from}")).await;
        let patch = json!({"metadata": {"annotations": {"patched": "true"}}, "spec": self.patch});
        let patched = world.patch(&path, MERGE_PATCH, patch).await;
        assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
        assert_eq!(patched["spec"].pointer(self.field), Some(&self.patched));
        assert!(version(&patched) > version(&made));
        let updated = world
            .update(&path, &path, |object| {
                object["metadata"]["annotations"]["updated"] = "true".into();
                *object["spec"].pointer_mut(self.field).unwrap() = self.updated.clone();
            })
            .await;
        assert_eq!(updated["metadata"]["annotations"]["updated"], "true");
        assert_eq!(updated["spec"].pointer(self.field), Some(&self.updated));
        // Nothing but changes comes before the patched object.
        loop {
            let event = watch.next().await;
            assert_eq!(event["type"], "MODIFIED", "{event}");
            assert_eq!(event["object"]["kind"], self.kind);
            if event["object"]["metadata"]["annotations"]["patched"] == "true" {
                break;
            }
        }
        if let Some(condition) = &self.condition {
            self.check_status(world, &path, &made, condition).await;
        }

        world.delete(&path).await;
        assert_eq!(world.ask("GET", &path, Value::Null).await.0, 404);
        assert_eq!(world.get(&of_ours).await["items"].as_array().unwrap().len(), 2);
        world.delete(&of_ours).await;
        assert_eq!(world.get(&of_ours).await["items"], json!([]));
    }

    async fn check_discovery(&self, world: &World) {
        let groups = world.get("/apis").await;
        let found = groups["groups"].as_array().unwrap().iter().find(|group| group["name"] == self.group);
        for group in [found.unwrap(), &world.get(&format!("/apis/{}", self.group)).await] {
            assert!(group["versions"].as_array().unwrap().iter().any(|version| version["version"] == "v1"));
        }
        let resources = world.get(&format!("/apis/{}/v1", self.group)).await;
        assert!(lists(&resources, self.plural));
        assert_eq!(lists(&resources, &format!("{}/status", self.plural)), self.condition.is_some());
    }

    async fn check_status(&self, world: &World, path: &str, made: &Value, condition: &Value) {
        let status = format!("{path}/status");
        let read = world.get(&status).await;
        assert_eq!((&read["kind"], &read["metadata"]["uid"]), (&self.kind.into(), &made["metadata"]["uid"]));
        let mut condition = condition.clone();
        condition["type"] = "PatchStatusFailed".into();
        let patched = world.patch(&status, MERGE_PATCH, json!({"status": {"conditions": [condition]}})).await;
        assert!(has(&patched, "PatchStatusFailed"), "{patched}");
        condition["type"] = "StatusUpdateFailed".into();
        let updated = world
            .update(path, &status, |object| {
                object["status"]["conditions"].as_array_mut().unwrap().push(condition.clone());
            })
            .await;
        assert!(has(&updated, "StatusUpdateFailed"), "{updated}");
    }
}

fn has(object: &Value, condition: &str) -> bool {
    object["status"]["conditions"].as_array().unwrap().iter().any(|found| found["type"] == condition)
}

/// The version of an object, as the number that newer clients compare.
pub(super) fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}
