//! Definitions of custom resources as the suite makes them, and when it takes them for served.

use serde_json::{Value, json};

use crate::world::World;

pub(super) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A definition of custom resources.
pub(super) struct Definition(pub(super) Value);

impl Definition {
    /// Cluster-wide objects of this kind, of version v1, in which everything is allowed.
    pub(super) fn named(kind: &str, group: &str) -> Self {
        let singular = kind.to_lowercase();
        let plural = format!("{singular}s");
        Self(json!({
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group,
                "scope": "Cluster",
                "names": {"plural": plural, "singular": singular, "kind": kind, "listKind": format!("{kind}List")},
                "versions": [version("v1", allow_all())],
            },
        }))
    }

    /// Objects in namespaces.
    pub(super) fn namespaced(mut self) -> Self {
        self.0["spec"]["scope"] = "Namespaced".into();
        self
    }

    /// With these versions, of which the first is stored.
    pub(super) fn versions(mut self, versions: &[(&str, Value)]) -> Self {
        let mut versions: Vec<Value> =
            versions.iter().map(|(name, schema)| version(name, schema.clone())).collect();
        for later in versions.iter_mut().skip(1) {
            later["storage"] = false.into();
        }
        self.0["spec"]["versions"] = versions.into();
        self
    }

    pub(super) fn labelled(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = value.into();
        self
    }

    pub(super) fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap()
    }

    pub(super) fn path(&self) -> String {
        format!("{DEFINITIONS}/{}", self.name())
    }

    pub(super) fn kind(&self) -> &str {
        self.0["spec"]["names"]["kind"].as_str().unwrap()
    }

    /// `group/version` of one of its versions.
    pub(super) fn group_version(&self, version: &str) -> String {
        format!("{}/{version}", self.0["spec"]["group"].as_str().unwrap())
    }

    /// The path of its objects, in a namespace if they are in one.
    pub(super) fn objects(&self, version: &str, namespace: &str) -> String {
        let plural = self.0["spec"]["names"]["plural"].as_str().unwrap();
        let root = format!("/apis/{}", self.group_version(version));
        if self.0["spec"]["scope"] == "Cluster" {
            format!("{root}/{plural}")
        } else {
            format!("{root}/namespaces/{namespace}/{plural}")
        }
    }

    /// One of its objects, with more fields.
    pub(super) fn object(&self, version: &str, name: &str, more: Value) -> Value {
        let mut object = json!({
            "apiVersion": self.group_version(version), "kind": self.kind(), "metadata": {"name": name},
        });
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    }

    /// Creates it, and waits until it is established; each version must then be in discovery.
    pub(super) async fn create(&self, world: &World) -> Value {
        world.post(DEFINITIONS, self.0.clone()).await;
        let made = world.eventually(DEFINITIONS, self.name(), |made| is(made, "Established")).await;
        for version in self.0["spec"]["versions"].as_array().unwrap() {
            let path = format!("/apis/{}", self.group_version(version["name"].as_str().unwrap()));
            let plural = self.0["spec"]["names"]["plural"].as_str().unwrap();
            assert!(lists(&world.get(&path).await, plural), "{path}");
        }
        made
    }

    /// Creates it, and then an object whose deletion is watched from its creation on.
    pub(super) async fn create_and_prime(&self, world: &World) -> Value {
        let made = self.create(world).await;
        let version = self.0["spec"]["versions"][0]["name"].as_str().unwrap();
        let objects = self.objects(version, "default");
        let more = json!({"alpha": "foo_123", "beta": 10, "gamma": "bar", "delta": "hello", "epsilon": "foobar", "spec": {}});
        let instance = world.post(&objects, self.object(version, "setup-instance", more)).await;
        world.delete(&format!("{objects}/setup-instance")).await;
        let from = instance["metadata"]["resourceVersion"].as_str().unwrap();
        let mut watch = world.watch(&format!("{objects}?watch=true&resourceVersion={from}")).await;
        watch.expect_named("DELETED", "setup-instance").await;
        made
    }

    /// Deletes it, and waits until its resources are out of discovery.
    pub(super) async fn delete(&self, world: &World) {
        world.delete(&self.path()).await;
        world.gone(DEFINITIONS, self.name()).await;
        for version in self.0["spec"]["versions"].as_array().unwrap() {
            let path = format!("/apis/{}", self.group_version(version["name"].as_str().unwrap()));
            let plural = self.0["spec"]["names"]["plural"].as_str().unwrap();
            let (status, list) = world.ask("GET", &path, Value::Null).await;
            assert!(status == 404 || !lists(&list, plural), "{path}: {list}");
        }
    }
}

/// A served and stored version.
pub(super) fn version(name: &str, schema: Value) -> Value {
    json!({"name": name, "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}})
}

/// A schema that allows everything.
pub(super) fn allow_all() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Whether an object has this condition.
pub(super) fn is(object: &Value, condition: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|list| list.iter().any(|one| one["type"] == condition && one["status"] == "True"))
}

/// Whether a resource is on an `APIResourceList`.
pub(super) fn lists(list: &Value, resource: &str) -> bool {
    list["resources"].as_array().is_some_and(|found| found.iter().any(|one| one["name"] == resource))
}
