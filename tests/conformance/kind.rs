//! A kind and its paths, and the walk through its verbs that many specifications of the suite share.

use serde_json::{Value, json};

use crate::world::{MERGE_PATCH, STRATEGIC_PATCH, World};

/// One kind of the API in one world.
pub(crate) struct Kind<'a> {
    world: &'a World,
    /// Of the group and version, as `apps/v1`; `v1` is the core.
    api_version: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespace: Option<String>,
}

impl<'a> Kind<'a> {
    /// A kind in the test's namespace.
    pub(crate) fn namespaced(
        world: &'a World,
        api_version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self { world, api_version, kind, plural, namespace: Some(world.namespace.clone()) }
    }

    /// A kind without namespaces.
    pub(crate) fn cluster(
        world: &'a World,
        api_version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self { world, api_version, kind, plural, namespace: None }
    }

    /// The same in another namespace.
    pub(crate) fn inside(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Where the group and version begin.
    fn root(&self) -> String {
        match self.api_version {
            "v1" => "/api/v1".to_owned(),
            version => format!("/apis/{version}"),
        }
    }

    /// The objects of the namespace, or of the cluster.
    pub(crate) fn collection(&self) -> String {
        let namespace = self.namespace.as_ref();
        let namespace = namespace.map(|name| format!("/namespaces/{name}")).unwrap_or_default();
        format!("{}{namespace}/{}", self.root(), self.plural)
    }

    /// The objects of all namespaces.
    pub(crate) fn everywhere(&self) -> String {
        format!("{}/{}", self.root(), self.plural)
    }

    /// One object, or a subresource of it.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.collection())
    }

    fn whole(&self, mut object: Value) -> Value {
        object["apiVersion"] = self.api_version.into();
        object["kind"] = self.kind.into();
        object
    }

    pub(crate) async fn create(&self, object: Value) -> Value {
        self.world.post(&self.collection(), self.whole(object)).await
    }

