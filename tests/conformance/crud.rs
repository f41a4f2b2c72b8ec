//! What the suite does with every kind whose reading and writing it wants to see, with informers of it running beside.

use serde_json::{Value, json};

use crate::watching::Watch;
use crate::world::{APPLY_PATCH, JSON_PATCH, World};

/// The label by which its objects are found.
const LABEL: &str = "labelSelector=e2e-test.kubernetes.io%3Dcrud";

/// Changes an object.
pub(crate) type Change<'a> = &'a (dyn Fn(&mut Value) + Sync);
/// The media type of a patch, and the patch.
pub(crate) type Patch<'a> = (&'a str, Value);

/// A kind, an object of it, and how it changes.
pub(crate) struct Crud<'a> {
    /// `group/version`.
    pub(crate) group_version: &'a str,
    pub(crate) plural: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespaced: bool,
    /// The object without its names.
    pub(crate) object: Value,
    pub(crate) update: Change<'a>,
    pub(crate) patches: Vec<Patch<'a>>,
    /// The change of the status, if there is one, and patches of it.
    pub(crate) status: Option<(Change<'a>, Vec<Patch<'a>>)>,
}

/// An informer's stream of events.
struct Informer {
    watch: Watch,
    version: u64,
}

impl Informer {
    /// Begins as newer clients do, with a watch that says when all that was there has come; nothing was.
    async fn start(world: &World, collection: &str) -> Self {
        let path = format!(
            "{collection}?allowWatchBookmarks=true&{LABEL}&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&watch=true"
        );
        let mut watch = world.watch(&path).await;
        let event = watch.next().await;
        assert_eq!(event["type"], "BOOKMARK", "{event}");
        assert_eq!(event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
        Self { watch, version: 0 }
    }

    /// Reads on until the object has this version; `first` comes first, then changes.
    async fn reach(&mut self, first: &str, object: &Value) {
        let mut wanted = first;
        loop {
            let event = self.watch.next().await;
            if event["type"] == "BOOKMARK" {
                continue;
            }
            assert_eq!(event["type"], wanted, "{event}");
            assert_eq!(event["object"]["metadata"]["uid"], object["metadata"]["uid"]);
            let version = version(&event["object"]);
            assert!(version >= self.version, "{event}");
            self.version = version;
            if version >= self::version(object) {
                return;
            }
            wanted = "MODIFIED";
        }
    }

    /// Reads on until the object is gone; before that it may change.
    async fn reach_deletion(&mut self) {
        self.watch.until(|event| event["type"] == "DELETED").await;
    }
}

impl Crud<'_> {
    fn everywhere(&self) -> String {
        format!("/apis/{}/{}", self.group_version, self.plural)
    }

    fn collection(&self, world: &World) -> String {
        if self.namespaced {
            format!("/apis/{}/namespaces/{}/{}", self.group_version, world.namespace, self.plural)
        } else {
            self.everywhere()
        }
    }

    fn initial(&self, world: &World) -> Value {
        let mut object = self.object.clone();
        object["apiVersion"] = self.group_version.into();
        object["kind"] = self.kind.into();
        object["metadata"]["name"] =
            if self.namespaced { "test".to_owned() } else { format!("test-{}", world.namespace) }.into();
        if self.namespaced {
            object["metadata"]["namespace"] = world.namespace.as_str().into();
        }
        object["metadata"]["labels"]["e2e-test.kubernetes.io"] = "crud".into();
        object
    }

    pub(crate) async fn check(&self, world: &World) {
        let resources = world.get(&format!("/apis/{}", self.group_version)).await;
        let resources = resources["resources"].as_array().unwrap();
        assert!(resources.iter().any(|resource| resource["name"] == self.plural));
        let collection = self.collection(world);
        let mut informers = vec![Informer::start(world, &self.everywhere()).await];
        if self.namespaced {
            informers.push(Informer::start(world, &collection).await);
        }
        let initial = self.initial(world);
        let path = format!("{collection}/{}", initial["metadata"]["name"].as_str().unwrap());
        let strictly = format!("{collection}?fieldValidation=Strict");

        let made = world.post(&strictly, initial.clone()).await;
        seen(&mut informers, "ADDED", &made).await;
        world.get(&path).await;
        let updated = world.update(&path, &path, self.update).await;
        assert!(version(&updated) > version(&made));
        seen(&mut informers, "MODIFIED", &updated).await;
        if let Some((status, _)) = &self.status {
            let reported = world.update(&path, &format!("{path}/status"), status).await;
            seen(&mut informers, "MODIFIED", &reported).await;
            world.get(&format!("{path}/status")).await;
        }
        for patch in &self.patches {
            self.again(world, &path, &mut informers).await;
            let made = world.post(&collection, initial.clone()).await;
            let patched = apply(world, &path, patch, &made).await;
            seen(&mut informers, "ADDED", &patched).await;
        }
        for patch in self.status.iter().flat_map(|(_, patches)| patches) {
            self.again(world, &path, &mut informers).await;
            world.post(&collection, initial.clone()).await;
            let updated = world.update(&path, &path, self.update).await;
            let patched = apply(world, &format!("{path}/status"), patch, &updated).await;
            seen(&mut informers, "ADDED", &patched).await;
        }

        for list in [&collection, &self.everywhere()] {
            let list = world.get(&format!("{list}?{LABEL}")).await;
            assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
        }
        self.again(world, &format!("{collection}?{LABEL}"), &mut informers).await;
        world.gone(&collection, initial["metadata"]["name"].as_str().unwrap()).await;
    }

    /// Deletes, and waits until that is seen.
    async fn again(&self, world: &World, path: &str, informers: &mut [Informer]) {
        world.delete(path).await;
        for informer in informers {
            informer.reach_deletion().await;
        }
    }
}

async fn seen(informers: &mut [Informer], first: &str, object: &Value) {
    for informer in informers {
        informer.reach(first, object).await;
    }
}

/// Applies a patch; but for JSON patches it carries what identifies the object.
async fn apply(world: &World, path: &str, (media, patch): &Patch<'_>, object: &Value) -> Value {
    let mut patch = patch.clone();
    if *media != JSON_PATCH {
        for field in ["apiVersion", "kind"] {
            patch[field] = object[field].clone();
        }
        for field in ["name", "namespace", "uid"] {
            if let Some(value) = object["metadata"].get(field) {
                patch["metadata"][field] = value.clone();
            }
        }
    }
    let options = if *media == APPLY_PATCH { "&fieldManager=test-apply&force=true" } else { "" };
    let patched = world.patch(&format!("{path}?fieldValidation=Strict{options}"), media, patch).await;
    assert!(version(&patched) > version(object), "{media}");
    patched
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// The same change of a label in every patch language.
pub(crate) fn label_patches(name: &str, value: &str) -> Vec<Patch<'static>> {
    let pointer = format!("/metadata/labels/{}", name.replace('~', "~0").replace('/', "~1"));
    let mut patches = every_merge(&json!({"metadata": {"labels": {name: value}}}));
    patches.push((JSON_PATCH, json!([{"op": "add", "path": pointer, "value": value}])));
    patches
}

/// The same patch as strategic merge, apply, and merge.
pub(crate) fn every_merge(patch: &Value) -> Vec<Patch<'static>> {
    [crate::world::STRATEGIC_PATCH, APPLY_PATCH, crate::world::MERGE_PATCH]
        .map(|media| (media, patch.clone()))
        .to_vec()
}