    /// Creates what must be refused, and returns the answer's code and message.
    pub(crate) async fn refused(&self, object: Value) -> (u64, String) {
        let (status, answer) = self.world.ask("POST", &self.collection(), self.whole(object)).await;
        assert_eq!(Some(u64::from(status)), answer["code"].as_u64(), "{answer}");
        (u64::from(status), answer["message"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) async fn get(&self, name: &str) -> Value {
        self.world.get(&self.path(name)).await
    }

    /// Whether there is such an object; the answer is 200 or 404.
    pub(crate) async fn exists(&self, name: &str) -> bool {
        let (status, answer) = self.world.ask("GET", &self.path(name), Value::Null).await;
        assert!(status == 200 || status == 404 && answer["reason"] == "NotFound", "{status}: {answer}");
        status == 200
    }

    /// The whole list that these parameters select.
    pub(crate) async fn list(&self, parameters: &str) -> Value {
        self.world.get(&format!("{}?{parameters}", self.collection())).await
    }

    /// How many objects these parameters select.
    pub(crate) async fn count(&self, parameters: &str) -> usize {
        items(&self.list(parameters).await).len()
    }

    /// The whole list of all namespaces that these parameters select.
    pub(crate) async fn list_everywhere(&self, parameters: &str) -> Value {
        self.world.get(&format!("{}?{parameters}", self.everywhere())).await
    }

    pub(crate) async fn merge(&self, name: &str, patch: Value) -> Value {
        self.world.patch(&self.path(name), MERGE_PATCH, patch).await
    }

    pub(crate) async fn strategic(&self, name: &str, patch: Value) -> Value {
        self.world.patch(&self.path(name), STRATEGIC_PATCH, patch).await
    }

    /// Reads, changes and writes an object, again while others write between.
    pub(crate) async fn update(&self, name: &str, change: impl Fn(&mut Value)) -> Value {
        self.world.update(&self.path(name), &self.path(name), change).await
    }

    /// Puts this in the place of what is there.
    pub(crate) async fn put(&self, name: &str, object: Value) -> Value {
        self.world.put(&self.path(name), object).await
    }

    /// Reads an object, changes it, and writes its status.
    pub(crate) async fn update_status(&self, name: &str, change: impl Fn(&mut Value)) -> Value {
        self.world.update(&self.path(name), &self.path(&format!("{name}/status")), change).await
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.world.delete(&self.path(name)).await;
    }

    /// Deletes what these parameters select.
    pub(crate) async fn delete_collection(&self, parameters: &str) {
        self.world.delete(&format!("{}?{parameters}", self.collection())).await;
    }

    /// Waits until nothing is left of what these parameters select.
    pub(crate) async fn emptied(&self, parameters: &str) {
        let list = self.list(parameters).await;
        let version = version(&list);
        let mut left = items(&list).len();
        let path = format!("{}?watch=true&resourceVersion={version}&{parameters}", self.collection());
        let mut watch = self.world.watch(&path).await;
        while left > 0 {
            watch.until(|event| event["type"] == "DELETED").await;
            left -= 1;
        }
        assert_eq!(self.count(parameters).await, 0, "{path}");
    }

    /// Waits until the object is as wanted.
    pub(crate) async fn eventually(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.world.eventually(&self.collection(), name, wanted).await
    }

    /// Waits until there is no such object.
    pub(crate) async fn gone(&self, name: &str) {
        self.world.gone(&self.collection(), name).await;
    }

    /// The discovery documents name the group, the version, and the kind with these subresources.
    pub(crate) async fn is_discovered(&self, subresources: &[&str]) {
        let (group, version) = self.api_version.split_once('/').expect("a kind of a group");
        let groups = self.world.get("/apis").await;
        let listed = groups["groups"].as_array().and_then(|all| all.iter().find(|one| one["name"] == group));
        let alone = self.world.get(&format!("/apis/{group}")).await;
        for found in [listed.expect("the group is listed"), &alone] {
            let versions = found["versions"].as_array().expect("versions");
            assert!(versions.iter().any(|one| one["version"] == version), "{found}");
        }
        let resources = self.world.get(&self.root()).await;
        let names: Vec<_> = resources["resources"].as_array().expect("resources").iter().collect();
        let subresources = subresources.iter().map(|sub| format!("{}/{sub}", self.plural));
        for name in std::iter::once(self.plural.to_owned()).chain(subresources) {
            assert!(names.iter().any(|one| one["name"] == name.as_str()), "no {name}");
        }
    }

    /// Creates three, gets one, lists and watches them, patches and updates it, and sees both happen. Returns it as created.
    pub(crate) async fn operations(&self, three: [Value; 3], selector: &str) -> Value {
        let mut created = Value::Null;
        for object in three {
            created = self.create(object).await;
        }
        let name = name(&created);
        assert_eq!(self.get(name).await["metadata"]["uid"], created["metadata"]["uid"]);
        let list = self.list(selector).await;
        assert_eq!(items(&list).len(), 3, "{list}");
        let parameters = format!("watch=true&resourceVersion={}&{selector}", version(&list));
        let mut watch = self.world.watch(&format!("{}?{parameters}", self.collection())).await;
        assert_eq!(items(&self.list_everywhere(selector).await).len(), 3);
        let mut everywhere = self.world.watch(&format!("{}?{parameters}", self.everywhere())).await;

        let patched = self.merge(name, json!({ "metadata": { "annotations": { "patched": "true" } } })).await;
        assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
        let updated =
            self.update(name, |object| object["metadata"]["annotations"]["updated"] = "true".into()).await;
        assert_eq!(updated["metadata"]["annotations"]["updated"], "true");
        for watch in [&mut watch, &mut everywhere] {
            let seen = watch.expect_named("MODIFIED", name).await;
            assert_eq!(seen["metadata"]["annotations"], json!({ "patched": "true" }));
            let seen = watch.expect_named("MODIFIED", name).await;
            assert_eq!(seen["metadata"]["annotations"], json!({ "patched": "true", "updated": "true" }));
        }
        created
    }

    /// Deletes one of three, then the rest as a collection.
    pub(crate) async fn removal(&self, name: &str, selector: &str) {
        self.delete(name).await;
        assert!(!self.exists(name).await);
        assert_eq!(self.count(selector).await, 2);
        self.delete_collection(selector).await;
        assert_eq!(self.count(selector).await, 0);
    }

    /// A label put on by a strategic merge patch is found in the answer, whose version is later.
    pub(crate) async fn gets_a_label(&self, object: &Value) -> Value {
        let name = name(object);
        let patched = self.strategic(name, json!({ "metadata": { "labels": { name: "patched" } } })).await;
        assert_eq!(patched["metadata"]["labels"][name], "patched");
        assert!(number(version(object)) < number(version(&patched)), "{patched}");
        patched
    }
}

/// An object's name.
pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("a name")
}

/// An object's or a list's version.
pub(crate) fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().expect("a version")
}

pub(crate) fn number(version: &str) -> u64 {
    version.parse().expect("a version is a number")
}

/// What a list holds.
pub(crate) fn items(list: &Value) -> &Vec<Value> {
    list["items"].as_array().expect("a list")
}

/// The names of what a list holds.
pub(crate) fn names(list: &Value) -> Vec<&str> {
    items(list).iter().map(name).collect()
}

/// The condition of this type in an object's status.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}
